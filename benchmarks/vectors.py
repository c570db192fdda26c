"""What the benchmarks of k-means and density share: vectors, and CPU seconds."""

import gzip
import json
import resource
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CACHE = Path(tempfile.gettempdir()) / "curation-assets-benchmarks"
Result = TypeVar("Result")


def cpu_timed(function: Callable[[], Result]) -> tuple[Result, float]:
    """A function's result and the CPU seconds of all threads it took."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = function()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return result, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def clustered_vectors(n: int = 100_000, d: int = 384, k: int = 300, seed: int = 0) -> np.ndarray:
    """Unit vectors in k Gaussian clusters of uneven weight (log-normal) and width (.3 to 1.2), 5 % of them noise."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((k, d), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    weight, width = rng.lognormal(size=k), rng.uniform(0.3, 1.2, k).astype(np.float32)
    labels = rng.choice(k, n, p=weight / weight.sum())
    vectors = rng.standard_normal((n, d), dtype=np.float32)
    is_noise = rng.random(n) < 0.05
    vectors *= np.where(is_noise, 1, width[labels] / np.float32(d**0.5))[:, None].astype(np.float32)
    vectors[~is_noise] += centres[labels[~is_noise]]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def text_vectors(name: str) -> np.ndarray | None:
    """MiniLM vectors of a set of short texts, embedded once; None for a shared set where the shared data are not."""
    cached = CACHE / f"{name}.npy"
    if cached.exists():
        return np.load(cached)
    if name != "planted" and not SHARED.is_dir():
        return None
    from curation_assets.models.embedders import SentenceTransformerEmbedder

    texts = TEXTS[name]()
    embedder = SentenceTransformerEmbedder()
    if test := embedder.self_test(texts[:64]):
        embedder.precision = test.precision
    vectors = embedder.embed(texts)
    CACHE.mkdir(parents=True, exist_ok=True)
    np.save(cached, vectors)
    return vectors


def _alpaca() -> list[str]:
    with gzip.open(SHARED / "instruction_en/alpaca_random_9k.json.gz", "rt", encoding="utf-8") as file:
        return ["\n".join(filter(None, (row["instruction"], row["input"], row["output"]))) for row in json.load(file)]


def _clickbait() -> list[str]:
    files = ("clickbait_data.gz", "non_clickbait_data.gz")
    return _sample([line for name in files for line in _lines(SHARED / "clickbait" / name)], 16_000)


def _reviews() -> list[str]:
    rows = map(json.loads, _lines(SHARED / "drift/nsmc_reviews_dev.jsonl.gz"))
    return _sample(sorted({(row["review"] or "").strip() for row in rows} - {""}), 12_000)


TOPICS = {
    "{} the {} with {} until {}.": (
        "Simmer|Roast|Fry|Bake|Steam|Grill|Braise|Toss",
        "onions|chicken thighs|potatoes|lentils|salmon|mushrooms|rice|carrots|beef|tofu",
        "garlic and butter|olive oil|a pinch of salt|fresh thyme|white wine|soy sauce|lemon juice|cumin",
        "golden brown|tender|it smells nutty|the sauce thickens|just cooked through|crisp at the edges",
    ),
    "{} {} in the {} as {}.": (
        "The striker|The goalkeeper|A late substitute|The captain|The young winger|The visiting side|The home team",
        "scored|missed a penalty|won a free kick|was sent off|equalised|hit the post|cleared off the line|was injured",
        "opening minute|first half|second half|last minute|extra time|cup final|derby|semi-final",
        "the crowd roared|rain fell on the pitch|the coach protested|fans left early|the defence collapsed",
    ),
    "{} {} after {}, {}.": (
        "Shares of the bank|Oil prices|Government bonds|The central bank's rate|Gold futures|The euro",
        "rose two percent|fell sharply|held steady|hit a record|slipped|recovered|stagnated|doubled",
        "weak jobs data|a strong earnings report|the rate decision|new tariffs|a credit downgrade",
        "analysts said|traders reported|according to the exchange|in early trading|despite low volume",
    ),
    "{} {} {} {}.": (
        "The telescope|A team of astronomers|The space probe|The observatory|A radio array|The satellite",
        "observed|detected|photographed|measured|discovered|tracked",
        "a distant galaxy|an exoplanet|a supernova|a comet's tail|a black hole|a binary star|a nebula",
        "near the edge of the Milky Way|at infrared wavelengths|during the eclipse|with record precision",
    ),
}
"""Sentences of four topics, cooking, football, markets and the sky: a pattern and what fills its places."""

PLANTED_RECORDS = (1_800, 900, 240, 60)


def planted_topics() -> np.ndarray:
    """The topic of each of the sentences that ``text_vectors("planted")`` embeds: 60, 30, 8 and 2 % of them."""
    return np.repeat(np.arange(len(PLANTED_RECORDS)), PLANTED_RECORDS)


def _planted() -> list[str]:
    rng, texts = np.random.default_rng(0), []
    for (pattern, places), records in zip(TOPICS.items(), PLANTED_RECORDS, strict=True):
        every = [pattern.format(*words) for words in product(*(place.split("|") for place in places))]
        texts += [every[i] for i in rng.permutation(len(every))[:records]]
    return texts


TEXTS = {"alpaca": _alpaca, "clickbait": _clickbait, "reviews": _reviews, "planted": _planted}


def _lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        return [line.strip() for line in file if line.strip()]


def _sample(texts: list[str], size: int) -> list[str]:
    return [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:size]]
