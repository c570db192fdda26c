import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.sampling import sample, uniforms, weights

RNG = np.random.default_rng(0)
N = 300
WEIGHTS = RNG.lognormal(0, 1, N)
TOKENS = RNG.integers(5, 200, N)
HASHES = RNG.integers(0, 1 << 63, N).astype(np.uint64)


@pytest.mark.parametrize(
    "budget",
    [{"budget_records": 90}, {"budget_records": 285}, {"budget_tokens": 8_000, "tokens": TOKENS}],
)
def test_inclusion_probabilities_are_the_frequencies(budget):
    draws = [sample(WEIGHTS, HASHES, seed=seed, **budget) for seed in range(1_500)]
    frequency = np.mean([draw.selected for draw in draws], axis=0)
    probability = draws[0].inclusion_probability
    z = (frequency - probability) / np.sqrt(np.maximum(probability * (1 - probability), 1e-3) / 1_500)
    assert np.sqrt((z**2).mean()) < 1.15  # 1 if exact
    assert abs(z).max() < 5


def test_a_long_record_fits_less_often_and_its_probability_says_so():
    tokens = np.maximum(1, RNG.lognormal(4, 1.2, N)).astype(np.int64)
    budget = int(1.2 * tokens.max())
    draws = [sample(WEIGHTS, HASHES, budget_tokens=budget, tokens=tokens, seed=seed) for seed in range(1_500)]
    frequency, probability = np.mean([draw.selected for draw in draws], axis=0), draws[0].inclusion_probability
    longest = np.argsort(-tokens)[:30]
    assert frequency[longest].sum() == pytest.approx(probability[longest].sum(), rel=0.05)
    assert frequency.sum() == pytest.approx(probability.sum(), rel=0.05)
    z = (frequency - probability) / np.sqrt(np.maximum(probability * (1 - probability), 1e-3) / 1_500)
    assert np.sqrt((z**2).mean()) < 1.25


def test_weighting_back_gives_the_mean_of_the_whole():
    value = np.log(WEIGHTS) + RNG.normal(size=N)  # goes with the weights, so the plain mean of a sample is far off
    estimates, plain = [], []
    for seed in range(600):
        drawn = sample(WEIGHTS, HASHES, budget_tokens=8_000, tokens=TOKENS, seed=seed)
        inverse = 1 / drawn.inclusion_probability[drawn.selected]
        estimates.append((value[drawn.selected] * inverse).sum() / N)
        plain.append(value[drawn.selected].mean())
    error = np.std(estimates) / np.sqrt(600)
    assert abs(np.mean(estimates) - value.mean()) < 4 * error
    assert abs(np.mean(plain) - value.mean()) > 40 * np.std(plain) / np.sqrt(600)


@settings(max_examples=60, deadline=None)
@given(
    records=st.lists(st.tuples(st.floats(0, 1e3), st.integers(1, 50)), min_size=1, max_size=30),
    budget=st.integers(0, 600),
    seed=st.integers(0, 3),
)
def test_the_budget_holds_and_order_does_not_matter(records, budget, seed):
    w, tokens = np.array([r[0] for r in records]), np.array([r[1] for r in records])
    is_out = w < 1e-100
    hashes = np.arange(len(w), dtype=np.uint64) * np.uint64(7919)
    permutation = np.random.default_rng(seed).permutation(len(w))
    for budgets in ({"budget_records": budget}, {"budget_tokens": budget, "tokens": tokens}):
        drawn = sample(w, hashes, seed=seed, **budgets)
        sizes = budgets.get("tokens", np.ones(len(w)))
        assert sizes[drawn.selected].sum() <= budget
        assert ((drawn.inclusion_probability >= 0) & (drawn.inclusion_probability <= 1)).all()
        assert not drawn.selected[is_out].any()
        if sizes[~is_out].sum() <= budget:
            assert drawn.selected[~is_out].all() and (drawn.inclusion_probability[~is_out] == 1).all()
        if "tokens" in budgets:
            budgets = budgets | {"tokens": tokens[permutation]}
        shuffled = sample(w[permutation], hashes[permutation], seed=seed, **budgets)
        assert np.array_equal(shuffled.selected, drawn.selected[permutation])
        assert np.allclose(shuffled.inclusion_probability, drawn.inclusion_probability[permutation])


def test_a_record_keeps_its_draw_when_others_come_and_go():
    few = sample(WEIGHTS[:50], HASHES[:50], budget_records=10)
    many = sample(WEIGHTS, HASHES, budget_records=10)
    assert np.array_equal(few.key, many.key[:50])


def test_a_record_longer_than_the_budget_does_not_block_the_rest():
    drawn = sample(np.array([1e9, 1, 1]), HASHES[:3], budget_tokens=10, tokens=np.array([11, 5, 5]))
    assert drawn.selected.tolist() == [False, True, True]
    assert drawn.inclusion_probability.tolist() == [0, 1, 1]


def test_draws_are_uniform_even_for_counted_hashes():
    draws = uniforms(np.arange(20_000, dtype=np.uint64))
    assert np.histogram(draws, bins=20, range=(0, 1))[0].std() < 60  # 31 expected
    assert abs(np.corrcoef(draws, uniforms(np.arange(20_000, dtype=np.uint64), seed=1))[0, 1]) < 0.03


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(1, 1e3), st.floats(1, 1e3))
def test_weights_rise_with_quality_and_fall_with_density(a, q1, q2, d1, d2):
    low, high = sorted((q1, q2))
    near, far = sorted((d1, d2))
    w = weights(np.array([low, high]), np.array([near, near]), a, max_inverse_density_ratio=1e9)
    assert w[0] <= w[1] and (w > 0).all()
    w = weights(np.array([low, low]), np.array([near, far]), a, max_inverse_density_ratio=1e9)
    assert w[0] >= w[1]


def test_the_two_ends_of_the_dial():
    quality, density = np.array([0.2, 0.8]), np.array([2.0, 10.0])
    assert weights(quality, density, a=1).tolist() == quality.tolist()
    assert np.allclose(weights(quality, density, a=0), 1 / density)


def test_outliers_are_capped():
    density = np.full(100, 500.0)
    density[0] = 1
    assert weights(np.ones(100), density, a=0).max() == pytest.approx(50 / 500)


def test_impossible_input_is_refused():
    one = np.ones(1)
    with pytest.raises(ValueError, match="above 0"):
        weights(one, np.zeros(1), 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        weights(np.array([np.nan]), one, 0.5)
    with pytest.raises(ValueError, match="exactly one"):
        sample(one, HASHES[:1], budget_records=1, budget_tokens=1)
    with pytest.raises(ValueError, match="one count"):
        sample(one, HASHES[:1], budget_tokens=1)
    with pytest.raises(ValueError, match="record hashes"):
        sample(one, HASHES[:2], budget_records=1)
