"""Dagster's own history: asset pages show the beginnings of texts, so an erasure has to look there too.

An erasure does this first, with the texts still in the database: a kill in between leaves a note beside the database
(`<database>.forgetting`), by which the next start finishes it, and the database's own half is asked for again.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from curation_assets.algorithms.cleaning import clean
from curation_assets.progress import logger
from curation_assets.warehouse import Warehouse

if TYPE_CHECKING:
    import dagster as dg

PROBE_CHARS = 24
"""Letters and digits of a text's beginning that are searched for: pages cut texts after 80 characters and escape marks."""

SHORTEST_PROBE = 12
"""Texts of fewer letters and digits are not searched for: they would be found on pages that have nothing to do with them. Ours."""

CHECKS = "asset_check_executions"
"""The table of Dagster's in which what a check said of its rows outlives its run."""

RECORDS = "select record_id, text, original, kind from raw.records where record_id in (select unnest($ids::varchar[]))"


class Forgotten(NamedTuple):
    """What was taken out of Dagster's history."""

    runs: int
    """Runs deleted, because a page of theirs showed one of the texts."""
    assets: tuple[str, ...]
    """Assets whose last page showed one, and whose history was wiped."""
    logs: int
    """Captured outputs of steps deleted."""
    checks: int
    """Results of checks deleted."""
    left: tuple[str, ...]
    """Where one was found that stays: a table of Dagster's that is not known to hold any."""
    in_use: tuple[str, ...]
    """Files that could not be written afresh, so that what was deleted may still be in their bytes; the next start tries again."""


def probes(texts: Iterable[str]) -> list[str]:
    """What shows that one of some texts stands somewhere, whatever marks are escaped: the first letters and digits of each.

    >>> probes(["**Some** text, that goes on and on", "short"])
    ['sometextthatgoesonandon']
    """
    bare = (_bare(text[: 10 * PROBE_CHARS])[:PROBE_CHARS] for text in texts)
    return sorted({probe for probe in bare if len(probe) >= SHORTEST_PROBE})


def probes_of(records: pl.DataFrame) -> tuple[list[str], int]:
    """The probes of records in their raw, cleaned and original forms, and how many records are too short for any.

    records: text, original, kind.
    """
    found: set[str] = set()
    too_short = 0
    for text, original, kind in records.select("text", "original", "kind").iter_rows():
        of_text = probes([text, clean(text, kind).text])
        too_short += not of_text
        found.update(of_text, probes([original]))
    return sorted(found), too_short


def forget(warehouse: Warehouse, home: Path | None, records: pl.DataFrame) -> dict[str, Any]:
    """Take out of Dagster's history what shows one of some records of the database; return what the receipt says of it.

    home: Dagster's; None: its history is not looked at. records: record_id, text, original, kind.
    """
    if home is None:
        return {"searched": False}
    wanted, too_short = probes_of(records)
    is_noted = warehouse.forgetting.exists()  # by an earlier erasure, which found a file in use
    _note(warehouse, {"home": str(home), "records": records["record_id"].to_list(), "at": _now().isoformat()})
    found = _forget(home, wanted, str(warehouse.path), _now(), always_overwrite=is_noted)
    _note(warehouse, {"home": str(home), "records": [], "at": _now().isoformat()} if found.in_use else None)
    return {"searched": True, "records_too_short": too_short, **found._asdict()}


def finish(warehouse: Warehouse) -> None:
    """Do what an erasure that was killed, or found a file in use, has left to do; nothing where there is no note of it."""
    if not warehouse.forgetting.exists():
        return
    noted = json.loads(warehouse.forgetting.read_text(encoding="utf-8"))
    home = Path(noted["home"])
    wanted: list[str] = []
    if noted["records"] and warehouse.has_table("raw.records"):
        wanted, _ = probes_of(warehouse.query(RECORDS, ids=noted["records"]))
    logger.info("erase: finishing with Dagster's history in %s", home)
    found = _forget(home, wanted, str(warehouse.path), datetime.fromisoformat(noted["at"]), always_overwrite=True)
    _note(warehouse, {**noted, "records": []} if found.in_use else None)


def _note(warehouse: Warehouse, noted: dict[str, Any] | None) -> None:
    path = warehouse.forgetting
    if noted is None:
        path.unlink(missing_ok=True)
        return
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(json.dumps(noted), encoding="utf-8")
    draft.replace(path)


