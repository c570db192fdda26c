"""The reference judge: like the user's good set or like the bad one, by the words and pairs of words in a text.

DCLM's recipe (Li et al. 2024, arXiv 2406.11794, section 4.4: a linear model over hashed word 1- and 2-grams, fastText,
good instructions and explanations against random web pages), with what it leaves out: balanced classes, calibration,
cross-validation in which near-identical texts stay together, and a warning where something trivial tells the sets
apart. What a word is stands in `algorithms/words.py`: in Korean, Chinese and Thai a character, so that pairs are
character 2-grams there.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types
from scipy.sparse import csr_array, vstack
from scipy.special import expit

from curation_assets.algorithms.calibration import Figure, Reliability, auc, mean, platt, reliability
from curation_assets.algorithms.duplicates import connected_components, duplicates
from curation_assets.algorithms.sampling import uniforms
from curation_assets.algorithms.shingles import shingle
from curation_assets.algorithms.words import mixed, words

FEATURES = 1 << 20  # buckets that words and pairs share by hash; fastText's default is twice that
PENALTY_INVERSE = 3.0  # scikit-learn's C for rows of length 1, see `fit_reference_judge`
FOLDS = 5
LEAST_TEXTS = 50
"""Texts a set needs: with 50 on each side the interval of an AUC of .8 is about ± .09 (Hanley & McNeil 1982)."""
MOST_TEXTS = 20_000  # of each set; more are sampled by their hash
TELLING = 20  # words named on each side
SUSPICIOUS_AUC = 0.99
TRIVIAL_AUC = 0.9  # ours: a cue that reaches it alone is worth a warning

_STEP = np.uint64(0x9E3779B97F4A7C15)
_HASHES, _PLACES = types.uint64[::1], types.int64[::1]


class TellingWord(NamedTuple):
    """A word or pair of words and the share of the good and of the bad texts it stands in."""

    word: str
    good_share: float
    bad_share: float


class ReferenceFigures(NamedTuple):
    """What the judge is worth on texts it was not fitted on, near-identical ones left out together."""

    auc: Figure
    """That a good text scores above a bad one. The interval is over groups of near-identical texts; it does not cover the
    luck of the fits, so that between sets that do not differ the AUC spread 1.4 times as far (24 trials of 240 texts)."""
    length_auc: Figure
    """The same of the number of words alone, turned so that it is at least .5."""
    length_is_good: bool
    """Whether the good texts are the longer ones."""
    brier: Figure
    reliability: Reliability
    good: int
    """Texts of the good set that were fitted on."""
    bad: int
    groups: int
    """Groups of near-identical texts among both."""
    left_out: int = 0
    """Texts that stand in both sets, word for word."""
    unread: int = 0
    """Texts above `most_texts` a set."""
    good_words: tuple[TellingWord, ...] = ()
    """The most telling words and pairs for good, most telling first."""
    bad_words: tuple[TellingWord, ...] = ()
    warnings: tuple[str, ...] = ()
    """Sentences for the page; empty where nothing is suspicious."""


class ReferenceJudge(NamedTuple):
    """A calibrated linear model over hashed words and pairs: how like the good set a text is, 0 to 1.

    A score is the probability that the text is of the good set, were both equally common. It is no better than the
    sets: what tells them apart by accident (topic, format, length, language) counts as quality.
    """

    revision: str
    """12 hexadecimal digits of the training texts, their groups and the settings."""
    weights: np.ndarray
    """float64[FEATURES]."""
    intercept: float
    slope: float
    offset: float
    figures: ReferenceFigures
    name: str = "reference"

    def score(self, texts: pa.Array | pa.ChunkedArray | Sequence[str]) -> np.ndarray:
        """How like the good set each text is, float64[n], 0 to 1; a text without a word gets what is left, .5 or so.

        Raises ValueError for a null text or one that is not valid UTF-8, TypeError for what are not strings.
        """
        margins = _features(_arrow(texts)) @ self.weights + self.intercept
        return expit(self.slope * margins + self.offset)


def fit_reference_judge(
    good: pa.Array | pa.ChunkedArray | Sequence[str],
    bad: pa.Array | pa.ChunkedArray | Sequence[str],
    *,
    good_groups: np.ndarray | None = None,
    bad_groups: np.ndarray | None = None,
    most_texts: int = MOST_TEXTS,
    seed: int = 0,
) -> ReferenceJudge:
    """Fit the judge on texts the user calls good and texts the user calls bad, in any order.

    Logistic regression with an L2 penalty over log(1 + occurrences) of words and pairs, each text's row scaled to
    length 1, classes weighted to equal shares; C = 3 (of .1 to 1,000 never more than .012 below the best AUC on three
    pairs of sets, 250 to 9,400 texts). Slope and offset are Platt's (1999), fitted to the cross-validated margins; the
    Brier score and the curve shown are of these, two parameters fitted to all.

    Folds keep near-identical texts together (Jaccard of 5-word shingles ≥ .7), and the members of a group where
    `good_groups` and `bad_groups` name one, say the file. Texts in both sets contradict themselves and are left out.

    Raises:
        ValueError: a set has fewer than 50 texts, or fewer groups than folds; a text is null.
        TypeError: texts are not strings.

    """
    sets = [_arrow(good), _arrow(bad)]
    texts = pa.concat_arrays([chunk for found in sets for chunk in found.chunks])
    is_good = np.repeat([True, False], [len(found) for found in sets])
    named = _named_groups(good_groups, bad_groups, is_good)
    hashes = shingle(texts).word_hash
    keep, left_out, unread = _kept(hashes, is_good, most_texts, seed)
    texts, is_good, hashes = texts.take(pa.array(keep)), is_good[keep], hashes[keep]
    _refuse_small_sets(is_good, left_out)
    groups = _groups(texts, None if named is None else named[keep])
    rows = _features(texts)
    margins = _cross_validated(rows, is_good, groups, seed)
    balance = np.where(is_good, 0.5 / is_good.mean(), 0.5 / (1 - is_good.mean()))
    slope, offset = platt(margins, is_good, weights=balance)
    weights, intercept = _logistic_regression(rows, is_good)
    good_words, bad_words = _telling(texts, rows, is_good, weights)
    figures = _figures(texts, is_good, groups, margins, expit(slope * margins + offset))
    figures = figures._replace(left_out=left_out, unread=unread, good_words=good_words, bad_words=bad_words)
    figures = figures._replace(warnings=_warnings(figures))
    settings = {"features": FEATURES, "c": PENALTY_INVERSE, "seed": seed, "good": int(is_good.sum())}
    digest = hashlib.sha256(json.dumps(settings).encode() + hashes.tobytes() + groups.tobytes())
    return ReferenceJudge(digest.hexdigest()[:12], weights, intercept, slope, offset, figures)


def _arrow(texts: pa.Array | pa.ChunkedArray | Sequence[str]) -> pa.ChunkedArray:
    if isinstance(texts, pa.ChunkedArray):
        return texts.cast(pa.large_string())
    return pa.chunked_array([texts if isinstance(texts, pa.Array) else pa.array(texts)]).cast(pa.large_string())


def _named_groups(good: np.ndarray | None, bad: np.ndarray | None, is_good: np.ndarray) -> np.ndarray | None:
    """One group number a text, or None; the same name on both sides is one group."""
    if good is None and bad is None:
        return None
    if good is None or bad is None or len(good) + len(bad) != len(is_good):
        raise ValueError("fit_reference_judge needs a group for every text of both sets, or none at all.")
    return np.unique([*map(str, good), *map(str, bad)], return_inverse=True)[1]


def _kept(hashes: np.ndarray, is_good: np.ndarray, most_texts: int, seed: int) -> tuple[np.ndarray, int, int]:
    """The texts to fit on, ordered by class and hash, so that no order of the input shows; texts in both; texts unread."""
    single = hashes.view([("a", np.uint64), ("b", np.uint64)]).ravel()
    is_in_both = np.isin(single, np.intersect1d(single[is_good], single[~is_good]))
    draws = uniforms(hashes[:, 0], seed)
    keep = []
    for wanted in (is_good, ~is_good):
        candidates = np.flatnonzero(wanted & ~is_in_both)
        chosen = candidates[np.argsort(draws[candidates], kind="stable")][:most_texts]
        keep.append(chosen[np.lexsort((hashes[chosen, 1], hashes[chosen, 0]))])
    kept = np.concatenate(keep)
    return kept, int(is_in_both.sum()), len(hashes) - int(is_in_both.sum()) - len(kept)


def _refuse_small_sets(is_good: np.ndarray, left_out: int) -> None:
    for name, count in (("good", is_good.sum()), ("bad", (~is_good).sum())):
        if count < LEAST_TEXTS:
            beside = f" besides {left_out} texts that stand in both sets" if left_out else ""
            raise ValueError(
                f"The reference judge got {count} {name} texts{beside} and needs at least {LEAST_TEXTS} of each kind. "
                f"Name more {name} texts, or use the embedded judge, which needs none."
            )


def _groups(texts: pa.Array, named: np.ndarray | None) -> np.ndarray:
    """A number per text, the same for near-identical texts and for those of one named group."""
    n = len(texts)
    links = [duplicates(texts, np.arange(n)).select("record", "matched")]
    if named is not None:
        _, first, inverse = np.unique(named, return_index=True, return_inverse=True)
        links.append(pl.DataFrame({"record": np.arange(n), "matched": first[inverse]}))
    return connected_components(pl.concat(links), n)


def _features(texts: pa.Array | pa.ChunkedArray) -> csr_array:
    """Rows of length 1 over the buckets: log(1 + occurrences) of each word and pair; float64[n, FEATURES]."""
    parts = []
    for part in words(texts):
        buckets = _buckets(part.hashes, part.offsets)
        is_one = buckets >= 0
        ends = np.concatenate([[0], np.cumsum(is_one)])[2 * part.offsets]
        shape = (len(part.offsets) - 1, FEATURES)
        rows = csr_array((np.ones(int(ends[-1])), buckets[is_one], ends), shape=shape)
        rows.sum_duplicates()
        rows.data = np.log1p(rows.data)
        lengths = np.sqrt(rows.multiply(rows).sum(axis=1))
        rows.data /= np.repeat(np.maximum(lengths, 1e-300), np.diff(rows.indptr))
        parts.append(rows)
    return vstack(parts, format="csr") if parts else csr_array((0, FEATURES))


@njit(types.int32[::1](_HASHES, _PLACES), cache=True, nogil=True)
def _buckets(hashes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """For word k at 2k its bucket and at 2k + 1 that of it with the word before, -1 for a text's first."""
    buckets = np.empty(2 * len(hashes), np.int32)
    for text in range(len(offsets) - 1):
        for at in range(offsets[text], offsets[text + 1]):
            buckets[2 * at] = np.int32(hashes[at] & np.uint64(FEATURES - 1))
            buckets[2 * at + 1] = -1
            if at > offsets[text]:
                pair = mixed(hashes[at - 1] * _STEP ^ hashes[at])
                buckets[2 * at + 1] = np.int32(pair & np.uint64(FEATURES - 1))
    return buckets


