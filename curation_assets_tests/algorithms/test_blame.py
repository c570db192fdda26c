"""Blame: shared rare phrases against counting by hand, influence on a small model, ranks and thresholds."""

import math
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import blame, influence, proxy_model
from curation_assets.algorithms.shared_phrases import ORDERS, RARE_RECORDS, RARE_SHARE, common_runs, shared_phrases

WORDS = ["ox", "hen", "elk", "yak", "emu", "cat"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join), min_size=1, max_size=12)


def grams(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[at : at + order]) for order in ORDERS for at in range(len(words) - order + 1)}


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS)
def test_shared_phrases_are_those_counted_by_hand(texts, records):
    held = [grams(record) for record in records]
    found = shared_phrases(pa.array(texts), pa.array(records))
    by_hand = {}
    for at, text in enumerate(texts):
        frequency = {gram: sum(gram in one for one in held) for gram in grams(text)}
        weight = {gram: math.log((len(records) + 1) / (count + 1)) for gram, count in frequency.items()}
        most = max(RARE_RECORDS, int(RARE_SHARE * len(records)))
        for row, one in enumerate(held):
            if shared := [gram for gram in weight if gram in one and frequency[gram] <= most]:
                by_hand[at, row] = sum(weight[gram] for gram in shared) / max(sum(weight.values()), 1e-12)
    assert list(zip(found.text.tolist(), found.record.tolist(), strict=True)) == sorted(by_hand)
    assert found.share == pytest.approx([by_hand[pair] for pair in sorted(by_hand)])


@given(st.text(max_size=40), st.text(max_size=40))
def test_common_runs_are_in_both_and_do_not_overlap(text, record):
    for run in common_runs(text, record):
        assert run
        if "-" in run:
            continue  # a word only where it begins something, which the run as told may not show
        assert common_runs(run, record)[0] == run


@pytest.fixture(scope="module")
def learnt():
    """A small model, its tokenizer and the sentences it was trained on."""
    rng = random.Random(0)
    who, what = (
        ["farmer", "pilot", "baker", "judge", "nurse", "miner"],
        ["bread", "coal", "law", "maps", "seeds", "wool"],
    )
    records = [
        f"The {rng.choice(who)} of house {n} sold {rng.choice(what)} to the {rng.choice(who)} in year {n * 7}."
        for n in range(200)
    ]
    tokenizer = proxy_model.train_tokenizer(records, vocab=400)
    stream = proxy_model.encode(tokenizer, records)
    model = proxy_model.trained(stream, vocabulary=tokenizer.get_vocab_size(), token_budget=12_000)
    return model, tokenizer, records


def scored(tokenizer, text):
    return influence.Text(proxy_model.encode(tokenizer, [text]), 1)


def test_a_record_influences_what_it_says_and_nothing_else(learnt):
    model, tokenizer, records = learnt
    odd = "Crimson walruses juggle teapots beneath the opera."
    texts = [scored(tokenizer, odd), scored(tokenizer, records[0])]
    streams = [
        proxy_model.encode(tokenizer, [text])
        for text in (f"They say crimson walruses juggle teapots. {odd}", records[5])
    ]
    pairs = np.array([[0, 0], [0, 1], [1, 0]])
    background = [proxy_model.encode(tokenizer, [record]) for record in records[20:50]]
    before = {name: weights.detach().clone() for name, weights in model.items()}
    found = influence.influences(model, texts, streams, pairs, background)
    assert found.deviations[0] > 10
    assert found.deviations[0] > 3 * max(found.deviations[1:])
    assert all(
        (weights == before[name]).all() for name, weights in model.items()
    )  # every record steps from the same state


def test_a_prompt_is_read_and_not_scored(learnt):
    model, tokenizer, records = learnt
    prompt, rest = records[3][:20], records[3][20:]
    first, second = proxy_model.encode(tokenizer, [prompt]), proxy_model.encode(tokenizer, [rest])[1:]
    after_prompt = influence.Text(np.concatenate([first, second]), len(first))
    of_rest, alone, empty = influence.losses(
        model, [after_prompt, scored(tokenizer, rest), influence.Text(first[:1], 1)]
    )
    assert of_rest < alone
    assert np.isnan(empty)


def test_losses_do_not_depend_on_the_company_of_a_text(learnt):
    model, tokenizer, records = learnt
    long = scored(tokenizer, " ".join(records[:9]))
    assert influence.losses(model, [long])[0] == pytest.approx(
        influence.losses(model, [scored(tokenizer, records[0]), long])[1]
    )


def test_a_control_is_not_its_own_candidate_and_what_exceeds_all_controls_is_strong():
    texts = [f"word{n} word{n + 1} word{n + 2}" for n in range(30)]
    vectors = np.eye(30, dtype=np.float32)
    found = blame.candidates(
        pa.array(texts[:4]), vectors[:4], pa.array(texts), vectors, np.array([-1, 1, 2, 3]), most=3
    )
    assert found.pairs[0].tolist() == [0, 0]
    assert all(text != record for text, record in found.pairs[found.pairs[:, 0] > 0])
    text_of = np.array([0, 0, 1, 2])
    evidence = {kind: np.array([0.9, 0.1, 0.5, 0.4]) for kind in blame.EVIDENCE}
    score, rank = blame.ranked(text_of, evidence)
    assert rank.tolist() == [1, 2, 1, 1]
    assert score[0] > score[1]
    limits = blame.thresholds(text_of, evidence, np.array([False, True, True]))
    assert limits["cosine"] == 0.5
    assert blame.is_strong(evidence, limits).tolist() == [True, False, False, False]
    one_kind = evidence | {"cosine": np.zeros(4), "influence": np.zeros(4)}
    assert not blame.is_strong(one_kind, limits).any()
    assert not blame.is_strong(evidence, blame.thresholds(text_of, evidence, np.zeros(3, bool))).any()
