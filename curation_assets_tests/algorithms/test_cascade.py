"""Who is asked, and what the student is said to be worth where the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from curation_assets.algorithms.cascade import STRATIFIED, UNCERTAIN, Student, choose_for_llm, fit_student

RNG = np.random.default_rng(0)
N, D = 20_000, 60
HASHES = RNG.integers(0, 1 << 63, N).astype(np.uint64)
FEATURES = RNG.normal(size=(N, D))
MARGIN = 1.5 * FEATURES[:, :10] @ RNG.normal(size=10) / np.sqrt(10) - 0.5
P_YES = 1 / (1 + np.exp(-(MARGIN + RNG.normal(0, 0.7, N))))  # the rest is the language model's own mood
CHEAP = 1 / (1 + np.exp(-(0.5 * MARGIN + RNG.normal(0, 1, N))))


def student(features: np.ndarray, budget: int = 1_200, **options) -> Student:
    choice = choose_for_llm(CHEAP, HASHES, budget)
    return fit_student(
        features[choice.indices], P_YES[choice.indices], HASHES[choice.indices],
        reason=choice.reason, inclusion_probability=choice.inclusion_probability,
        stratified_probability=choice.stratified_probability, cheap_scores=CHEAP[choice.indices], **options,
    )  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.integers(0, 6), max_size=40),
    st.integers(0, 50),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.integers(1, 10),
)
def test_the_budget_is_spent_and_order_does_not_matter(scores, budget, share, strata):
    scores = np.array(scores, float) / 6
    n = len(scores)
    hashes = np.arange(n, dtype=np.uint64) * np.uint64(7919)
    choice = choose_for_llm(scores, hashes, budget, stratified_share=share, strata=strata)
    assert len(choice.indices) == min(budget, n) == len(set(choice.indices))
    assert (choice.reason == STRATIFIED).sum() == round(min(budget, n) * share)
    assert ((choice.inclusion_probability > 0) & (choice.inclusion_probability <= 1)).all()
    assert (choice.stratified_probability[choice.reason == STRATIFIED] > 0).all()
    # Nobody who was passed over is nearer to the threshold than someone chosen as uncertain.
    doubt = np.abs(scores - 0.5)
    left = np.setdiff1d(np.arange(n), choice.indices)
    uncertain = choice.indices[choice.reason == UNCERTAIN]
    assert not len(left) or not len(uncertain) or doubt[uncertain].max() <= doubt[left].min()
    order = np.random.default_rng(n).permutation(n)
    again = choose_for_llm(scores[order], hashes[order], budget, stratified_share=share, strata=strata)
    assert sorted(order[again.indices]) == choice.indices.tolist()


def test_the_probabilities_are_the_frequencies_and_bring_back_the_whole():
    scores, hashes, value = CHEAP[:400], HASHES[:400], MARGIN[:400]
    times, stratified, sums = np.zeros(400), [], []
    for seed in range(400):
        choice = choose_for_llm(scores, hashes, 80, seed=seed)
        times[choice.indices] += 1 / choice.inclusion_probability
        drawn = choice.reason == STRATIFIED
        stratified.append((value[choice.indices] / choice.stratified_probability)[drawn].sum() / 400)
        sums.append((value[choice.indices] / choice.inclusion_probability).sum() / 400)
    assert times.mean() / 400 == pytest.approx(1, abs=0.02)
    for estimates in (stratified, sums):
        assert abs(np.mean(estimates) - value.mean()) < 4 * np.std(estimates) / np.sqrt(400)


def test_the_student_is_worth_what_it_says_and_nearly_the_best_possible():
    found = student(FEATURES)
    figures = found.figures
    asked = choose_for_llm(CHEAP, HASHES, 1_200).indices
    rest = np.setdiff1d(np.arange(N), asked)
    truly = spearmanr(found.predict(FEATURES[rest]), P_YES[rest]).statistic
    oracle = spearmanr(MARGIN[rest], P_YES[rest]).statistic
    assert truly > oracle - 0.03
    assert figures.rank_correlation.low < truly < figures.rank_correlation.high
    assert figures.rank_correlation.value > figures.cheap_rank_correlation.value + 0.2
    error = ((found.predict(FEATURES[rest]) - P_YES[rest]) ** 2).mean()
    assert figures.squared_error.low < error < figures.squared_error.high
    assert figures.calibration_error.value < 0.05
    assert found.predict(FEATURES[rest]).mean() == pytest.approx(P_YES[rest].mean(), abs=0.02)
    assert figures.reliability.n.sum() == figures.kappa.n == 600
    assert figures.kappa.value > 0.5 and figures.is_good_enough
    assert figures.verdict.startswith("The student orders records as the language model does: rank correlation 0.")


@pytest.mark.parametrize("seed", range(3))
def test_useless_features_are_seen_through(seed):
    noise = np.random.default_rng(seed + 1).normal(size=(N, D))
    figures = student(noise, budget=800, seed=seed).figures
    assert figures.rank_correlation.value is None or figures.rank_correlation.low < 0 < figures.rank_correlation.high
    assert not figures.is_good_enough
    assert "not good enough" in figures.verdict
    assert figures.calibration_error.value < 0.08  # it knows the mean at least


def test_features_that_are_constant_missing_or_wild_do_no_harm():
    features = FEATURES.copy()
    features[::7, 0] = np.nan
    features = np.column_stack([features, np.ones(N), np.full(N, np.nan), RNG.standard_cauchy(N) * 1e9])
    found = student(features)
    assert found.figures.rank_correlation.value > student(FEATURES).figures.rank_correlation.value - 0.06
    assert np.isfinite(found.predict(features)).all()
    assert found.predict(features[:0]).shape == (0,)


def test_order_and_copies_leave_the_figures_alone():
    choice = choose_for_llm(CHEAP, HASHES, 300)
    columns = {
        "reason": choice.reason,
        "inclusion_probability": choice.inclusion_probability,
        "stratified_probability": choice.stratified_probability,
        "groups": np.arange(300) // 2,
    }
    order = np.random.default_rng(0).permutation(300)
    first, again = (
        fit_student(
            FEATURES[choice.indices][o], P_YES[choice.indices][o], HASHES[choice.indices][o],
            **{name: column[o] for name, column in columns.items()},
        )
        for o in (np.arange(300), order)
    )  # fmt: skip
    assert again.figures.rank_correlation.value == pytest.approx(first.figures.rank_correlation.value)
    assert again.predict(FEATURES[:50]) == pytest.approx(first.predict(FEATURES[:50]))


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="1 cheap scores are not numbers"):
        choose_for_llm(np.array([0.1, np.nan]), HASHES[:2], 1)
    with pytest.raises(ValueError, match="20 stratified answers and needs 30"):
        student(FEATURES, budget=40)
    columns = {"reason": ["uncertain"], "inclusion_probability": [1.0], "stratified_probability": [1.0]}
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit_student(FEATURES[:1], np.array([np.nan]), HASHES[:1], **columns)
