"""The report on a labelling task as tables of words and numbers, for the asset's page and for a terminal."""

from typing import NamedTuple

import polars as pl

from curation_assets.labelling.task import current_task
from curation_assets.warehouse import Warehouse

SETS = {"pool": "the pool", "labelled": "labelled", "train": "of these to train", "evaluate": "of these to evaluate"}
KAPPAS = {
    "crowd_expert": "crowd labels and experts",
    "llm_expert": "language model's labels and experts",
    "expert_expert": "experts with each other",
}


class ReportTable(NamedTuple):
    """A table of the report with what is to be said below it."""

    title: str
    rows: pl.DataFrame
    """Columns of text, headed as they are to be read."""
    sentences: list[str]


def report_tables(figures: pl.DataFrame) -> list[ReportTable]:
    """The tables of the report, from the rows of label_report.figures. Tables without rows are left out."""
    made = [
        ReportTable("Sets and their classes", _sets(figures), _sentences(figures, "effort")),
        ReportTable("Agreement", _agreement(figures), _sentences(figures, "kappa", "expert_expert")),
        ReportTable("Rounds", _rounds(figures), _sentences(figures, "stop")),
    ]
    return [table for table in made if len(table.rows)]


def report_lines(warehouse: Warehouse) -> list[str]:
    """The report as lines of plain text. Raises dagster's Failure where there is no task."""
    task = current_task(warehouse)
    if not warehouse.has_table("label_report.figures"):
        return [f"There is no report on {task.name} yet: `curate run --select label_round` makes one."]
    lines = [f"Labelling task {task.name}: {', '.join(task.class_names)}"]
    for title, rows, sentences in report_tables(warehouse.query("from label_report.figures")):
        lines += ["", title, "", *_aligned(rows)]
        lines += ["", *sentences] if sentences else []
    return lines


def _sets(figures: pl.DataFrame) -> pl.DataFrame:
    part = figures.filter((pl.col("section") == "sets") & pl.col("round").is_null())
    classes = part["class"].drop_nulls().unique(maintain_order=True).to_list()
    rows = []
    for name, words in SETS.items():
        of_set = part.filter(pl.col("figure") == name)
        size = of_set.filter(pl.col("class").is_null())
        if not len(size):
            continue
        shares = {row["class"]: row for row in of_set.drop_nulls("class").iter_rows(named=True)}
        row = {"set": words, "records": f"{size['n'][0]:,}"}
        rows.append(row | {one: _share(shares.get(one)) for one in classes})
    return pl.DataFrame(rows)


def _share(row: dict | None) -> str:
    if row is None or row["value"] is None:
        return "unknown"
    interval = "" if row["low"] is None else f" [{row['low']:.1%}, {row['high']:.1%}]"
    return f"{row['value']:.1%}{interval}"


def _agreement(figures: pl.DataFrame) -> pl.DataFrame:
    part = figures.filter((pl.col("section") == "kappa") & pl.col("round").is_null())
    rows = [
        {"who": KAPPAS[row["figure"]], "kappa": _kappa(row), "records": f"{row['n']:,}"}
        for row in part.iter_rows(named=True)
    ]
    return pl.DataFrame(rows)


def _rounds(figures: pl.DataFrame) -> pl.DataFrame:
    part = figures.filter(pl.col("round").is_not_null())
    by_name = {
        name: {row["round"]: row for row in part.filter(pl.col("figure") == name).iter_rows(named=True)}
        for name in ("train_by_round", "model_expert", "model_expert_of_pool", "expert_expert")
    }
    rows = [
        {
            "round": str(number),
            "records trained on": f"{by_name['train_by_round'][number]['n']:,}",
            "records evaluated on": f"{row['n']:,}",
            "model and experts": _kappa(row),
            "the same over the pool": "too few drawn"
            if by_name["model_expert_of_pool"][number]["value"] is None
            else _kappa(by_name["model_expert_of_pool"][number]),
            "experts with each other": _kappa(by_name["expert_expert"][number]),
        }
        for number, row in sorted(by_name["model_expert"].items())
    ]
    return pl.DataFrame(rows)


def _kappa(row: dict) -> str:
    if row["value"] is None:
        return "undefined" if row["n"] else "unknown"
    return f"{row['value']:.2f}" + ("" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]")


def _sentences(figures: pl.DataFrame, section: str, figure: str | None = None) -> list[str]:
    part = figures.filter(pl.col("section") == section)
    if figure is not None:
        part = part.filter((pl.col("figure") == figure) & pl.col("round").is_null())
    return part["sentence"].to_list()


def _aligned(rows: pl.DataFrame) -> list[str]:
    """A table of text in columns as wide as their widest entry."""
    table = [rows.columns, *rows.rows()]
    widths = [max(len(row[place]) for row in table) for place in range(rows.width)]
    return ["  ".join(entry.ljust(width) for entry, width in zip(row, widths, strict=True)).rstrip() for row in table]
