"""The `filtered` stage: signals measured once, rules applied to them."""

from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pyarrow as pa
from matplotlib.figure import Figure
from pydantic import Field, field_validator

from curation_assets.pages import BLUE, figure, markdown_table, materialized
from curation_assets.progress import reporter
from curation_assets.readers import CONVERSATIONS, conversation, exchange
from curation_assets.stages import OWNERS
from curation_assets.stages.cleaned import cleaned
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

RULE_SETS = (
    "language", "gopher_quality", "gopher_repetition", "fineweb", "c4", "refinedweb", "self_instruct", "korean", "toxicity",
)  # fmt: skip
DEFAULT_RULE_SETS = RULE_SETS[:4]


def _threshold(published: float | None, name: str) -> float | None:
    """A rule's threshold with its published value as default; null in a config switches the rule off."""
    return Field(default=published, description=tables()["filtered.rules"].params[name])


class ToxicityExamples(dg.Config):
    """Texts that people have labelled, for a classifier of abuse of your own."""

    path: str = Field(description="A file, folder or glob of records with a text and a label (JSONL, CSV, TSV, …).")
    text_field: str | None = Field(default=None, description="Field with the text. Default: text, else what is there.")
    label_field: str | None = Field(default=None, description="Field with the label. Default: label.")
    toxic_labels: list[str] = Field(description="The labels that mean abuse; every other label means none.")


class FilteredConfig(dg.Config):
    """Rule sets and thresholds; the defaults are the published ones. A threshold of null switches its rule off."""

    rule_sets: list[str] = Field(
        default=list(DEFAULT_RULE_SETS), description=f"The rule sets to apply, of {', '.join(RULE_SETS)}."
    )
    languages: list[str] | None = Field(
        default=None,
        description="Codes of the languages wanted (ISO 639-1: en, ko, …), und for texts too short to tell. Default: any.",
    )
    toxicity_examples: ToxicityExamples | None = Field(
        default=None,
        description="Labelled texts to fit a classifier of abuse on; its probability is the signal toxicity.",
    )
    short_text_median_words: int = Field(
        default=50,
        description="A source whose median record has fewer words holds short texts (comments, titles, reviews): rules "
        "about a document's length and lines do not apply to it.",
    )

    @field_validator("rule_sets")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        if unknown := set(names) - set(RULE_SETS):
            raise ValueError(f"rule_sets has {sorted(unknown)}; choose from {', '.join(RULE_SETS)}")
        return names

    min_words: int | None = _threshold(50, "min_words")
    max_words: int | None = _threshold(100_000, "max_words")
    min_mean_word_chars: float | None = _threshold(3, "min_mean_word_chars")
    max_mean_word_chars: float | None = _threshold(10, "max_mean_word_chars")
    max_hash_symbol_ratio: float | None = _threshold(0.1, "max_hash_symbol_ratio")
    max_ellipsis_ratio: float | None = _threshold(0.1, "max_ellipsis_ratio")
    max_bullet_line_ratio: float | None = _threshold(0.9, "max_bullet_line_ratio")
    max_ellipsis_line_ratio: float | None = _threshold(0.3, "max_ellipsis_line_ratio")
    min_alpha_word_ratio: float | None = _threshold(0.8, "min_alpha_word_ratio")
    min_stop_words: int | None = _threshold(2, "min_stop_words")
    max_duplicate_paragraph_ratio: float | None = _threshold(0.3, "max_duplicate_paragraph_ratio")
    max_duplicate_paragraph_char_ratio: float | None = _threshold(0.2, "max_duplicate_paragraph_char_ratio")
    max_duplicate_line_ratio: float | None = _threshold(0.3, "max_duplicate_line_ratio")
    gopher_max_duplicate_line_char_ratio: float | None = _threshold(0.2, "gopher_max_duplicate_line_char_ratio")
    max_top_2gram_char_ratio: float | None = _threshold(0.2, "max_top_2gram_char_ratio")
    max_top_3gram_char_ratio: float | None = _threshold(0.18, "max_top_3gram_char_ratio")
    max_top_4gram_char_ratio: float | None = _threshold(0.16, "max_top_4gram_char_ratio")
    max_duplicate_5gram_char_ratio: float | None = _threshold(0.15, "max_duplicate_5gram_char_ratio")
    max_duplicate_6gram_char_ratio: float | None = _threshold(0.14, "max_duplicate_6gram_char_ratio")
    max_duplicate_7gram_char_ratio: float | None = _threshold(0.13, "max_duplicate_7gram_char_ratio")
    max_duplicate_8gram_char_ratio: float | None = _threshold(0.12, "max_duplicate_8gram_char_ratio")
    max_duplicate_9gram_char_ratio: float | None = _threshold(0.11, "max_duplicate_9gram_char_ratio")
    max_duplicate_10gram_char_ratio: float | None = _threshold(0.1, "max_duplicate_10gram_char_ratio")
    conversation_max_duplicate_5gram_char_ratio: float | None = _threshold(
        0.5, "conversation_max_duplicate_5gram_char_ratio"
    )
    min_terminal_punctuation_line_ratio: float | None = _threshold(0.12, "min_terminal_punctuation_line_ratio")
    max_short_line_ratio: float | None = _threshold(0.67, "max_short_line_ratio")
    max_duplicate_line_char_ratio: float | None = _threshold(0.01, "max_duplicate_line_char_ratio")
    max_newline_word_ratio: float | None = _threshold(0.3, "max_newline_word_ratio")
    max_benchmark_coverage: float | None = _threshold(0.5, "max_benchmark_coverage")
    min_language_score: float | None = _threshold(0.65, "min_language_score")
    min_alpha_token_ratio: float | None = _threshold(None, "min_alpha_token_ratio")
    min_c4_sentences: int | None = _threshold(3, "min_c4_sentences")
    max_lorem_ipsum_lines: int | None = _threshold(0, "max_lorem_ipsum_lines")
    max_curly_bracket_lines: int | None = _threshold(0, "max_curly_bracket_lines")
    max_c4_dropped_line_ratio: float | None = _threshold(None, "max_c4_dropped_line_ratio")
    max_refinedweb_flagged_word_ratio: float | None = _threshold(0.05, "max_refinedweb_flagged_word_ratio")
    min_request_words: int | None = _threshold(4, "min_request_words")
    max_request_words: int | None = _threshold(150, "max_request_words")
    max_blocked_request_words: int | None = _threshold(0, "max_blocked_request_words")
    max_response_repeats_request: int | None = _threshold(0, "max_response_repeats_request")
    max_responses_to_request: int | None = _threshold(1, "max_responses_to_request")
    min_korean_ending_ratio: float | None = _threshold(0.3, "min_korean_ending_ratio")
    max_jamo_ratio: float | None = _threshold(0.3, "max_jamo_ratio")
    max_toxic_word_ratio: float | None = _threshold(0.05, "max_toxic_word_ratio")
    max_slur_words: int | None = _threshold(None, "max_slur_words")
    max_threat_words: int | None = _threshold(None, "max_threat_words")
    max_toxicity: float | None = _threshold(0.9, "max_toxicity")

    def rule_params(self) -> dict[str, Any]:
        """The parameters of filtered.rules."""
        return self.model_dump(exclude={"short_text_median_words", "toxicity_examples"})


