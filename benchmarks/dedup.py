"""Near-duplicates: ours beside daft, datasketch, rensa, DataTrove and plain polars, file to clusters, each in a process of its own.

    python benchmarks/dedup.py [--documents 100000] [--peers PYTHON] [--only ours,daft] [--folder FOLDER]

--peers: the interpreter of an environment that has the peers (none is a dependency of the package):

    python -m venv peers && peers/bin/pip install daft datasketch rensa text-dedup "datatrove[io]" "xxhash<4" spacy polars pyarrow scipy

Three quarters of the corpus are base documents, recombined from real sentences of ../shared/data and of this Python's
packages; a fifth are copies with 1, 3, 5, 10 or 20 % of their words replaced, a twentieth exact copies. All look for
5-word shingles in 14 bands of 8 rows, ours in its default of 16 of 7, which are as many hashes. Precision: pairs in one
cluster that were planted together; recall: copies in the cluster of their base, by edit rate and, whatever the rate, where
the true Jaccard similarity is .8 or more.
Word edits cap what any 14 × 8 can find: P(s) = 1 - (1 - s^8)^14 of a pair at similarity s.
With --documents 1000000 (1.7 GB of text) and --only ours: the peak of memory. DataTrove and text-dedup read --subset documents.
"""

import argparse
import ast
import csv
import gzip
import io
import json
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from vectors import CACHE, SHARED

RUNS = Path(__file__).with_name("dedup_runs.py")
OURS = ("ours", "polars")
PEERS = ("daft", "rensa", "datasketch", "datatrove", "text_dedup")
ON_A_SUBSET = ("datatrove", "text_dedup")
EDIT_RATES = (0.01, 0.03, 0.05, 0.1, 0.2)
DOCUMENT_BYTES = 1_670
COMPARED = 30_000
"""Copies whose true similarity to their base is worked out, by plain Python; recall at .8 is that of these."""
SENTENCE = re.compile(r"(?<=[.!?。])\s+|\n+")


