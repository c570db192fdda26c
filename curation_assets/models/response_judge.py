"""The response judge: does a response answer its request? Learned from a corpus's own pairs, without anybody's labels.

A score is the product of two probabilities:

1. That the pair belongs together and is whole. A gradient-boosted classifier (Friedman 2001; scikit-learn's) learns the
   corpus's pairs from bad ones planted among them: the responses of other requests and of near ones, responses cut
   off, said twice, or repeating the request (`algorithms/response_features.py`). That one can learn from one's own
   pairs against those of others is the idea of next sentence prediction (Devlin et al. 2018, arXiv 1810.04805,
   section 3.1) and of contrastive learning. Good and bad weigh the same, and so does each kind of bad.
2. That nothing is wrong in what the response says beyond its request: .99 to the power of its new words. What the
   request gives can be looked up there; what a writer adds can be made up. That answers written by language models err
   at a rate per fact stated is what FActScore found (Min et al. 2023, arXiv 2305.14251, section 3); that a response's
   words not in its source are where it errs, Maynez et al. 2020 (arXiv 2005.00661, section 5) for summaries. The rate
   is ours, chosen from three on half of Alpaca's rows: one new word in a hundred.

So of two responses that belong to their requests the one that adds less is preferred: translations, corrections,
classifications and short facts before essays and stories. Who trains on long answers on purpose (Zhao et al. 2024, arXiv
2402.04833, found the longest of Alpaca's to train well) should give such a score no weight. No fact is checked, no sum is done.

Measured on 9,225 of Alpaca: AUC .586 [.566, .606] for the 935 that a strong model had marked 4.5 of 5 or better (.587
[.556, .615] on the half that took no part in choosing the method); among responses of about one length .545. Shortness alone gets .62.
Own responses are told from others' with AUC .93, from near ones' .86, from cut-off ones .88, from repeated ones .99. Of
4,000 short Korean exchanges, which share few words, from others' .66. Tables and markup that repeat themselves are taken for repetition.
"""

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from curation_assets.algorithms.calibration import Figure, auc
from curation_assets.algorithms.response_features import (
    PLANTED,
    inverse_document_frequencies,
    planted_responses,
    response_features,
)

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

VERSION = "1"
"""Part of the revision: what a score means beyond the pairs it was learned from."""

LEAST_PAIRS = 50
"""Ours: the classifier's leaves hold at least 20 pairs. Swapped responses were told apart with AUC .88, .90 and .92 by judges
fitted on 100, 200 and 400 pairs of Alpaca, with .78 by one fitted on 83 human-written tasks."""

MOST_PAIRS = 10_000
"""Pairs a judge is fitted on: bounds the cosines at 10,000 × 10,000. More are sampled by record hash."""

ERROR_PER_NEW_WORD = 0.01

MOST_MEASURED = 2_000
"""Pairs of the other half that the figures are measured on."""


class ResponseJudge(NamedTuple):
    """A fitted judge: the same pairs in the same order give the same one."""

    revision: str
    """Twelve hex digits over what it was fitted on."""
    weights: np.ndarray
    """float64[BUCKETS]: the words' inverse document frequencies."""
    endings: pl.DataFrame
    """ending, log_odds: for each last character, how much more often responses end in it than those cut off do."""
    classifier: "HistGradientBoostingClassifier | None"
    """None where nothing could be planted: then all pairs are taken to belong together."""

    def score(self, requests: pl.Series, responses: pl.Series) -> np.ndarray:
        """Score each response to the request beside it: float64[n], 0 (bad) to 1 (good).

        Raises ValueError where they are not as many, or one is null.
        """
        _require_pairs(requests, responses)
        inputs, new_words = _inputs(requests, responses, self.weights, self.endings)
        belongs = np.ones(len(inputs))
        if self.classifier is not None and len(inputs):
            with threadpool_limits(1):
                belongs = self.classifier.predict_proba(inputs)[:, 1]
        return belongs * (1 - ERROR_PER_NEW_WORD) ** new_words


