"""Drift: how often it cries wolf, how often it sees a new topic, and when it fires on dated reviews.

    python benchmarks/drift.py splits   --set alpaca=alpaca.duckdb --set reviews=reviews.duckdb [--splits 200] [--seconds 200]
    python benchmarks/drift.py topics   --set alpaca=alpaca.duckdb … [--share 0.1] [--seeds 3] [--seconds 200]
    python benchmarks/drift.py again    --set alpaca=alpaca.duckdb
    python benchmarks/drift.py arrivals --set reviews=reviews.duckdb [--splits 40]
    python benchmarks/drift.py dates    --set reviews=reviews.duckdb [--period half | quarter]
    python benchmarks/drift.py table    # what has been measured so far

The databases are those of `curate run` over a set, up to clusters; nothing is written to them. All looks are taken, by the code
of `drift_report` and in its one Holm family: classifier, clusters, novelty, languages, signals, filter rules, and kappa where the
records have labels (a model of 300 of them, read on 150 old and 60 new ones).

splits: batches of --batch records drawn from the same records as the old ones. topics: the records fall into 20 clusters; one of
them is kept out of the old records and makes up --share of the batch. again: the batch after such a one, with as much of the same
topic, held against all before it alone, and against the batch that drifted too. arrivals: the records as they were before
deduplication, in random order: the last --batch of them lose what repeats anything before, as a new batch does; with and without
the records that stand for duplicates. dates: up to 3,000 records of each period of `record_time` against up to 6,000 of all before, as if
they were a batch.

Results are appended to --results as they come, and what is there is not measured again, so that a call may end early (--seconds).
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.stats import beta
from vectors import CACHE

from curation_assets import drift_looks
from curation_assets.algorithms import drift, label_classifier
from curation_assets.algorithms.kmeans import default_k, kmeans
from curation_assets.drift_looks import EVERYTHING, Compared, Taken
from curation_assets.stages.drift_report import in_words
from curation_assets.warehouse import Warehouse

TOPICS, MOST_OLD, MOST_NEW, LEAST_PERIOD = 20, 6_000, 3_000, 300
TRAINED_ON, OLD_LABELS, NEW_LABELS = 300, 150, 60
NO_ROWS = np.empty(0, dtype=np.int64)

RECORDS = (
    "select d.record_id, d.source, d.label, d.record_time, s.language, s.words, s.alpha_word_ratio, s.stop_word_ratio, "
    "s.punctuation_ratio, s.digit_ratio, s.unique_word_ratio, f.record_id is not null as is_kept, d.text, "
    "d.record_id in (select matched_record_id from deduped.pairs) as stands_for_others "
    "from deduped.records as d join filtered.signals as s using (record_id) left join filtered.records as f using (record_id) "
    "order by d.record_id"
)
DROPS = "select distinct record_id, rule from ledger.current_decisions where stage = 'filtered' and verdict = 'drop'"
DUPLICATES = "select record_id, matched_record_id from deduped.pairs"


class Set(NamedTuple):
    """The records that came to the filters, and the vectors of those that came through."""

    records: pl.DataFrame
    vectors: np.ndarray
    """float32[records, d], zero where a rule dropped the record."""
    rules: dict[str, list[str]]
    """Record → the rules that drop it."""
    predicted: np.ndarray | None
    """int64[records]: what a model of labels says; -1 for those it was fitted on. None without labels."""
    codes: np.ndarray | None
    """int64[records]: the true class."""


def load(database: Path) -> Set:
    """Read a set off its database."""
    warehouse = Warehouse(database=str(database))
    records = warehouse.query(RECORDS)
    ids, found = warehouse.vectors()
    vectors = np.zeros((len(records), found.shape[1]), dtype=np.float32)
    vectors[np.searchsorted(records["record_id"].to_numpy().astype(str), np.array(ids))] = found
    rules: dict[str, list[str]] = {}
    for record, rule in warehouse.query(DROPS).iter_rows():
        rules.setdefault(record, []).append(rule)
    if records["label"].n_unique() < 2:
        return Set(records, vectors, rules, None, None)
    codes = records["label"].cast(pl.Categorical).to_physical().to_numpy().astype(np.int64)
    train = np.random.default_rng(0).choice(len(records), TRAINED_ON, replace=False)
    model = label_classifier.fit(vectors[train], codes[train], classes=int(codes.max()) + 1, pool=vectors)
    predicted = label_classifier.probabilities(model, vectors).argmax(axis=1)
    predicted[train] = -1
    return Set(records, vectors, rules, predicted, codes)


def looks(
    of: Set, old: np.ndarray, new: np.ndarray, seed: int, drifted: np.ndarray = NO_ROWS
) -> tuple[list[Taken], Compared]:
    """Every look at these rows, as `drift_report` takes them; the clusters are found in all together."""
    rows = np.concatenate([old, drifted, new])
    sides = pl.Series(np.repeat(["old", "drifted", "new"], [len(old), len(drifted), len(new)]))
    part = of.records[rows].with_columns(side=sides, in_reference=sides != "new")
    broken = [
        (side, rule)
        for record, side in part.select("record_id", "side").iter_rows()
        for rule in of.rules.get(record, [])
    ]
    counted = pl.DataFrame(
        broken, schema=["side", "rule"], orient="row", schema_overrides=dict.fromkeys(("side", "rule"), pl.String)
    )
    counted = (
        pl.concat([part.select("side", rule=pl.lit(None, pl.String)), counted]).group_by("side", "rule").len("records")
    )
    dropped = counted.with_columns(source=pl.lit("set"))
    kept = part["is_kept"].to_numpy()
    vectors = of.vectors[rows[kept]]
    clusters = kmeans(vectors, default_k(len(vectors)), seed=seed).labels
    through = part.filter("is_kept").with_columns(cluster_id=pl.Series(clusters), source=pl.lit("set"))
    compared = Compared(through, vectors)
    labelled = kappa(of, old, new, seed)
    found = drift_looks.concepts_of(compared)
    return drift_looks.looks_of(compared, dropped, found, labelled, alpha=drift.ALPHA, seed=seed), compared


def kappa(of: Set, old: np.ndarray, new: np.ndarray, seed: int) -> list[Taken]:
    """The look at labels, of as many records as experts might have labelled."""
    if of.predicted is None:
        return []
    rng = np.random.default_rng(seed)
    sides = []
    for rows, most in ((old, OLD_LABELS), (new, NEW_LABELS)):
        usable = rng.permutation(rows[of.predicted[rows] >= 0])[:most]
        sides.append(np.column_stack([of.predicted[usable], of.codes[usable]]))
    return [Taken(EVERYTHING, drift.kappa_fall(*sides, seed=seed), OLD_LABELS, NEW_LABELS)]


def seen_by(taken: list[Taken]) -> list[str]:
    """The looks that are drift."""
    return [one.look.name for one in drift.findings([one.look for one in taken]) if one.is_drift]


# --- what is measured -----------------------------------------------------------------------------------------------


def splits(of: Set, options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Batches of the same distribution: (key, measure)."""
    for seed in range(options.splits):
        order = np.random.default_rng(seed).permutation(len(of.records))
        new, old = order[: options.batch], order[options.batch : options.batch + MOST_OLD]
        yield str(seed), lambda new=new, old=old, seed=seed: seen_by(looks(of, old, new, seed)[0])


