"""What an asset's page in the UI shows: row counts, columns and their lineage, a preview, plots."""

import base64
import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from curation_assets.owners_ids import hide_columns
from curation_assets.tables import MAIN_TABLES, asset_of, column_lineage, tables
from curation_assets.warehouse import Warehouse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PREVIEW_ROWS = 10
PREVIEW_CHARS = 80
NOTE_CHARS = 400
ID_CHARS = 8
NOT_PREVIEWED = (
    "embedding",
    "lexical_vector",
    "original",
    "cleaned_original",
    "text_hash",
    "raw_text_hash",
    "source_uri",
    "source_row",
    "record_time",
    "has_owner_id",
    "manifest",
)
WORDS_OF_RAW = ("text", "label")
"""Columns of raw.records that hold what somebody wrote. Names that owners give to sources and licences are shown."""
BLUE, GREY = "#3b6ea8", "#b8b8b8"


def materialized(
    warehouse: Warehouse, main: str, *, plots: Mapping[str, "Figure"] | None = None, **extra: Any
) -> dg.MaterializeResult:
    """Describe an asset that has just been built. main: the table whose rows the asset is counted by."""
    asset = asset_of(main)
    with warehouse.reading():
        metadata = _described(warehouse, asset, main)
    metadata |= {name: dg.MetadataValue.md(embed(figure)) for name, figure in (plots or {}).items()}
    return dg.MaterializeResult(metadata=metadata | extra)


def _described(warehouse: Warehouse, asset: str, main: str) -> dict[str, Any]:
    built = [name for name in tables() if asset_of(name) == asset and not name.endswith(".decisions")]
    present = warehouse.query("select table_schema || '.' || table_name as name from information_schema.tables")["name"]
    built = [name for name in built if name in set(present)]
    run = warehouse.query(
        "select rows_in, rows_out, rows_dropped, notes from ledger.runs where stage = $stage order by finished_at desc limit 1",
        stage=asset,
    ).row(0, named=True)
    rules = warehouse.query(
        "select rule, count(distinct record_id) as records from ledger.current_decisions "
        "where stage = $stage and verdict = 'drop' group by rule order by records desc, rule",
        stage=asset,
    )
    metadata: dict[str, Any] = {
        "dagster/row_count": run["rows_out"],
        "dagster/table_name": main,
        "dagster/column_schema": column_schema(warehouse, built, main),
        "dagster/column_lineage": lineage(built, main),
        "records_in": run["rows_in"],
        "records_dropped": run["rows_dropped"],
        "notes": dg.MetadataValue.md(notes_table(_parsed(run["notes"]) or {})),
        "preview": dg.MetadataValue.md(preview(warehouse, main)),
    }
    if len(rules):
        metadata["dropped_by_rule"] = dg.MetadataValue.md(markdown_table(rules))
    return metadata


def column_schema(warehouse: Warehouse, built: list[str], main: str) -> dg.TableSchema:
    """Columns of an asset's tables with types and descriptions; those beside the main table carry their table's name."""
    types = warehouse.query(
        "select table_schema || '.' || table_name as name, column_name, data_type from information_schema.columns"
    )
    known = {(name, column): kind for name, column, kind in types.iter_rows()}
    return dg.TableSchema(
        columns=[
            dg.TableColumn(_shown(name, column, main), known.get((name, column), "unknown"), description)
            for name in sorted(built, key=lambda name: name != main)
            for column, description in tables()[name].columns.items()
        ]
    )


def lineage(built: list[str], main: str) -> dg.TableColumnLineage:
    """For each column of an asset's tables, the columns of other assets it is made from."""
    asset = asset_of(main)
    return dg.TableColumnLineage(
        {
            _shown(name, column, main): [
                dg.TableColumnDep(
                    asset_key=dg.AssetKey(asset_of(table)),
                    column_name=_shown(table, source, MAIN_TABLES.get(asset_of(table), table)),
                )
                for table, source in _from_other_assets(name, column, asset)
            ]
            for name in built
            for column in tables()[name].columns
        }
    )


def _from_other_assets(name: str, column: str, asset: str) -> list[tuple[str, str]]:
    """The columns of other assets that a column is made from, by way of other tables of its own asset where need be."""
    found: dict[tuple[str, str], None] = {}
    seen, left = {(name, column)}, [(name, column)]
    while left:
        table, of = left.pop()
        for source in column_lineage(table).get(of, ()):
            if asset_of(source[0]) != asset:
                found[source] = None
            elif source not in seen:
                seen.add(source)
                left.append(source)
    return list(found)


def preview(warehouse: Warehouse, table: str) -> str:
    """The first rows of a table as Markdown: the text cut and in front, our ids shortened, what no one reads left out.

    Of `raw.records` no words are shown: only `cleaned`, which comes after it, finds the personal data in them.
    """
    left_out = (*NOT_PREVIEWED, *(WORDS_OF_RAW if table == "raw.records" else ()))
    columns = [column for column in tables()[table].columns if column not in left_out]
    columns.sort(key=lambda column: (column != "record_id", column != "text"))
    rows = warehouse.head(table, columns, PREVIEW_ROWS)
    ids = [column for column in ("record_id", "batch_id") if column in columns]
    return markdown_table(rows.with_columns(pl.col(ids).str.head(ID_CHARS)))


