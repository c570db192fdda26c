"""The page of `label_queue`: what a round is made of."""

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure

from curation_assets.labelling.task import Task
from curation_assets.pages import BLUE, GREY, figure, markdown_table
from curation_assets.warehouse import Warehouse

PAIRS_SHOWN, ITEMS_SHOWN = 8, 8

TELLING_WORDS = "select record_id, text from filtered.records where record_id in (select unnest($ids::varchar[]))"


def previews(warehouse: Warehouse, items: pl.DataFrame) -> dict[str, dg.MetadataValue]:
    """What this round is made of: reasons, pairs and other items with their texts."""
    if not len(items):
        return {}
    texts = warehouse.query(TELLING_WORDS, ids=items["record_id"].to_list())
    read = items.join(texts, on="record_id", how="left", maintain_order="left")
    reasons = items.group_by("reason").agg(
        pl.len().alias("items"),
        pl.col("predicted_probability").mean().alias("mean_probability"),
        pl.col("distance").mean().alias("mean_distance_to_partner"),
    )
    pairs = (
        read.filter(pl.col("partner_record_id").is_not_null())
        .join(
            read.select(partner_record_id="record_id", partner="text", partner_label="predicted_label"),
            on="partner_record_id",
        )
        .filter(pl.col("record_id") < pl.col("partner_record_id"))
        .sort("distance")
        .head(PAIRS_SHOWN)
        .select("distance", "predicted_label", "text", "partner_label", "partner")
    )
    others = read.filter(pl.col("partner_record_id").is_null()).head(ITEMS_SHOWN)
    told = {"reasons": reasons.sort("items", descending=True)}
    if len(pairs):
        told["nearest_pairs"] = pairs
    if len(others):
        told["other_items"] = others.select("reason", "predicted_label", "predicted_probability", "text")
    return {name: dg.MetadataValue.md(markdown_table(table)) for name, table in told.items()}


def plots(items: pl.DataFrame, task: Task) -> dict[str, Figure]:
    """The predicted classes of this round's items, by reason."""
    return {"predicted_classes": balance_chart(items, task)} if len(items) else {}


def balance_chart(items: pl.DataFrame, task: Task) -> Figure:
    """Items by predicted class, one bar a reason."""
    drawing, axes = figure(height=0.5 * len(task.classes) + 1.2)
    reasons = items["reason"].value_counts(sort=True)["reason"].to_list()
    left = np.zeros(len(task.classes))
    for place, reason in enumerate(reasons):
        counts = np.array([len(items.filter(reason=reason, predicted_label=name)) for name in task.class_names])
        shade = 1 - 0.6 * place / max(1, len(reasons) - 1)
        axes.barh(
            [name.replace("$", r"\$") for name in task.class_names],
            counts,
            left=left,
            color=BLUE,
            alpha=shade,
            label=reason,
        )
        left += counts
    axes.invert_yaxis()
    axes.set_xlabel("items, by the class predicted when they were queued")
    axes.legend(frameon=False, fontsize=8, labelcolor=GREY)
    return drawing
