"""The `filtered` stage: signals measured once, rules applied to them."""

from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
from matplotlib.figure import Figure
from pydantic import Field, field_validator

from curation_assets.pages import BLUE, figure, markdown_table, materialized
from curation_assets.progress import reporter
from curation_assets.stages import OWNERS
from curation_assets.stages.contamination import NO_MATCHES, contamination, require_current
from curation_assets.stages.deduped import deduped
from curation_assets.tables import tables
from curation_assets.warehouse import Spool, Warehouse

RULE_SETS = ("gopher_quality", "gopher_repetition", "fineweb")


def _threshold(published: float, name: str) -> float | None:
    """A rule's threshold with its published value as default; null in a config switches the rule off."""
    return Field(default=published, description=tables()["filtered.rules"].params[name])


class FilteredConfig(dg.Config):
    """Rule sets and thresholds; the defaults are the published ones. A threshold of null switches its rule off."""

    rule_sets: list[str] = Field(default=list(RULE_SETS), description="The published rule sets to apply.")
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


@dg.asset(
    deps=[deduped, contamination], group_name="records", kinds={"duckdb", "python"}, owners=OWNERS, code_version="1"
)
def filtered(context: dg.AssetExecutionContext, config: FilteredConfig, warehouse: Warehouse) -> dg.MaterializeResult:
    """One row per record that no rule drops.

    Signals are measured once in `filtered.signals`; the rules of `filtered.rules` (Gopher quality, Gopher repetition,
    FineWeb) are verdicts over them, each with its value and its threshold in the ledger; so is the share of a benchmark's item that a
    record holds.
    """
    started = warehouse.begin()
    require_current(warehouse)
    rows_in = warehouse.rows("deduped.records")
    measured = measured_records(warehouse, context)
    with warehouse.spool() as spool:
        if measured["is_new"]:
            measure_repetition(warehouse, spool, rows_in)
        with warehouse.commit(context, config, rows_in=rows_in, main="filtered.records", started=started) as commit:
            if measured["is_new"]:
                commit.build("filtered.signals", spool.file())
            commit.notes = {"signals_of": measured["signals_of"], "signals_measured": measured["is_new"]}
            commit.append("contamination.matches", NO_MATCHES)  # there is the table, also where nothing was looked for
            commit.build("filtered.rules", **config.model_dump(exclude={"short_text_median_words"}))
            commit.decide(short_text_median_words=config.short_text_median_words)
            commit.build("filtered.records")
            commit.keep_the_rest()
    rules = dropped_by_rule(warehouse)
    return materialized(
        warehouse,
        "filtered.records",
        plots={"dropped_by_rule_chart": rule_chart(rules)},
        rules=dg.MetadataValue.md(markdown_table(rules)),
    )


def measured_records(warehouse: Warehouse, context: dg.AssetExecutionContext) -> dict[str, Any]:
    """Which records the signals are to be of, and whether they must be measured: changing a threshold measures nothing."""
    code_version = context.assets_def.code_versions_by_key[context.asset_key]
    deduped_run = warehouse.value("select max_by(run_id, finished_at) as run from ledger.runs where stage = 'deduped'")
    wanted = f"deduped by run {deduped_run}, measured by code {code_version}"
    last = warehouse.query(
        "select notes ->> 'signals_of' as signals_of from ledger.runs where stage = 'filtered' order by finished_at desc limit 1"
    )["signals_of"].to_list()
    return {"signals_of": wanted, "is_new": last != [wanted] or not warehouse.has_table("filtered.signals")}


def measure_repetition(warehouse: Warehouse, spool: Spool, total: int) -> None:
    """Write the n-gram repetition of every record to the spool."""
    from curation_assets.algorithms.repetition import repetition  # compiles its kernels on import

    report, done = reporter("filtered: repetition", "records", total), 0
    columns = tables()["filtered.signals"].incoming
    spool.write(
        pa.schema([(name, pa.string() if name == "record_id" else pa.float64()) for name in columns]).empty_table()
    )
    for batch in warehouse.batches("select record_id, text from deduped.records"):
        measured = repetition(batch["text"]).with_columns(record_id=pl.from_arrow(batch["record_id"]))
        spool.write(measured.select(columns).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(spool.schema))
        report(done := done + len(batch))


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
