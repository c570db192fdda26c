"""One near-duplicate run for dedup.py, in a process of its own: Parquet file in, cluster of each document out.

    python dedup_runs.py NAME corpus.parquet labels.npy

Prints one line of JSON: seconds and CPU seconds from the open file to the clusters (imports, and what is compiled once
for good, are not counted), and the peak of memory. Imports only what the named tool needs.
"""

import json
import os
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BANDS, ROWS, WORDS = 14, 8, 5
OUR_BANDS, OUR_ROWS = 16, 7  # the default of `deduped`: as many hashes
LENGTH = BANDS * ROWS


def main() -> None:
    """Run one tool."""
    name, corpus, labels = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    clusters, called = TOOLS[name]()
    documents = pq.read_metadata(corpus).num_rows
    before, started = _usage(), time.perf_counter()
    found = clusters(corpus)
    seconds, cpu_seconds = time.perf_counter() - started, _usage() - before
    np.save(labels, found)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    size = sum(len(text) for batch in _batches(corpus) for text in batch.cast("binary").to_pylist())
    told = {"name": called, "documents": documents, "bytes": size, "seconds": seconds, "cpu_seconds": cpu_seconds}
    print(json.dumps(told | {"peak_bytes": peak * 1024}))


def _usage() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _batches(corpus: Path):  # noqa: ANN202
    with pq.ParquetFile(corpus) as file:
        for group in range(file.num_row_groups):  # over several groups at once, pyarrow holds on to all it has read
            for batch in file.iter_batches(batch_size=10_000, row_groups=[group], columns=["text"]):
                yield batch["text"]


def _texts(corpus: Path) -> list[str]:
    return pq.read_table(corpus, columns=["text"])["text"].to_pylist()


def _components(left: np.ndarray, right: np.ndarray, n: int) -> np.ndarray:
    from scipy.sparse import coo_array, csgraph

    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(n, n))
    return csgraph.connected_components(graph, directed=False)[1]


def _by_bands(keys: np.ndarray) -> np.ndarray:
    """Clusters of documents, the columns, that agree in a key of a band, the rows."""
    left, right = [], []
    for band in keys:
        order = np.argsort(band, kind="stable")
        same = band[order[1:]] == band[order[:-1]]
        left.append(order[1:][same])
        right.append(order[:-1][same])
    return _components(np.concatenate(left), np.concatenate(right), keys.shape[1])


def _ours():  # noqa: ANN202
    import curation_assets
    from curation_assets.algorithms.duplicates import verified
    from curation_assets.algorithms.minhash import sketches
    from curation_assets.algorithms.shared_bands import candidates
    from curation_assets.algorithms.shingles import shingle

    sketches(
        pa.array(["one text"])
    )  # loads the compiled kernels and makes the table of characters, as imports do for others

    def clusters(corpus: Path) -> np.ndarray:
        # Two readings, as the stage `deduped` makes them: sketches of all, shingles of those that may be duplicates.
        known = sketches(_batches(corpus), words=WORDS, bands=OUR_BANDS, rows=OUR_ROWS)
        n = len(known.word_hash)
        is_candidate, done, some = candidates(known), 0, []
        for batch in _batches(corpus):
            some.append(batch.filter(pa.array(is_candidate[done : done + len(batch)])))
            done += len(batch)
        row = np.cumsum(is_candidate) - 1
        pairs = verified(known, np.arange(n), shingle(some, WORDS), row).pairs
        return _components(pairs["record"].to_numpy(), pairs["matched"].to_numpy(), n)

    return clusters, f"ours {curation_assets.__version__}, verified"


def _polars():  # noqa: ANN202
    import polars as pl

    def clusters(corpus: Path) -> np.ndarray:
        # Plain expressions: words by a regular expression, shingles by shifts, 112 multiply-adds and a minimum per document.
        words = (
            pl.scan_parquet(corpus)
            .with_row_index("document")
            .select("document", word=pl.col("text").str.to_lowercase().str.extract_all(r"\w+"))
            .explode("word")
            .with_columns(pl.col("word").hash(seed=1))
        )
        shingle = pl.col("word")
        for step in range(1, WORDS):
            shingle = shingle * 0x9E3779B97F4A7C15 + pl.col("word").shift(-step).over("document")
        hashed = words.select("document", shingle=shingle.hash(seed=2)).drop_nulls().collect()
        draw = np.random.default_rng(0)
        multiply = draw.integers(0, 2**63, LENGTH, np.uint64) | np.uint64(1)
        add = draw.integers(0, 2**63, LENGTH, np.uint64)
        signatures = hashed.lazy().group_by("document").agg(
            [(pl.col("shingle") * int(a) + int(b)).min().alias(str(k)) for k, (a, b) in enumerate(zip(multiply, add, strict=True))]
        ).sort("document").collect()  # fmt: skip
        n = pq.read_metadata(corpus).num_rows
        table = np.zeros((n, LENGTH), np.uint64)
        table[signatures["document"].to_numpy()] = signatures.drop("document").to_numpy()
        missing = np.setdiff1d(np.arange(n), signatures["document"].to_numpy())
        table[missing] = missing[:, None] + np.arange(LENGTH)
        keys = np.zeros((BANDS, n), np.uint64)
        for row in table.reshape(n, BANDS, ROWS).transpose(2, 1, 0):
            keys = (keys ^ row) * np.uint64(0x9E3779B97F4A7C15)
            keys ^= keys >> np.uint64(29)
        return _by_bands(keys)

    return clusters, f"polars {pl.__version__}, plain"