def markdown_table(rows: pl.DataFrame) -> str:
    """A frame as a Markdown table; cells are cut and escaped, so that no text of a record can act as markup.

    E-mail addresses and secrets in owners' ids and file names are masked.
    """
    rows = hide_columns(rows)
    header = f"| {' | '.join(rows.columns)} |\n|{'---|' * rows.width}"
    return "\n".join(
        [header, *(f"| {' | '.join(markdown_cell(value) for value in row)} |" for row in rows.iter_rows())]
    )


def notes_table(notes: Mapping[str, Any]) -> str:
    r"""What a stage noted of its run as a Markdown table, a row a value, named by the way to it; 'none' where it noted nothing.

    >>> print(notes_table({"texts_embedded": 9, "self_test": {"is_used": True, "cosine": 0.99995}, "warnings": []}))
    | what | value |
    |---|---|
    | texts\_embedded | 9 |
    | self\_test / is\_used | yes |
    | self\_test / cosine | 0\.99995 |
    """
    rows = [f"| {markdown_cell(name)} | {markdown_cell(value, NOTE_CHARS)} |" for name, value in _flat(notes)]
    return "\n".join(["| what | value |\n|---|---|", *rows]) if rows else "none"


def _flat(notes: Mapping[str, Any], way: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a tree of notes that are there, each with its way."""
    for name, value in notes.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{way}{name} / ")
        elif value is not None and value != []:
            shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
            yield f"{way}{name}", f"{shown:.6g}" if isinstance(shown, float) else shown


def markdown_cell(value: Any, chars: int = PREVIEW_CHARS) -> str:
    """A value as one line of Markdown that says only itself: cut, and escaped against markup, HTML and links."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = " ".join(text[: chars * 2].split())
    text = text if len(text) <= chars else text[: chars - 1] + "…"
    # Backslash first, then what Markdown or HTML would act on.
    for mark in "\\`*_[]|~#!:@.":
        text = text.replace(mark, "\\" + mark)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def embed(figure: "Figure") -> str:
    """A figure as a Markdown image that carries its own bytes (kept under 100 kB: it is stored in the event log)."""
    for dots_per_inch in (110, 80, 50):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dots_per_inch, bbox_inches="tight")
        if buffer.tell() < 100_000:
            break
    return f"![plot](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"


def figure(width: float = 6.5, height: float = 3.2) -> tuple["Figure", Any]:
    """An empty figure with one pair of axes, drawn without a display."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height))
    axes = drawing.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def log_scale(axes: Any, *which: str) -> None:
    """Make axes ("x", "y") logarithmic with plain numbers at their ticks: powers set as formulas take half of a plot's time."""
    from matplotlib.ticker import LogFormatter

    for name in which:
        axes.set(**{f"{name}scale": "log"})
        axis = getattr(axes, f"{name}axis")
        axis.set_major_formatter(LogFormatter())
        axis.set_minor_formatter(LogFormatter())


def histogram(values: pl.Series, label: str, *, log: bool = False) -> "Figure":
    """A histogram of one measure over records."""
    import numpy as np

    drawing, axes = figure()
    data = values.drop_nulls().to_numpy()
    if log:
        data = data[data > 0]
        log_scale(axes, "x")
    if len(data):
        low, high = float(data.min()), float(data.max())
        bins = np.geomspace(low, max(high, low * 1.01), 50) if log else 50
        axes.hist(data, bins=bins, color=BLUE, histtype="stepfilled")  # one shape to lay out, where bars are 50
        axes.set_ylim(bottom=0)
    axes.set_xlabel(label)
    axes.set_ylabel("records")
    return drawing


def _shown(table: str, column: str, main: str) -> str:
    return column if table == main else f"{table.split('.')[1]}.{column}"


def _parsed(notes: Any) -> Any:
    import json

    return json.loads(notes) if isinstance(notes, str) else notes


def ledger_spec() -> dg.AssetSpec:
    """The ledger in the graph: written by every stage in the stage's own transaction, so it is never run by itself."""
    names = [name for name in tables() if asset_of(name) == "ledger"]
    return dg.AssetSpec(
        "ledger",
        deps=["raw", "cleaned", "deduped", "filtered", "curated_set"],  # the stages that decide
        group_name="product",
        kinds={"duckdb"},
        description=(
            f"{tables()['ledger.decisions'].description} Stages append to it in the transaction of their own tables; "
            "every stage writes its row of `ledger.runs`."
        ),
        metadata={
            "dagster/table_name": "ledger.decisions",
            "dagster/column_schema": dg.TableSchema(
                columns=[
                    dg.TableColumn(_shown(name, column, "ledger.decisions"), "", description)
                    for name in names
                    for column, description in tables()[name].columns.items()
                ]
            ),
        },
    )
