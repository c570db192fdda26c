"""The expert loop against the usual ways to choose what to label, with simulated experts, on public labelled text.

    python benchmarks/expert_loop.py                                clickbait, seeds 0-4
    python benchmarks/expert_loop.py --sets hate_speech_en korean_hate
    python benchmarks/expert_loop.py --scale 200000                 times of one queue on made-up vectors

Each seed draws a pool and unseen test items of the same balance (clickbait: 12,000 with 5 % positive and 4,000; the others
at the balance they have). Ten labels, five of a class, make the first model. In every round a strategy names the next
items; three raters label each, slipping in 5 %, and the majority counts. An item's own id decides whether it trains or
only evaluates (`is_evaluation`), for every strategy alike: at most 300 train and about 200 evaluate. All strategies and
both baselines train the same model, `label_classifier.fit`, on the same vectors: the embedding and beside it the lexical
vector of `lexical.py`, whose basis is fitted on the pool's texts alone (`--vectors embedding` leaves it
out). Baselines: *all true labels*, the whole pool; *crowd*, the
whole pool as a crowd sees it whose idea of the class is another one: it overlooks some kinds of positives and takes some
kinds of negatives for positive (kinds are k-means clusters) until crowd-expert kappa is about .6.

    kappa    of the last model with the true classes of the test items; --decide threshold for classes hard to tell
    ratio    to the model trained on all true labels of the pool
    area     mean of kappa over the number of training labels, from 10 to the last

With small-text (Schröder et al. 2023) installed beside the project its strategies run too.
"""

import argparse
import csv
import gzip
import resource
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from vectors import CACHE, SHARED, clustered_vectors, cpu_timed

from curation_assets.algorithms import label_classifier, lexical
from curation_assets.algorithms.agreement import cohen_kappa
from curation_assets.algorithms.coresets import k_center
from curation_assets.algorithms.kmeans import kmeans
from curation_assets.algorithms.label_queue import Queue, next_items
from curation_assets.algorithms.label_rounds import Round, is_evaluation, pool_weights, should_stop, weighted_kappa

FIRST_LABELS, MOST_TRAINING = 10, 300
ROUNDS, ROUND_SIZE, EVALUATION_SHARE = 10, 49, 0.37
SLIP, CROWD_KAPPA = 0.05, 0.6
SHARES = {"pair_share": 0.3, "uncertain_share": 0.65, "random_share": 0.05}  # less at random than the product's default

DECISIONS = {
    "most-probable": lambda classifier, vectors: label_classifier.probabilities(classifier, vectors).argmax(axis=1),
    "threshold": label_classifier.predict,
}
DECIDE = {"by": DECISIONS["most-probable"]}

Pick = Callable[[np.ndarray, np.ndarray, int, np.ndarray, int], np.ndarray]
"""(vectors, probabilities, size, labelled rows, seed) → the rows to label next."""


class Task(NamedTuple):
    """What one seed works on: pool and test items, the pool's embeddings alone, and what three raters say (int64[n, 3])."""

    pool: np.ndarray
    truth: np.ndarray
    test: np.ndarray
    test_truth: np.ndarray
    ratings: np.ndarray
    hashes: np.ndarray
    embeddings: np.ndarray


class Run(NamedTuple):
    """One strategy on one seed: training labels and test kappa after each round, and what the loop itself would see."""

    labels: np.ndarray
    kappas: np.ndarray
    seconds: float
    seen: str


