"""The words that tell a cluster from the others: class-based TF-IDF over the texts of each cluster.

For people reading a plot, a drift report or a release card. Nothing downstream decides by these words.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from curation_assets.algorithms.particles import bare_nouns

RECORDS_AT_ONCE = 20_000  # bounds the exploded tokens held in memory
TOKEN = (
    r"\p{L}[\p{L}\p{M}\p{N}_]+"  # starts with a letter, at least two characters, any script; digits alone are no word
)

# Function words, the halves of contractions (tokens end at an apostrophe), and the debris of URLs and markup. Without
# this list clusters that differ in style rather than in subject are described by "you" or "https".
FUNCTION_WORDS_AND_MARKUP = """
about above after again against all also although always am an and another any are aren around as at be because been
before being below between both but by can cannot could couldn did didn do does doesn doing don done down during each
either else etc ever every few for from further get gets getting give given go goes going got had hadn has hasn have
haven having he hence her here hers herself him himself his how however if in into is isn it its itself just least
less let like ll made make makes many may me might more most much must my myself need neither never new no nor not
now of off often on once one only or other others our ours ourselves out over own per perhaps rather re really said
same say says see shall she should shouldn since so some still such take than that the their theirs them themselves
then there therefore these they thing things this those though through thus to too two under until up upon us use
used uses using ve very via want was wasn way we well were weren what when where whether which while who whom whose
why will with within without won would wouldn yes yet you your yours yourself yourselves
com html http https net org php www amp nbsp quot href src div span img br
그리고 그러나 하지만 그래서 그런데 그냥 너무 정말 진짜 아주 매우 다시 이런 그런 저런 이렇게 그렇게 어떻게 이거 그거 저거 이것 그것 모든
있는 없는 있다 없다 있어 없어 있고 없고 있어요 없어요 있습니다 없습니다 하는 하고 해서 하면 한다 합니다 했다 했는데 되는 된다 같은 같다
거예요 거야 건데 해보세요 보세요 하세요 드세요 마세요 바랍니다 있을 없을 있겠네요 때도 때는 싶은 싶어 하는데 했는데 해요 돼요
같아요 같습니다 것이 것은 것을 것도 거의 때문에 위해 대해 대한 통해 또는 많은 많이 조금 약간 역시 아니라 아니다 입니다 보고 보면 봤는데
"""
STOP_WORDS = frozenset(FUNCTION_WORDS_AND_MARKUP.split())


def ctfidf_words(
    texts: pa.Array | pa.ChunkedArray | Sequence[str],
    labels: np.ndarray,
    k: int,
    top: int = 8,
    *,
    max_chars: int = 2_000,
    min_records: int = 2,
) -> list[list[str]]:
    """The ``top`` words of each of the ``k`` clusters, most telling first; fewer, or none, where a cluster has fewer.

    The score of word t in cluster c is tf(t, c) · log(1 + A / f(t)): its occurrences in the cluster, times the log of
    the mean number of words per cluster over its occurrences anywhere (Grootendorst 2022, arXiv 2203.05794, section
    3.3). ``labels``: int[n], records labelled outside 0 … k-1 are ignored. Words are lower-cased runs of letters,
    marks, digits and underscores in any script, Korean ones without the particles attached to them (`particles.py`);
    scripts written without spaces give whole phrases. Only the first
    ``max_chars`` characters of a record are read, to bound the time, and a word must occur in ``min_records`` records
    of the cluster (or in all of them, in a smaller cluster), so that one odd record does not name it. Ties go by
    alphabet.

    >>> texts = ["The cat purrs", "A cat sleeps", "Stocks fell today", "Stocks rose today"]
    >>> ctfidf_words(texts, np.array([0, 0, 1, 1]), k=2)
    [['cat'], ['stocks', 'today']]
    """
    records = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String), "cluster": np.asarray(labels, dtype=np.int32)})
    records = records.filter(pl.col("cluster").is_between(0, k - 1) & pl.col("text").is_not_null())
    if records.is_empty():
        return [[] for _ in range(k)]
    counts = _all_word_counts(records, max_chars)
    bare = bare_nouns(counts["word"])
    cut = bare.filter(pl.col("word") != pl.col("bare"))
    if len(cut):  # read again: a record with a noun in several forms is one record of it
        counts = _all_word_counts(records, max_chars, dict(cut.iter_rows()))
    counts = counts.filter(~pl.col("word").is_in(list(STOP_WORDS)))
    mean_words = counts["occurrences"].sum() / counts["cluster"].n_unique() if len(counts) else 0.0
    sizes = records.group_by("cluster").len(name="size")
    best = (
        counts.with_columns(everywhere=pl.col("occurrences").sum().over("word"))
        .join(sizes, on="cluster")
        .filter(pl.col("records") >= pl.min_horizontal(pl.lit(min_records), "size"))
        .with_columns(score=pl.col("occurrences") * (1 + mean_words / pl.col("everywhere")).log())
        .sort("cluster", "score", "word", descending=[False, True, False])
        .group_by("cluster", maintain_order=True)
        .agg(pl.col("word").head(top))
    )
    words = dict(zip(best["cluster"], best["word"].to_list(), strict=True))
    return [words.get(cluster, []) for cluster in range(k)]


def _all_word_counts(records: pl.DataFrame, max_chars: int, bare: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Occurrences of each word in each cluster, and the number of records they are in: cluster, word, both counts.

    ``bare``: what words are counted as, where that is not the word itself.
    """
    counts = pl.concat(
        _word_counts(records.slice(start, RECORDS_AT_ONCE), max_chars, bare or {})
        for start in range(0, len(records), RECORDS_AT_ONCE)
    )
    return counts.group_by("cluster", "word").agg(pl.col("occurrences").sum(), pl.col("records").sum())


def _word_counts(records: pl.DataFrame, max_chars: int, bare: Mapping[str, str]) -> pl.DataFrame:
    return (
        records.lazy()
        .with_row_index("record")
        .with_columns(word=pl.col("text").str.slice(0, max_chars).str.to_lowercase().str.extract_all(TOKEN))
        .select("record", "cluster", "word")
        .explode("word")
        .filter(pl.col("word").is_not_null() & ~pl.col("word").is_in(list(STOP_WORDS)))
        .with_columns(pl.col("word").replace(bare))
        .group_by("cluster", "word", "record")
        .len(name="occurrences")
        .group_by("cluster", "word")
        .agg(pl.col("occurrences").sum(), pl.len().alias("records"))
        .collect()
    )
