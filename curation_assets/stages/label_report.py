"""The `label_report` stage: what few expert labels came to, in the tables one would publish."""

from typing import Any

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets.labelling.report import report_tables
from curation_assets.labelling.task import Task, current_task
from curation_assets.pages import BLUE, GREY, figure, markdown_table, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.agreement import agreement
from curation_assets.stages.expert_labels import expert_labels
from curation_assets.stages.filtered import filtered
from curation_assets.stages.label_set import label_set
from curation_assets.stages.label_task import label_task
from curation_assets.warehouse import Warehouse

LEAST_DRAWN = 20
"""Labelled records drawn at random below which no share of the pool is told: a handful of heavy ones would carry it. Ours."""

FIGURES = {
    "section": pl.String,
    "figure": pl.String,
    "class": pl.String,
    "round": pl.Int32,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "sentence": pl.String,
}


class LabelReportConfig(dg.Config):
    """What the report adds to the figures there are."""

    cost_per_answer: float | None = Field(
        default=None,
        ge=0,
        description="What an expert's answer costs, in your currency: the report then says what the set cost.",
    )
    replicates: int = Field(default=1_000, ge=100, description="Resamples of the interval of the pool's class shares.")
    seed: int = Field(default=0, description="Seed of the resamples.")


@dg.asset(
    deps=[label_task, expert_labels, filtered, agreement, label_set, "label_model"],
    group_name="labels",
    kinds={"duckdb"},
    owners=OWNERS,
    code_version="1",
)
def label_report(
    context: dg.AssetExecutionContext, config: LabelReportConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per figure of the report: set sizes and class balance, labels against the pool, and kappas by round.

    The figures are those of the published procedure's tables: crowd against expert, expert against expert, model against
    expert, each with its interval and number. `curate label report` prints them.
    """
    started = warehouse.begin()
    task = current_task(warehouse)
    found = pl.DataFrame(
        [
            *set_figures(warehouse, task, config),
            *effort_figures(warehouse, task, config),
            *kappa_figures(warehouse, task),
        ],
        schema=FIGURES,
    )
    with warehouse.commit(context, config, main="label_report.figures", started=started) as commit:
        commit.build("label_report.figures", found)
        commit.notes = dict(
            found.filter(pl.col("section").is_in(["stop", "effort"])).select("figure", "sentence").iter_rows()
        )
    return materialized(
        warehouse,
        "label_report.figures",
        plots={"kappa_by_round": rounds_chart(found)},
        report=dg.MetadataValue.md(
            "\n\n".join(
                f"### {title}\n\n{markdown_table(rows)}" + "".join(f"\n\n{sentence}" for sentence in sentences)
                for title, rows, sentences in report_tables(found)
            )
        ),
    )


def _row(section: str, name: str, value: float | None, sentence: str, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("class", "round", "low", "high", "n"))
    return empty | {"section": section, "figure": name, "value": value, "sentence": sentence} | more


def set_figures(warehouse: Warehouse, task: Task, config: LabelReportConfig) -> list[dict[str, Any]]:
    """How large the pool and the set with its halves are, and their shares of each class; the pool's are estimated."""
    pool = warehouse.rows("filtered.records")
    records = warehouse.query("select label, half, weight, sampling_probability from label_set.records")
    rows = [_row("sets", "pool", pool, f"The pool has {pool:,} records.", n=pool)]
    weighted = records.filter(pl.col("weight") > 0)
    weight = weighted["weight"].to_numpy()
    drawn_at_random = records["sampling_probability"].count()
    drawn = (
        np.random.default_rng(config.seed).multinomial(
            len(weight), np.full(len(weight), 1 / max(len(weight), 1)), config.replicates
        )
        if len(weight)
        else np.empty((0, 0))
    )
    for name in task.class_names:
        is_class = (weighted["label"] == name).to_numpy().astype(float)
        if drawn_at_random < LEAST_DRAWN:
            rows.append(
                _row(
                    "sets",
                    "pool",
                    None,
                    f"How much of the pool is {name} is unknown: of the labelled records {drawn_at_random} were drawn at random, "
                    f"{LEAST_DRAWN} are wanted.",
                    **{"class": name},
                    n=0,
                )
            )
            continue
        share = float(weight @ is_class / weight.sum())
        low, high = np.quantile(
            (drawn * weight) @ is_class / np.maximum((drawn * weight).sum(axis=1), 1e-12), [0.025, 0.975]
        )
        sentence = (
            f"An estimated {share:.1%} of the pool is {name} [{low:.1%}, {high:.1%}], by the labelled records weighted."
        )
        rows.append(
            _row("sets", "pool", share, sentence, low=float(low), high=float(high), n=len(weight), **{"class": name})
        )
    for name, part in {
        "labelled": records,
        "train": records.filter(pl.col("half") == "train"),
        "evaluate": records.filter(pl.col("half") == "evaluate"),
    }.items():
        where = {"labelled": "have a settled label", "train": "train", "evaluate": "evaluate"}[name]
        rows.append(_row("sets", name, len(part), f"{len(part):,} records {where}.", n=len(part)))
        for of_class in task.class_names:
            count = int((part["label"] == of_class).sum())
            share = count / len(part) if len(part) else None
            told = f"{count:,} of the {len(part):,} records that {where} are {of_class}" + (
                f", {share:.0%}." if part.height else "."
            )
            rows.append(_row("sets", name, share, told, n=count, **{"class": of_class}))
    return rows


def effort_figures(warehouse: Warehouse, task: Task, config: LabelReportConfig) -> list[dict[str, Any]]:
    """What the set took, and how many labels it stands instead of."""
    pool, settled = warehouse.rows("filtered.records"), warehouse.rows("label_set.records")
    answers = warehouse.query(
        "select count(*) as answers, count(distinct rater) as raters, sum(seconds) / 3600 as hours, count(seconds) as timed "
        "from expert_labels.current where task = $task and role in ('expert', 'adjudicator')",
        task=task.name,
    ).row(0, named=True)
    crowd = warehouse.value(
        "select count(*) as n from expert_labels.current where task = $task and role = 'crowd' and answer = 'label'",
        task=task.name,
    )
    rows = []
    if settled:
        told = f"{settled:,} labelled records stand for a pool of {pool:,}: {pool / settled:,.0f} times fewer."
        rows.append(_row("effort", "pool_per_labelled_record", pool / settled, told, n=settled))
    else:
        rows.append(
            _row(
                "effort",
                "pool_per_labelled_record",
                None,
                f"None of the {pool:,} records of the pool has a settled label yet.",
                n=0,
            )
        )
    if crowd and settled:
        told = f"{crowd:,} crowd labels are there, {crowd / settled:,.0f} for each record the experts labelled."
        rows.append(_row("effort", "crowd_labels_per_labelled_record", crowd / settled, told, n=crowd))
    told = f"{answers['raters']} expert{'' if answers['raters'] == 1 else 's'} gave {answers['answers']:,} answers."
    rows.append(_row("effort", "expert_answers", answers["answers"], told, n=answers["answers"]))
    if answers["timed"]:
        told = f"The {answers['timed']:,} timed answers took {answers['hours']:.1f} hours."
        rows.append(_row("effort", "expert_hours", answers["hours"], told, n=answers["timed"]))
    if config.cost_per_answer is not None:
        cost = config.cost_per_answer * answers["answers"]
        rows.append(
            _row(
                "effort",
                "cost",
                cost,
                f"At {config.cost_per_answer:g} an answer that is {cost:,.2f}.",
                n=answers["answers"],
            )
        )
    return rows


def kappa_figures(warehouse: Warehouse, task: Task) -> list[dict[str, Any]]:
    """Who agrees with whom: crowd, language model and, round by round, the label model with the experts, and these with each other.

    Then whether to stop.
    """
    rows = []
    for role, items, value, low, high in warehouse.query(
        "select role, items, kappa, low, high from label_set.raters where rater is null order by role"
    ).iter_rows():
        who = {"crowd": "Crowd labels", "llm": "The language model's labels"}[role]
        told = f"{who} agree with the experts with kappa {shown(value, low, high)} over {items:,} records."
        rows.append(_row("kappa", f"{role}_expert", value, told, low=low, high=high, n=items))
    gate = warehouse.query("select kappa, low, high, items, sentence from agreement.gate").row(0, named=True)
    rows.append(
        _row(
            "kappa",
            "expert_expert",
            gate["kappa"],
            gate["sentence"],
            low=gate["low"],
            high=gate["high"],
            n=gate["items"],
        )
    )
    if not warehouse.has_table("label_model.rounds"):
        return rows
    rounds = warehouse.query(
        "select * from label_model.rounds where task = $task qualify row_number() over (partition by round order by finished_at desc) = 1 "
        "order by round",
        task=task.name,
    )
    for one in rounds.iter_rows(named=True):
        number, n = one["round"], one["labels_evaluate"]
        for figure_name, kind, who in (
            ("model_expert", "model_kappa", "the model agrees with the experts on the items that evaluate"),
            (
                "model_expert_of_pool",
                "model_kappa_weighted",
                "the model agrees with the experts over the whole pool, as estimated,",
            ),
            ("expert_expert", "expert_kappa", "the experts agree with each other"),
        ):
            value, low, high = (one[f"{kind}{end}"] for end in ("", "_low", "_high"))
            told = f"After round {number} {who} with kappa {shown(value, low, high)}."
            rows.append(_row("kappa", figure_name, value, told, round=number, low=low, high=high, n=n))
        told = f"After round {number} the model was fitted on {one['labels_train']:,} records."
        rows.append(_row("sets", "train_by_round", one["labels_train"], told, round=number, n=one["labels_train"]))
    if len(rounds):
        last = rounds.row(-1, named=True)
        rows.append(_row("stop", last["stop_reason"] or "go_on", None, last["stop_sentence"], round=last["round"]))
    return rows


def shown(value: float | None, low: float | None, high: float | None) -> str:
    """A figure with its interval, or that it is undefined."""
    if value is None:
        return "undefined"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def rounds_chart(found: pl.DataFrame) -> Figure:
    """The kappa of the model with the experts over rounds, with its interval, beside that of the experts with each other."""
    drawing, axes = figure()
    by_round = found.filter(
        (pl.col("section") == "kappa") & pl.col("round").is_not_null() & pl.col("value").is_not_null()
    )
    for name, label, color in (
        ("model_expert", "model and experts", BLUE),
        ("expert_expert", "experts with each other", GREY),
    ):
        part = by_round.filter(pl.col("figure") == name).sort("round")
        axes.plot(part["round"], part["value"], "o-", color=color, label=label)
        banded = part.drop_nulls(["low", "high"])
        axes.fill_between(banded["round"], banded["low"], banded["high"], color=color, alpha=0.2, linewidth=0)
    axes.set_xlabel("round")
    axes.set_ylabel("kappa")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    return drawing
