"""The n-gram model is the textbook's formula, a probability, and rises where a text gets worse."""

import json
import pydoc_data.topics
import random
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.ngram_model import (
    BEFORE,
    END,
    LEAST_DISCOUNT,
    MOST_DISCOUNT,
    cross_fit_parts,
    cross_fitted,
    fit,
    score,
)
from curation_assets.models.fit_embedded_judge import clean_paragraphs

few_words = st.lists(st.sampled_from(["a", "b", "cd", "é", "漢", "+"]), max_size=9).map(" ".join)
PROSE = clean_paragraphs(pydoc_data.topics.topics.values())


class KneserNey:
    """The formula of the module's docstring, by sets and counters."""

    def __init__(self, texts: list[list[str]], order: int, spelling: np.ndarray) -> None:
        grams = Counter()
        for text in texts:
            padded = ["<s>"] * (order - 1) + text
            grams.update(tuple(padded[i : i + order]) for i in range(len(text)))
        self.counts = {order: grams}
        for n in range(order - 1, 0, -1):
            self.counts[n] = Counter(gram[1:] for gram in self.counts[n + 1])
        self.followers = defaultdict(Counter)
        for counts in self.counts.values():
            for gram, count in counts.items():
                self.followers[gram[:-1]][gram[-1]] = count
        self.discounts = {n: self.discount(Counter(counts.values())) for n, counts in self.counts.items()}
        self.order, self.spelling = order, spelling

    @staticmethod
    def discount(frequencies: Counter) -> float:
        raw = frequencies[1] / max(frequencies[1] + 2 * frequencies[2], 1)
        return min(max(raw, LEAST_DISCOUNT), MOST_DISCOUNT)

    def spelled(self, word: str) -> float:
        before, last, log = END, END, 0.0
        for symbol in [*word.encode(), END]:
            log += self.spelling[last * BEFORE + before % BEFORE, symbol]
            before, last = last, symbol
        return float(np.exp(log))

    def probability(self, context: tuple[str, ...], word: str, lowest: float | None = None) -> float:
        p = self.spelled(word) if lowest is None else lowest
        for n in range(1, self.order + 1):
            followers = self.followers.get(context[len(context) - n + 1 :])
            if followers:
                total, d = sum(followers.values()), self.discounts[n]
                p = max(followers[word] - d, 0) / total + d * len(followers) / total * p
        return p

    def bits(self, text: list[str]) -> float:
        padded = ("<s>",) * (self.order - 1) + tuple(text)
        return -sum(
            np.log2(self.probability(padded[i : i + self.order - 1], word)) for i, word in enumerate(text)
        )  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.lists(few_words, min_size=1, max_size=6), st.lists(few_words, max_size=4), st.integers(1, 4))
def test_scores_are_those_of_the_formula(fitted, scored, order):
    if not "".join(fitted).strip():
        with pytest.raises(ValueError, match="not one word"):
            fit(pa.array(fitted), order=order)
        return
    model = fit(pa.array(fitted), order=order)
    plain = KneserNey([text.split() for text in fitted], order, model.spelling)
    scored = [*scored, *fitted, "quite new + 漢 words"]
    found = score(model, pa.array(scored))
    assert found.bits == pytest.approx([plain.bits(text.split()) for text in scored], rel=1e-5, abs=1e-9)
    assert found.words.tolist() == [len(text.split()) for text in scored]
    assert found.n_bytes.tolist() == [len(text.replace(" ", "").encode()) for text in scored]
    # A probability: with the spelling as one more word, of which all unseen text is part, all words add up to 1.
    vocabulary = {word for text in fitted for word in text.split()}
    for context in list(plain.followers)[:20]:
        context = ("<s>",) * (order - 1 - len(context)) + context
        known = sum(plain.probability(context, word, lowest=0.0) for word in vocabulary)
        assert known + plain.probability(context, "never seen", lowest=1.0) == pytest.approx(1)
    assert np.exp(model.spelling[::97].astype(float)).sum(axis=1) == pytest.approx(np.ones(85), rel=1e-5)


