"""The `filtered` stage: signals measured once, rules applied to them."""

from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pyarrow as pa
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets.filter_rules import CODE_VERSION, RuleSettings, measurement
from curation_assets.pages import BLUE, figure, markdown_table, materialized
from curation_assets.progress import reporter
from curation_assets.readers import CONVERSATIONS, conversation, exchange, whole_request
from curation_assets.stages import OWNERS
from curation_assets.stages.cleaned import cleaned, last_cleaned_by
from curation_assets.stages.contamination import NO_MATCHES, contamination, require_current
from curation_assets.stages.deduped import deduped
from curation_assets.stages.raw import raw
from curation_assets.tables import tables
from curation_assets.warehouse import Spool, Warehouse

if TYPE_CHECKING:
    from curation_assets.models.reference_judge import ReferenceJudge

TEXTS = (
    "select d.record_id, d.text, d.kind, case when list_contains($kinds, d.kind) then coalesce(c.cleaned_original, r.original) end "
    "as original from deduped.records as d left join raw.records as r using (record_id) "
    "left join cleaned.records as c using (record_id)"
)
"""Every text, and the whole record as cleaning left it where it has turns."""

UNMEASURED = TEXTS + " anti join filtered.signals as s on s.record_id = d.record_id and s.text_hash = d.text_hash"


class ToxicityExamples(dg.Config):
    """Texts that people have labelled, for a classifier of abuse of your own."""

    path: str = Field(description="A file, folder or glob of records with a text and a label (JSONL, CSV, TSV, …).")
    text_field: str | None = Field(default=None, description="Field with the text. Default: text, else what is there.")
    label_field: str | None = Field(default=None, description="Field with the label. Default: label.")
    toxic_labels: list[str] = Field(
        description="The labels that mean abuse; every other label means none. Texts without a label are left out."
    )


class FilteredConfig(RuleSettings, dg.Config):
    """Rule sets, thresholds, and labelled texts for one more signal."""

    toxicity_examples: ToxicityExamples | None = Field(
        default=None,
        description="Labelled texts to fit a classifier of abuse on; its probability is the signal toxicity.",
    )