def _forget(
    home: Path, wanted: list[str], database: str, before: datetime, *, always_overwrite: bool = False
) -> Forgotten:
    """Delete the runs, last pages of assets, outputs of steps and results of checks that show one of the probes.

    database, before: runs at work on other databases, or begun later, are left alone.
    """
    if not any((home / folder).exists() for folder in ("history", "dagster.yaml")):
        return Forgotten(0, (), 0, 0, (), ())
    import dagster as dg

    showing: list[str] = []
    assets: list[dg.AssetKey] = []
    if wanted:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            showing = [
                record.dagster_run.run_id
                for record in instance.get_run_records()
                if _is_over(record, database, before)
                and _shows([event.to_json() for event in instance.all_logs(record.dagster_run.run_id)], wanted)
            ]
            last = {key: instance.get_latest_materialization_event(key) for key in instance.all_asset_keys()}
            assets = [key for key, event in last.items() if event is not None and _shows([event.to_json()], wanted)]
            for run_id in showing:
                instance.delete_run(run_id)
            if assets:
                instance.wipe_assets(assets)
    logs = [path for path in sorted((home / "storage").rglob("*")) if _is_output_that_shows(path, wanted)]
    for path in logs:
        path.unlink()
    checks, left = _delete_from_tables(home, wanted)
    is_changed = bool(showing or assets or checks)
    return Forgotten(
        len(showing),
        tuple(sorted(key.to_user_string() for key in assets)),
        len(logs),
        checks,
        tuple(left),
        tuple(_overwrite(home)) if is_changed or always_overwrite else (),
    )


def _is_over(record: "dg.RunRecord", database: str, before: datetime) -> bool:
    """Whether a run is none that is at work now: whoever erases holds the database, so no run on it is."""
    run = record.dagster_run
    if run.is_finished:
        return True
    begun = record.create_timestamp
    begun = begun if begun.tzinfo else begun.replace(tzinfo=timezone.utc)
    return begun < before and run.tags.get("curation/database") in (None, database)


def _is_output_that_shows(path: Path, wanted: list[str]) -> bool:
    if path.suffix not in (".out", ".err") or not path.is_file():
        return False
    return _shows([path.read_text(encoding="utf-8", errors="replace")], wanted)


def _delete_from_tables(home: Path, wanted: list[str]) -> tuple[int, list[str]]:
    """Delete results of checks that show a probe, and name every other table in which one stands.

    The databases of single runs went with their runs.
    """
    deleted, left = 0, []
    for path in _databases(home) if wanted else ():
        if path.parent.name == "runs" and path.stem not in ("index", "runs"):
            continue
        with closing(sqlite3.connect(path, timeout=5)) as connection:
            names = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
            for (name,) in names:
                rows = connection.execute(f'select rowid, * from "{name}"')
                shown = [
                    row[0] for row in rows if _shows([value for value in row[1:] if isinstance(value, str)], wanted)
                ]
                if name == CHECKS and shown:
                    connection.executemany(f"delete from {CHECKS} where rowid = ?", [(row,) for row in shown])
                    connection.commit()
                    deleted += len(shown)
                elif shown:
                    left.append(f"Dagster's {path.name}, table {name}: {len(shown):,} rows")
    return deleted, left


def _overwrite(home: Path) -> Iterator[str]:
    """Write SQLite's files afresh, so that no byte of what was deleted stays; the files that are in use."""
    for path in _databases(home):
        try:
            with closing(sqlite3.connect(path, timeout=5)) as connection:
                connection.execute("vacuum")
                if connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]:
                    raise sqlite3.OperationalError("somebody is reading it")
        except sqlite3.Error as error:
            logger.warning(
                "%s is in use; what was deleted from it may still be found in its bytes (%s). The next start tries again; stop the UI.",
                path,
                error,
            )
            yield path.name


def _databases(home: Path) -> list[Path]:
    return sorted((home / "history").rglob("*.db"))


def _shows(events: list[str], wanted: list[str]) -> bool:
    if not wanted:
        return False
    return bool(pl.Series([_bare(event) for event in events], dtype=pl.String).str.contains_any(wanted).any())


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)).lower()


def _now() -> datetime:
    return datetime.now(timezone.utc)
