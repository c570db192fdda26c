"""The `predicted_labels` stage: what class each record of the pool seems to be, by the best model there is so far."""

from collections.abc import Iterator
from enum import Enum
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets import asking, expert_models, first_labels
from curation_assets.asking import LanguageModel
from curation_assets.expert_models import FittedModel, Pool
from curation_assets.first_labels import FirstLabels
from curation_assets.labelling.task import Task, current_task
from curation_assets.pages import BLUE, GREY, figure, histogram, markdown_table, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.expert_labels import expert_labels
from curation_assets.stages.filtered import filtered
from curation_assets.stages.label_model import label_model
from curation_assets.stages.label_task import label_task
from curation_assets.stages.lexical_vectors import lexical_vectors
from curation_assets.warehouse import Warehouse

EXAMPLES_SHOWN = 4  # per class: the surest and the least sure


class Labeller(str, Enum):
    """Who predicts the labels."""

    auto = "auto"
    zero_shot = "zero_shot"
    few_shot = "few_shot"
    language_model = "language_model"


class PredictedLabelsConfig(dg.Config):
    """Who predicts the labels."""

    labeller: Labeller = Field(
        default=Labeller.auto,
        description="auto: the model fitted on the experts' labels once there is one; until then the language model if one is given, "
        "else few_shot where the task has examples, else zero_shot. The others are taken whatever there is. zero_shot: the "
        "nearest of the classes' definitions, embedded. few_shot: of the means of definition and examples. language_model: "
        "its P(yes) to a question a class.",
    )
    language_model: LanguageModel | None = Field(
        default=None,
        description="The model that is asked, and what it may cost. Its `prompt` is not used: the questions are made of the task.",
    )
    expected_shares: dict[str, float] = Field(
        default_factory=dict,
        description="zero_shot, few_shot, language_model: share of each class you expect in the pool. Default: nothing is expected, and "
        "definitions and examples then divide the pool into about equal parts.",
    )