@dg.asset(
    deps=[raw, cleaned, deduped, contamination],
    group_name="records",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version=CODE_VERSION,
)
def filtered(
    context: dg.AssetExecutionContext, config: FilteredConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record that no rule drops.

    Signals are measured once in `filtered.signals`, the language first; the rules of `filtered.rules` (Gopher, FineWeb, C4, RefinedWeb,
    Self-Instruct, Korean, toxicity) are verdicts over them, each with its value and its threshold in the ledger; so is the share
    of a benchmark's item that a record holds. Only records that are new or whose text has changed are measured.
    """
    started = warehouse.begin()
    require_current(warehouse)
    rows_in = warehouse.rows("deduped.records")
    classifier = toxicity_classifier(config.toxicity_examples)
    measured = measured_records(warehouse, classifier)
    with warehouse.spool() as spool:
        if measured["is_new"]:
            measure(warehouse, spool, TEXTS if measured["anew"] else UNMEASURED, rows_in, classifier)
        with warehouse.commit(context, config, rows_in=rows_in, main="filtered.records", started=started) as commit:
            if measured["anew"]:
                commit.build("filtered.signals", spool.file())
            elif measured["is_new"]:
                commit.renew("filtered.signals", spool.file(), ("record_id", "text_hash"), "deduped.records")
            commit.notes = {
                "signals_of": measured["signals_of"],
                "measured_by": measured["measured_by"],
                "signals_measured": spool.rows if measured["is_new"] else 0,
                "toxicity_classifier": account_of(classifier),
            }
            commit.append("contamination.matches", NO_MATCHES)  # there is the table, also where nothing was looked for
            commit.build("filtered.rules", **config.rule_params())
            commit.decide(short_text_median_words=config.short_text_median_words, languages=config.languages)
            commit.build("filtered.records")
            commit.keep_the_rest()
    with warehouse.reading():
        rules = dropped_by_rule(warehouse)
        return materialized(
            warehouse,
            "filtered.records",
            plots={"dropped_by_rule_chart": rule_chart(rules)},
            rules=dg.MetadataValue.md(markdown_table(rules)),
        )


def measured_records(warehouse: Warehouse, classifier: "ReferenceJudge | None") -> dict[str, Any]:
    """Which records the signals are to be of, whether some must be measured, and whether all: changing a threshold measures nothing.

    All are where the code, the way records were cleaned, the classifier of abuse or polars (whose hashes are kept) has changed.
    """
    wanted = measurement(warehouse)
    by = f"code {CODE_VERSION}, polars {pl.__version__}, cleaned by {last_cleaned_by(warehouse)}"
    if classifier is not None:
        wanted += f", toxicity by classifier {classifier.revision}"
        by += f", toxicity by classifier {classifier.revision}"
    last = warehouse.query(
        "select notes ->> 'signals_of' as signals_of, notes ->> 'measured_by' as measured_by from ledger.runs where stage = 'filtered' "
        "order by finished_at desc limit 1"
    )
    last_of, last_by = last.row(0) if len(last) and warehouse.has_table("filtered.signals") else (None, None)
    anew = last_by != by
    return {"signals_of": wanted, "measured_by": by, "is_new": anew or last_of != wanted, "anew": anew}


def toxicity_classifier(examples: ToxicityExamples | None) -> "ReferenceJudge | None":
    """A classifier of abuse fitted on the user's labelled texts: the reference judge, good being what is none.

    Raises dagster's Failure for a file that cannot be read or has too few texts of either kind.
    """
    if examples is None:
        return None
    from curation_assets import readers
    from curation_assets.models.reference_judge import fit_reference_judge

    source = readers.Source(
        name="toxicity_examples", path=examples.path, text_field=examples.text_field, label_field=examples.label_field
    )
    try:
        read = [batch.records for file in readers.files(source) for batch in readers.read(source, file)]
        labelled = pl.concat(pl.DataFrame(pl.from_arrow(batch)).select("text", "label") for batch in read)
        labelled = labelled.drop_nulls("label")  # a text without a label was found to be nothing
        is_toxic = labelled["label"].is_in(examples.toxic_labels)
        harmless, toxic = labelled.filter(~is_toxic)["text"], labelled.filter(is_toxic)["text"]
        return fit_reference_judge(harmless.to_list(), toxic.to_list())
    except (readers.SourceError, ValueError) as error:
        raise dg.Failure(
            f"filtered: no classifier can be fitted on toxicity_examples ({examples.path}): {error}"
        ) from error


def account_of(classifier: "ReferenceJudge | None") -> dict[str, Any] | None:
    """What the run row keeps of the classifier of abuse: its revision and what it is worth on texts it was not fitted on."""
    if classifier is None:
        return None
    figures = classifier.figures
    return {"revision": classifier.revision, "auc": figures.auc.value, "auc_interval": [figures.auc.low, figures.auc.high],
            "harmless": figures.good, "toxic": figures.bad, "warnings": list(figures.warnings)}  # fmt: skip


def measure(warehouse: Warehouse, spool: Spool, texts: str, total: int, classifier: "ReferenceJudge | None") -> None:
    """Write to the spool what Python measures of the records of a query, at most `total`."""
    from curation_assets.algorithms.instructions import EXCHANGES
    from curation_assets.algorithms.signals import text_signals  # compiles its kernels on import

    report, done = reporter("filtered: signals", "records", total), 0
    columns = tables()["filtered.signals"].incoming
    schema = {"record_id": pl.String, **text_signals(pl.Series([], dtype=pl.String)).schema}
    spool.write(_arrow(pl.DataFrame(schema=schema).select(columns)))
    for batch in warehouse.batches(texts, kinds=list(CONVERSATIONS)):
        records = pl.DataFrame(pl.from_arrow(batch))
        turns = pl.DataFrame(
            [_exchange(*row) for row in records.select("kind", "original").iter_rows()],
            schema=EXCHANGES,
            orient="row",
        )
        toxicity = None if classifier is None else pl.Series(1 - classifier.score(batch["text"]))
        measured = text_signals(records["text"], turns, toxicity)
        spool.write(_arrow(measured.with_columns(records["record_id"]).select(columns)).cast(spool.schema))
        report(done := done + len(batch))


def _exchange(kind: str, original: str | None) -> tuple[str | None, ...]:
    """Of a record with turns the columns of EXCHANGES, else nothing."""
    if original is None:
        return None, None, None, None
    try:
        found = conversation(kind, original)
    except ValueError:  # read by an older version, which was less strict
        return None, None, None, None
    asked_last = next((turn.content for turn in reversed(found.prompt) if turn.role == "user"), "")
    return found.instruction or asked_last, found.input, whole_request(found), exchange(found)[1]


def _arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())


def dropped_by_rule(warehouse: Warehouse) -> pl.DataFrame:
    """Every rule in force with how many records it drops, most first."""
    return warehouse.query(
        "select r.rule, count(distinct d.record_id) as dropped, r.signal, coalesce(r.at_least, r.at_most) as threshold, r.why "
        "from filtered.rules as r left join ledger.current_decisions as d "
        "on d.stage = 'filtered' and d.rule = r.rule group by all order by dropped desc, r.rule"
    )


def rule_chart(rules: pl.DataFrame) -> Figure:
    """Records dropped by each rule."""
    shown = rules.filter(pl.col("dropped") > 0)
    drawing, axes = figure(6.5, 0.25 * len(shown) + 1)
    axes.barh(range(len(shown)), shown["dropped"].to_list(), color=BLUE)
    axes.set_yticks(range(len(shown)), shown["rule"].to_list(), fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("records dropped (a record may break several rules)")
    return drawing
