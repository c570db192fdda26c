"""Dagster's own history: asset pages show the beginnings of texts, so an erasure has to look there too."""

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import dagster as dg
import polars as pl

from curation_assets.progress import logger

PROBE_CHARS = 24
"""Letters and digits of a text's beginning that are searched for: pages cut texts after 80 characters and escape marks."""

SHORTEST_PROBE = 12


def probes(texts: Iterable[str]) -> list[str]:
    """What shows that one of some texts stands somewhere, whatever marks are escaped: the first letters and digits of each.

    >>> probes(["**Some** text, that goes on and on", "short"])
    ['sometextthatgoesonandon']
    """
    bare = (_bare(text[: 10 * PROBE_CHARS])[:PROBE_CHARS] for text in texts)
    return sorted({probe for probe in bare if len(probe) >= SHORTEST_PROBE})


def forget(home: Path, texts: Iterable[str]) -> tuple[int, list[str]]:
    """Delete from Dagster's history the runs, and the last pages of assets, that show one of some texts.

    Returns the number of runs deleted and the assets whose history was wiped. What is freed in the SQLite files below home is
    overwritten; a file that is in use stays as it is, with a warning.
    """
    wanted = probes(texts)
    if not wanted or not any((home / folder).exists() for folder in ("history", "dagster.yaml")):
        return 0, []
    with dg.DagsterInstance.get() as instance:
        showing = [
            run.run_id
            for run in instance.get_runs()
            if _shows([event.to_json() for event in instance.all_logs(run.run_id)], wanted)
        ]
        last = {key: instance.get_latest_materialization_event(key) for key in instance.all_asset_keys()}
        assets = [key for key, event in last.items() if event is not None and _shows([event.to_json()], wanted)]
        for run_id in showing:
            instance.delete_run(run_id)
        if assets:
            instance.wipe_assets(assets)
    if showing or assets:
        for path in sorted((home / "history").rglob("*.db")):
            try:
                with closing(sqlite3.connect(path, timeout=5)) as connection:
                    connection.execute("vacuum")
                    connection.execute("pragma wal_checkpoint(truncate)")
            except sqlite3.Error as error:
                logger.warning(
                    "%s is in use; what was deleted from it may still be found in its bytes (%s). Stop the UI and run `VACUUM` on it.",
                    path,
                    error,
                )
    return len(showing), sorted(key.to_user_string() for key in assets)


def _shows(events: list[str], wanted: list[str]) -> bool:
    return bool(pl.Series([_bare(event) for event in events], dtype=pl.String).str.contains_any(wanted).any())


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)).lower()
