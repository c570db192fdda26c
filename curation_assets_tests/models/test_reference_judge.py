"""The reference judge: what it learns, what it admits, and how it does on pages that people have labelled."""

import json
import pydoc_data.topics

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from curation_assets.models.fit_embedded_judge import clean_paragraphs
from curation_assets.models.reference_judge import ReferenceJudge, fit_reference_judge

PROSE = clean_paragraphs(pydoc_data.topics.topics.values())
RNG = np.random.default_rng(0)
WORDS = np.array(sorted({word.lower() for text in PROSE for word in text.split() if word.isalpha()})[:400])


def noise(n: int, low: int = 20, high: int = 60, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(low, high))) for _ in range(n)]


@pytest.fixture(scope="module")
def judge() -> ReferenceJudge:
    return fit_reference_judge(PROSE[:300:2], noise(150))


def test_it_tells_texts_it_has_not_seen_apart(judge):
    held_out = [*PROSE[1:300:2], *noise(100, seed=1)]
    scores = judge.score(held_out)
    assert scores.dtype == np.float64 and ((scores >= 0) & (scores <= 1)).all()
    assert roc_auc_score([True] * (len(held_out) - 100) + [False] * 100, scores) > 0.97
    assert judge.name == "reference" and len(judge.revision) == 12
    assert "the" in [word.word for word in judge.figures.good_words]
    assert judge.score(["", "…"]) == pytest.approx([judge.score([""])[0]] * 2)
    assert judge.score([]).shape == (0,)
    assert np.array_equal(judge.score(pa.chunked_array([held_out[:9], held_out[9:]])), scores)


def test_order_does_not_matter_and_every_text_shows_in_the_revision(judge):
    good, bad = PROSE[:300:2], noise(150)
    again = fit_reference_judge(pa.array(good[::-1]), pa.chunked_array([bad[70:], bad[:70]]))
    assert again.revision == judge.revision and again.figures.auc == judge.figures.auc
    assert np.array_equal(again.weights, judge.weights)
    assert fit_reference_judge([*good[:-1], "Another text."], bad).revision != judge.revision
    assert fit_reference_judge(good, bad, seed=1).revision != judge.revision


def test_sets_that_do_not_differ_are_said_not_to():
    figures = fit_reference_judge(noise(120, seed=2), noise(120, seed=3)).figures
    assert figures.auc.low < 0.5 and 0.35 < figures.auc.value < 0.65  # .50 ± .05 over trials
    assert figures.warnings[0].startswith("The judge does not tell the sets apart: AUC 0.")


def test_near_identical_texts_do_not_straddle_the_folds():
    """Twelve noise texts, each ten times with another last word: by heart all is told apart, in truth nothing."""
    originals = noise(24, 60, 80, seed=4)
    copies = [[f"{text} {word}" for word in WORDS[:10]] for text in originals]
    good, bad = np.ravel(copies[:12]).tolist(), np.ravel(copies[12:]).tolist()
    figures = fit_reference_judge(good, bad).figures
    assert figures.groups == 24
    assert figures.auc.low < 0.5  # by chance of the folds, 24 groups of noise come out below it now and then
    # The same by the names of the files they came from, with texts that MinHash would not relate.
    good, bad = noise(120, seed=5), noise(120, seed=6)
    files = np.repeat(np.arange(12), 10)
    assert fit_reference_judge(good, bad, good_groups=files, bad_groups=files + 100).figures.groups == 24
    assert fit_reference_judge(good, bad, good_groups=files, bad_groups=files).figures.groups == 12


def test_trivial_cues_are_warned_of():
    long_and_signed = [f"{text} Kind regards" for text in noise(100, 200, 300, seed=7)]
    figures = fit_reference_judge(long_and_signed, noise(100, 20, 40, seed=8)).figures
    warnings = " ".join(figures.warnings)
    assert figures.length_auc.value > 0.99 and figures.length_is_good
    assert "told apart almost without error (AUC 1.000)" in warnings
    assert "Length alone gives AUC 1.00: the good texts are the longer ones." in warnings
    assert "'kind regards' alone gives AUC 1.00: it stands in 100% of the good and 0% of the bad texts." in warnings
    swapped = fit_reference_judge(noise(100, 20, 40, seed=8), long_and_signed).figures
    assert swapped.length_auc.value > 0.99 and not swapped.length_is_good


def test_small_one_sided_and_contradictory_sets():
    with pytest.raises(ValueError, match="got 49 bad texts and needs at least 50 of each kind"):
        fit_reference_judge(PROSE[:60], noise(49))
    with pytest.raises(ValueError, match="got 0 good texts besides 160 texts that stand in both sets"):
        fit_reference_judge(noise(80), noise(80))
    with pytest.raises(ValueError, match="fall into 1 groups"):
        fit_reference_judge([f"{PROSE[0]} {PROSE[1]} {word}" for word in WORDS[:60]], noise(60))
    with pytest.raises(ValueError, match="a group for every text"):
        fit_reference_judge(noise(60), noise(60, seed=1), good_groups=np.arange(60))
    figures = fit_reference_judge([*PROSE[:80], "Said in both."], [*noise(80), "said in both"]).figures
    assert (figures.good, figures.bad, figures.left_out) == (80, 80, 2)
    assert figures.warnings[-1] == "2 texts stand word for word in both sets and were left out."
    figures = fit_reference_judge(PROSE[:80], noise(80), most_texts=60).figures
    assert (figures.good, figures.bad, figures.unread) == (60, 60, 40)


def test_korean_by_characters(shared_data):
    pairs = json.loads((shared_data / "korean_klue" / "klue-sts-v1.1_dev.json").read_text(encoding="utf-8"))
    texts = [pair["sentence1"] for pair in pairs]
    backwards = [text[::-1] for text in texts[1::2]]  # the same characters, other pairs
    assert fit_reference_judge(texts[::2], backwards).figures.auc.low > 0.95


def test_pages_that_people_labelled(shared_data):
    lines = (shared_data / "web_quality" / "dclm_quality_dev.jsonl").read_text(encoding="utf-8").splitlines()
    pages = [json.loads(line) for line in lines]
    sides = [[page["text"] for page in pages if page["label"] == label] for label in (1, 0)]
    figures = fit_reference_judge(*sides).figures
    assert figures.auc.value > 0.84  # .870 [.827, .911]
    assert 0.7 < figures.length_auc.value < 0.8
    assert not figures.warnings