@dg.asset(
    deps=[label_task, expert_labels, label_model, embeddings, lexical_vectors, filtered],
    group_name="labels",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="1",
)
def predicted_labels(
    context: dg.AssetExecutionContext, config: PredictedLabelsConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record of the pool: the class it seems to be, how probable each class is, and who says so.

    In the first round definitions, examples or a language model say it; then the model fitted on the experts' labels.
    """
    started = warehouse.begin()
    task, pool, before = current_task(warehouse), expert_models.pool_of(warehouse), last_predictions(warehouse)
    name, number, found = predict(warehouse, task, pool, config)
    rows = rows_of(task, pool, name, number, found)
    with warehouse.commit(
        context, config, rows_in=len(rows), main="predicted_labels.predictions", started=started
    ) as commit:
        commit.append("predicted_labels.answers", asking.no_answers())
        commit.append("predicted_labels.cache", no_cache())
        commit.build("predicted_labels.predictions", rows)
        changed = change(before, rows)
        commit.notes = {"labeller": name, "round": number, "revision": found.revision} | found.notes | changed
    return materialized(
        warehouse,
        "predicted_labels.predictions",
        plots=plots(rows, task),
        labeller=name,
        classes=dg.MetadataValue.md(markdown_table(balance(rows, task, before))),
        examples=dg.MetadataValue.md(markdown_table(examples(warehouse, rows, task))),
        **changed,
    )


def predict(
    warehouse: Warehouse, task: Task, pool: Pool, config: PredictedLabelsConfig
) -> tuple[str, int, FirstLabels]:
    """Who labels, in which round, and what they say of the pool."""
    model = expert_models.model_in_force(warehouse, task) if config.labeller == Labeller.auto else None
    if model is not None:
        found = with_missing_classes(warehouse, task, pool, by_model(warehouse, model, pool))
        return "label_model", model.round + 1, found
    name = first_labeller(task, config)
    shares = expert_models.shares_of(task, config.expected_shares)
    by_text = first_labels.by_prototypes(
        warehouse, task, pool, with_examples=name != "zero_shot" and bool(task.examples), shares=shares
    )
    if name != "language_model":
        return name, 1, by_text
    asked = first_labels.by_language_model(warehouse, task, pool, config.language_model, shares=shares, instead=by_text)
    return name, 1, asked


def first_labeller(task: Task, config: PredictedLabelsConfig) -> str:
    """Who labels before there is a model. Raises dagster's Failure if the config lacks what its labeller needs."""
    if config.labeller == Labeller.language_model and config.language_model is None:
        raise dg.Failure("predicted_labels: the labeller language_model needs language_model, with at least a model.")
    if config.labeller == Labeller.few_shot and not task.examples:
        raise dg.Failure("predicted_labels: few_shot needs examples in label_task; give some, or take zero_shot.")
    if config.labeller != Labeller.auto:
        return config.labeller.value
    if config.language_model is not None:
        return "language_model"
    return "few_shot" if task.examples else "zero_shot"


def by_model(warehouse: Warehouse, model: FittedModel, pool: Pool) -> FirstLabels:
    """What a model fitted on the experts' labels says of the pool."""
    found = expert_models.pool_probabilities(warehouse, model, pool)
    return FirstLabels(found, f"{model.model} {model.revision}", {"fitted_in_round": model.round})


TRAINED = "select distinct label from expert_labels.items where task = $task and half = 'train' and label is not null"


def with_missing_classes(warehouse: Warehouse, task: Task, pool: Pool, found: FirstLabels) -> FirstLabels:
    """A model's answers, with those of definitions and examples for classes no label was fitted on: added later, or not found yet.

    The model cannot know such a class; without this nothing would ever look for it.
    """
    seen = set(warehouse.query(TRAINED, task=task.name)["label"])
    missing = [code for code, name in enumerate(task.class_names) if name not in seen]
    if not missing:
        return found
    by_text = first_labels.by_prototypes(warehouse, task, pool, with_examples=bool(task.examples), shares=None)
    share = by_text.probabilities[:, missing]
    probabilities = found.probabilities * (1 - share.sum(axis=1, keepdims=True))
    probabilities[:, missing] = share
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    names = [task.class_names[code] for code in missing]
    return FirstLabels(probabilities, found.revision, found.notes | {"by_definition_and_examples": names})


def estimate_lines(warehouse: Warehouse, config: PredictedLabelsConfig) -> Iterator[str]:
    """What the language model's part of this config takes, before anything is asked, as lines of text."""
    task = current_task(warehouse)
    if config.labeller == Labeller.auto and expert_models.model_in_force(warehouse, task) is not None:
        yield "predicted_labels asks no language model: the model fitted on the experts' labels predicts."
    elif (name := first_labeller(task, config)) != "language_model":
        yield f"predicted_labels asks no language model: its labeller is {name}."
    else:
        yield from first_labels.estimate_lines(warehouse, task, config.language_model)


def rows_of(task: Task, pool: Pool, name: str, number: int, found: FirstLabels) -> pl.DataFrame:
    """The rows of predicted_labels.predictions."""
    probabilities = found.probabilities
    ordered = np.sort(probabilities, axis=1)
    return pl.DataFrame(
        {
            "record_id": pool.record_ids,
            "label": np.array(task.class_names)[probabilities.argmax(axis=1)],
            "probability": ordered[:, -1],
            "probabilities": pl.Series(probabilities.tolist(), dtype=pl.List(pl.Float64)),
            "margin": ordered[:, -1] - ordered[:, -2],
        }
    ).with_columns(labeller=pl.lit(name), revision=pl.lit(found.revision), round=pl.lit(number, pl.Int32))


def last_predictions(warehouse: Warehouse) -> pl.DataFrame:
    """record_id, label and round of the predictions as they stand, none before the first."""
    if not warehouse.has_table("predicted_labels.predictions"):
        return pl.DataFrame(schema={"record_id": pl.String, "label": pl.String, "round": pl.Int32})
    return warehouse.query("select record_id, label, round from predicted_labels.predictions")


def change(before: pl.DataFrame, rows: pl.DataFrame) -> dict[str, Any]:
    """How many records have another label than before: plain numbers, which Dagster plots over materializations."""
    both = rows.join(before, on="record_id", suffix="_before")
    if not len(both):
        return {}
    changed = (both["label"] != both["label_before"]).sum()
    return {"records_with_another_label": int(changed), "share_with_another_label": round(changed / len(both), 4)}


def balance(rows: pl.DataFrame, task: Task, before: pl.DataFrame) -> pl.DataFrame:
    """Per class how many records it is predicted for, now and in the predictions before, and how surely."""
    counted = rows.group_by("label").agg(
        pl.len().alias("records"), pl.col("probability").mean().alias("mean_probability")
    )
    expected = np.array(rows["probabilities"].to_list()).mean(axis=0) if len(rows) else np.zeros(len(task.classes))
    was = before.group_by("label").agg(pl.len().alias("records_before"))
    return (
        pl.DataFrame({"label": task.class_names, "sum_of_probabilities": (expected * len(rows)).round(1)})
        .join(counted, on="label", how="left", maintain_order="left")
        .join(was, on="label", how="left", maintain_order="left")
        .with_columns(pl.col("records").fill_null(0), share=(pl.col("records").fill_null(0) / max(1, len(rows))))
        .select("label", "records", "share", "sum_of_probabilities", "mean_probability", "records_before")
    )


def examples(warehouse: Warehouse, rows: pl.DataFrame, task: Task) -> pl.DataFrame:
    """Some records of each class: half of them the surest, half the least sure."""
    half = EXAMPLES_SHOWN // 2
    chosen = []
    for name in task.class_names:
        of_class = rows.filter(label=name).sort("margin", "record_id", descending=[True, False])
        chosen.append(of_class.head(half))
        chosen.append(of_class.slice(max(half, len(of_class) - half)))
    shown = pl.concat(chosen).select("record_id", "label", "probability")
    texts = warehouse.query(expert_models.TEXTS, ids=shown["record_id"].to_list())
    return shown.join(texts, on="record_id", how="left", maintain_order="left").select("label", "probability", "text")


def no_cache() -> pl.DataFrame:
    """No row of predicted_labels.cache."""
    return pl.DataFrame(schema={"text_hash": pl.String, "revision": pl.String, "probabilities": pl.List(pl.Float64)})


def plots(rows: pl.DataFrame, task: Task) -> dict[str, Figure]:
    """The classes' balance, the margins and, of two classes, the probability of the second."""
    drawn = {"class_balance": balance_chart(rows, task), "margin_histogram": histogram(rows["margin"], "margin")}
    if len(task.classes) == 2:
        second = rows["probabilities"].list.get(1)
        drawn["probability_histogram"] = histogram(second, f"probability of {task.class_names[1]}")
    return drawn


def balance_chart(rows: pl.DataFrame, task: Task) -> Figure:
    """Records predicted of each class."""
    drawing, axes = figure(height=0.4 * len(task.classes) + 1)
    counts = [int((rows["label"] == name).sum()) for name in task.class_names]
    bars = axes.barh([name.replace("$", r"\$") for name in task.class_names], counts, color=BLUE)
    axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3, color=GREY)
    axes.invert_yaxis()
    axes.set_xlabel("records")
    return drawing
