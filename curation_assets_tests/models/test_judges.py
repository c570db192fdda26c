"""The embedded judge: what it must tell apart, what must not move it, and how it does on pages that people have labelled."""

import json
import pydoc_data.topics
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation_assets.models.fit_embedded_judge import SIGNALS, clean_paragraphs, fit, measure, synthetic_texts
from curation_assets.models.judges import COEFFICIENTS, EmbeddedJudge

WEB_QUALITY = Path(__file__).parents[3] / "shared" / "data" / "web_quality" / "dclm_quality_dev.jsonl"

PROSE = (
    "The ferry leaves the harbour twice a day and takes about two hours to reach the island. Most of the people who live "
    "there have a small boat of their own, but in winter the sea is often too rough for it. That is why the village keeps "
    "stores of flour, oil and paper, and why nobody is surprised when the post comes with a week's delay.\n"
    "Visitors in summer find a school with nine pupils, two shops and a library that is open to everyone who asks for the key. "
    "Its books were left by a retired captain, whose notes in the margins are worth reading too. He began them as a young man, "
    "when he had little to do in the long nights, and went on until his eyes failed him."
)
POOR = {
    "menu": "\n".join(
        ["Home", "About Us", "Ferry Times", "Harbour", "Island Shops", "Contact", "Login", "Privacy Policy"] * 2
    ),
    "keywords": "ferry, cheap ferry, island ferry tickets, best ferry, ferry deals, cheap island, ferry hotel " * 6,
    "prices": "\n".join(f"Harbour Print No. {n} - ${n}9.99 - Add to cart" for n in range(1, 12)),
    "repeated": "The ferry leaves the harbour twice a day.\n" * 12,
    "shouting": "BUY FERRY TICKETS NOW!!! BEST PRICE!!! CLICK HERE!!! " * 6,
    "teasers": "\n".join(f"The ferry leaves the harbour on day {n}... Read more" for n in range(8)),
}


@pytest.fixture(scope="module")
def judge() -> EmbeddedJudge:
    return EmbeddedJudge()


def test_prose_beats_every_kind_of_junk_and_the_middle_lies_between(judge):
    scores = judge.score(measure(pl.Series([PROSE, *POOR.values()])), None)
    assert scores.dtype == np.float64 and ((scores >= 0) & (scores <= 1)).all()
    assert scores[0] > 0.8
    assert dict(zip(POOR, scores[1:], strict=True)) == {kind: pytest.approx(0.15, abs=0.15) for kind in POOR}


def test_order_and_company_do_not_change_a_score(judge):
    signals = measure(pl.Series([PROSE, *POOR.values()]))
    alone = np.concatenate([judge.score(signals[row], None) for row in range(len(signals))])
    np.testing.assert_allclose(judge.score(signals.reverse(), None)[::-1], alone, rtol=1e-12)
    assert judge.score(signals[:0], None).shape == (0,)


def test_what_presupposes_english_does_not_move_other_languages(judge):
    signals = measure(pl.Series([PROSE])).with_columns(language=pl.lit("ko"), script=pl.lit("Hangul"))
    shares = ["stop_words", "stop_word_ratio", "capitalized_word_ratio", "upper_case_ratio"]
    assert set(shares) == {signal for signal, _, _, is_english in SIGNALS if is_english}
    without = signals.with_columns(pl.lit(0).alias(name) for name in shares)
    assert judge.score(signals, None) == judge.score(without, None)
    english = pl.lit("en").alias("language"), pl.lit("Latin").alias("script")
    assert judge.score(without.with_columns(english), None) < judge.score(signals.with_columns(english), None) - 0.1


def test_a_text_without_words_or_lines_still_gets_a_number(judge):
    scores = judge.score(measure(pl.Series(["", "?!", "안녕"])), None)
    assert np.isfinite(scores).all()


def test_more_of_what_is_known_to_be_bad_never_helps(judge):
    model = json.loads(COEFFICIENTS.read_text())
    for coefficients in (model["signals"], model["signals_and_embedding"]):
        assert coefficients["platt_slope"] > 0
        for (signal, _, sign, _), feature, weight in zip(
            SIGNALS, model["features"], coefficients["weights"], strict=False
        ):
            assert feature["signal"] == signal and weight * sign >= 0


def test_wrong_inputs_are_refused_with_what_was_expected(judge):
    signals = measure(pl.Series([PROSE]))
    with pytest.raises(ValueError, match=r"\(1, 384\), got \(1, 768\)"):
        judge.score(signals, np.zeros((1, 768)))
    with pytest.raises(ValueError, match="stop_word_ratio"):
        judge.score(signals.drop("stop_word_ratio"), None)


def test_the_fit_is_reproducible_and_sees_no_paragraph_twice():
    paragraphs = clean_paragraphs(pydoc_data.topics.topics.values())
    texts = synthetic_texts(paragraphs, seed=1, texts=200)
    assert texts.equals(synthetic_texts(paragraphs, seed=1, texts=200))
    embeddings = np.random.default_rng(0).normal(size=(200, 384)) / np.sqrt(384)
    model = fit(texts, embeddings)
    assert model == fit(texts, embeddings)
    assert model["figures"]["cross_validated_auc_signals"] > 0.9
    assert model["revision"] != fit(synthetic_texts(paragraphs, seed=2, texts=200), embeddings)["revision"]


@pytest.mark.skipif(
    not WEB_QUALITY.exists(), reason=f"needs the labelled web pages at {WEB_QUALITY}, which are not shipped"
)
def test_labelled_web_pages_are_ranked_as_people_rank_them(judge):
    """246 Common Crawl pages (DCLM): the signals alone; the embedded judge never saw them."""
    from sklearn.metrics import roc_auc_score

    pages = pl.read_ndjson(WEB_QUALITY)
    scores = judge.score(measure(pages["text"]), None)
    agreed = pages["agreed"].to_numpy()
    assert roc_auc_score(pages["label"], scores) >= 0.88
    assert roc_auc_score(pages["label"].to_numpy()[agreed], scores[agreed]) >= 0.95
