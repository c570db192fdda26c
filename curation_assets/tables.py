"""The tables as their files in sql/ describe them: name, what one row is, columns, parameters, lineage.

The path is the name: `sql/40_filtered/signals.sql` builds the table `filtered.signals`, and there is no second list.
A file is a header of `--` lines and one bare `select`; the caller adds `create or replace table … as`. The header says

    -- One row per record that …                                  what one row is (the first line)
    -- $min_words: fewest words a document may have               one line a bound parameter
    -- incoming(record_id, text): what Python computed; from raw.records(text)    the Arrow table it is handed, if any

and every projected column carries a trailing comment, which becomes its description in the UI. `decisions.sql` in a
stage's folder is the exception: its rows go to `ledger.decisions`. This module reads files; it never runs SQL.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where SQL is read: most commands need none of it, and it takes a while
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope

SQL = Path(__file__).parent / "sql"

DECIDED = ("record_id", "verdict", "rule", "value", "threshold", "matched_record_id")
"""Columns of the temporary relation `decided`: what a stage's decisions.sql returned, for its records.sql to leave out."""

MAIN_TABLES = {
    "raw": "raw.records",
    "cleaned": "cleaned.records",
    "deduped": "deduped.records",
    "contamination": "contamination.matches",
    "filtered": "filtered.records",
    "embeddings": "embeddings.vectors",
    "clusters": "clusters.assignments",
    "cluster_profiles": "clusters.profiles",
    "density": "density.scores",
    "quality_scores": "quality_scores.scores",
    "curated_set": "curated_set.records",
    "eval_report": "eval_report.results",
    "drift_report": "drift_report.looks",
    "lexical_vectors": "lexical_vectors.vectors",
    "label_task": "label_task.tasks",
    "expert_labels": "expert_labels.labels",
    "agreement": "agreement.summary",
    "label_model": "label_model.rounds",
    "predicted_labels": "predicted_labels.predictions",
    "label_queue": "label_queue.items",
    "label_set": "label_set.records",
    "label_report": "label_report.figures",
    "release": "release.releases",
}
"""The table each asset is counted by, in flow order."""

_INCOMING = re.compile(r"incoming\(([^)]*)\):\s*(.*)")
_SOURCE = re.compile(r"(\w+\.\w+)\(([^)]*)\)")


@dataclass(frozen=True)
class Table:
    """One file under sql/: the table it builds and what its header and comments say.

    The select is parsed when its columns or what it reads are asked for: most commands need neither, and parsing all takes half a second.
    """

    name: str
    """schema.table, from the path."""
    path: Path
    sql: str
    row: str
    """What one row is: the header's first line."""
    description: str
    """The header's prose, first line included."""
    params: Mapping[str, str]
    """Bound parameter → its meaning."""
    incoming: tuple[str, ...]
    """Columns of the Arrow table Python hands in, if the select reads `incoming`."""
    incoming_from: tuple[tuple[str, str], ...]
    """(table, column) pairs the incoming columns were computed from."""

    @cached_property
    def columns(self) -> dict[str, str]:
        """Column → description. Raises ValueError if the file holds anything but one select."""
        return {column.alias_or_name: " ".join(column.comments or []).strip() for column in self._query.selects}

    @cached_property
    def reads(self) -> frozenset[str]:
        """schema.table names the select reads. Raises ValueError if the file holds anything but one select."""
        from sqlglot import exp

        common_names = {cte.alias for cte in self._query.find_all(exp.CTE)}
        return frozenset(
            f"{table.db}.{table.name}"
            for table in self._query.find_all(exp.Table)
            if table.db and table.name not in common_names
        )

    @cached_property
    def _query(self) -> "exp.Query":
        import sqlglot
        from sqlglot import exp

        statements = sqlglot.parse(self.sql, dialect="duckdb")
        if len(statements) != 1 or not isinstance(statements[0], exp.Query):
            raise ValueError(f"{self.path}: expected one select, found {len(statements)} statements")
        return statements[0]