def main() -> None:
    """Run what the command line asks for and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["clickbait"], choices=list(TEXTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--strategies", nargs="+", help="only those whose name contains one of these words")
    parser.add_argument("--vectors", choices=["both", "embedding"], default="both", help="what a model reads of a text")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for the vectors")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with the labelled sets")
    parser.add_argument("--decide", choices=list(DECISIONS), default="most-probable", help="how a model names a class")
    parser.add_argument(
        "--scale", type=int, metavar="N", help="time one queue on N made-up vectors of 384 + 200 dimensions"
    )
    options = parser.parse_args()
    DECIDE["by"] = DECISIONS[options.decide]
    if options.scale:
        print_scale(options.scale)
        return
    chosen = {
        name: pick
        for name, pick in strategies().items()
        if name == "ours" or not options.strategies or any(word in name for word in options.strategies)
    }
    for name in options.sets:
        texts, vectors, labels = embedded(name, options.data, options.cache)
        words = pl.Series(texts) if options.vectors == "both" else None
        tasks = {seed: task(name, vectors, words, labels, seed) for seed in options.seeds}
        print_comparison(name, tasks, chosen)


def print_comparison(name: str, tasks: dict[int, Task], chosen: dict[str, Pick]) -> None:
    """Run every strategy and both baselines on every seed and print the table of one set."""
    seeds = list(tasks)
    best = {seed: trained_on_all(one, one.truth) for seed, one in tasks.items()}
    crowds = {seed: crowd_labels(one, seed) for seed, one in tasks.items()}
    crowd = {seed: trained_on_all(one, crowds[seed]) for seed, one in tasks.items()}
    for seed in seeds:
        print(
            f"{name}, seed {seed}: all true labels {best[seed]:.3f}, crowd {crowd[seed]:.3f}",
            file=sys.stderr,
            flush=True,
        )
    runs: dict[str, dict[int, Run]] = {label: {} for label in chosen}
    for label, pick in chosen.items():
        for seed, one in tasks.items():
            runs[label][seed] = run = loop(one, pick, seed)
            print(
                f"{name}, {label}, seed {seed}: {run.kappas[-1]:.3f}, area {area(run):.3f}", file=sys.stderr, flush=True
            )
    first = tasks[seeds[0]]
    print(f"\n## {name}: pool {len(first.pool):,}, {first.truth.mean():.1%} positive, {len(first.test):,} test items\n")
    print("| model trained on | labels | kappa | ratio | area | kappa by seed | ratio by seed | CPU s a round |")
    print("|---|---|---|---|---|---|---|---|")
    for label, of_seed in (("all true labels", best), ("crowd", crowd)):
        print_row(label, len(first.pool), None, np.array(list(of_seed.values())), np.array(list(best.values())), None)
    for label, of_seed in sorted(runs.items(), key=lambda one: -np.mean([area(run) for run in one[1].values()])):
        last = np.array([run.kappas[-1] for run in of_seed.values()])
        print_row(
            label,
            round(np.mean([run.labels[-1] for run in of_seed.values()])),
            np.mean([area(run) for run in of_seed.values()]),
            last,
            np.array(list(best.values())),
            np.mean([run.seconds for run in of_seed.values()]),
        )
    ours = runs["ours"]
    print("\nours over crowd, by seed:", " ".join(f"{ours[s].kappas[-1] / crowd[s]:.2f}" for s in seeds))
    print(
        "crowd-expert kappa:",
        " ".join(f"{cohen_kappa(crowds[s], majority(tasks[s].ratings), replicates=2).value:.2f}" for s in seeds),
    )
    print(
        "\nours, mean kappa by round:", " ".join(f"{k:.2f}" for k in np.mean([r.kappas for r in ours.values()], axis=0))
    )
    print("\nWhat the loop itself sees at the end, and where it would have stopped:\n")
    for seed in seeds:
        print(f"- seed {seed}: test kappa {ours[seed].kappas[-1]:.2f}. {ours[seed].seen}")


def print_row(
    label: str, labels: int, mean_area: float | None, kappas: np.ndarray, best: np.ndarray, seconds: float | None
) -> None:
    """Print one line of the table."""
    ratios = kappas / best
    print(
        f"| {label} | {labels:,} | {kappas.mean():.3f} | {ratios.mean():.3f} | "
        f"{'' if mean_area is None else f'{mean_area:.3f}'} | {' '.join(f'{k:.3f}' for k in kappas)} | "
        f"{' '.join(f'{r:.3f}' for r in ratios)} | {'' if seconds is None else f'{seconds:.1f}'} |",
        flush=True,
    )


def task(name: str, vectors: np.ndarray, texts: pl.Series | None, labels: np.ndarray, seed: int) -> Task:
    """Draw one seed's pool and test items, and its raters. Without texts the models read the embeddings alone."""
    rng = np.random.default_rng(seed)
    positive, negative = (rng.permutation(np.flatnonzero(labels == c)) for c in (1, 0))
    size = 12_000 if len(labels) >= 16_000 else len(labels) * 3 // 4
    tested = min(4_000, len(labels) - size)
    share = 0.05 if name == "clickbait" else float(labels.mean())
    p, t = round(size * share), round(tested * share)
    pool = rng.permutation(np.concatenate([positive[:p], negative[: size - p]]))
    test = np.concatenate([positive[p : p + t], negative[size - p : size - p + tested - t]])
    truth = labels[pool].astype(np.int64)
    slips = rng.random((size, 3)) < SLIP
    ratings = np.where(slips, 1 - truth[:, None], truth[:, None])
    hashes = rng.integers(0, 2**64, size, dtype=np.uint64)
    of_pool, of_test = vectors[pool], vectors[test]
    if texts is not None:
        basis = lexical.fit(texts[pool])
        of_pool, of_test = (lexical.beside(vectors[rows], lexical.vectors(basis, texts[rows])) for rows in (pool, test))
    return Task(of_pool, truth, of_test, labels[test].astype(np.int64), ratings, hashes, vectors[pool])


