"""Embeddings on this machine: plain `SentenceTransformer.encode` and ours, side by side on the same texts in one run.

    python benchmarks/embeddings.py [--texts FILE] [--model MODEL]

Texts are the docstrings of the running Python's packages, or those of FILE, one text a line. Tokens are those a path has
read, without padding; ratios are to plain encode (defaults: float32, batches of 32); each figure is the better of two
runs in turn. The cosine is with plain encode's vectors, of texts that the model takes whole.
"""

import argparse
import ast
import random
import sysconfig
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from curation_assets.models.embedders import DEFAULT_MODEL, MAX_CHUNKS, SentenceTransformerEmbedder

ROUNDS = 2
TEXTS = 256


class Run(NamedTuple):
    """One path over one set of texts."""

    vectors: np.ndarray
    tokens: int
    seconds: float
    cpu_seconds: float


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=Path, help="a file with one text a line")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args()
    texts = options.texts.read_text(encoding="utf-8").splitlines() if options.texts else docstrings()
    fp32, half, first = (SentenceTransformerEmbedder(options.model, chunks) for chunks in (MAX_CHUNKS, MAX_CHUNKS, 1))
    test = fp32.self_test([text[:1000] for text in texts[:24]])
    half.precision = first.precision = test.precision
    print(f"{options.model}, self-test: {test}")
    paths = {
        "plain encode": partial(plain, fp32),
        "ours, fp32": partial(ours, fp32),
        f"ours, {test.precision}": partial(ours, half),
        f"ours, {test.precision}, first chunk": partial(ours, first),
    }
    for name, of_kind in kinds(texts, fp32).items():
        whole = fp32.read(of_kind).chunks == 1
        print_table(name, of_kind, whole, measure(paths, of_kind))


def docstrings() -> list[str]:
    """Docstrings of this Python's standard library and packages, shuffled by a seed."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    files += sorted(Path(sysconfig.get_paths()["purelib"]).glob("[n-s]*/**/*.py"))[::20]
    found: dict[str, None] = {}
    for file in files:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):  # packages carry templates and tests that are no Python
            continue
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        found |= {doc: None for node in ast.walk(tree) if isinstance(node, kinds) and (doc := ast.get_docstring(node))}
    texts = sorted(found)
    random.Random(0).shuffle(texts)
    return texts


def kinds(texts: list[str], embedder: SentenceTransformerEmbedder) -> dict[str, list[str]]:
    """The sets measured: texts as they are, their beginnings, and texts all of about 128 tokens."""
    tokenizer = embedder._transformer.tokenizer
    ids = tokenizer("\n".join(texts[: 2 * TEXTS]), add_special_tokens=False, verbose=False)["input_ids"]
    uniform = [tokenizer.decode(ids[start : start + 126]) for start in range(0, len(ids) - 126, 126)][: TEXTS // 2]
    return {
        "all of 128 tokens": uniform,
        "the first 120 characters": [text[:120] for text in texts[:TEXTS]],
        "as they are": texts[:TEXTS],
    }


def plain(embedder: SentenceTransformerEmbedder, texts: list[str]) -> Run:
    """`SentenceTransformer.encode` as it comes."""
    model = embedder._transformer
    vectors, *seconds = clocked(lambda: model.encode(texts, normalize_embeddings=True))
    ids = model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]
    return Run(vectors, sum(map(len, ids)), *seconds)


def ours(embedder: SentenceTransformerEmbedder, texts: list[str]) -> Run:
    """Our path; special tokens count, as in plain's tokens."""
    read, *seconds = clocked(lambda: embedder.read(texts))
    around = embedder._transformer.max_seq_length - embedder.limit
    return Run(read.vectors, int(read.tokens_read.sum() + around * read.chunks.sum()), *seconds)


def clocked(embed: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, the seconds and the CPU-seconds of a call."""
    started, cpu_started = time.perf_counter(), time.process_time()
    result = embed()
    return result, time.perf_counter() - started, time.process_time() - cpu_started


def measure(paths: dict[str, Callable[[list[str]], Run]], texts: list[str]) -> dict[str, Run]:
    """The fastest of some rounds of each path, the paths taking turns."""
    rounds = [{name: run(texts) for name, run in paths.items()} for _ in range(ROUNDS)]
    return {name: min((runs[name] for runs in rounds), key=lambda run: run.seconds) for name in paths}


def print_table(kind: str, texts: list[str], whole: np.ndarray, runs: dict[str, Run]) -> None:
    """Print the paths over one kind of texts."""
    base = runs["plain encode"]
    print(f"\n{len(texts)} texts, {kind} ({(~whole).sum()} longer than the model's limit)")
    print(f"{'':28}{'texts/s':>9}{'tokens/s':>10}{'CPU s':>8}{'tokens/s ×':>12}{'tokens/CPU s ×':>16}{'cosine':>10}")
    for name, run in runs.items():
        rate, base_rate = run.tokens / run.seconds, base.tokens / base.seconds
        cpu_ratio = run.tokens / run.cpu_seconds / (base.tokens / base.cpu_seconds)
        cosine = float((run.vectors * base.vectors).sum(axis=1)[whole].mean())
        print(
            f"{name:28}{len(texts) / run.seconds:9,.0f}{rate:10,.0f}{run.cpu_seconds:8.2f}"
            f"{rate / base_rate:12.2f}{cpu_ratio:16.2f}{cosine:10.5f}"
        )


if __name__ == "__main__":
    main()