def main() -> None:
    """Build the corpus if it is not there yet, run everybody over it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--peers", help="interpreter of the environment with the peers")
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--subset", type=int, default=5_000, help="documents for the slowest peers")
    parser.add_argument("--folder", type=Path, default=CACHE, help="where the corpus is kept")
    options = parser.parse_args()
    corpus = built(options.folder, options.documents)
    chosen = options.only.split(",") if options.only else [*OURS, *PEERS]
    print(f"{'tool':28s}{'documents':>10s}{'wall s':>8s}{'CPU s':>8s}{'MB/CPU-s':>10s}{'x CPU':>7s}{'peak MB':>9s}"
          f"{'precision':>11s}  recall exact / 1 / 3 / 5 / 10 / 20 % / J >= .8")  # fmt: skip
    pace = None
    for name in chosen:
        if name in PEERS and not options.peers:
            print(f"{name}: not run, for --peers names no environment that has it")
            continue
        rows = built(options.folder, options.subset) if name in ON_A_SUBSET else corpus
        told = run(name, sys.executable if name in OURS else options.peers, rows)
        if isinstance(told, str):
            print(f"{name}: {told}")
            continue
        megabytes = told["bytes"] / 1e6
        speed = megabytes / told["cpu_seconds"]
        pace = pace or speed
        print(f"{told['name']:28s}{told['documents']:10,}{told['seconds']:8.1f}{told['cpu_seconds']:8.1f}{speed:10.1f}"
              f"{pace / speed:7.1f}{told['peak_bytes'] / 1e6:9,.0f}{told['precision']:11.4f}  "
              + " / ".join(f"{value:.3f}" for value in told["recall"]), flush=True)  # fmt: skip


def run(name: str, python: str, corpus: Path) -> dict[str, Any] | str:
    """What one run took and found, or a sentence why it was not made."""
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.npy"
        done = subprocess.run(
            [python, str(RUNS), name, str(corpus), str(labels)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return f"not run: {(done.stderr.strip().splitlines() or ['it ended without a word'])[-1]}"
        told = json.loads(done.stdout.splitlines()[-1])
        planted = pl.read_parquet(corpus, columns=["base", "rate", "jaccard"])
        return told | quality(planted, np.load(labels))


def quality(planted: pl.DataFrame, labels: np.ndarray) -> dict[str, Any]:
    """Precision, and recall by edit rate and at Jaccard .8 and above, of a clustering."""
    base = planted["base"].to_numpy()
    counts = pl.DataFrame({"cluster": labels, "base": base}).group_by("cluster", "base").len()
    true_pairs = (counts["len"] * (counts["len"] - 1)).sum()
    sizes = counts.group_by("cluster").agg(pl.col("len").sum())["len"]
    pairs = (sizes * (sizes - 1)).sum()
    is_found = labels == labels[base]
    rate, jaccard = planted["rate"].to_numpy(), planted["jaccard"].to_numpy()
    looked_at = [rate == 0, *(rate == one for one in EDIT_RATES), (rate > 0) & (jaccard >= 0.8)]
    return {
        "precision": true_pairs / pairs if pairs else 1.0,
        "recall": [float(is_found[some].mean()) if some.any() else float("nan") for some in looked_at],
    }


def built(folder: Path, documents: int) -> Path:
    """The corpus of so many documents: text; base, the row it is a copy of; rate, of edits, -1 for a base; jaccard with the base."""
    path = folder / f"dedup-{documents}.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows = pl.DataFrame(
            planted_documents(documents), schema=["text", "base", "rate", "jaccard"], orient="row", strict=False
        )
        draft = path.with_suffix(".new")
        rows.write_parquet(draft, row_group_size=10_000, compression="uncompressed")
        draft.replace(path)
        print(f"{path}: {documents:,} documents, {rows['text'].str.len_bytes().sum() / 1e6:,.1f} MB of text")
    return path


def planted_documents(documents: int) -> Iterator[tuple[str, int, float, float]]:
    """Base documents and, after them, their copies."""
    draw = random.Random(7)
    pools = list(sentences().values())
    # One document in twenty is Korean, where a character is a word; else the comments would make it one in four.
    is_korean = [sum("가" <= character <= "힣" for character in "".join(pool[:200])) > 200 for pool in pools]
    sizes = {
        flag: sum(len(pool) for pool, korean in zip(pools, is_korean, strict=True) if korean is flag)
        for flag in (True, False)
    }
    shares = {True: 0.05 if sizes[True] else 0, False: 0.95 if sizes[True] else 1}
    weights = [shares[korean] * len(pool) / sizes[korean] for pool, korean in zip(pools, is_korean, strict=True)]
    some = draw.choices([sentence for pool in pools for sentence in pool], k=20_000)
    vocabulary = sorted({word for sentence in some for word in sentence.split()})
    bases = documents * 3 // 4
    print(
        f"{sum(map(len, pools)):,} sentences from {len(pools)} sources; writing {documents:,} documents",
        file=sys.stderr,
    )
    texts = []
    for row in range(bases):
        # Log-normal lengths of this mean: as in a crawl, most documents are short and a few are long.
        wanted = min(600 + draw.lognormvariate(np.log(DOCUMENT_BYTES - 700) - 0.32, 0.8), 40 * DOCUMENT_BYTES)
        some, size, pool = [], 0, draw.choices(pools, weights)[0]
        while size < wanted:
            some.append(draw.choice(pool))
            size += len(some[-1].encode()) + 1
        texts.append("\n".join(" ".join(some[at : at + 4]) for at in range(0, len(some), 4)))
        yield texts[-1], row, -1.0, 1.0
    for number in range(documents - bases):
        base = draw.randrange(bases)
        if number % 5 == 4:
            yield texts[base], base, 0.0, 1.0
            continue
        rate = EDIT_RATES[(number // 5 + number) % 5]
        words = re.split(r"(\s+)", texts[base])
        edited = "".join(
            draw.choice(vocabulary) if at % 2 == 0 and draw.random() < rate else word for at, word in enumerate(words)
        )
        yield edited, base, rate, jaccard(texts[base], edited) if number < COMPARED else float("nan")


def jaccard(a: str, b: str) -> float:
    """Jaccard similarity of two texts' 5-word shingles, by plain Python."""
    sets = []
    for text in (a, b):
        words = re.findall(r"\w+", text.lower())
        sets.append({tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def sentences() -> dict[str, list[str]]:
    """Distinct sentences of 30 to 300 characters, of every source there is here; a document is made of one source's."""
    found: dict[str, dict[str, None]] = {}
    seen: set[str] = set()
    for source, text in texts():
        for part in map(str.strip, SENTENCE.split(text)):
            if 30 <= len(part) <= 300 and part not in seen:
                seen.add(part)
                found.setdefault(source, {})[part] = None
    return {source: list(some) for source, some in found.items() if len(some) >= 1_000}


def texts() -> Iterator[tuple[str, str]]:
    """Texts of the shared data, where they are here, and of this Python, each with its source."""
    for path in sorted(SHARED.rglob("*.json*")) if SHARED.is_dir() else ():
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        yield from ((path.name, text) for text in strings(data))
    if (union := SHARED / "drift" / "state_union.zip").exists():
        with zipfile.ZipFile(union) as files:
            yield from ((union.name, files.read(name).decode("utf-8", "ignore")) for name in files.namelist())
    for name in ("clickbait_data.gz", "non_clickbait_data.gz"):
        if (titles := SHARED / "clickbait" / name).exists():
            yield "titles", gzip.decompress(titles.read_bytes()).decode("utf-8", "ignore")
    if (hate := SHARED / "hate_speech_en" / "labeled_data.csv").exists():
        yield from (("tweets", row["tweet"]) for row in csv.DictReader(io.StringIO(hate.read_text(encoding="utf-8"))))
    yield from (("packages", one.metadata.get_payload() or "") for one in metadata.distributions())
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("**/*.py"))[:4_000]:
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
        found = (ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, nodes))
        yield from (("docstrings", text) for text in found)


def strings(data: bytes) -> Iterator[str]:
    """Every string in JSON or in lines of JSON."""
    try:
        values = [json.loads(data)]
    except json.JSONDecodeError:
        values = [json.loads(line) for line in data.splitlines() if line.startswith(b"{")]
    while values:
        value = values.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, dict)):
            values.extend(value.values() if isinstance(value, dict) else value)


if __name__ == "__main__":
    main()