def majority(ratings: np.ndarray) -> np.ndarray:
    """The class most raters gave, int64[n]."""
    return (ratings.mean(axis=1) > 0.5).astype(np.int64)


def test_kappa(one: Task, classifier: label_classifier.Classifier) -> float:
    """The kappa of a model with the true classes of the test items; 0 where it predicts one class only."""
    predicted = DECIDE["by"](classifier, one.test)
    return cohen_kappa(predicted, one.test_truth, replicates=2).value or 0.0


def trained_on_all(one: Task, labels: np.ndarray) -> float:
    """The test kappa of the model trained on labels of the whole pool."""
    return test_kappa(one, label_classifier.fit(one.pool, labels, classes=2, pool=one.pool))


def crowd_labels(one: Task, seed: int) -> np.ndarray:
    """What a crowd says whose idea of the class differs by whole kinds of items, at about ``CROWD_KAPPA`` with the truth."""
    rng = np.random.default_rng(seed)
    labels = one.truth.copy()
    kinds = []
    for c, per_kind in ((1, 10), (0, 20)):
        rows = np.flatnonzero(one.truth == c)
        found = kmeans(one.embeddings[rows], len(rows) // per_kind, seed=seed).labels
        kinds.append([rows[found == kind] for kind in rng.permutation(found.max() + 1)])
    for overlooked, added in zip(*kinds, strict=False):
        for rows in (overlooked, added):
            labels[rows] = 1 - labels[rows]
            if cohen_kappa(labels, one.truth, replicates=2).value <= CROWD_KAPPA:
                return labels
    return labels


def loop(one: Task, pick: Pick, seed: int) -> Run:
    """Label round by round what a strategy names, train, and measure; see the top of this file."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate(
        [rng.choice(np.flatnonzero(one.truth == c), FIRST_LABELS // 2, replace=False) for c in (1, 0)]
    )
    labels = majority(one.ratings)
    labels[rows] = one.truth[rows]
    evaluates = is_evaluation(one.hashes, EVALUATION_SHARE)
    evaluates[rows] = False
    in_round, chance = [np.full(len(rows), -1)], [np.full(len(rows), np.nan)]
    sizes, kappas, of_round = [], [], []
    seconds = 0.0
    for number in range(ROUNDS + 1):
        trains = rows[~evaluates[rows]][:MOST_TRAINING]
        classifier = label_classifier.fit(one.pool[trains], labels[trains], classes=2, pool=one.pool)
        sizes.append(len(trains))
        kappas.append(test_kappa(one, classifier))
        probabilities = label_classifier.probabilities(classifier, one.pool)
        of_round.append((len(rows), DECIDE["by"](classifier, one.pool)))
        if number == ROUNDS:
            break
        found, spent = cpu_timed(partial(pick, one.pool, probabilities, ROUND_SIZE, rows, seed * ROUNDS + number))
        seconds += spent / ROUNDS
        next_rows = found.rows if isinstance(found, Queue) else found
        chance.append(found.sampling_probability if isinstance(found, Queue) else np.full(len(next_rows), np.nan))
        in_round.append(np.full(len(next_rows), number))
        rows = np.concatenate([rows, next_rows])
    seen = what_it_sees(one, labels, rows, evaluates, np.concatenate(in_round), np.concatenate(chance), of_round)
    return Run(np.array(sizes), np.array(kappas), seconds, seen)


def what_it_sees(
    one: Task,
    labels: np.ndarray,
    rows: np.ndarray,
    evaluates: np.ndarray,
    in_round: np.ndarray,
    chance: np.ndarray,
    of_round: list[tuple[int, np.ndarray]],
) -> str:
    """The kappas that the evaluation items give, and the first round at which a rule says stop."""
    is_held = evaluates[rows]
    held, predicted = rows[is_held], of_round[-1][1]
    on_labelled = cohen_kappa(predicted[held], labels[held])
    experts = cohen_kappa(one.ratings[held, 0], one.ratings[held, 1])
    text = (
        f"Evaluation items: model-expert {on_labelled.value or 0:.2f}, experts {experts.value or 0:.2f}, n {len(held)}."
    )
    if np.isfinite(chance).any():
        weights = pool_weights(in_round, chance)[is_held]
        pool = weighted_kappa(predicted[held], labels[held], weights)
        if pool.low is not None:
            text += f" Weighted to the pool {pool.value:.2f} [{pool.low:.2f}, {pool.high:.2f}]."
    for number in range(1, len(of_round)):
        # every round's model on the evaluation items known at that time
        known = rows[(in_round < number) & is_held]
        history = [
            Round(
                size,
                cohen_kappa(of_one[known], labels[known], replicates=200),
                cohen_kappa(one.ratings[known, 0], one.ratings[known, 1], replicates=200),
            )
            for size, of_one in of_round[1 : number + 1]
        ]
        stop = should_stop(history, FIRST_LABELS + ROUNDS * ROUND_SIZE)
        if stop.reason:
            return f"{text} Stop: {stop.reason} after round {number} ({of_round[number][0]} items)."
    return f"{text} No rule said stop."


def area(run: Run) -> float:
    """The mean kappa over the number of training labels, by trapezoids."""
    width = np.diff(run.labels)
    return float((width * (run.kappas[1:] + run.kappas[:-1]) / 2).sum() / width.sum())


def strategies() -> dict[str, Pick]:
    """Every strategy by name; those of small-text where it is installed."""
    found: dict[str, Pick] = {
        "ours": ours,
        "ours, default shares": by_default,
        "uncertainty": uncertainty,
        "random": at_random,
        "k-center": farthest,
    }
    try:
        import small_text
    except ImportError:
        print("small-text is not installed: its strategies are left out (pip install small-text beside the project).")
        return found
    return found | {
        "margin (small-text BreakingTies)": partial(by_small_text, small_text.BreakingTies()),
        "small-text PredictionEntropy": partial(by_small_text, small_text.PredictionEntropy()),
        "small-text ContrastiveActiveLearning": partial(by_small_text, small_text.ContrastiveActiveLearning(pbar=None)),
        "small-text EmbeddingKMeans": partial(by_small_text, small_text.EmbeddingKMeans()),
        "small-text LightweightCoreset": partial(by_small_text, small_text.LightweightCoreset()),
    }


def ours(vectors: np.ndarray, probabilities: np.ndarray, size: int, labelled: np.ndarray, seed: int) -> Queue:
    """The product's queue, with a mix of its own: SHARES."""
    return next_items(vectors, probabilities, size, labelled=labelled, seed=seed, **SHARES)


def by_default(vectors: np.ndarray, probabilities: np.ndarray, size: int, labelled: np.ndarray, seed: int) -> Queue:
    """The product's queue as it comes, which draws three times as many at random to measure the whole pool by."""
    return next_items(vectors, probabilities, size, labelled=labelled, seed=seed)


def uncertainty(
    vectors: np.ndarray, probabilities: np.ndarray, size: int, labelled: np.ndarray, seed: int
) -> np.ndarray:
    """The least probable best class (Lewis & Gale 1994); with two classes the same as margin and entropy."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    confidence[labelled] = np.inf
    return np.argsort(confidence, kind="stable")[:size]


def at_random(vectors: np.ndarray, probabilities: np.ndarray, size: int, labelled: np.ndarray, seed: int) -> np.ndarray:
    """Evenly from what is not labelled."""
    return np.random.default_rng(seed).choice(np.setdiff1d(np.arange(len(vectors)), labelled), size, replace=False)


def farthest(vectors: np.ndarray, probabilities: np.ndarray, size: int, labelled: np.ndarray, seed: int) -> np.ndarray:
    """The farthest from all before (k-center, Sener & Savarese 2018): it looks at no prediction, so it is one sequence."""
    sequence = k_center(vectors, len(labelled) + size, start=int(labelled[0]))
    return np.setdiff1d(sequence, labelled, assume_unique=True)[:size]


class Model:
    """What small-text asks of a classifier, answered from what is computed; its data set is the rows themselves."""

    def __init__(self, vectors: np.ndarray, probabilities: np.ndarray) -> None:
        self._vectors, self._probabilities = vectors, probabilities.astype(np.float64)

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of the rows."""
        return self._probabilities[rows]

    def embed(self, rows: np.ndarray, return_proba: bool = False, pbar: str | None = None) -> tuple | np.ndarray:
        """Vectors of the rows, and their probabilities."""
        return (self._vectors[rows], self._probabilities[rows]) if return_proba else self._vectors[rows]


def by_small_text(
    strategy: object, vectors: np.ndarray, probabilities: np.ndarray, size: int, labelled: np.ndarray, seed: int
) -> np.ndarray:
    """One query of a small-text strategy."""
    np.random.seed(seed)  # small-text and scikit-learn draw from numpy's global state
    rows = np.arange(len(vectors))
    left = np.setdiff1d(rows, labelled)
    return strategy.query(Model(vectors, probabilities), rows, left, labelled, np.zeros(len(labelled), int), n=size)


def print_scale(n: int) -> None:
    """Time one queue of 300 on made-up vectors: two classes and 300 labelled rows, on two predictions."""
    vectors = clustered_vectors(n, 384 + lexical.DIMENSIONS)
    rng = np.random.default_rng(0)
    labelled = rng.choice(n, 300, replace=False)
    print(f"\n## One queue of 300 from {n:,} × {vectors.shape[1]}\n")
    print("| predicted positive | seconds | CPU s | peak memory so far, vectors included, MB |\n|---|---|---|---|")
    scores = vectors @ rng.standard_normal(vectors.shape[1]).astype(np.float32)
    for share in (0.05, 0.5):
        positive = 1 / (1 + np.exp(-8 * (scores - np.quantile(scores, 1 - share))))
        started = time.perf_counter()
        probabilities = np.column_stack([1 - positive, positive])
        _, spent = cpu_timed(partial(next_items, vectors, probabilities, 300, labelled=labelled, **SHARES))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {share:.0%} | {time.perf_counter() - started:.1f} | {spent:.1f} | {peak:,.0f} |", flush=True)


def _clickbait(data: Path) -> tuple[list[str], np.ndarray]:
    lines = []
    for name in ("clickbait_data.gz", "non_clickbait_data.gz"):
        with gzip.open(data / "clickbait" / name, "rt", encoding="utf-8", errors="replace") as file:
            lines.append([line.strip() for line in file if line.strip()])
    return lines[0] + lines[1], np.repeat([1, 0], [len(lines[0]), len(lines[1])])


def _korean_hate(data: Path) -> tuple[list[str], np.ndarray]:
    with (data / "korean_hate/train.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["comments"] for row in rows], np.array([int(row["hate"] == "hate") for row in rows])


def _hate_speech_en(data: Path) -> tuple[list[str], np.ndarray]:
    with (data / "hate_speech_en/labeled_data.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["tweet"] for row in rows], np.array([int(row["class"] == "0") for row in rows])


TEXTS = {"clickbait": _clickbait, "hate_speech_en": _hate_speech_en, "korean_hate": _korean_hate}


@cache
def embedded(name: str, data: Path, folder: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """A set's texts, their embeddings by the product's embedder, made once, and its labels (1 = positive)."""
    texts, labels = TEXTS[name](data)
    cached = folder / f"expert_loop_{name}.npy"
    if cached.exists():
        return texts, np.load(cached), labels
    from curation_assets.models.embedders import SentenceTransformerEmbedder

    embedder = SentenceTransformerEmbedder()
    if test := embedder.self_test(texts[:64]):
        embedder.precision = test.precision
    vectors = embedder.embed(texts)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(cached, vectors)
    return texts, vectors, labels


if __name__ == "__main__":
    main()