@cache
def schemas() -> frozenset[str]:
    """The schemas of the tables, by the names of their folders alone."""
    return frozenset(folder.name.split("_", 1)[-1] for folder in SQL.glob("[0-9]*_*"))


@cache
def tables() -> dict[str, Table]:
    """Every table that sql/ builds, by name, in flow order."""
    files = sorted(SQL.glob("[0-9]*_*/*.sql"), key=lambda path: (path.parent.name, path.stem))
    return {table.name: table for table in map(read_table, files)}


def read_table(path: Path) -> Table:
    """Read one file under sql/ (a table of a stage, a check or an audit query). Raises ValueError if it has no header."""
    sql = path.read_text(encoding="utf-8")
    header = [line[2:].strip() for line in sql.split("\n") if line.startswith("--")]
    if not header:
        raise ValueError(f"{path}: expected a header of `--` lines before the select")
    prose, params, incoming, incoming_from = _read_header(header)
    return Table(
        name=f"{path.parent.name.split('_', 1)[-1]}.{path.stem}",
        path=path,
        sql=sql,
        row=prose[0],
        description=" ".join(prose),
        params=params,
        incoming=incoming,
        incoming_from=incoming_from,
    )


def asset_of(table: str) -> str:
    """Name of the asset that builds a table: the table's schema, except for the profiles of clusters."""
    return "cluster_profiles" if table == "clusters.profiles" else table.split(".")[0]


@cache
def column_lineage(name: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """For each column of a table, the (table, column) pairs it is made from, one step upstream.

    Read off the SQL by sqlglot; a column that Python computed (`incoming`) stands for the columns its header names.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    table = tables()[name]
    schema: dict[str, dict] = {"temporary": {"decided": dict.fromkeys(DECIDED, "text")}}
    if table.incoming:
        schema["temporary"]["incoming"] = dict.fromkeys(table.incoming, "text")
    for other in tables().values():
        db, short = other.name.split(".")
        schema.setdefault(db, {})[short] = dict.fromkeys(other.columns, "text")
    query = sqlglot.parse_one(table.sql, dialect="duckdb")
    for source in query.find_all(exp.Table):
        if source.name in ("incoming", "decided") and not source.db:
            source.set("db", exp.to_identifier("temporary"))
    # Qualified once for all columns: sqlglot would do it again for each, which takes most of the time.
    query = qualify(query, dialect="duckdb", schema=schema, validate_qualify_columns=False, identify=False)
    scope = build_scope(query)
    return {column: _sources(table, column, scope) for column in table.columns}


def _sources(table: Table, column: str, scope: "Scope") -> tuple[tuple[str, str], ...]:
    from sqlglot import exp
    from sqlglot.lineage import lineage

    found: dict[tuple[str, str], None] = {}
    nodes = lineage(column, scope.expression, {}, dialect="duckdb", scope=scope, trim_selects=False, copy=False).walk()
    for node in nodes:
        if not isinstance(node.source, exp.Table):
            continue
        short = node.name.rsplit(".", 1)[-1].strip('"')
        if node.source.name == "incoming":
            same_name = [source for source in table.incoming_from if source[1] == short]
            found |= dict.fromkeys(same_name or table.incoming_from)
        elif node.source.db:
            found[f"{node.source.db}.{node.source.name}", short] = None
    return tuple(found)


def _read_header(
    header: list[str],
) -> tuple[list[str], dict[str, str], tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Split a header into prose, parameters, incoming columns and what those were computed from."""
    prose, params, incoming, sources = [], {}, (), ()
    for line in header:
        if line.startswith("$"):
            name, meaning = line[1:].split(":", 1)
            params[name.strip()] = meaning.strip()
        elif match := _INCOMING.match(line):
            incoming = tuple(column.strip() for column in match[1].split(","))
            sources = tuple(
                (table, column.strip()) for table, columns in _SOURCE.findall(match[2]) for column in columns.split(",")
            )
        else:
            prose.append(line)
    return prose, params, incoming, sources
