"""Density: how well each estimator ranks, what it costs, and what a draw by inverse density does to real text.

    python benchmarks/density.py [clustered] [text] [draws]    # all three without arguments

clustered: 100,000 × 384 synthetic vectors, the whole call. text: MiniLM vectors of 25,000 short texts. draws: a tenth of
each set with weight 1 / density against a random tenth. The text sets are those of ../shared/data.
"""

import sys

import numpy as np
from scipy.stats import spearmanr
from vectors import clustered_vectors, cpu_timed, planted_topics, text_vectors

from curation_assets.algorithms import coverage, kernel_density, sampling
from curation_assets.algorithms.kmeans import default_k, kmeans
from curation_assets.stages.density import FITS, DensityConfig, at_every_record, choose_bandwidth, self_test

COMPARED = 2_000
DRAWS = 8


def clustered() -> None:
    """The whole call at 100,000 × 384: bandwidth, fit, every record scored; and the self-test's own cost."""
    vectors = clustered_vectors()
    for kernel in ("wide", "local"):
        config = DensityConfig(kernel=kernel)
        (bandwidth, _), choosing = cpu_timed(lambda config=config: choose_bandwidth(vectors, config))
        print(f"clustered, {kernel} kernel, h = {bandwidth:.3f} (chosen in {choosing:.2f} CPU-s)")
        compare(vectors, bandwidth, ("references", "centroids", "race") if kernel == "wide" else ("centroids",))
        attempts, testing = cpu_timed(lambda h=bandwidth, config=config: self_test(vectors, h, config))
        told = ", ".join(f"{attempt.estimator} {attempt.rank_correlation:.4f}" for attempt in attempts)
        print(f"  self-test on {config.self_test_records:,} records, fits included: {testing:.2f} CPU-s ({told})")


def text() -> None:
    """MiniLM vectors of short texts, at the bandwidths of the kernels and at .3, .5 and .7."""
    parts = [text_vectors(name) for name in ("alpaca", "clickbait")]
    if any(part is None for part in parts):
        print("text: ../shared/data is not here")
        return
    vectors = np.concatenate(parts)
    chosen = {kernel: choose_bandwidth(vectors, DensityConfig(kernel=kernel))[0] for kernel in ("wide", "local")}
    for name, bandwidth in {**chosen, "h = .3": 0.3, "h = .5": 0.5, "h = .7": 0.7}.items():
        print(f"{len(vectors):,} short texts, {name}, h = {bandwidth:.3f}")
        compare(vectors, bandwidth, FITS)


def compare(vectors: np.ndarray, bandwidth: float, estimators: tuple[str, ...] | dict) -> None:
    """One line an estimator: CPU seconds for fit and every record, rank correlation and bias on a sample."""
    n = len(vectors)
    rows = np.sort(np.random.default_rng(7).choice(n, COMPARED, replace=False))
    exact = kernel_density.reference_density(vectors, np.arange(n), rows, bandwidth=bandwidth)
    for name in estimators:
        config = DensityConfig()
        scores, seconds = cpu_timed(
            lambda name=name, config=config: at_every_record(FITS[name](vectors, bandwidth, config), n)
        )
        rank, bias = spearmanr(exact, scores[rows]).statistic, np.median(scores[rows] / exact)
        print(f"  {name:12s} {seconds:6.2f} CPU-s   Spearman {rank:.4f}   median estimate/exact {bias:.2f}", flush=True)


def draws() -> None:
    """What a tenth drawn with weight 1 / density reaches, by kernel, against a random tenth; means of eight draws."""
    sets = {name: text_vectors(name) for name in ("alpaca", "clickbait", "reviews")}
    if any(vectors is None for vectors in sets.values()):
        print("draws: ../shared/data is not here")
        sets = {}
    for name, vectors in sets.items():
        print(
            f"{name}, {len(vectors):,} records, a tenth drawn at a = 0: evenness over {default_k(len(vectors))} clusters"
        )
        compare_draws(vectors, kmeans(vectors, default_k(len(vectors))).labels)
    for names in (("reviews", "clickbait", "alpaca"), ("clickbait", "alpaca", "reviews")):
        if sets:
            parts = [sets[name][:records] for name, records in zip(names, (5_400, 2_700, 900), strict=True)]
            print(f"60 % {names[0]}, 30 % {names[1]}, 10 % {names[2]}: evenness over the three")
            compare_draws(np.concatenate(parts), np.repeat(np.arange(3), [len(part) for part in parts]))
    print("planted topics, 60, 30, 8 and 2 % of 3,000 sentences: evenness over the four")
    compare_draws(text_vectors("planted"), planted_topics())


def compare_draws(vectors: np.ndarray, labels: np.ndarray) -> None:
    """One line a kernel: the densities' contrast, and how evenly and how far the draws spread."""
    n = len(vectors)
    reference = vectors[np.sort(np.random.default_rng(0).choice(n, min(n, 2_000), replace=False))]
    radius = coverage.neighbourhood_radius(reference)
    hashes = np.random.default_rng(1).integers(0, 2**63, n).astype(np.uint64)
    every, median = np.arange(n), kernel_density.median_distance(vectors)
    bandwidths = {
        "wide": kernel_density.wide_bandwidth(median),
        "local": kernel_density.local_bandwidth(median),
        "half median": median / 2,
    }
    densities = {"random": np.ones(n)} | {
        f"{name}, h = {h:.3f}": kernel_density.reference_density(vectors, every, every, bandwidth=h)
        for name, h in bandwidths.items()
    }
    for kernel, density in densities.items():
        reached = []
        for seed in range(DRAWS):
            weights = sampling.weights(np.ones(n), density, a=0)
            selected = sampling.sample(weights, hashes, budget_records=n // 10, seed=seed).selected
            entropy = coverage.occupancy_entropy_ratio(labels, selected)
            reached.append((entropy, coverage.space_reached_ratio(reference, vectors[selected], radius)))
        (entropy, space), error = np.mean(reached, axis=0), np.std(reached, axis=0) / DRAWS**0.5
        low, middle, high = np.quantile(density, [0.1, 0.5, 0.9])
        print(
            f"  {kernel:22s} density median {middle:8.2f}, 90th/10th {high / low:6.2f}   "
            f"entropy {entropy:.4f} ± {error[0]:.4f}   space reached {space:.4f} ± {error[1]:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    for part in sys.argv[1:] or ("clustered", "text", "draws"):
        {"clustered": clustered, "text": text, "draws": draws}[part]()