def fit_response_judge(
    requests: pl.Series, responses: pl.Series, vectors: np.ndarray, draw_hashes: np.ndarray, *, seed: int = 0
) -> ResponseJudge:
    """Learn from n pairs of texts, their embeddings (float32[n, d], unit rows) and hashes (uint64[n]); score others.

    Raises:
        ValueError: there are fewer than `LEAST_PAIRS`, a text is null, or the arguments are not as many.

    """
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
    )  # takes a second, which a start of the graph need not wait

    _require_pairs(requests, responses)
    if not len(requests) == len(vectors) == len(draw_hashes):
        raise ValueError(f"Got {len(requests)} pairs, {len(vectors)} vectors and {len(draw_hashes)} hashes.")
    if len(requests) < LEAST_PAIRS:
        raise ValueError(f"The response judge learns from {LEAST_PAIRS} pairs or more, got {len(requests)}.")
    planted = list(planted_responses(requests, responses, vectors, draw_hashes, seed=seed))
    weights = inverse_document_frequencies(requests, responses)
    cut = next(bad for kind, _, bad in planted if kind == "cut off")
    endings = _endings(responses, cut)
    parts = [_inputs(requests, responses, weights, endings)[0]]
    shares = [np.ones(len(requests))]
    for _, rows, bad in planted:
        parts.append(_inputs(requests.gather(rows), bad, weights, endings)[0])
        shares.append(np.full(len(rows), len(requests) / len(PLANTED) / max(len(rows), 1)))
    inputs, is_own = np.vstack(parts), np.arange(sum(map(len, parts))) < len(requests)
    digest = hashlib.sha256(f"{VERSION} {seed}".encode() + inputs.tobytes()).hexdigest()
    if is_own.all():
        return ResponseJudge(digest[:12], weights, endings, None)
    classifier = HistGradientBoostingClassifier(max_iter=100, max_depth=4, early_stopping=False, random_state=seed)
    with threadpool_limits(
        1
    ):  # its steps are too small for more: threads that wait for one another cost more than they do
        classifier.fit(inputs, is_own, sample_weight=np.concatenate(shares))
    return ResponseJudge(digest[:12], weights, endings, classifier)


def figures(
    judge: ResponseJudge,
    requests: pl.Series,
    responses: pl.Series,
    vectors: np.ndarray,
    draw_hashes: np.ndarray,
    *,
    seed: int = 0,
) -> dict[str, Figure]:
    """How well the judge tells pairs it has not seen from bad ones planted among them: an AUC for each kind of bad."""
    few = np.argsort(draw_hashes, kind="stable")[:MOST_MEASURED]
    requests, responses = requests.gather(few), responses.gather(few)
    own, found = judge.score(requests, responses), {}
    for kind, rows, bad in planted_responses(requests, responses, vectors[few], draw_hashes[few], seed=seed):
        if len(rows):
            scores = np.concatenate([own[rows], judge.score(requests.gather(rows), bad)])
            found[kind] = auc(scores, np.arange(len(scores)) < len(rows), groups=np.tile(rows, 2))
    return found


def _require_pairs(requests: pl.Series, responses: pl.Series) -> None:
    if len(requests) != len(responses) or requests.null_count() or responses.null_count():
        raise ValueError(
            f"The response judge needs a response for every request, got {len(requests)} and {len(responses)}, "
            f"{requests.null_count()} and {responses.null_count()} of them null."
        )


def _endings(whole: pl.Series, cut: pl.Series) -> pl.DataFrame:
    """The log odds of each last character, one added to both counts so that the rare ones say little."""
    ends = pl.DataFrame(
        {"ending": pl.concat([_last(whole), _last(cut)]), "is_whole": [True] * len(whole) + [False] * len(cut)}
    )
    counted = ends.group_by("ending").agg(whole=pl.col("is_whole").sum(), cut=(~pl.col("is_whole")).sum())
    return counted.select("ending", log_odds=((pl.col("whole") + 1) / (pl.col("cut") + 1)).log()).sort("ending")


def _last(texts: pl.Series) -> pl.Series:
    return texts.str.strip_chars_end().str.slice(-1).rename("ending")


def _inputs(
    requests: pl.Series, responses: pl.Series, weights: np.ndarray, endings: pl.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """What the classifier sees, float64[n, 5], and the number of new words, float64[n]."""
    measured = response_features(requests, responses, weights)
    ended = _last(responses).to_frame().join(endings, on="ending", how="left", maintain_order="left")["log_odds"]
    return np.column_stack([measured[:, :-1], ended.fill_null(0.0).to_numpy()]), measured[:, -1]
