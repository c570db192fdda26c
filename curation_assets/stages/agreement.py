"""The `agreement` stage: how far the experts agree, who drifts, what is disputed, and whether it is enough."""

from itertools import combinations
from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from curation_assets.algorithms.agreement import (
    Agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    mean_pairwise_kappa,
)
from curation_assets.algorithms.agreement_gate import LEAST_ITEMS, gate
from curation_assets.algorithms.rater_drift import (
    difference_of_shares,
    excess_late_p,
    holm,
    others_majority,
    session_numbers,
    thirds,
)
from curation_assets.labelling.task import Task, current_task
from curation_assets.pages import BLUE, GREY, figure, markdown_table, materialized
from curation_assets.stages import OWNERS
from curation_assets.stages.expert_labels import expert_labels
from curation_assets.stages.filtered import filtered
from curation_assets.stages.label_task import label_task
from curation_assets.warehouse import Warehouse

SHOWN_DISPUTED = 20
SHOWN_CONFUSIONS = 3

SUMMARY = {
    "measure": pl.String,
    "class": pl.String,
    "guideline_version": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "undefined_share": pl.Float64,
    "note": pl.String,
}
PAIRS = {
    "rater": pl.String,
    "other_rater": pl.String,
    "items": pl.Int64,
    "same_share": pl.Float64,
    "kappa": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}
RATERS = {
    "rater": pl.String,
    "class": pl.String,
    "labels": pl.Int64,
    "share": pl.Float64,
    "compared": pl.Int64,
    "agreement_share": pl.Float64,
    "instead": pl.String,
    "instead_items": pl.Int64,
    "given_more_often": pl.Float64,
    "unsure_share": pl.Float64,
    "skip_share": pl.Float64,
    "median_seconds": pl.Float64,
}
SESSIONS = {
    "rater": pl.String,
    "session": pl.Int32,
    "started_at": pl.Datetime("us", "UTC"),
    "ended_at": pl.Datetime("us", "UTC"),
    "answers": pl.Int64,
    "compared_early": pl.Int64,
    "compared_late": pl.Int64,
    "agreement_early": pl.Float64,
    "agreement_late": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "leaned_to": pl.String,
    "leaning_early": pl.Float64,
    "leaning_late": pl.Float64,
    "seconds_early": pl.Float64,
    "seconds_late": pl.Float64,
    "p_value": pl.Float64,
    "adjusted_p_value": pl.Float64,
    "is_alarm": pl.Boolean,
    "verdict": pl.String,
}


class AgreementConfig(dg.Config):
    """How sure one wants to be."""

    least_items: int = Field(
        default=LEAST_ITEMS, ge=2, description="Items with labels of two experts below which the gate gives no verdict."
    )
    session_gap_minutes: float = Field(
        default=30, gt=0, description="A pause longer than this starts another session of a rater."
    )
    least_compared: int = Field(
        default=10,
        ge=3,
        description="Labels that the first and the last third of a session each need for them to be compared.",
    )
    false_alarm_rate: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Chance that anyone at all is said to drift or tire when nobody does, over all raters and sessions.",
    )
    replicates: int = Field(default=1_000, ge=100, description="Resamples of the bootstrap intervals.")
    seed: int = Field(default=0, description="Seed of the resamples.")


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


def ratings_matrix(labels: pl.DataFrame) -> list[list[str | None]]:
    """The labels as the measures take them: one row per rater, one column per record, None where the rater gave none."""
    if not len(labels):
        return []
    wide = labels.pivot(on="rater", index="record_id", values="label").drop("record_id")
    return [wide[rater].to_list() for rater in sorted(wide.columns)]


