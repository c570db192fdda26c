"""The `eval_report` stage: does training on the curated set beat training on as many random records, or on everything?"""

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets.algorithms import coverage, proxy_model
from curation_assets.pages import BLUE, GREY, figure, markdown_table, materialized
from curation_assets.progress import logger, reporter
from curation_assets.stages import OWNERS
from curation_assets.stages.cleaned import cleaned
from curation_assets.stages.clusters import clusters
from curation_assets.stages.curated_set import curated_set
from curation_assets.stages.deduped import deduped
from curation_assets.stages.embeddings import embeddings
from curation_assets.warehouse import Warehouse

CHARS_PER_TOKEN = 8
"""More characters than any token budget needs: a token of the proxy's vocabulary is about three on average."""

HELDOUT_CHARS = 300_000
"""Held-out text read per slice: about 100,000 tokens, enough that its sampling error is far below that of the seeds."""

REFERENCE_RECORDS = 2_000


class EvalReportConfig(dg.Config):
    """What is trained and what it is measured on."""

    target: str | None = Field(
        default=None,
        description="A glob over 'source/file' that names the text you care most about; a part of it is held out. None: no target slice.",
    )
    heldout_share: float = Field(
        default=0.05, gt=0, lt=1, description="Share of the records held out, of all and of the target."
    )
    token_budget: int = Field(default=200_000, ge=1_000, description="Training tokens a run: the same for every arm.")
    seeds: int = Field(default=3, ge=3, description="Training runs an arm; intervals need at least three.")
    vocabulary: int = Field(
        default=2_048, ge=300, description="Tokens of the proxy's vocabulary, trained on all arms' text."
    )
    seed: int = Field(default=0, description="Seed of the held-out choice and of the random arm.")


@dg.asset(
    deps=[cleaned, deduped, embeddings, clusters, curated_set],
    group_name="product",
    kinds={"duckdb", "pytorch"},
    owners=OWNERS,
    code_version="1",
)
def eval_report(
    context: dg.AssetExecutionContext, config: EvalReportConfig, warehouse: Warehouse
) -> dg.MaterializeResult:
    """One row per measurement: the same small language model trained on the curated set, a random set, everything.

    All arms see the same number of tokens and none sees held-out text or a duplicate of it. The verdict says in words
    whether curation helped, also when it did not.
    """
    started = warehouse.begin()
    split = {"share": config.heldout_share, "target": config.target, "seed": config.seed}
    arms = warehouse.draft("eval_report.arms", **split)
    measured = train_and_measure(warehouse, arms, config)
    summary = summarise(measured)
    with warehouse.commit(context, config, main="eval_report.results", started=started) as commit:
        commit.build("eval_report.arms", **split)
        commit.build("eval_report.results", pl.concat([measured, coverage_of_arms(warehouse, config.seed)]))
        commit.build("eval_report.summary", summary)
        commit.notes = dict(summary.select("slice", "verdict").iter_rows())
    return materialized(
        warehouse,
        "eval_report.results",
        plots={"perplexity": perplexity_chart(perplexities)},
        verdict=dg.MetadataValue.md(
            "\n\n".join(f"**{name}**: {text}" for name, text in summary.select("slice", "verdict").iter_rows())
        ),
        comparison=dg.MetadataValue.md(markdown_table(summary.drop("verdict"))),
    )


def train_and_measure(warehouse: Warehouse, arms: pl.DataFrame, config: EvalReportConfig) -> pl.DataFrame: ...
def summarise(measured): ...
def coverage_of_arms(warehouse, seed): ...
def perplexity_chart(m): ...