def test_order_and_chunks_of_the_texts_do_not_matter():
    texts = PROSE[:300]
    shuffled = random.Random(0).sample(texts, len(texts))
    asked = pa.array(PROSE[300:400])
    expected = score(fit(pa.array(texts)), asked).bits
    assert np.array_equal(score(fit(pa.array(shuffled)), asked).bits, expected)
    assert np.array_equal(score(fit(iter([pa.array(shuffled[:7]), pa.array(shuffled[7:])])), asked).bits, expected)


def test_a_text_that_gets_worse_gets_more_surprising():
    rng = random.Random(1)
    model = fit(pa.array(PROSE[::2]))
    held_out = PROSE[1::2]

    def bits(change) -> np.ndarray:
        return score(model, pa.array([change(text) for text in held_out])).bits_per_byte

    real = bits(str)
    shuffled = bits(lambda text: " ".join(rng.sample(text.split(), len(text.split()))))
    garbled = bits(lambda text: "".join(rng.choice("etaoinshr") if rng.random() < 0.1 else c for c in text))
    korean = bits(lambda text: "".join(chr(0xAC00 + sum(map(ord, word)) % 11_172) for word in text.split()))
    assert (shuffled > real).mean() > 0.95
    assert (garbled > real).mean() > 0.99
    assert (korean > 2 * real).all()


def test_korean_is_read_by_characters(shared_data):
    pairs = json.loads((shared_data / "korean_klue" / "klue-sts-v1.1_dev.json").read_text(encoding="utf-8"))
    texts = [pair["sentence1"] for pair in pairs]
    model = fit(pa.array(texts[::2]))
    held_out = texts[1::2]
    real = score(model, pa.array(held_out))
    rng = random.Random(2)
    shuffled = score(model, pa.array(["".join(rng.sample(text, len(text))) for text in held_out]))
    assert (shuffled.bits_per_byte > real.bits_per_byte).mean() > 0.98
    assert real.words.mean() > 20


def test_cross_fitting_reads_no_text_with_a_model_that_saw_it_and_knows_no_order():
    texts = PROSE[:200]
    hashes = np.random.default_rng(3).integers(0, 1 << 63, len(texts)).astype(np.uint64)
    found = cross_fitted(pa.array(texts), hashes)
    half, is_fitted_on = cross_fit_parts(hashes, np.array([len(text.encode()) for text in texts]))
    assert is_fitted_on.all() and 70 < half.sum() < 130
    model = fit(pa.array([text for text, side in zip(texts, half, strict=True) if side == 0]))
    assert np.array_equal(found.bits[half == 1], score(model, pa.array(texts)).bits[half == 1])
    order = np.random.default_rng(4).permutation(len(texts))
    again = cross_fitted(pa.chunked_array([pa.array([texts[i] for i in order])]), hashes[order])
    assert np.array_equal(again.bits, found.bits[order])
    seen = score(fit(pa.array(texts)), pa.array(texts)).bits_per_byte
    assert (found.bits_per_byte > seen).all()


def test_a_corpus_above_the_limit_is_sampled_by_record_hash():
    hashes = np.random.default_rng(5).integers(0, 1 << 63, 20_000).astype(np.uint64)
    half, is_fitted_on = cross_fit_parts(hashes, np.full(20_000, 1_000), most_bytes=1_000_000)
    assert np.bincount(half[is_fitted_on]) == pytest.approx([1_000, 1_000], rel=0.15)
    assert np.array_equal(cross_fit_parts(hashes[::-1], np.full(20_000, 1_000))[0], half[::-1])


def test_texts_without_a_word_have_no_perplexity_and_endless_words_a_finite_one():
    model = fit(pa.array(["one two three"]))
    found = score(model, pa.array(["", "...", "x" * 100_000]))
    assert np.isnan(found.perplexity).tolist() == [True, True, False]
    assert np.isfinite(found.perplexity[2]) and np.isfinite(found.bits_per_byte[2])
    assert score(model, pa.array([], pa.string())).bits.shape == (0,)
    with pytest.raises(ValueError, match="order from 1 to 8, got 9"):
        fit(pa.array(["a"]), order=9)
