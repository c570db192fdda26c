"""The response judge: what it must tell apart without anybody's labels, and how it does on pairs that people wrote."""

import gzip
import json
import pydoc_data.topics
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation_assets.algorithms.calibration import auc
from curation_assets.models.fit_embedded_judge import clean_paragraphs
from curation_assets.models.response_judge import figures, fit_response_judge

SHARED = Path(__file__).parents[3] / "shared" / "data"

# A paragraph of Python's documentation answers a question about its first sentence.
SENTENCES = [
    re.split(r"(?<=[.!?]) ", paragraph, maxsplit=1) for paragraph in clean_paragraphs(pydoc_data.topics.topics.values())
]
PAIRS = [(f"What follows from this? {said[0]}", said[1]) for said in SENTENCES if len(said) == 2]


def corpus(pairs: list[tuple[str, str]], seed: int = 0) -> tuple[pl.Series, pl.Series, np.ndarray, np.ndarray]:
    """Pairs as the judge takes them; near are those that chance puts near, which makes a neighbour as good as another."""
    chance = np.random.default_rng(seed)
    vectors = chance.normal(size=(len(pairs), 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    requests, responses = (pl.Series(side) for side in zip(*pairs, strict=True))
    return requests, responses, vectors, chance.integers(0, 2**63, len(pairs)).astype(np.uint64)


@pytest.fixture(scope="module")
def judge():
    return fit_response_judge(*corpus(PAIRS[::2]))


def test_it_tells_responses_it_has_not_seen_from_all_that_is_planted(judge):
    told = figures(judge, *corpus(PAIRS[1::2], seed=1))
    assert set(told) == {"another's", "a neighbour's", "cut off", "repeated", "the request"}
    assert told["another's"].low > 0.75 and told["cut off"].low > 0.7
    assert told["repeated"].low > 0.9 and told["the request"].low > 0.9


def test_a_response_that_goes_on_about_something_else_scores_lower(judge):
    requests, responses = (pl.Series(side) for side in zip(*PAIRS[1::2], strict=True))
    rambling = responses + " " + responses.reverse()
    own, longer = judge.score(requests, responses), judge.score(requests, rambling)
    assert own.min() >= 0 and own.max() <= 1
    assert np.mean(longer < own) > 0.8


def test_a_score_depends_on_its_own_pair_alone_and_a_fit_on_all_of_them(judge):
    requests, responses = (pl.Series(side) for side in zip(*PAIRS[1:40:2], strict=True))
    scores = judge.score(requests, responses)
    assert np.array_equal(judge.score(requests.reverse(), responses.reverse())[::-1], scores)
    assert judge.score(requests[:0], responses[:0]).shape == (0,)
    few = corpus(PAIRS[:120])
    once, again, other = (fit_response_judge(*few, seed=seed) for seed in (0, 0, 1))
    assert once.revision == again.revision != other.revision
    assert np.array_equal(once.score(requests, responses), again.score(requests, responses))


def test_what_it_cannot_learn_from_is_refused_in_words(judge):
    with pytest.raises(ValueError, match="50 pairs or more, got 49"):
        fit_response_judge(*corpus(PAIRS[:49]))
    with pytest.raises(ValueError, match="got 1 and 2"):
        judge.score(pl.Series(["a"]), pl.Series(["b", "c"]))
    with pytest.raises(ValueError, match="1 of them null"):
        judge.score(pl.Series(["a"]), pl.Series([None], dtype=pl.String))


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the instructions at {SHARED}, which are not shipped")
def test_instructions_that_people_wrote_keep_their_responses_and_marked_ones_rank_higher():
    """Fitted on a third of Alpaca; the other rows that a model marked 4.5 of 5, and Self-Instruct's seeds, it never saw."""
    folder = SHARED / "instruction_en"
    alpaca, marked = (
        [
            (f"{row['instruction']}\n{row['input']}", row["output"])
            for row in json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))
            if row["output"].strip()
        ]
        for name in ("alpaca_random_9k", "alpaca_claude_t45")
    )
    judge = fit_response_judge(*corpus(alpaca[::3]))
    rest = [pair for at, pair in enumerate(alpaca) if at % 3]
    good = set(marked)
    ranked = auc(judge.score(*corpus(rest)[:2]), np.array([pair in good for pair in rest]))
    assert ranked.low > 0.53
    seeds = [json.loads(line) for line in (folder / "seed_tasks.jsonl").read_text(encoding="utf-8").splitlines()]
    own = [
        (f"{seed['instruction']}\n{seed['instances'][0]['input']}", seed["instances"][0]["output"]) for seed in seeds
    ]
    assert figures(judge, *corpus(own))["another's"].low > 0.75
