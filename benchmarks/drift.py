"""Drift: how often it cries wolf, and how often it sees a new topic.

    python benchmarks/drift.py --texts alpaca=alpaca.jsonl --texts reviews=reviews.jsonl [--splits 200]

False alarms: batches of --batch records drawn from the same texts as the old ones. Detections: the texts fall into 20
clusters; one of them is kept out of the old records and makes up a tenth (or a twentieth) of the batch. Every split
and every cluster that is large enough counts once for each seed. Texts are JSONL with `text`, or one text a line.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from curation_assets.algorithms import drift
from curation_assets.algorithms.kmeans import default_k, kmeans
from curation_assets.algorithms.new_concept import new_concepts
from curation_assets.models.embedders import DEFAULT_MODEL, SentenceTransformerEmbedder

TOPICS = 20
MOST_OLD = 6_000


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", action="append", required=True, metavar="NAME=FILE")
    parser.add_argument("--splits", type=int, default=200, help="same-distribution splits a set")
    parser.add_argument("--seeds", type=int, default=5, help="batches a topic")
    parser.add_argument("--batch", type=int, default=1_000, help="records of a batch")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/curation-assets-benchmarks"))
    options = parser.parse_args()
    print(
        "| texts | records | false alarms | new topic 10 % seen | 5 % seen | looks that saw it at 10 % |\n|---|---|---|---|---|---|"
    )
    for name, file in (one.split("=", 1) for one in options.texts):
        vectors = embedded(name, Path(file), options.cache)
        alarms = sum(has_drift(*split(vectors, options.batch, seed), seed) for seed in range(options.splits))
        topics = kmeans(vectors, TOPICS, seed=1).labels
        rows = [detections(vectors, topics, options.batch, share, options.seeds) for share in (0.1, 0.05)]
        seen = [f"{len([one for one in row if one])} of {len(row)}" for row in rows]
        kinds = {kind: sum(kind in one for one in rows[0]) for kind in ("classifier", "occupancy", "novelty")}
        told = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
        print(
            f"| {name} | {len(vectors):,} | {alarms} of {options.splits} | {seen[0]} | {seen[1]} | {told} |", flush=True
        )


def embedded(name: str, file: Path, cache: Path) -> np.ndarray:
    """The texts' vectors, computed once and kept."""
    kept = cache / f"drift_{name}.npy"
    if not kept.exists():
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        texts = sorted({json.loads(line)["text"] if line.startswith("{") else line for line in lines})
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, SentenceTransformerEmbedder(DEFAULT_MODEL).embed(texts))
    return np.load(kept).astype(np.float32)


def split(vectors: np.ndarray, batch: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Old and new records of one distribution."""
    order = np.random.default_rng(seed).permutation(len(vectors))
    return vectors[order[batch : batch + MOST_OLD]], vectors[order[:batch]]


def detections(vectors: np.ndarray, topics: np.ndarray, batch: int, share: float, seeds: int) -> list[set[str]]:
    """For every topic and seed the looks that saw it."""
    planted, seen = round(share * batch), []
    for topic in range(TOPICS):
        for seed in range(seeds):
            rng = np.random.default_rng([topic, seed])
            of_topic, rest = (rng.permutation(np.flatnonzero(is_it)) for is_it in (topics == topic, topics != topic))
            if len(of_topic) < planted:
                continue
            new = np.concatenate([of_topic[:planted], rest[: batch - planted]])
            old = rest[batch - planted :][:MOST_OLD]
            seen.append(drifting(vectors[old], vectors[new], seed))
    return seen


def has_drift(old: np.ndarray, new: np.ndarray, seed: int) -> bool:
    """Whether any look saw drift."""
    return bool(drifting(old, new, seed))


def drifting(old: np.ndarray, new: np.ndarray, seed: int) -> set[str]:
    """The looks at embeddings that saw drift, as `drift_report` takes them."""
    both = np.concatenate([old, new])
    labels = kmeans(both, default_k(len(both)), seed=seed).labels
    looks = [
        drift.classifier_two_sample(old, new, seed=seed),
        drift.occupancy(labels[: len(old)], labels[len(old) :], seed=seed),
        drift.novelty(new_concepts(old, new, seed=seed), len(new)),
    ]
    return {one.look.name for one in drift.findings(looks) if one.is_drift}


if __name__ == "__main__":
    main()