@dg.asset(
    deps=[raw, cleaned, deduped, contamination],
    group_name="records",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="4",
)
def filtered(context: dg.AssetExecutionContext, config: FilteredConfig, warehouse: Warehouse) -> dg.MaterializeResult:
    """One row per record that no rule drops.

    Signals are measured once in `filtered.signals`, the language first; the rules of `filtered.rules` (Gopher, FineWeb, C4, RefinedWeb,
    Self-Instruct, Korean, toxicity) are verdicts over them, each with its value and its threshold in the ledger; so is the share
    of a benchmark's item that a record holds.
    """
    started = warehouse.begin()
    require_current(warehouse)
    rows_in = warehouse.rows("deduped.records")
    classifier = toxicity_classifier(config.toxicity_examples)
    measured = measured_records(warehouse, context, classifier)
    with warehouse.spool() as spool:
        if measured["is_new"]:
            measure(warehouse, spool, rows_in, classifier)
        with warehouse.commit(context, config, rows_in=rows_in, main="filtered.records", started=started) as commit:
            if measured["is_new"]:
                commit.build("filtered.signals", spool.file())
            commit.notes = {
                "signals_of": measured["signals_of"],
                "signals_measured": measured["is_new"],
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


def measured_records(
    warehouse: Warehouse, context: dg.AssetExecutionContext, classifier: "ReferenceJudge | None"
) -> dict[str, Any]:
    """Which records the signals are to be of, and whether they must be measured: changing a threshold measures nothing."""
    wanted = measurement(warehouse, context.assets_def.code_versions_by_key[context.asset_key])
    if classifier is not None:
        wanted += f", toxicity by classifier {classifier.revision}"
    last = warehouse.query(
        "select notes ->> 'signals_of' as signals_of from ledger.runs where stage = 'filtered' order by finished_at desc limit 1"
    )["signals_of"].to_list()
    return {"signals_of": wanted, "is_new": last != [wanted] or not warehouse.has_table("filtered.signals")}


def measurement(warehouse: Warehouse, code_version: str | None) -> str:
    """Which records signals are of that are measured now, and by which code: how `signals_of` in the notes of a run begins."""
    deduped_run = warehouse.value("select max_by(run_id, finished_at) as run from ledger.runs where stage = 'deduped'")
    return f"deduped by run {deduped_run}, measured by code {code_version}"


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
        is_toxic = labelled["label"].is_in(examples.toxic_labels).fill_null(False)
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


def measure(warehouse: Warehouse, spool: Spool, total: int, classifier: "ReferenceJudge | None") -> None:
    """Write to the spool what Python measures of every record."""
    from curation_assets.algorithms.instructions import EXCHANGES
    from curation_assets.algorithms.signals import text_signals  # compiles its kernels on import

    report, done = reporter("filtered: signals", "records", total), 0
    columns = tables()["filtered.signals"].incoming
    schema = {"record_id": pl.String, **text_signals(pl.Series([], dtype=pl.String)).schema}
    spool.write(_arrow(pl.DataFrame(schema=schema).select(columns)))
    for batch in warehouse.batches(TEXTS, kinds=list(CONVERSATIONS)):
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
    return (found.instruction or asked_last, found.input, *exchange(found))


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
