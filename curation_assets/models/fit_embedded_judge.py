"""Fit the embedded judge: `python -m curation_assets.models.fit_embedded_judge` writes embedded_judge.json beside this file.

It needs no labels and no network. Good text is the prose of Python's own documentation; bad text is made from the same
words, so that form tells them apart and not the topic: menus, link and price lists, keyword spam, cut-off teasers, forum
and blog furniture, shuffled or repeated sentences, text that lost its function words, tables of figures, shouting. Good
texts have a little furniture too, bad ones some prose. The mix was designed from what web pages look like and from what
the rules of Gopher and FineWeb are after. No labelled page is fitted to; labelled pages were looked at to check it.

The figures in the JSON are cross-validated on that mix (folds by paragraph of origin, so no prose is on both sides).
They say that the fit worked, not how good the judge is on your text. The same Python gives the same texts; another
version's documentation gives slightly others, which is why the coefficients are kept and not fitted on installation.
"""

import ast
import hashlib
import json
import pydoc_data.topics
import random
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl

from curation_assets.algorithms.signals import text_signals
from curation_assets.models.embedders import SentenceTransformerEmbedder
from curation_assets.models.judges import COEFFICIENTS, standardise
from curation_assets.progress import logger
from curation_assets.tables import tables

SEED = 20_240_601
TEXTS = 3_000
FOLDS = 5
PENALTY = 0.1  # L2, on the mean log loss

# signal, transform, the sign its weight may have (+1: more is better, -1: more is worse), does it presuppose English (or at least
# an alphabet with capitals)? The signs are knowledge the synthetic mix can't overrule with its accidents.
SIGNALS = (
    ("words", "log", 1, False),
    ("alpha_word_ratio", "none", 1, False),
    ("stop_words", "none", 1, True),
    ("stop_word_ratio", "none", 1, True),
    ("hash_symbol_ratio", "sqrt", -1, False),
    ("ellipsis_ratio", "sqrt", -1, False),
    ("ellipsis_line_ratio", "sqrt", -1, False),
    ("bullet_line_ratio", "sqrt", -1, False),
    ("short_line_ratio", "none", -1, False),
    ("terminal_punctuation_line_ratio", "none", 1, False),
    ("mean_line_chars", "log", 1, False),
    ("newline_word_ratio", "sqrt", -1, False),
    ("duplicate_line_ratio", "sqrt", -1, False),
    ("top_2gram_char_ratio", "sqrt", -1, False),
    ("duplicate_5gram_char_ratio", "sqrt", -1, False),
    ("capitalized_word_ratio", "sqrt", -1, True),
    ("upper_case_ratio", "sqrt", -1, True),
    ("digit_ratio", "sqrt", -1, False),
    ("punctuation_ratio", "sqrt", -1, False),
    ("exclamation_ratio", "sqrt", -1, False),
    ("url_ratio", "sqrt", -1, False),
)


