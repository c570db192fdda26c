"""The `quality_scores` stage: the judge's opinion of each text."""

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field

from curation_assets.models.embedders import DEFAULT_MODEL
from curation_assets.models.judges import EmbeddedJudge
from curation_assets.pages import histogram, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.filtered import filtered
from curation_assets.warehouse import Warehouse


class QualityScoresConfig(dg.Config):
    """What the judge may look at."""

    use_embeddings: bool = Field(
        default=True,
        description="Judge by signals and embedding; off, or with another embedding model, by signals alone. "
        "On labelled web pages both rank alike.",
    )


@dg.asset(
    deps=[filtered, embeddings],
    group_name="measures",
    kinds={"duckdb", "python", "scikitlearn"},
    owners=OWNERS,
    code_version="1",
)
def quality_scores(
    context: dg.AssetExecutionContext, config: QualityScoresConfig, warehouse: Warehouse
) -> dg.MaterializeResult:
    """One row per record: how good a text the judge finds it, a calibrated probability from 0 to 1.

    The embedded judge is a small calibrated model over the signals and the embedding; it knows well-formed informative
    prose from menus, lists, keyword spam and broken text, in English best. It checks no facts.
    """
    started = warehouse.begin()
    judge = EmbeddedJudge()
    signals = warehouse.query(
        "select s.* from filtered.signals as s join filtered.records as r using (record_id) order by record_id"
    )
    vectors = _vectors_of_the_default_model(warehouse) if config.use_embeddings else None
    quality = judge.score(signals, vectors)
    scores = pl.DataFrame({"record_id": signals["record_id"], "quality": quality})
    scores = scores.with_columns(judge=pl.lit(judge.name), revision=pl.lit(judge.revision))
    with warehouse.commit(
        context, config, rows_in=len(signals), main="quality_scores.scores", started=started
    ) as commit:
        commit.build("quality_scores.scores", scores)
        commit.notes = {
            "judge": judge.name,
            "revision": judge.revision,
            **{f"fitted_{name}": value for name, value in judge.figures.items()},
            "looked_at": "signals" if vectors is None else "signals and embedding",
            "mean_quality": round(float(np.mean(quality)), 4) if len(quality) else None,
        }
    return materialized(
        warehouse, "quality_scores.scores", plots={"quality_histogram": histogram(pl.Series(quality), "quality")}
    )


def _vectors_of_the_default_model(warehouse: Warehouse) -> np.ndarray | None:
    """The embeddings by record_id, if they are the default model's: the judge knows no other's."""
    model = warehouse.value(
        "select max_by(notes ->> 'model', finished_at) as model from ledger.runs where stage = 'embeddings'"
    )
    return warehouse.vectors()[1] if model == DEFAULT_MODEL else None
