import numpy as np
import pytest

from curation_assets.algorithms import horvitz_thompson, sampling

SEEDS = 400


@pytest.fixture(scope="module")
def whole():
    """2,000 records whose length and topic go with their weight, so that an unweighted mean is far off."""
    rng = np.random.default_rng(1)
    topic = rng.choice(6, 2_000, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    chars = rng.lognormal(5, 0.6, 2_000) * (1 + topic / 5)
    weight = (0.5 + topic) * rng.lognormal(0, 0.5, 2_000)
    return topic, chars, weight, rng.integers(0, 1 << 63, 2_000).astype(np.uint64)


@pytest.mark.parametrize("budget", ["records", "tokens", "quotas"])
def test_over_many_seeds_the_intervals_cover_the_truth_about_as_often_as_they_say(whole, budget):
    topic, chars, weight, hashes = whole
    tokens = np.maximum(1, chars / 4).astype(np.int64)
    hits = []
    for seed in range(SEEDS):
        if budget == "quotas":
            options = {"strata": (topic > 0).astype(np.int64)}
            parts = [np.flatnonzero(topic == 0), np.flatnonzero(topic > 0)]
            selected, pi = np.zeros(2_000, bool), np.zeros(2_000)
            for part, records in zip(parts, (100, 200), strict=True):
                drawn = sampling.sample(weight[part], hashes[part], budget_records=records, seed=seed)
                selected[part], pi[part] = drawn.selected, drawn.inclusion_probability
        else:
            options = {} if budget == "records" else {"sizes": tokens}
            limit = {"budget_records": 300} if budget == "records" else {"budget_tokens": int(tokens.sum() * 0.15)}
            drawn = sampling.sample(weight, hashes, **limit, tokens=tokens, seed=seed)
            selected, pi = drawn.selected, drawn.inclusion_probability
        length = horvitz_thompson.mean(chars, pi, selected, **options)
        shares = [horvitz_thompson.share(topic == one, pi, selected, **options) for one in range(6)]
        truth = [chars.mean(), *((topic == one).mean() for one in range(6))]
        hits.append([one.low <= true <= one.high for one, true in zip([length, *shares], truth, strict=True)])
    covered = np.mean(hits, axis=0)
    # The standard error of a rate of .95 over 400 seeds is .011. Strata known in advance make a share exact.
    assert covered[0] == pytest.approx(0.95, abs=0.03)
    assert ((covered[1:] > 0.92) & (covered[1:] <= 1)).all()
    assert covered.mean() < 0.99 or budget == "quotas"


def test_the_interval_shrinks_with_the_sample_and_is_nothing_for_the_whole(whole):
    _, chars, weight, hashes = whole
    widths = []
    for records in (100, 400, 2_000):
        drawn = sampling.sample(weight, hashes, budget_records=records)
        found = horvitz_thompson.mean(chars, drawn.inclusion_probability, drawn.selected)
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2] == 0
    assert found.value == pytest.approx(chars.mean())


def test_a_share_no_selected_record_speaks_for_may_still_be_there():
    hashes = np.arange(1_000, dtype=np.uint64)
    is_rare = hashes < 10
    drawn = [sampling.sample(np.ones(1_000), hashes, budget_records=60, seed=seed) for seed in range(100)]
    found = [horvitz_thompson.share(is_rare, one.inclusion_probability, one.selected) for one in drawn]
    missed = [one for one in found if one.value == 0]
    assert len(missed) > 30
    assert all(one.high == pytest.approx(1 - 0.025 ** (1 / 60)) for one in missed)  # Clopper-Pearson for 0 of 60
    assert np.mean([one.low <= 0.01 <= one.high for one in found]) > 0.9
    nobody = np.zeros(1_000, dtype=bool)
    assert horvitz_thompson.share(nobody, np.ones(1_000), ~nobody)[:3] == (0, 0, 0)
    everybody = horvitz_thompson.share(~nobody, drawn[0].inclusion_probability, drawn[0].selected)
    assert (everybody.value, everybody.high) == (1, 1) and 0.9 < everybody.low < 1


def test_a_record_without_a_chance_refuses_the_estimate(whole):
    _, chars, weight, hashes = whole
    weight = np.where(np.arange(2_000) == 7, 0, weight)
    drawn = sampling.sample(weight, hashes, budget_records=100)
    with pytest.raises(ValueError, match="1 of 2,000 records had no chance"):
        horvitz_thompson.mean(chars, drawn.inclusion_probability, drawn.selected)
    with pytest.raises(ValueError, match="at least 2"):
        horvitz_thompson.mean(chars, np.full(2_000, 0.1), np.zeros(2_000, bool))
