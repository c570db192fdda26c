"""k-means of 100,000 × 384 into 300 clusters: ours beside faiss-cpu and scikit-learn, CPU seconds and inertia.

    python benchmarks/kmeans.py [--lloyd]    # --lloyd: full Lloyd too, the yardstick of inertia (a minute or two)

faiss-cpu is no dependency of the package; where it is not installed its row says so.
"""

import sys

from vectors import clustered_vectors, cpu_timed

from curation_assets.algorithms.kmeans import kmeans

K = 300


def main() -> None:
    """Print one line a run."""
    vectors = clustered_vectors()
    _ = vectors @ vectors[:10].T  # BLAS starts its threads
    for seed in range(3):
        found, seconds = cpu_timed(lambda seed=seed: kmeans(vectors, K, seed=seed))
        row(f"ours, seed {seed}", seconds, found.inertia)

    try:
        import faiss
    except ImportError:
        print("faiss-cpu: not installed")
    else:
        for steps in (10, 20):

            def by_faiss(steps: int = steps) -> float:
                clusters = faiss.Kmeans(vectors.shape[1], K, niter=steps, seed=1)
                clusters.train(vectors)
                return float(clusters.index.search(vectors, 1)[0].sum())

            inertia, seconds = cpu_timed(by_faiss)
            row(f"faiss-cpu, {steps} iterations", seconds, inertia)

    from sklearn.cluster import KMeans, MiniBatchKMeans

    found, seconds = cpu_timed(lambda: MiniBatchKMeans(K, n_init=1, random_state=0).fit(vectors))
    row("scikit-learn MiniBatchKMeans", seconds, found.inertia_)
    if "--lloyd" in sys.argv:
        found, seconds = cpu_timed(lambda: KMeans(K, n_init=1, max_iter=50, random_state=0).fit(vectors))
        row(f"scikit-learn KMeans, {found.n_iter_} iterations", seconds, found.inertia_)


def row(name: str, seconds: float, inertia: float) -> None:
    """Print a line of the table."""
    print(f"{name:40s} {seconds:8.2f} CPU-s   inertia {inertia:10,.0f}", flush=True)


if __name__ == "__main__":
    main()