def topics(of: Set, options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Batches that hold a topic the old records have not: (key, measure)."""
    planted = round(options.share * options.batch)
    labels = np.where(of.records["is_kept"].to_numpy(), kmeans(of.vectors, TOPICS, seed=1).labels, -1)
    for seed in range(options.seeds):
        for topic in range(TOPICS):
            rng = np.random.default_rng([topic, seed])
            of_topic, rest = (rng.permutation(np.flatnonzero(is_it)) for is_it in (labels == topic, labels != topic))
            if len(of_topic) < planted:
                continue
            new = np.concatenate([of_topic[:planted], rest[: options.batch - planted]])
            old = rest[options.batch - planted :][:MOST_OLD]
            yield f"{topic}/{seed}", lambda new=new, old=old, seed=seed: seen_by(looks(of, old, new, seed)[0])


def again(of: Set, options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """The batch after one that drifted, with as much of the same topic: (key, measure), by what it is held against."""
    planted = round(options.share * options.batch)
    labels = np.where(of.records["is_kept"].to_numpy(), kmeans(of.vectors, TOPICS, seed=1).labels, -1)
    for topic in range(TOPICS):
        rng = np.random.default_rng([topic, 0])
        of_topic, rest = (rng.permutation(np.flatnonzero(is_it)) for is_it in (labels == topic, labels != topic))
        if len(of_topic) < 2 * planted:
            continue
        rests = np.split(rest, [options.batch - planted, 2 * (options.batch - planted)])
        first, second = (np.concatenate([of_topic[at * planted :][:planted], rests[at]]) for at in (0, 1))
        old = rests[2][:MOST_OLD]
        before = np.concatenate([old, first])
        yield f"all before/{topic}", lambda old=before, new=second: seen_by(looks(of, old, new, 0)[0])
        yield (
            f"the drifted batch too/{topic}",
            lambda old=old, new=second, drifted=first: seen_by(looks(of, old, new, 0, drifted)[0]),
        )


def arrivals(of: Set, options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Batches that lose what repeats the old records: (key, measure), with and without those that stand for others."""
    duplicates = dict(Warehouse(database=str(options.database)).query(DUPLICATES).iter_rows())
    place = dict(zip(of.records["record_id"].to_list(), range(len(of.records)), strict=True))

    def survivor(record: str) -> int | None:
        while record in duplicates:
            record = duplicates[record]
        return place.get(record)

    groups = np.array([*range(len(of.records)), *(at for one in duplicates if (at := survivor(one)) is not None)])
    repeats = np.bincount(groups, minlength=len(of.records)) > 1
    for seed in range(options.splits):
        order = np.random.default_rng(seed).permutation(groups)[: MOST_OLD * 4 + options.batch]
        old = np.unique(order[: -options.batch])
        new = np.setdiff1d(order[-options.batch :], old)
        for name, left in (("all", np.zeros(len(repeats), dtype=bool)), ("without repeats", repeats)):
            sides = [side[~left[side]] for side in (old, new)]
            yield f"{name}/{seed}", lambda sides=sides, seed=seed: seen_by(looks(of, *sides, seed)[0])


def dates(of: Set, options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Each period against all before it: (period, measure of what is told)."""
    parts = of.records["record_time"].str.extract_groups(r"^(\d+)\D(\d+)").struct.unnest()
    months = {"half": 6, "quarter": 3}[options.period]
    number = (parts["2"].cast(pl.Int64) - 1) // months + 1
    period = parts["1"] + options.period[0].upper() + number.cast(pl.String)
    for one in sorted(set(period.drop_nulls())):
        new, old = (np.flatnonzero(is_it.to_numpy()) for is_it in (period == one, period < one))
        if min(len(old), len(new)) >= LEAST_PERIOD:
            rng = np.random.default_rng(0)
            sides = [rng.permutation(old)[:MOST_OLD], rng.permutation(new)[:MOST_NEW]]
            yield one, lambda sides=sides: told_of(of, *sides)


def told_of(of: Set, old: np.ndarray, new: np.ndarray) -> list[str]:
    """How many records were compared and what is drift, the largest first, in sentences."""
    taken, compared = looks(of, old, new, 0)
    found = drift.findings([one.look for one in taken])
    found.sort(key=lambda one: -one.look.size / drift.SIZES[one.look.kind])
    texts = compared.new["text"]
    drifting = [in_words(one.look, one, drift_looks.words_behind(one.look, texts)) for one in found if one.is_drift]
    return [f"{len(new):,} records against {len(old):,}", *(drifting or ["no drift"])]


# --- results --------------------------------------------------------------------------------------------------------


def interval(hits: int, n: int) -> str:
    """A share with its exact 95 % interval (Clopper & Pearson 1934)."""
    low = beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
    return f"{hits} of {n}: {hits / n:.1%} [{low:.1%}, {high:.1%}]"


def measured(results: Path) -> dict[tuple[str, ...], list[str]]:
    """What is there already: (mode, set, key) → looks that saw drift."""
    if not results.exists():
        return {}
    rows = map(json.loads, results.read_text(encoding="utf-8").splitlines())
    return {(row["mode"], row["set"], row["key"]): row["looks"] for row in rows}


def print_table(found: dict[tuple[str, ...], list[str]]) -> None:
    """Share of the batches in which any look saw drift, and how often each kind of look did."""
    print("| measured | set | batches with drift [95 %] | looks that saw it |\n|---|---|---|---|")
    for mode, name in sorted({key[:2] for key in found}):
        rows = [row for key, row in found.items() if key[:2] == (mode, name)]
        kinds: dict[str, int] = {}
        for kind in (kind for row in rows for kind in {look.partition(":")[0] for look in row}):
            kinds[kind] = kinds.get(kind, 0) + 1
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]))
        print(f"| {mode} | {name} | {interval(sum(map(bool, rows)), len(rows))} | {told} |", flush=True)


def main(arguments: Iterable[str] | None = None) -> None:
    """Measure what is not measured yet, until the time is up, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["splits", "topics", "again", "arrivals", "dates", "table"])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=DATABASE")
    parser.add_argument("--splits", type=int, default=200, help="same-distribution splits a set")
    parser.add_argument("--seeds", type=int, default=3, help="batches a topic")
    parser.add_argument("--share", type=float, default=0.1, help="share of the batch that is of the new topic")
    parser.add_argument("--batch", type=int, default=1_000, help="records of a batch")
    parser.add_argument("--period", choices=["half", "quarter"], default="half")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing more after so long")
    parser.add_argument("--results", type=Path, default=CACHE / "drift.jsonl")
    options = parser.parse_args(arguments)
    started, found = time.monotonic(), measured(options.results)
    for name, database in (one.split("=", 1) for one in options.set):
        of, options.database = load(Path(database)), database
        detail = {"topics": f" {options.share:.0%}", "dates": f" {options.period}"}
        mode = options.mode + detail.get(options.mode, "")
        measures = {"splits": splits, "topics": topics, "again": again, "arrivals": arrivals, "dates": dates}[
            options.mode
        ]
        for key, measure in measures(of, options):
            where = name + (" " + key.split("/")[0] if options.mode in ("again", "arrivals") else "")
            if (mode, where, key) in found:
                continue
            if time.monotonic() - started > options.seconds:
                break
            found[mode, where, key] = measure()
            options.results.parent.mkdir(parents=True, exist_ok=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(
                    json.dumps({"mode": mode, "set": where, "key": key, "looks": found[mode, where, key]}) + "\n"
                )
    print_table({key: row for key, row in found.items() if not key[0].startswith("dates")})
    for (_, name, period), told in sorted(found.items()):
        if period[-2:-1] in ("H", "Q"):
            print(f"\n{name} {period}: " + "\n  ".join(told))


if __name__ == "__main__":
    main()
