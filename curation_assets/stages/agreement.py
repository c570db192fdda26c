"""The `agreement` stage: how far the experts agree, who drifts, what is disputed, and whether it is enough."""

from itertools import combinations
from typing import NamedTuple

import dagster as dg
import polars as pl
from matplotlib.figure import Figure

from curation_assets.algorithms.agreement import (
    mean_pairwise_kappa,
)
from curation_assets.algorithms.agreement_gate import gate
from curation_assets.labelling.task import Task, current_task
from curation_assets.pages import BLUE, GREY, figure, markdown_table, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.agreement_config import AgreementConfig
from curation_assets.stages.agreement_tables import pair_rows, rater_rows, ratings_matrix, session_rows, summary_rows
from curation_assets.stages.expert_labels import expert_labels
from curation_assets.stages.filtered import filtered
from curation_assets.stages.label_task import label_task
from curation_assets.warehouse import Warehouse

SHOWN_DISPUTED = 20

SHOWN_CONFUSIONS = 3


class Measured(NamedTuple):
    """The tables of the stage but for agreement.disputed, which SQL makes."""

    summary: pl.DataFrame
    pairs: pl.DataFrame
    raters: pl.DataFrame
    sessions: pl.DataFrame
    gate: pl.DataFrame


@dg.asset(
    deps=[label_task, expert_labels, filtered],
    group_name="labels",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="1",
)
def agreement(
    context: dg.AssetExecutionContext, config: AgreementConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per measure of the experts' agreement, with its interval, and whether it is enough in a sentence.

    Beside it: every pair of experts, every expert by class, sessions in which somebody drifts or tires, and the records that
    an adjudicator should settle. Labels of crowds and models are held against the experts in label_set.
    """
    started = warehouse.begin()
    task = current_task(warehouse)
    answers = warehouse.query(ANSWERS, task=task.name, classes=task.class_names)
    measured = measure(answers, task, config)
    verdict, sentence = measured.gate.select("verdict", "sentence").row(0)
    with warehouse.commit(context, config, main="agreement.summary", started=started) as commit:
        commit.build("agreement.summary", measured.summary)
        commit.build("agreement.pairs", measured.pairs)
        commit.build("agreement.raters", measured.raters)
        commit.build("agreement.sessions", measured.sessions)
        commit.build("agreement.gate", measured.gate)
        commit.build("agreement.disputed", task=task.name)
        alarms = measured.sessions.filter("is_alarm")["verdict"].to_list()
        commit.notes = {
            "gate": verdict,
            "what_to_do": sentence,
            "who_drifts_or_tires": alarms or "nobody, as far as one can tell",
        }
    disputed = warehouse.query(
        "select labels, text, votes::varchar as votes, why from agreement.disputed order by round desc, record_id limit $rows",
        rows=SHOWN_DISPUTED,
    )
    return materialized(
        warehouse,
        "agreement.summary",
        plots={"pairs": pairs_chart(measured.pairs, task.settings["expert_gate"])},
        gate=dg.MetadataValue.md(f"**{verdict}**: {sentence}"),
        by_pair=dg.MetadataValue.md(markdown_table(measured.pairs.head(SHOWN_DISPUTED))),
        by_rater=dg.MetadataValue.md(markdown_table(measured.raters.head(3 * SHOWN_DISPUTED))),
        sessions=dg.MetadataValue.md(
            markdown_table(measured.sessions.select("rater", "session", "answers", "verdict"))
        ),
        to_adjudicate=dg.MetadataValue.md(markdown_table(disputed)),
    )


ANSWERS = (
    "select c.rater, c.record_id, c.answer, c.label, c.guideline_version, c.seconds, c.labelled_at, "
    "c.origin in ('page', 'label_studio') as is_timed, coalesce(i.reason, '') as reason "
    "from expert_labels.current as c left join expert_labels.items as i on i.record_id = c.record_id "
    "where c.task = $task and c.role = 'expert' and (c.answer <> 'label' or list_contains($classes::varchar[], c.label)) "
    "order by c.rater, c.labelled_at, c.record_id"
)
"""The experts' answers in force, in each rater's order."""


def measure(answers: pl.DataFrame, task: Task, config: AgreementConfig) -> Measured:
    """All that is measured of the experts' answers in force: rows as ANSWERS gives them."""
    labels = answers.filter(pl.col("answer") == "label")
    version = task.guideline_version
    in_force = labels.filter(pl.col("guideline_version").is_null() | (pl.col("guideline_version") == version))
    has_earlier = len(in_force) < len(labels)
    options = {"replicates": config.replicates, "seed": config.seed}
    summary = pl.concat(
        [
            summary_rows(labels, task.class_names, None, options),
            *([summary_rows(in_force, task.class_names, version, options)] if has_earlier else []),
        ]
    )
    ratings = ratings_matrix(in_force)
    kappa = mean_pairwise_kappa(ratings, **options)
    verdict = gate(
        kappa,
        task.settings["expert_gate"],
        least_items=config.least_items,
        differ_on=confusions_in_words(in_force),
    )
    sentence = verdict.sentence
    if has_earlier:
        sentence += f" Only labels made under the guideline in force ({version}) count here; there are earlier ones."
    gate_row = {
        "verdict": verdict.verdict,
        "kappa": kappa.value,
        "low": kappa.low,
        "high": kappa.high,
        "gate": task.settings["expert_gate"],
        "items": kappa.n,
        "guideline_version": version,
        "sentence": sentence,
    }
    return Measured(
        summary,
        pair_rows(labels, task.class_names, options),
        rater_rows(answers, labels),
        session_rows(answers, config),
        pl.DataFrame([gate_row]),
    )


def confusions_in_words(labels: pl.DataFrame) -> str:
    """The pairs of classes that experts gave the same records most often, most first: 'a / b: 12 items'."""
    classes = labels.group_by("record_id").agg(pl.col("label").unique().sort()).filter(pl.col("label").list.len() > 1)
    pairs: dict[tuple[str, str], int] = {}
    for names in classes["label"].to_list():
        for pair in combinations(names, 2):
            pairs[pair] = pairs.get(pair, 0) + 1
    most = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN_CONFUSIONS]
    return ", ".join(f"{one} / {other}: {items} item{'s' if items > 1 else ''}" for (one, other), items in most)


def pairs_chart(pairs: pl.DataFrame, threshold: float) -> Figure:
    """The kappa of every pair of experts with its interval, and the gate."""
    shown = pairs.drop_nulls("low").head(SHOWN_DISPUTED)
    drawing, axes = figure(6.5, 0.3 * len(shown) + 1.2)
    places = range(len(shown))
    axes.hlines(places, shown["low"], shown["high"], color=BLUE, linewidth=2)
    axes.plot(shown["kappa"], places, "o", color=BLUE)
    axes.axvline(threshold, color=GREY, linewidth=1)
    names = [f"{one} – {other} ({n})" for one, other, n in shown.select("rater", "other_rater", "items").iter_rows()]
    axes.set_yticks(places, [name.replace("$", r"\$") for name in names], fontsize=8)
    axes.set_xlabel("Cohen's kappa, 95 % interval; the line is the gate")
    return drawing