def _daft():  # noqa: ANN202
    import daft
    from daft import col

    def clusters(corpus: Path) -> np.ndarray:
        n = pq.read_metadata(corpus).num_rows
        frame = daft.from_arrow(pq.read_table(corpus, columns=["text"]).append_column("document", [np.arange(n)]))
        text = col("text").normalize(remove_punct=True, lowercase=True, nfd_unicode=False, white_space=True)
        sketched = frame.select(
            "document",
            text.minhash(num_hashes=LENGTH, ngram_size=WORDS, seed=1, hash_function="xxhash").alias("sketch"),
        ).to_arrow()
        sketches = sketched["sketch"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, LENGTH)
        document = sketched["document"].to_numpy()
        ordered = np.empty_like(sketches)
        ordered[document] = sketches
        keys = np.zeros((BANDS, n), np.uint64)
        for row in ordered.astype(np.uint64).reshape(n, BANDS, ROWS).transpose(2, 1, 0):
            keys = (keys ^ row) * np.uint64(0x9E3779B97F4A7C15)
            keys ^= keys >> np.uint64(29)
        return _by_bands(keys)

    return clusters, f"daft {daft.__version__} minhash"


def _shingles(text: str) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[at : at + WORDS]) for at in range(max(1, len(words) - WORDS + 1))]


def _rensa():  # noqa: ANN202
    from importlib.metadata import version

    import rensa

    def clusters(corpus: Path) -> np.ndarray:
        keys = []
        for text in _texts(corpus):
            sketch = rensa.RMinHash(num_perm=LENGTH, seed=1)
            sketch.update(_shingles(text))
            keys.append(sketch.digest())
        table = np.array(keys, np.uint64).reshape(-1, BANDS, ROWS)
        hashed = np.zeros((BANDS, len(table)), np.uint64)
        for row in table.transpose(2, 1, 0):
            hashed = (hashed ^ row) * np.uint64(0x9E3779B97F4A7C15)
            hashed ^= hashed >> np.uint64(29)
        return _by_bands(hashed)

    return clusters, f"rensa {version('rensa')} R-MinHash"


def _datasketch():  # noqa: ANN202
    import datasketch
    import xxhash
    from datasketch import MinHash, MinHashLSH

    def clusters(corpus: Path) -> np.ndarray:
        lsh = MinHashLSH(num_perm=LENGTH, params=(BANDS, ROWS))
        left, right = [], []
        n = 0
        for text in _texts(corpus):
            sketch = MinHash(num_perm=LENGTH, seed=1, hashfunc=xxhash.xxh32_intdigest)
            sketch.update_batch([shingle.encode() for shingle in _shingles(text)])
            for other in lsh.query(sketch):
                left.append(n)
                right.append(other)
            lsh.insert(n, sketch, check_duplication=False)
            n += 1
        return _components(np.array(left, int), np.array(right, int), n)

    return clusters, f"datasketch {datasketch.__version__}"


def _datatrove():  # noqa: ANN202
    from importlib.metadata import version

    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import ParquetReader

    def clusters(corpus: Path) -> np.ndarray:
        config = MinhashConfig(n_grams=WORDS, num_buckets=BANDS, hashes_per_bucket=ROWS)
        with tempfile.TemporaryDirectory() as folder:
            os.environ.setdefault("DATATROVE_COLORIZE_LOGS", "0")
            reader = ParquetReader(str(corpus.parent), glob_pattern=corpus.name, default_metadata={})
            steps = [
                [reader, MinhashDedupSignature(f"{folder}/signatures", config=config)],
                [MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)],
                [MinhashDedupCluster(f"{folder}/buckets", f"{folder}/removed", config=config, save_cluster_id=True)],
            ]
            for tasks, pipeline in zip((1, BANDS, 1), steps, strict=True):
                LocalPipelineExecutor(
                    pipeline, tasks=tasks, workers=1, logging_dir=f"{folder}/logs{tasks}{len(pipeline)}"
                ).run()
            labels = np.arange(pq.read_metadata(corpus).num_rows) + 2**40
            for file in Path(folder, "removed").glob("*.clusters"):
                found = np.frombuffer(file.read_bytes(), "<u4").reshape(-1, 2)
                labels[found[:, 0]] = found[:, 1]
            return labels

    return clusters, f"datatrove {version('datatrove')}"


def _text_dedup():  # noqa: ANN202
    from importlib.metadata import version

    import text_dedup.minhash as subject

    def clusters(corpus: Path) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            said = {
                "path": "parquet", "data_files": corpus, "split": "train", "column": "text", "num_proc": 1,
                "cache_dir": f"{folder}/cache", "output": f"{folder}/kept", "hash_func": "xxh3", "hash_bits": 32,
                "ngram": WORDS, "min_length": 1, "num_perm": LENGTH, "b": BANDS, "r": ROWS,
            }  # fmt: skip
            subject.main([part for name in said for part in (f"--{name}", str(said[name]))], standalone_mode=False)
        return np.array([subject.uf.find(row) for row in range(pq.read_metadata(corpus).num_rows)])

    return clusters, f"text-dedup {version('text-dedup')} minhash"


TOOLS = {
    "ours": _ours,
    "polars": _polars,
    "daft": _daft,
    "rensa": _rensa,
    "datasketch": _datasketch,
    "datatrove": _datatrove,
    "text_dedup": _text_dedup,
}

if __name__ == "__main__":
    main()