def _logistic_regression(rows: csr_array, is_good: np.ndarray) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import LogisticRegression

    used = np.unique(rows.indices)  # most columns are empty
    columns, ends = np.searchsorted(used, rows.indices).astype(np.int32), rows.indptr.astype(np.int32)
    narrow = csr_array((rows.data, columns, ends), shape=(rows.shape[0], len(used)))
    # Dual coordinate descent (Yu, Huang & Lin 2011): 60 times as fast as L-BFGS here, and no other AUC to the third digit.
    model = LogisticRegression(
        C=PENALTY_INVERSE,
        class_weight="balanced",
        solver="liblinear",
        dual=True,
        random_state=0,
        tol=0.01,
        max_iter=500,
    )
    model.fit(narrow, is_good)
    weights = np.zeros(FEATURES)
    weights[used] = model.coef_[0]
    return weights, float(model.intercept_[0])


def _cross_validated(rows: csr_array, is_good: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Each text's margin by a fit without its fold, float64[n]."""
    from sklearn.model_selection import StratifiedGroupKFold

    of_class = [len(np.unique(groups[is_good == side])) for side in (True, False)]
    if min(of_class) < FOLDS:
        raise ValueError(
            f"The reference judge's good texts fall into {of_class[0]} groups of near-identical texts and the bad ones "
            f"into {of_class[1]}; it needs {FOLDS} of each to be tested. Name more varied texts or finer groups."
        )
    margins = np.empty(len(is_good))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(np.zeros(len(is_good)), is_good, groups):
        margins[test] = rows[test] @ (fitted := _logistic_regression(rows[train], is_good[train]))[0] + fitted[1]
    return margins


def _figures(
    texts: pa.Array, is_good: np.ndarray, groups: np.ndarray, margins: np.ndarray, p: np.ndarray
) -> ReferenceFigures:
    balance = np.where(is_good, 0.5 / is_good.mean(), 0.5 / (1 - is_good.mean()))
    counts = np.concatenate([np.diff(part.offsets) for part in words(texts)])
    length = auc(counts, is_good, groups=groups)
    length_is_good = length.value >= 0.5
    if not length_is_good:
        length = Figure(1 - length.value, 1 - length.high, 1 - length.low, length.n)
    return ReferenceFigures(
        auc=auc(margins, is_good, groups=groups),
        length_auc=length,
        length_is_good=length_is_good,
        brier=mean((p - is_good) ** 2, weights=balance),
        reliability=reliability(p, is_good, weights=balance),
        good=int(is_good.sum()),
        bad=int((~is_good).sum()),
        groups=len(np.unique(groups)),
    )


def _telling(
    texts: pa.Array, rows: csr_array, is_good: np.ndarray, weights: np.ndarray
) -> list[tuple[TellingWord, ...]]:
    """The words and pairs that part the sets most, for good and for bad: weight × difference of the sets' mean rows."""
    difference = rows[is_good].mean(axis=0) - rows[~is_good].mean(axis=0)
    part = weights * difference
    present = [np.bincount(rows[side].indices, minlength=FEATURES) / side.sum() for side in (is_good, ~is_good)]
    sides = [np.argsort(-np.where(weights * sign > 0, part, 0), kind="stable")[:TELLING] for sign in (1, -1)]
    names = _names(texts, np.concatenate(sides))
    return [
        tuple(
            TellingWord(names[bucket], float(present[0][bucket]), float(present[1][bucket]))
            for bucket in side.tolist()
            if part[bucket] > 0 and bucket in names
        )
        for side in sides
    ]


def _names(texts: pa.Array, buckets: np.ndarray) -> dict[int, str]:
    """The word or pair that is most often met in each of a few buckets."""
    met: dict[int, Counter[str]] = {int(bucket): Counter() for bucket in buckets}
    for part in words(texts):
        found = _buckets(part.hashes, part.offsets)
        bounds = np.concatenate([[0], part.ends])
        places = np.flatnonzero(np.isin(found, buckets))
        for place in places[:: max(1, len(places) // 20_000)].tolist():  # enough to tell which is the most frequent
            word = place // 2
            span = [word - 1, word] if place % 2 else [word]
            spelled = [part.data[bounds[w] : bounds[w + 1]].tobytes().decode() for w in span]
            met[int(found[place])][" ".join(spelled)] += 1
    return {bucket: counts.most_common(1)[0][0] for bucket, counts in met.items() if counts}


def _warnings(figures: ReferenceFigures) -> tuple[str, ...]:
    found = []
    if figures.auc.low <= 0.5:
        found.append(
            f"The judge does not tell the sets apart: AUC {figures.auc.value:.2f} "
            f"[{figures.auc.low:.2f}, {figures.auc.high:.2f}]. Its scores mean nothing."
        )
    if figures.auc.value > SUSPICIOUS_AUC:
        found.append(
            f"The sets are told apart almost without error (AUC {figures.auc.value:.3f}). Unless good and bad really "
            "differ that much, something trivial does it (a template, a source, a language): see the telling words."
        )
    if figures.length_auc.value >= TRIVIAL_AUC:
        longer = "good" if figures.length_is_good else "bad"
        found.append(
            f"Length alone gives AUC {figures.length_auc.value:.2f}: the {longer} texts are the longer ones. Cut both "
            "sets to like lengths if length is not what you mean."
        )
    for word in [*figures.good_words, *figures.bad_words]:
        alone = 0.5 + abs(word.good_share - word.bad_share) / 2
        if alone >= TRIVIAL_AUC:
            found.append(
                f"'{word.word}' alone gives AUC {alone:.2f}: it stands in {word.good_share:.0%} of the good and "
                f"{word.bad_share:.0%} of the bad texts. Remove it from the texts if it is no sign of quality."
            )
    if figures.left_out:
        found.append(f"{figures.left_out} texts stand word for word in both sets and were left out.")
    return tuple(found)
