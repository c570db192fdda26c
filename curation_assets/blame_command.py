"""`curate blame`: for bad outputs of a model, the curated records that most likely taught them, and what to do about them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curation_assets.command_line import FAILED, USAGE, Database, messages_for_the_reader, warehouse_at

if TYPE_CHECKING:
    import polars as pl

    from curation_assets.blaming import BadOutput, Blame, Training
    from curation_assets.warehouse import Warehouse

SHOWN_CHARS = 160


def blame(
    output_file: Annotated[
        Path, typer.Option(help="JSONL of bad outputs: `prompt` and `output`, or `text`.", dir_okay=False, exists=True)
    ],
    top: Annotated[int, typer.Option(min=1, max=50, help="Records to name for each output.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    with_trace: Annotated[bool, typer.Option("--trace/--no-trace", help="Tell each record's path too.")] = True,
    database: Database = None,
) -> None:
    """Name the curated records that most likely taught a model its bad outputs.

    Three kinds of evidence: likeness, rare words and phrases shared, and how much likelier a small model finds the output after
    a few steps on the record. The outputs are remembered, and the next evaluation looks at them again.
    """
    from curation_assets import blaming
    from curation_assets.progress import reporter

    try:
        outputs = blaming.read_outputs(output_file)
    except blaming.OutputsError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(USAGE) from error
    with messages_for_the_reader():
        warehouse = warehouse_at(database)
        if not warehouse.path.exists() or warehouse.has_table("curated_set.records"):
            training = training_of(warehouse)
        else:
            print(f"{warehouse.path} has no curated set yet; `curate run` makes one.", file=sys.stderr)
            raise typer.Exit(FAILED)
        warehouse.hold_for_run()
        try:
            report = reporter("blame: influence on the small model", "percent", 100)
            found = blaming.find(warehouse, outputs, training, top, lambda share: report(round(100 * share)))
            report = reporter("blame: how likely the outputs are", "percent", 100)
            looks = blaming.look_at(warehouse, outputs, training, "", lambda share: report(round(100 * share)), found)
            blaming.remember(warehouse, outputs, found, looks)
        finally:
            warehouse.release_run()
        told = list(accounts(warehouse, outputs, found, looks, with_trace=with_trace))
        if as_json:
            print(json.dumps({"thresholds": found.limits, "outputs": told}, ensure_ascii=False, indent=2, default=str))
        else:
            print("\n".join(lines(told, found.limits)))


def training_of(warehouse: "Warehouse") -> "Training":
    """The small model's training as the last evaluation had it; the evaluation's defaults where there was none."""
    from curation_assets.blaming import Training
    from curation_assets.stages.eval_report import EvalReportConfig

    sql = "select config::varchar as config from ledger.runs where stage = 'eval_report' order by finished_at desc limit 1"
    rows = warehouse.query(sql)["config"]
    config = json.loads(rows[0]) if len(rows) else EvalReportConfig().model_dump()
    return Training(config["token_budget"], config["vocabulary"], config["seeds"])


RECORDS = (
    "select record_id, source, source_record_id, source_uri, source_row, license, cluster_id, text from curated_set.records "
    "where list_contains($ids, record_id)"
)


def accounts(
    warehouse: "Warehouse", outputs: "list[BadOutput]", found: "Blame", looks: "pl.DataFrame", *, with_trace: bool
) -> Iterator[dict[str, Any]]:
    """What is known of each output and of the records blamed for it, evidence and ledger included."""
    from curation_assets import audit

    ids = found.blamed["record_id"].unique().to_list()
    records = {row["record_id"]: row for row in warehouse.query(RECORDS, ids=ids).iter_rows(named=True)}
    paths = {record: list(audit.trace(warehouse, record)) if with_trace else [] for record in records}
    verdicts = dict(looks.select("output_id", "verdict").iter_rows())
    for output in outputs:
        rows = found.blamed.filter(output_id=output.output_id).drop("output_id", "blamed_at").to_dicts()
        blamed = [
            row
            | {name: value for name, value in records[row["record_id"]].items() if name != "text"}
            | {"text": " ".join(records[row["record_id"]]["text"].split())[:SHOWN_CHARS]}
            | {"phrases": found.phrases[output.output_id, row["record_id"]], "trace": paths[row["record_id"]]}
            for row in rows
        ]
        strong = [row for row in blamed if row["is_strong"]]
        yield output._asdict() | {
            "look": verdicts[output.output_id],
            "blamed": blamed,
            "is_blamed_strongly": bool(strong),
            "what_to_do": advice(strong),
        }


def advice(strong: list[dict[str, Any]]) -> list[str]:
    """What to do about records that are blamed strongly, as sentences with the commands and settings to copy."""
    if not strong:
        return [
            "No record is blamed strongly: the output may be the model's own, or come from what it was trained on before."
        ]
    told = [f"One record: curate override {row['record_id']} drop --reason 'taught a bad output'" for row in strong]
    clusters = [row["cluster_id"] for row in strong]
    if repeated := sorted({cluster for cluster in clusters if clusters.count(cluster) > 1}):
        actions = ", ".join(f"{{cluster_id: {cluster}, action: review}}" for cluster in repeated)
        told.append(
            f"Several of a cluster: curated_set.cluster_actions: [{actions}] holds it back for a person to look at."
        )
    sources = sorted({f"{row['source']}/{row['source_uri']}" for row in strong})
    told.append(
        f"Many like it: look at {', '.join(sources)}; a rule of filtered (`curate sql 'from filtered.rules'`) or a quota "
        "drops them by kind."
    )
    return told


def lines(told: list[dict[str, Any]], limits: dict[str, float]) -> Iterator[str]:
    """The accounts as text for a terminal."""
    from curation_assets.audit import printable

    yield (
        "Strong evidence here: "
        f"cosine above {limits['cosine']:.2f}, rare phrases above {limits['shared_phrases']:.1%}, influence above "
        f"{limits['influence']:.1f} deviations; a record is blamed strongly for two of the three."
    )
    for one in told:
        yield ""
        yield printable(f"Output {one['output_id']}: {' '.join(one['output'].split())[:SHOWN_CHARS]}")
        yield f"  {one['look']}"
        for row in one["blamed"]:
            strength = "STRONG" if row["is_strong"] else "weak"
            yield printable(
                f"  {row['rank']}. {strength}  {row['record_id']}  {row['source']}, {row['source_uri']} row {row['source_row']}"
            )
            yield printable(f"     {row['text']}")
            yield (
                f"     cosine {row['cosine']:.2f} · rare phrases {row['shared_phrases']:.1%} · influence "
                f"{row['influence']:+.1f} deviations ({row['influence_nats']:+.3f} nats a token)"
            )
            if row["phrases"]:
                yield printable(f"     shared: {'; '.join(repr(phrase[:80]) for phrase in row['phrases'])}")
            if row["is_strong"]:
                yield from (printable(f"       {line}") for line in row["trace"])
        yield from (f"  → {line}" for line in one["what_to_do"])
    yield ""
    yield "The outputs are remembered: the next eval_report looks at them again (eval_report.bad_output_checks)."
