"""The `label_model` stage: a model fitted on half of the experts' labels and measured on the other half, round by round."""

from datetime import datetime, timezone
from enum import Enum
from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets import expert_models
from curation_assets.algorithms.agreement import Agreement, cohen_kappa, mean_pairwise_kappa
from curation_assets.algorithms.label_rounds import Round, Stop, pool_weights, should_stop, weighted_kappa
from curation_assets.expert_models import FittedModel, Pool
from curation_assets.labelling.task import Task, current_task
from curation_assets.models.embedders import DEFAULT_MODEL
from curation_assets.pages import BLUE, GREY, figure, markdown_table, materialized
from curation_assets.progress import logger
from curation_assets.stages import OWNERS
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.expert_labels import expert_labels
from curation_assets.stages.filtered import filtered
from curation_assets.stages.label_task import label_task
from curation_assets.stages.lexical_vectors import lexical_vectors
from curation_assets.warehouse import Warehouse

LEAST_WEIGHTED = 20
"""Random items among those that evaluate below which no kappa for the whole pool is told. Ours."""

ITEMS = (
    "select record_id, label, half, coalesce(round, 0) as round, sampling_probability "
    "from expert_labels.items where task = $task and label is not null order by record_id"
)

VOTES = (
    "select record_id, unnest(votes, recursive := true) from expert_labels.items "
    "where task = $task and half = 'evaluate' order by record_id"
)
"""Also of items without a settled label: where the experts are at odds is what their kappa is about."""

ANSWERED = "select count(*) as items from expert_labels.items where task = $task"

ROUNDS = (
    "select * from label_model.rounds where task = $task "
    "qualify row_number() over (partition by round order by finished_at desc) = 1 order by round"
)

CURVE = "select round, model_kappa, model_kappa_low, model_kappa_high from label_model.curve where task = $task"


class ModelKind(str, Enum):
    """What is fitted on the labels."""

    embedded = "embedded"
    fine_tune = "fine_tune"
    lora = "lora"


class LabelModelConfig(dg.Config):
    """What is fitted on the experts' labels."""

    model: ModelKind = Field(
        default=ModelKind.embedded,
        description="embedded: calibrated logistic regression on embeddings and lexical vectors, in a second. fine_tune: a "
        "sentence-transformers model with a linear head, all its weights trained. "
        "lora: low-rank adapters on a transformer, needs the extra peft.",
    )
    backbone: str = Field(
        default=DEFAULT_MODEL,
        description="The model to fine-tune, by id or path: for fine_tune a sentence-transformers model, for lora any "
        "encoder or causal model.",
    )
    epochs: int | None = Field(
        default=None,
        ge=1,
        description="fine_tune, lora: times every label is gone through. Default: 4 for fine_tune, 8 for lora.",
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="fine_tune, lora: default 2e-5 for fine_tune, 5e-4 for lora."
    )
    batch_texts: int = Field(default=16, ge=1, description="fine_tune, lora: texts in a step.")
    expected_shares: dict[str, float] = Field(
        default_factory=dict,
        description="embedded: share of each class in the pool, where it is known. Experts label mostly hard items, of other shares; "
        "the model's probabilities are then shifted to those. Default: as the labels have it.",
    )
    seed: int = Field(default=0, description="Seed of the fit.")


class Fitted(NamedTuple):
    """What a run has to write."""

    models: pl.DataFrame
    rounds: pl.DataFrame
    curve: pl.DataFrame
    sentence: str
    """What was done, or why nothing was, for the reader."""


