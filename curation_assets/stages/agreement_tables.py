"""The rows of the tables of `agreement`: by measure, by pair of experts, by expert, by session."""

from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from curation_assets.algorithms.agreement import (
    Agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    mean_pairwise_kappa,
)
from curation_assets.algorithms.rater_drift import (
    difference_of_shares,
    excess_late_p,
    holm,
    others_majority,
    session_numbers,
    thirds,
)
from curation_assets.stages.agreement_config import AgreementConfig

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