def summary_rows(
    labels: pl.DataFrame, classes: list[str], version: str | None, options: dict[str, int]
) -> pl.DataFrame:
    """The rows of agreement.summary of some labels."""
    ratings = ratings_matrix(labels)
    counts = (
        (
            labels.group_by("record_id").agg(
                (pl.col("label") == name).sum().alias(str(place)) for place, name in enumerate(classes)
            )
        )
        .drop("record_id")
        .to_numpy()
    )
    counts = counts[counts.sum(axis=1) > 1].astype(np.int64)
    raters = np.unique(counts.sum(axis=1))
    nothing = Agreement(None, None, None, len(counts), 1.0)
    rows = [
        _summary_row(
            "mean_pairwise_kappa",
            None,
            mean_pairwise_kappa(ratings, **options),
            "each pair counts by the items it shares",
        ),
        _summary_row(
            "fleiss_kappa",
            None,
            fleiss_kappa(counts, **options) if len(raters) == 1 else nothing,
            f"{raters[0]} labels an item"
            if len(raters) == 1
            else f"items have {raters.min()} to {raters.max()} labels, it needs the same number for all: read Krippendorff's alpha"
            if len(raters)
            else "no item has two labels",
        ),
        _summary_row(
            "krippendorff_alpha", None, krippendorff_alpha(ratings, **options), "items with two labels or more"
        ),
    ]
    if len(classes) > 2:
        for name in classes:
            against = [[None if label is None else label == name for label in row] for row in ratings]
            found = mean_pairwise_kappa(against, **options)
            rows.append(_summary_row("mean_pairwise_kappa", name, found, "this class against all others"))
    return pl.DataFrame(rows, schema=SUMMARY).with_columns(guideline_version=pl.lit(version, dtype=pl.String))


def _summary_row(measure: str, of_class: str | None, found: Agreement, note: str) -> dict[str, Any]:
    return {"measure": measure, "class": of_class, "note": note, "guideline_version": None, **found._asdict()}


def pair_rows(labels: pl.DataFrame, classes: list[str], options: dict[str, int]) -> pl.DataFrame:
    """The rows of agreement.pairs: those who agree least first."""
    by_rater = {
        rater: part.select("record_id", "label")
        for (rater,), part in labels.sort("rater").group_by("rater", maintain_order=True)
    }
    rows = []
    for one, other in combinations(by_rater, 2):
        shared = by_rater[one].join(by_rater[other], on="record_id", suffix="_other")
        if not len(shared):
            continue
        found = cohen_kappa(shared["label"], shared["label_other"], classes=classes, **options)
        same = (shared["label"] == shared["label_other"]).mean()
        rows.append((one, other, len(shared), same, found.value, found.low, found.high))
    return pl.DataFrame(rows, schema=PAIRS, orient="row").sort("kappa", "rater", "other_rater", nulls_last=True)


