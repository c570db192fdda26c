"""Judges: each says how good a text is, from 0 to 1.

Here: the embedded default for prose, which needs neither network nor labels. How the default was fitted is in
`fit_embedded_judge.py`, its coefficients in `embedded_judge.json`. Whether a response answers its request is for
`response_judge.py`, the reference judge is in `reference_judge.py`, language models in `ask_llm.py`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

COEFFICIENTS = Path(__file__).with_name("embedded_judge.json")

TRANSFORMS = {
    "none": lambda values: values,
    "sqrt": lambda values: np.sqrt(np.maximum(values, 0)),
    "log": lambda values: np.log1p(np.maximum(values, 0)),
}
"""What a signal goes through before it is clipped and standardised: ratios near 0 need the root, counts the logarithm."""

ENGLISH_OR_UNKNOWN = ("en", "und")
"""Languages of Latin text (`filtered.signals.language`) in which the signals that presuppose English are read."""


class EmbeddedJudge:
    """A calibrated logistic regression over the signals of a text and, if given, its all-MiniLM-L6-v2 embedding.

    Good for: telling connected, well-formed English prose from menus, link and price lists, keyword spam, cut-off
    teasers, machine noise and template pages; ranking web documents; a first cut before a language model is asked. A
    score is the probability that a text is prose rather than such material *in the mix it was fitted on*: on your
    corpus it ranks, and is no percentage.

    Not for: whether a text is true, useful, original or harmless; style in other languages (there, what presupposes
    English counts as average, and layout and repetition decide); source code, poems, tables or dialogue, which it takes
    for noise; texts of a sentence or two, which it takes for fragments; instructions and their answers: on 9,225 of Alpaca
    its AUC for those a strong model had marked 4.5 of 5 or better is .400, below chance, as is that of their length, .364.
    These are for the response judge.

    Measured on 246 Common Crawl pages with human labels (DCLM, arXiv 2406.11794), none of which it was fitted on: AUC .887,
    and .967 on the 136 on which the raters agreed. It is too sure of itself in the middle: of pages scored .2-.4, .4-.6,
    .6-.8 and over .8 people found 12, 35, 46 and 83 % good. The embedding adds nothing there (.887).

    >>> judge = EmbeddedJudge()
    >>> judge.name
    'embedded'
    """

    name = "embedded"

    def __init__(self, coefficients: Path = COEFFICIENTS) -> None:
        """Load the coefficients. Raises FileNotFoundError if there are none: run `fit_embedded_judge` first."""
        model = json.loads(coefficients.read_text(encoding="utf-8"))
        self.revision: str = model["revision"]
        self.figures: dict[str, Any] = model["figures"]
        self._features: list[dict[str, Any]] = model["features"]
        self._with_signals: dict[str, Any] = model["signals"]
        self._with_embedding: dict[str, Any] = model["signals_and_embedding"]

    def score(self, signals: pl.DataFrame, embeddings: np.ndarray | None = None) -> np.ndarray:
        """Score one text per row of `signals`: float64[rows], 0 (bad) to 1 (good).

        `embeddings`: float[rows, 384], unit vectors of all-MiniLM-L6-v2, in the order of the rows; None scores by the
        signals alone. Columns the judge does not know are ignored.

        Raises:
            ValueError: a signal it needs is missing, or the embeddings have another shape.

        """
        inputs = standardise(signals, self._features)
        model = self._with_signals
        if embeddings is not None:
            model = self._with_embedding
            expected = (len(signals), len(model["weights"]) - len(self._features))
            if embeddings.shape != expected:
                raise ValueError(
                    f"The embedded judge knows all-MiniLM-L6-v2: it expected embeddings of shape {expected}, got "
                    f"{embeddings.shape}. Pass None to score by the signals alone."
                )
            inputs = np.hstack([inputs, embeddings])
        margin = inputs @ np.asarray(model["weights"]) + model["intercept"]
        return 1 / (1 + np.exp(-(model["platt_slope"] * margin + model["platt_intercept"])))


def standardise(signals: pl.DataFrame, features: list[dict[str, Any]]) -> np.ndarray:
    """Transform, clip and standardise signals: float64[rows, features], 0 where a signal says nothing.

    A null signal counts as average, and so does one that presupposes English where the language is another.
    A feature is a dict of signal, transform, low, high, mean, deviation and is_english.
    """
    missing = {"script", "language", *(feature["signal"] for feature in features)} - set(signals.columns)
    if missing:
        raise ValueError(f"The embedded judge needs the signals {sorted(missing)}; rebuild filtered.signals.")
    is_foreign = ~((signals["script"] == "Latin") & signals["language"].is_in(ENGLISH_OR_UNKNOWN)).to_numpy()
    inputs = np.empty((len(signals), len(features)))
    for column, feature in enumerate(features):
        values = TRANSFORMS[feature["transform"]](signals[feature["signal"]].cast(pl.Float64).to_numpy())
        inputs[:, column] = (np.clip(values, feature["low"], feature["high"]) - feature["mean"]) / feature["deviation"]
        if feature["is_english"]:
            inputs[is_foreign, column] = 0
    return np.nan_to_num(inputs, nan=0.0)
