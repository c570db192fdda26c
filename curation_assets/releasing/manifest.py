"""MANIFEST.json: what a release consists of, what it was made of, and the hashes by which anyone can hold it to that.

`reproducible` holds all that the same inputs, code and configuration make again: hashes of the data files and of every table
they were made of, code versions, configurations, seeds. Its SHA-256 is the release hash, the release's identity. Times,
names, places, package versions and the description stand outside it; `manifest_hash` covers them too.
"""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

FILE = "MANIFEST.json"
VERSION = 1
ID_CHARS = 16
PACKAGES = (
    *("curation-assets", "dagster", "duckdb", "polars", "pyarrow", "numpy", "torch", "transformers", "tokenizers"),
    *("sentence-transformers", "scikit-learn", "scipy", "numba", "ftfy", "resiliparse", "orjson", "great-expectations"),
)
"""Distributions whose versions can change what a release holds."""

Manifest = dict[str, Any]


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: keys sorted, no spaces, UTF-8.

    >>> digest({"b": 1, "a": "é"}) == digest({"a": "é", "b": 1})
    True
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def file_entry(path: Path, rows: int | None) -> dict[str, Any]:
    """What the manifest says of a file: its SHA-256, its bytes, and of a file of data its rows."""
    entry: dict[str, Any] = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    return entry if rows is None else entry | {"rows": rows}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def seal(manifest: Manifest) -> Manifest:
    """The manifest with the hash of all the rest of it."""
    rest = {name: value for name, value in manifest.items() if name != "manifest_hash"}
    return rest | {"manifest_hash": digest(rest)}


def to_json(manifest: Manifest) -> str:
    """The one way a manifest is written, so that a changed byte of it shows."""
    return json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def seeds(config: Mapping[str, Any]) -> dict[str, int]:
    """Every seed in the configurations of the stages, by `stage.field`.

    >>> seeds({"curated_set": {"seed": 3, "strategy": "random"}, "cleaned": {}})
    {'curated_set.seed': 3}
    """
    return {
        f"{stage}.{name}": value
        for stage, settings in config.items()
        if isinstance(settings, Mapping)
        for name, value in settings.items()
        if name == "seed" or name.endswith("_seed")
    }


def package_versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of the installed distributions among some names."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