def rater_rows(answers: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The rows of agreement.raters: each rater for all classes, then by class."""
    compared = labels.with_columns(others=others_majority(labels))
    rows = []
    for (rater,), own in answers.sort("rater").group_by("rater", maintain_order=True):
        given = compared.filter(pl.col("rater") == rater)
        every = _held_against_others(given, given)
        whole = {
            "rater": rater,
            "class": None,
            "share": None,
            "given_more_often": None,
            "unsure_share": (own["answer"] == "unsure").mean(),
            "skip_share": (own["answer"] == "skip").mean(),
            "median_seconds": own["seconds"].median(),
        }
        rows.append(every | whole)
        with_others = given.drop_nulls("others")
        for name in sorted(set(given["label"])):
            part = given.filter(pl.col("label") == name)
            leaning = (with_others["label"] == name).mean(), (with_others["others"] == name).mean()
            rows.append(
                _held_against_others(part, given)
                | {
                    "rater": rater,
                    "class": name,
                    "given_more_often": leaning[0] - leaning[1] if len(with_others) else None,
                    "unsure_share": None,
                    "skip_share": None,
                    "median_seconds": part["seconds"].median(),
                }
            )
    return pl.DataFrame(rows, schema=RATERS)


def _held_against_others(part: pl.DataFrame, given: pl.DataFrame) -> dict[str, Any]:
    """What a rater gave (all of it, or one class) held against the others' majority."""
    compared = part.drop_nulls("others")
    instead = (
        compared.filter(pl.col("label") != pl.col("others"))["others"]
        .value_counts(sort=True)
        .sort("count", "others", descending=[True, False])
    )
    return {
        "labels": len(part),
        "share": len(part) / max(len(given), 1),
        "compared": len(compared),
        "agreement_share": (compared["label"] == compared["others"]).mean() if len(compared) else None,
        "instead": instead["others"][0] if len(instead) else None,
        "instead_items": instead["count"][0] if len(instead) else 0,
    }


def session_rows(answers: pl.DataFrame, config: AgreementConfig) -> pl.DataFrame:
    """The rows of agreement.sessions. Two tests a session, both one-sided and exact, adjusted together by Holm's method.

    Agreement with the others' majority is lower in the last third than in the first; or answers against that majority lean
    more to one class (the smallest p over the classes, times their number).
    """
    timed = answers.filter("is_timed")
    labels = answers.filter(pl.col("answer") == "label")
    majority = labels.select("rater", "record_id", others=others_majority(labels))
    timed = timed.join(majority, on=["rater", "record_id"], how="left").sort("rater", "labelled_at", "record_id")
    rows, p_values = [], []
    for (rater,), own in timed.group_by("rater", maintain_order=True):
        numbers = session_numbers(own["labelled_at"].to_numpy(), 60 * config.session_gap_minutes)
        for number in np.unique(numbers):
            row, tests = _session(own.filter(pl.Series(numbers == number)), config)
            rows.append(row | {"rater": rater, "session": int(number)})
            p_values.append(tests)
    tested = [place for place, tests in enumerate(p_values) if tests]
    adjusted = holm(np.array([p for place in tested for p in p_values[place]])).reshape(-1, 2)
    for place, pair in zip(tested, adjusted.tolist(), strict=True):
        rows[place] |= {"p_value": min(p_values[place]), "adjusted_p_value": min(pair)}
        rows[place]["is_alarm"] = min(pair) < config.false_alarm_rate
        rows[place]["verdict"] = _verdict(rows[place], falls=pair[0] < config.false_alarm_rate)
    return pl.DataFrame(rows, schema=SESSIONS)


def _session(own: pl.DataFrame, config: AgreementConfig) -> tuple[dict[str, Any], tuple[float, float] | None]:
    """A session's row but for its verdict, and the p-values of its two tests; None where there is too little to compare."""
    own = own.with_columns(third=pl.Series(thirds(len(own))))
    early, late = (own.filter(pl.col("third") == third) for third in (0, 2))
    compared = pl.concat([early, late]).drop_nulls(["label", "others"])
    is_late = (compared["third"] == 2).to_numpy()
    strata = compared["reason"].rank("dense").to_numpy()
    differs = (compared["label"] != compared["others"]).to_numpy()
    of_early, of_late = int((~is_late).sum()), int(is_late.sum())
    against = {name: differs & (compared["label"] == name).to_numpy() for name in sorted(set(compared["label"]))}
    leaning = {name: excess_late_p(events, is_late, strata) for name, events in against.items()}
    leaned_to = min(leaning, key=leaning.__getitem__, default=None)
    events = against.get(leaned_to, np.zeros(0, bool))
    change = difference_of_shares(int((~differs & ~is_late).sum()), of_early, int((~differs & is_late).sum()), of_late)
    row = {
        "started_at": own["labelled_at"][0],
        "ended_at": own["labelled_at"][-1],
        "answers": len(own),
        "compared_early": of_early,
        "compared_late": of_late,
        "agreement_early": 1 - float(differs[~is_late].mean()) if of_early else None,
        "agreement_late": 1 - float(differs[is_late].mean()) if of_late else None,
        "difference": change.value if change else None,
        "low": change.low if change else None,
        "high": change.high if change else None,
        "leaned_to": leaned_to,
        "leaning_early": float(events[~is_late].mean()) if of_early else None,
        "leaning_late": float(events[is_late].mean()) if of_late else None,
        "seconds_early": early["seconds"].median(),
        "seconds_late": late["seconds"].median(),
        "p_value": None,
        "adjusted_p_value": None,
        "is_alarm": False,
        "verdict": f"too few labels to compare: {of_early} early and {of_late} late on records where the others agree, "
        f"{config.least_compared} each are wanted",
    }
    if min(of_early, of_late) < config.least_compared:
        return row, None
    return row, (excess_late_p(differs, is_late, strata), min(1.0, len(against) * leaning[leaned_to]))


def _verdict(row: dict[str, Any], falls: bool) -> str:
    """A tested session in words."""
    seconds = (
        f", median {row['seconds_early']:.0f} s an answer early and {row['seconds_late']:.0f} s late"
        if row["seconds_early"] is not None and row["seconds_late"] is not None
        else ""
    )
    shares = (
        f"agreement with the others {row['agreement_early']:.0%} early, {row['agreement_late']:.0%} late "
        f"(difference {row['difference']:+.0%} [{row['low']:+.0%}, {row['high']:+.0%}])"
    )
    if not row["is_alarm"]:
        return f"no sign of drift: {shares}{seconds}"
    kind = (
        "tires: "
        if falls
        else f"drifts towards {row['leaned_to']} (against the others {row['leaning_early']:.0%} early, {row['leaning_late']:.0%} late): "
    )
    return f"{kind}{shares}{seconds}. Suggest shorter sessions, and have the last third looked at"


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
