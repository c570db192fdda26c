"""Which of a crowd's labels are wrong: found by cross-validation over them, and by the model of a few expert labels.

    python benchmarks/label_errors.py                               clickbait, seeds 0-4
    python benchmarks/label_errors.py --sets hate_speech_en --seeds 0 1

Pool, experts and crowd are those of benchmarks/expert_loop.py: the crowd is wrong about whole kinds of items until its kappa
is about .6; here 1 % of all its labels are flipped at random besides. The expert model has the at most 300 training labels
that the loop chose, each the majority of three raters with 5 % slips. Records that experts have labelled do not count. The
last row of a seed asks the same of one expert's labels of those items, slips and all, by cross-validation.

    flagged      labels called likely wrong (algorithms/label_errors.py)
    first 100    share of the first hundred that are wrong
    precision    share of all flagged that are
    systematic   share of the wrong labels of whole kinds that are flagged
    random       share of the flipped ones that are
    chance       share of wrong labels among all: what picking blindly gives
"""

import argparse
import time
from pathlib import Path

import numpy as np
from expert_loop import EVALUATION_SHARE, MOST_TRAINING, TEXTS, Task, crowd_labels, embedded, loop, majority, ours, task
from vectors import CACHE, SHARED

from curation_assets.algorithms import label_classifier
from curation_assets.algorithms.agreement import cohen_kappa
from curation_assets.algorithms.label_errors import TRAIN_RECORDS, likely_errors, out_of_sample_probabilities
from curation_assets.algorithms.label_queue import Queue
from curation_assets.algorithms.label_rounds import is_evaluation

FLIPPED = 0.01
HEADER = ("judged by", "flagged", "first 100", "precision", "systematic", "random", "chance", "s")


def main() -> None:
    """Run what the command line asks for and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["clickbait"], choices=list(TEXTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--train-records", type=int, default=TRAIN_RECORDS, help="records a fit of the cross-validation learns from"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for the vectors")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with the labelled sets")
    options = parser.parse_args()
    for name in options.sets:
        vectors, labels = embedded(name, options.data, options.cache)
        for seed in options.seeds:
            print_seed(name, task(name, vectors, labels, seed), seed, options.train_records)


def print_seed(name: str, one: Task, seed: int, train_records: int) -> None:
    """One seed's rows of the table."""
    rng = np.random.default_rng(seed)
    by_kind = crowd_labels(one, seed)
    given = np.where(rng.random(len(by_kind)) < FLIPPED, 1 - by_kind, by_kind)
    wrong, is_systematic = given != one.truth, (by_kind != one.truth) & (given == by_kind)
    labelled = labelled_by_the_loop(one, seed)
    trains = labelled[~is_evaluation(one.hashes[labelled], EVALUATION_SHARE)][:MOST_TRAINING]
    rest = np.setdiff1d(np.arange(len(given)), labelled)
    kappa = cohen_kappa(given, one.truth, replicates=2).value
    print(
        f"\n{name}, seed {seed}: kappa of the crowd {kappa:.2f}, {wrong.sum():,} labels wrong, {is_systematic.sum():,} of them by kind"
    )
    print("  ".join(word.rjust(10) for word in HEADER))

    started = time.perf_counter()
    crossed = out_of_sample_probabilities(
        one.pool[rest], given[rest], classes=2, train_records=train_records, seed=seed
    )
    print_row("themselves", likely_errors(given[rest], crossed), wrong[rest], is_systematic[rest], started)
    started = time.perf_counter()
    model = label_classifier.fit(one.pool[trains], majority(one.ratings)[trains], classes=2, pool=one.pool)
    found = likely_errors(given[rest], label_classifier.probabilities(model, one.pool[rest]))
    print_row(f"{len(trains)} experts'", found, wrong[rest], is_systematic[rest], started)
    started = time.perf_counter()
    own = one.ratings[trains, 0]
    crossed = out_of_sample_probabilities(one.pool[trains], own, classes=2, seed=seed)
    slips = own != one.truth[trains]
    print_row("one expert", likely_errors(own, crossed), slips, np.zeros(len(own), bool), started)


def labelled_by_the_loop(one: Task, seed: int) -> np.ndarray:
    """The rows that experts have labelled when the loop ends."""
    labelled = np.empty(0, np.int64)

    def pick(vectors: np.ndarray, probabilities: np.ndarray, size: int, rows: np.ndarray, pick_seed: int) -> Queue:
        nonlocal labelled
        found = ours(vectors, probabilities, size, rows, pick_seed)
        labelled = np.concatenate([rows, found.rows])
        return found

    loop(one, pick, seed)
    return labelled


def print_row(name: str, found: np.ndarray, wrong: np.ndarray, is_systematic: np.ndarray, started: float) -> None:
    """A row of the table: the flagged labels `found` against those that are wrong."""
    flagged = np.isin(np.arange(len(wrong)), found)
    shares = (
        wrong[found[:100]].mean() if len(found) else np.nan,
        wrong[found].mean() if len(found) else np.nan,
        *(flagged[kind].mean() if kind.any() else np.nan for kind in (is_systematic, wrong & ~is_systematic)),
        wrong.mean(),
    )
    columns = [name, f"{len(found):,}", *(f"{share:.2f}" for share in shares), f"{time.perf_counter() - started:.1f}"]
    print("  ".join(column.rjust(10) for column in columns), flush=True)


if __name__ == "__main__":
    main()