def documentation() -> list[str]:
    """The texts every Python carries: the language reference of `help()` and the docstrings of the standard library."""
    texts = list(pydoc_data.topics.topics.values())
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        if {"site-packages", "test", "tests", "idle_test"} & set(path.parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue  # files that are broken on purpose
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        texts += [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    return texts


def clean_paragraphs(texts: Iterable[str]) -> list[str]:
    """The paragraphs of whole sentences, at least 25 words each; sorted, unique.

    >>> clean_paragraphs(["A heading", "Too short."])
    []
    """
    paragraphs = {" ".join(paragraph.split()) for text in texts for paragraph in re.split(r"\n\s*\n", text)}
    return sorted(paragraph for paragraph in paragraphs if _is_prose(paragraph))


def _is_prose(paragraph: str) -> bool:
    is_sentence = paragraph[:1].isupper() and paragraph[-1:] in ".!?"
    return is_sentence and len(paragraph.split()) >= 25 and not re.search(r">>>|::|\||=\s*\w+\(", paragraph)


def _phrase(draw: random.Random, words: list[str], low: int, high: int) -> str:
    return " ".join(draw.choice(words) for _ in range(draw.randint(low, high)))


def _menu(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    fixed = [
        "Home",
        "About Us",
        "Contact",
        "Login",
        "Privacy Policy",
        "Search",
        "Next",
        "Terms of Use",
        "FAQ",
        "Subscribe",
    ]
    entries = [
        draw.choice(fixed) if draw.random() < 0.4 else _phrase(draw, words, 1, 3).title()
        for _ in range(draw.randint(4, 20))
    ]
    return [draw.choice([" | ", " > ", " "]).join(entries)] if draw.random() < 0.3 else entries


def _prices(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    wordings = (
        "{} - ${}.99",
        "{} (Size {}) Add to cart",
        "{}: {} in stock",
        "{} Model #{} Free shipping!",
        "SKU {} {}",
    )
    return [
        draw.choice(wordings).format(_phrase(draw, words, 1, 5).title(), draw.randint(1, 2000))
        for _ in range(draw.randint(2, 10))
    ]


def _keywords(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    few = [draw.choice(words) for _ in range(draw.randint(4, 12))]
    joint = draw.choice([", ", " ", " - ", ","])
    return [joint.join(_phrase(draw, few, 1, 3) for _ in range(draw.randint(8, 60)))]


def _teasers(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    tokens = paragraph.split()
    lines = []
    for _ in range(draw.randint(1, 5)):
        start = draw.randrange(max(1, len(tokens) - 12))
        lines.append(
            " ".join(tokens[start : start + draw.randint(6, 25)])
            + draw.choice(["...", "…", " [...]", "", " Read more"])
        )
    return lines


def _furniture(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    name = _phrase(draw, words, 1, 2).title()
    day = f"{draw.choice(['January', 'March', 'June', 'October'])} {draw.randint(1, 28)}, {draw.randint(1999, 2023)}"
    lines = [
        f"Posted by {name} on {day} at {draw.randint(1, 12)}:{draw.randint(10, 59)} PM",
        "No comments:",
        "Post a Comment",
        f"{draw.randint(2, 90)} Comments",
        f"Joined: {day}",
        f"Posts: {draw.randint(1, 9000)}",
        f"Location: {name}",
        "Reply",
        "Share this",
        "Email Print",
        f"Tags: {_phrase(draw, words, 2, 6)}",
        f"Copyright © {draw.randint(1999, 2023)} {name}. All rights reserved.",
        "You must be logged in to post",
        f"Page {draw.randint(1, 9)} of {draw.randint(9, 99)}",
        f"Views: {draw.randint(10, 99999)}",
        f"http://www.{name.lower().replace(' ', '')}.com/{draw.randint(1, 999)}",
        f"« {name} | Main | {_phrase(draw, words, 1, 3)} »",
        "Thanks!",
        f"{name} said...",
        "Last edited by",
        f"By {name}",
        "Click here",
        "Loading...",
    ]
    return draw.sample(lines, draw.randint(2, 9))


def _table(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    columns, joint = draw.randint(2, 6), draw.choice([" ", " | ", "\t", ", "])
    rows = draw.randint(3, 14)
    return [
        joint.join(
            [
                _phrase(draw, words, 1, 2).title(),
                *(f"{draw.random() * 500:.{draw.randint(0, 2)}f}" for _ in range(columns)),
            ]
        )
        for _ in range(rows)
    ]


def _shuffled(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    tokens = paragraph.split()
    draw.shuffle(tokens)
    return [" ".join(tokens)]


def _clipped(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    """Machine-made or badly translated text loses the small words."""
    tokens = [token for token in paragraph.split() if len(token) > 4 or draw.random() < 0.35]
    return [" ".join(tokens)]


def _repeated(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    sentence = draw.choice(re.split(r"(?<=[.!?]) ", paragraph))
    times = draw.randint(2, 6)
    return [sentence] * times if draw.random() < 0.5 else [" ".join([sentence] * times)]


def _shouting(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    sentences = re.split(r"(?<=[.!?]) ", paragraph)[: draw.randint(1, 3)]
    return [
        f"{sentence.rstrip('.').upper() if draw.random() < 0.6 else sentence.rstrip('.').title()}{'!' * draw.randint(0, 3)}"
        for sentence in sentences
    ]


def _links(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    return [
        f"http://{_phrase(draw, words, 1, 1).lower()}.com/{_phrase(draw, words, 1, 1).lower()}?id={draw.randint(1, 9999)}"
        for _ in range(draw.randint(2, 8))
    ]


def _hard_wrapped(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    """Broken extraction: a line ends wherever a tag stood."""
    tokens, lines = paragraph.split(), []
    while tokens:
        size = draw.randint(1, 9)
        lines.append(" ".join(tokens[:size]))
        tokens = tokens[size:]
    return lines


def synthetic_texts(paragraphs: list[str], seed: int = SEED, texts: int = TEXTS) -> pl.DataFrame:
    """`texts` rows of text, is_good (half each) and origin, the fold-safe group of the paragraphs it was made from.

    Good: two to thirty paragraphs of prose, in four of ten with a little furniture (a title, a byline, a short list).
    Bad: junk, with up to three paragraphs of prose in every other text; or one lone fragment of prose.
    """
    draw = random.Random(seed)
    words = sorted({word for paragraph in paragraphs for word in re.findall(r"[A-Za-z]{4,12}", paragraph)})
    groups = [paragraphs[start::40] for start in range(40)]
    rows = []
    for i in range(texts):
        origin = draw.randrange(len(groups))
        blocks = (_good if i % 2 == 0 else _bad)(draw, words, groups[origin])
        rows.append(
            {"text": "\n".join(line for block in blocks for line in block), "is_good": i % 2 == 0, "origin": origin}
        )
    return pl.DataFrame(rows)


def _good(draw: random.Random, words: list[str], pool: list[str]) -> list[list[str]]:
    blocks = [
        [_named(draw, words, paragraph)]
        for paragraph in draw.sample(pool, min(len(pool), 1 + int(draw.lognormvariate(1.2, 0.8))))
    ]
    if draw.random() < 0.3:
        blocks = [[" ".join(line for block in blocks for line in block)]]
    if draw.random() < 0.5:
        blocks.insert(0, [_phrase(draw, words, 2, 7).title()])
    if draw.random() < 0.4:
        blocks.insert(draw.randrange(len(blocks) + 1), _furniture(draw, words, draw.choice(pool))[: draw.randint(1, 4)])
    if draw.random() < 0.15:
        blocks.insert(draw.randrange(len(blocks) + 1), _bullets(draw, words, ""))
    return blocks


def _bad(draw: random.Random, words: list[str], pool: list[str]) -> list[list[str]]:
    shape = draw.random()
    if shape < 0.1:
        return [[_cut(draw, draw.choice(pool))]]
    kinds = draw.choices(JUNK, JUNK_WEIGHTS, k=1 + int(draw.lognormvariate(0.3, 0.6)))
    blocks = [kind(draw, words, draw.choice(pool)) for kind in kinds]
    if shape < 0.7:
        for paragraph in draw.sample(pool, draw.randint(1, 3)):
            prose = _named(draw, words, paragraph)
            blocks.insert(draw.randrange(len(blocks) + 1), [prose if draw.random() < 0.5 else _cut(draw, prose)])
    return blocks


def _named(draw: random.Random, words: list[str], paragraph: str) -> str:
    """People and places: technical prose has fewer capitals than most, up to one word in sixteen becomes a name."""
    share = draw.random() / 16
    return " ".join(draw.choice(words).title() if draw.random() < share else token for token in paragraph.split())


def _bullets(draw: random.Random, words: list[str], paragraph: str) -> list[str]:
    mark = draw.choice(["- ", "• ", "* "])
    return [mark + _phrase(draw, words, 1, 8) for _ in range(draw.randint(2, 8))]


def _cut(draw: random.Random, paragraph: str) -> str:
    tokens = paragraph.split()
    return " ".join(tokens[: draw.randint(5, 30)])


JUNK: tuple[Callable[[random.Random, list[str], str], list[str]], ...] = (
    _menu, _prices, _keywords, _teasers, _furniture, _table, _shuffled, _clipped, _repeated, _shouting, _links, _hard_wrapped, _bullets,
)  # fmt: skip
# How often each occurs in bad text: furniture, teasers, menus and shouting are what most poor web pages are made of.
JUNK_WEIGHTS = (3, 2, 2, 4, 8, 1, 1, 1, 1, 3, 1, 1, 1)


def measure(texts: pl.Series) -> pl.DataFrame:
    """The signals of texts, one row each in order, as the graph's own filtered.signals measures them."""
    import duckdb

    records = pl.DataFrame({"record_id": pl.int_range(len(texts), eager=True), "text": texts})
    incoming = records.select("record_id").hstack(text_signals(texts)).to_arrow()
    with duckdb.connect(":memory:") as connection:
        connection.execute("create schema deduped")
        connection.register("incoming", incoming)
        connection.register("texts", records.to_arrow())
        connection.execute("create table deduped.records as select *, '' as text_hash from texts")
        return connection.sql(tables()["filtered.signals"].sql).pl().sort("record_id")


def fit(texts: pl.DataFrame, embeddings: np.ndarray) -> dict:
    """Fit both sets of coefficients; the returned dict is what embedded_judge.json holds."""
    signals = measure(texts["text"])
    features = [_feature(signals, signal, transform, is_english) for signal, transform, _, is_english in SIGNALS]
    inputs = standardise(signals, features)
    is_good, origin = texts["is_good"].to_numpy(), texts["origin"].to_numpy()
    signs = np.array([sign for _, _, sign, _ in SIGNALS])
    by_signals = _fit_and_calibrate(inputs, is_good, origin, signs)
    # An embedding knows the topic as well as the form. Under this penalty it has hardly a say; with more of a say the
    # synthetic texts are told apart better and labelled web pages worse.
    signs = np.concatenate([signs, np.zeros(embeddings.shape[1], dtype=int)])
    by_both = _fit_and_calibrate(np.hstack([inputs, embeddings]), is_good, origin, signs)
    figures = {
        "texts": len(texts),
        "good_share": round(float(is_good.mean()), 4),
        "cross_validated_auc_signals": by_signals.pop("auc"),
        "cross_validated_auc_signals_and_embedding": by_both.pop("auc"),
        "cross_validated_brier_signals": by_signals.pop("brier"),
        "cross_validated_brier_signals_and_embedding": by_both.pop("brier"),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "seed": SEED,
    }
    model = {"features": features, "signals": by_signals, "signals_and_embedding": by_both, "figures": figures}
    digest = hashlib.sha256(json.dumps(model, sort_keys=True).encode()).hexdigest()
    return {"revision": digest[:12], **model}


def _feature(signals: pl.DataFrame, signal: str, transform: str, is_english: bool) -> dict:
    unscaled = {"signal": signal, "transform": transform, "low": -np.inf, "high": np.inf, "mean": 0.0, "deviation": 1.0}
    values = standardise(signals.filter(pl.col(signal).is_not_null()), [{**unscaled, "is_english": False}])[:, 0]
    low, high = np.quantile(values, [0.01, 0.99])
    clipped = np.clip(values, low, high)
    rounded = {"low": low, "high": high, "mean": clipped.mean(), "deviation": max(clipped.std(), 1e-3)}
    return {**unscaled, **{name: round(float(value), 5) for name, value in rounded.items()}, "is_english": is_english}


def _fit_and_calibrate(inputs: np.ndarray, is_good: np.ndarray, origin: np.ndarray, signs: np.ndarray) -> dict:
    """Weights, intercept, Platt's parameters from out-of-fold margins (Platt 1999), and the cross-validated figures."""
    from sklearn.metrics import brier_score_loss, roc_auc_score
    from sklearn.model_selection import GroupKFold

    margins = np.empty(len(is_good))
    for train, test in GroupKFold(FOLDS).split(inputs, is_good, origin):
        weights, intercept = _logistic(inputs[train], is_good[train], signs)
        margins[test] = inputs[test] @ weights + intercept
    slope, offset = _logistic(margins[:, None], is_good, np.array([1]), penalty=0.0)
    calibrated = 1 / (1 + np.exp(-(slope[0] * margins + offset)))
    weights, intercept = _logistic(inputs, is_good, signs)
    return {
        "weights": [round(float(weight), 5) for weight in weights],
        "intercept": round(intercept, 5),
        "platt_slope": round(float(slope[0]), 5),
        "platt_intercept": round(offset, 5),
        "auc": round(float(roc_auc_score(is_good, margins)), 4),
        "brier": round(float(brier_score_loss(is_good, calibrated)), 4),
    }


def _logistic(
    inputs: np.ndarray, is_good: np.ndarray, signs: np.ndarray, penalty: float = PENALTY
) -> tuple[np.ndarray, float]:
    """L2-penalised logistic regression whose weights keep to their signs (0: either): weights and intercept."""
    from scipy.optimize import minimize

    target = np.where(is_good, 1.0, -1.0)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, intercept = parameters[:-1], parameters[-1]
        margin = target * (inputs @ weights + intercept)
        slope = -target / (1 + np.exp(np.clip(margin, -500, 500))) / len(target)
        value = np.logaddexp(0, -margin).mean() + penalty / 2 * weights @ weights
        return value, np.append(slope @ inputs + penalty * weights, slope.sum())

    bounds = [(0 if sign > 0 else None, 0 if sign < 0 else None) for sign in signs] + [(None, None)]
    found = minimize(
        loss, np.zeros(inputs.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000}
    )
    return found.x[:-1], float(found.x[-1])


def main() -> None:
    """Make the texts, fit, and write the coefficients."""
    texts = synthetic_texts(clean_paragraphs(documentation()))
    embeddings = SentenceTransformerEmbedder().embed(texts["text"].to_list())
    model = fit(texts, embeddings)
    COEFFICIENTS.write_text(json.dumps(model, indent=1) + "\n", encoding="utf-8")
    logger.info("Embedded judge %s written: %s", model["revision"], model["figures"])


if __name__ == "__main__":
    main()