@dg.asset(
    deps=[label_task, expert_labels, embeddings, lexical_vectors, filtered],
    group_name="labels",
    kinds={"duckdb", "python", "scikitlearn"},
    owners=OWNERS,
    code_version="1",
)
def label_model(
    context: dg.AssetExecutionContext, config: LabelModelConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per model that was fitted on expert labels: its kappa with the experts beside theirs with one another.

    Half of the labelled items (the task's evaluation_share) only evaluate, for good; the others train. Nothing is fitted
    where no label is new. The stopping rule is that of algorithms/label_rounds.py: parity, plateau or budget.
    """
    started = warehouse.begin()
    task = current_task(warehouse)
    fitted = fit_round(warehouse, task, config)
    logger.info("label_model: %s", fitted.sentence)
    with warehouse.commit(context, config, main="label_model.rounds", started=started) as commit:
        commit.append("label_model.models", fitted.models)
        commit.append("label_model.rounds", fitted.rounds)
        commit.build("label_model.curve", fitted.curve)
        commit.notes = {"task": task.name, "said": fitted.sentence}
    return materialized(
        warehouse, "label_model.rounds", plots=plots(fitted.curve), **told(warehouse, task, fitted.sentence)
    )


def fit_round(warehouse: Warehouse, task: Task, config: LabelModelConfig) -> Fitted:
    """Fit and measure a model where there are labels it can be fitted on and something about them is new."""
    items, pool = labelled_items(warehouse, task), expert_models.pool_of(warehouse)
    rows = pool.rows(items["record_id"].to_list())
    items, rows = items.filter(pl.Series(rows >= 0)), rows[rows >= 0]
    train = items["half"].to_numpy() == "train"
    codes = items["label"].replace_strict(task.class_names, range(len(task.classes)), return_dtype=pl.Int64).to_numpy()
    known = expert_models.fitted_models(warehouse, task)
    if len(np.unique(codes[train])) < 2:
        return Fitted(
            no_model(), no_round(), curve_of(warehouse, task, known, items, codes, pool), why_not(items, task)
        )
    now_embedded_by = expert_models.embedded_by(warehouse)
    fitted_on = fingerprint(items, config, now_embedded_by)
    if known and known[-1].fitted_on == fitted_on:
        curve = curve_of(warehouse, task, known, items, codes, pool)
        return Fitted(no_model(), no_round(), curve, f"No label is new since round {known[-1].round} was fitted.")
    number = int(items["round"].max())
    parameters, revision = fit_model(warehouse, task, config, pool, rows[train], codes[train], number)
    model = FittedModel(config.model.value, number, revision, now_embedded_by, parameters, fitted_on)
    curve = curve_of(warehouse, task, [*known, model], items, codes, pool)
    row = measured(warehouse, task, model, items, codes, pool, curve)
    return Fitted(expert_models.row_of(task, model), row, curve, row["stop_sentence"].item())


def labelled_items(warehouse: Warehouse, task: Task) -> pl.DataFrame:
    """The records with a settled label: record_id, label, half, round and sampling_probability, those of today's classes."""
    items = warehouse.query(ITEMS, task=task.name)
    return items.filter(pl.col("label").is_in(task.class_names))


def fit_model(
    warehouse: Warehouse,
    task: Task,
    config: LabelModelConfig,
    pool: Pool,
    rows: np.ndarray,
    labels: np.ndarray,
    number: int,
) -> tuple[dict[str, Any], str]:
    """Fit the model of the config on rows of the pool: parameters and revision."""
    shares = expert_models.shares_of(task, config.expected_shares)
    classes = len(task.classes)
    if config.model == ModelKind.embedded:
        return expert_models.fit_embedded(pool, rows, labels, classes=classes, shares=shares, seed=config.seed)
    if shares is not None:
        raise dg.Failure("label_model: expected_shares goes with the embedded model only; leave it out.")
    ids = [pool.record_ids[row] for row in rows]
    texts = dict(warehouse.query(expert_models.TEXTS, ids=ids).iter_rows())
    settings = config.model_dump(include={"epochs", "learning_rate"}, exclude_none=True)
    settings |= {
        "classes": classes,
        "backbone": config.backbone,
        "batch_texts": config.batch_texts,
        "seed": config.seed,
    }
    return expert_models.fit_tuned(
        warehouse, config.model.value, [texts[one] for one in ids], labels, (task.name, number), **settings
    )


def measured(
    warehouse: Warehouse,
    task: Task,
    model: FittedModel,
    items: pl.DataFrame,
    codes: np.ndarray,
    pool: Pool,
    curve: pl.DataFrame,
) -> pl.DataFrame:
    """The row of label_model.rounds of a model: its kappas on the evaluation items, and whether to go on."""
    evaluate = items["half"].to_numpy() == "evaluate"
    predicted = predictions(warehouse, model, items.filter(pl.Series(evaluate)), pool)
    of_model = cohen_kappa(predicted, codes[evaluate], classes=range(len(task.classes)))
    experts = expert_kappa(warehouse, task)
    weighted = kappa_of_pool(items, evaluate, predicted, codes)
    beside = kappa_with_experts(warehouse, task, items.filter(pl.Series(evaluate))["record_id"], predicted)
    stop = stop_after(task, curve, beside, experts, warehouse.value(ANSWERED, task=task.name))
    row = {
        "task": task.name,
        "round": model.round,
        "model": model.model,
        "revision": model.revision,
        "labels_train": int((~evaluate).sum()),
        "labels_evaluate": int(evaluate.sum()),
    }
    for name, one in (("model_kappa", of_model), ("model_kappa_weighted", weighted), ("expert_kappa", experts)):
        row |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    row |= {"stop_reason": stop.reason, "stop_sentence": stop.sentence, "items_used": len(items)}
    return pl.DataFrame([row | {"finished_at": datetime.now(timezone.utc)}], schema=ROUND_SCHEMA)


def predictions(warehouse: Warehouse, model: FittedModel, items: pl.DataFrame, pool: Pool) -> np.ndarray:
    """The class a model gives each item, int64[items]."""
    if not len(items):
        return np.empty(0, dtype=np.int64)
    rows = pool.rows(items["record_id"].to_list())
    return expert_models.probabilities_of(warehouse, model, pool, rows).argmax(axis=1)


def expert_kappa(warehouse: Warehouse, task: Task) -> Agreement:
    """The mean pairwise kappa of the experts over the items that evaluate."""
    records, rows = votes_table(warehouse, task)
    return mean_pairwise_kappa(rows) if records else Agreement(None, None, None, 0, 1.0)


def kappa_with_experts(warehouse: Warehouse, task: Task, record_ids: pl.Series, predicted: np.ndarray) -> Agreement:
    """The model's mean kappa with each single expert, over the items that evaluate: what is held against theirs."""
    records, rows = votes_table(warehouse, task)
    if not records:
        return Agreement(None, None, None, 0, 1.0)
    given = dict(zip(record_ids.to_list(), (task.class_names[code] for code in predicted), strict=True))
    return mean_pairwise_kappa([[given.get(record) for record in records], *rows], of=0)


def votes_table(warehouse: Warehouse, task: Task) -> tuple[list[str], list[list[str | None]]]:
    """The records that evaluate, and for each expert the class they gave each, None where they gave none."""
    votes = warehouse.query(VOTES, task=task.name)
    if not len(votes):
        return [], []
    table = votes.pivot("record_id", index="rater", values="label", aggregate_function="first", sort_columns=True)
    table = table.sort("rater").drop("rater")
    return table.columns, [list(row) for row in table.iter_rows()]


def kappa_of_pool(items: pl.DataFrame, evaluate: np.ndarray, predicted: np.ndarray, codes: np.ndarray) -> Agreement:
    """The model's kappa for the whole pool, by the weights of the random share; undefined with too few random items."""
    queued = items["round"].to_numpy() > 0
    chance = items["sampling_probability"].fill_null(np.nan).to_numpy()
    if (np.isfinite(chance) & evaluate).sum() < LEAST_WEIGHTED:
        return Agreement(None, None, None, 0, 1.0)
    weights = np.zeros(len(items))
    weights[queued] = pool_weights(items["round"].to_numpy()[queued], chance[queued])
    return weighted_kappa(predicted, codes[evaluate], weights[evaluate])


def stop_after(task: Task, curve: pl.DataFrame, of_model: Agreement, experts: Agreement, used: int) -> Stop:
    """Whether to go on after this round: every round's model measured on the evaluation items of today."""
    history = [
        Round(labels, Agreement(value, low, high, 0, 0.0), experts)
        for labels, value, low, high in curve.select(
            "labels", "model_kappa", "model_kappa_low", "model_kappa_high"
        ).iter_rows()
    ]
    history[-1] = Round(used, of_model, experts)
    # The task's plateau_rounds are rounds without a rise; a line through so many has one point more.
    return should_stop(history, task.settings["budget_items"], rounds=task.settings["plateau_rounds"] + 1)


def curve_of(
    warehouse: Warehouse, task: Task, models: list[FittedModel], items: pl.DataFrame, codes: np.ndarray, pool: Pool
) -> pl.DataFrame:
    """The rows of label_model.curve: of each round the newest model, on the evaluation items of today.

    A model of other vectors than today's cannot be asked again; its row has the kappa of the last time it could, or none. What
    label_model.rounds has is another: with the settled labels, which a worse model reaches.
    """
    then, asked = (
        {row["round"]: row for row in warehouse.query(question, task=task.name).iter_rows(named=True)}
        if warehouse.has_table(table)
        else {}
        for table, question in (("label_model.rounds", ROUNDS), ("label_model.curve", CURVE))
    )
    evaluate = items["half"].to_numpy() == "evaluate"
    experts = expert_kappa(warehouse, task)
    now = expert_models.embedded_by(warehouse)
    rows = []
    for model in {one.round: one for one in models}.values():
        past = then.get(model.round, {})
        if expert_models.fits(model, now):
            predicted = predictions(warehouse, model, items.filter(pl.Series(evaluate)), pool)
            found = kappa_with_experts(warehouse, task, items.filter(pl.Series(evaluate))["record_id"], predicted)
        else:
            last = asked.get(model.round, {})
            found = Agreement(
                last.get("model_kappa"), last.get("model_kappa_low"), last.get("model_kappa_high"), 0, 0.0
            )
        labels = past.get("items_used", len(items)) if model is not models[-1] else len(items)
        rows.append((task.name, model.round, labels, found.value, found.low, found.high, experts.value))
    return pl.DataFrame(rows, schema=CURVE_SCHEMA, orient="row")


def fingerprint(items: pl.DataFrame, config: LabelModelConfig, now_embedded_by: str) -> str:
    """A hash of all that a fit depends on but the pool: labels, halves, settings and, of an embedded model, the vectors."""
    labels = items.select("record_id", "label", "half").sort("record_id").rows()
    by = now_embedded_by if config.model == ModelKind.embedded else ""
    return expert_models.hashed([labels, config.model_dump(mode="json"), by])


def why_not(items: pl.DataFrame, task: Task) -> str:
    """Why nothing was fitted, for the reader."""
    if not len(items):
        return (
            "No item has a settled expert label yet: label what is queued (`curate label`), then run label_round again."
        )
    train = items.filter(half="train")["label"]
    given = ", ".join(f"{name}: {(train == name).sum():,}" for name in task.class_names)
    return (
        f"A model needs labels of two classes in the half that trains; there are {given}. Label more items: the queue looks for the "
        "classes that are missing."
    )


def no_model() -> pl.DataFrame:
    """No row of label_model.models."""
    return expert_models.no_models()


NUMBERS = [
    f"{name}{end}" for name in ("model_kappa", "model_kappa_weighted", "expert_kappa") for end in ("", "_low", "_high")
]
ROUND_SCHEMA = (
    {"task": pl.String, "round": pl.Int32, "model": pl.String, "revision": pl.String}
    | {"labels_train": pl.Int32, "labels_evaluate": pl.Int32}
    | dict.fromkeys(NUMBERS, pl.Float64)
    | {"stop_reason": pl.String, "stop_sentence": pl.String, "items_used": pl.Int32}
    | {"finished_at": pl.Datetime("us", "UTC")}
)
CURVE_SCHEMA = {"task": pl.String, "round": pl.Int32, "labels": pl.Int32} | dict.fromkeys(
    ("model_kappa", "model_kappa_low", "model_kappa_high", "expert_kappa"), pl.Float64
)


def no_round() -> pl.DataFrame:
    """No row of label_model.rounds."""
    return pl.DataFrame(schema=ROUND_SCHEMA)


def told(warehouse: Warehouse, task: Task, sentence: str) -> dict[str, Any]:
    """What the page says; the plain numbers are what Dagster plots over materializations."""
    page: dict[str, Any] = {"said": sentence}
    rounds = warehouse.query(ROUNDS, task=task.name)
    if not len(rounds):
        return page
    last = rounds.row(-1, named=True)
    for name in ("model_kappa", "model_kappa_weighted", "expert_kappa"):
        if last[name] is not None:
            page[name] = last[name]
    page |= {"items_used": last["items_used"], "stop": last["stop_reason"] or "go on"}
    shown = rounds.select(
        "round",
        "model",
        labels="items_used",
        trained_on="labels_train",
        evaluated_on="labels_evaluate",
        model_expert=pl.format("{} {}", pl.col("model_kappa").round(3), _interval("model_kappa")),
        whole_pool=pl.format("{} {}", pl.col("model_kappa_weighted").round(3), _interval("model_kappa_weighted")),
        expert_expert=pl.format("{} {}", pl.col("expert_kappa").round(3), _interval("expert_kappa")),
        stop="stop_reason",
    )
    return page | {"rounds": dg.MetadataValue.md(markdown_table(shown))}


def _interval(name: str) -> pl.Expr:
    return pl.format("({} to {})", pl.col(f"{name}_low").round(2), pl.col(f"{name}_high").round(2))


def plots(curve: pl.DataFrame) -> dict[str, Figure]:
    """The curve of kappa over labels, once there is a round."""
    known = curve.drop_nulls("model_kappa")
    return {"kappa_over_labels": kappa_chart(known)} if len(known) else {}


def kappa_chart(curve: pl.DataFrame) -> Figure:
    """Model-expert kappa of every round on today's evaluation items, with its interval, beside expert-expert kappa."""
    drawing, axes = figure()
    shown = curve.sort("labels")
    low = (shown["model_kappa"] - shown["model_kappa_low"].fill_null(shown["model_kappa"])).clip(lower_bound=0)
    high = (shown["model_kappa_high"].fill_null(shown["model_kappa"]) - shown["model_kappa"]).clip(lower_bound=0)
    axes.errorbar(
        shown["labels"],
        shown["model_kappa"],
        yerr=[low, high],
        fmt="o-",
        color=BLUE,
        capsize=3,
        label="model and experts",
    )
    experts = shown["expert_kappa"].drop_nulls()
    if len(experts):
        axes.axhline(experts[-1], color=GREY, linewidth=2, label="experts with one another")
    axes.set_xlabel("items with a settled label")
    axes.set_ylabel("Cohen's kappa")
    axes.legend(frameon=False, loc="lower right")
    return drawing
