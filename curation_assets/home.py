"""Where things are: Dagster's home, the database, a source's lasting path. Nothing else belongs here."""

import os
from pathlib import Path


def project_folder() -> Path:
    """The nearest folder with a dagster.yaml, from the current one upwards; else this checkout; else the current folder."""
    here = Path.cwd()
    candidates = [here, *here.parents, Path(__file__).resolve().parent.parent]
    return next((folder for folder in candidates if (folder / "dagster.yaml").is_file()), here)


def dagster_home() -> Path:
    """Folder of Dagster's run history, which `make ui` and `curate` share.

    `DAGSTER_HOME` if it is set, else the project's folder; without a dagster.yaml there, .dagster_home in it.
    """
    if home := os.environ.get("DAGSTER_HOME"):
        return Path(home).expanduser().resolve()
    folder = project_folder()
    return folder if (folder / "dagster.yaml").is_file() else folder / ".dagster_home"


def default_database() -> str:
    """Path of the DuckDB file: `CURATION_DATABASE` if it is set, else data/curation.duckdb in the project's folder."""
    return os.environ.get("CURATION_DATABASE") or str(project_folder() / "data" / "curation.duckdb")


def lasting_path(path: str) -> str:
    """A source's path as it can be read again from any folder."""
    return path if path == "python_environment" else str(Path(path).expanduser().absolute())
