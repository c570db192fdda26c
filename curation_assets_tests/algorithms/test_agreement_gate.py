"""The verdict follows the interval, and the sentence says what to do."""

from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.agreement import Agreement
from curation_assets.algorithms.agreement_gate import gate

shares = st.floats(-0.5, 1)


@given(st.lists(shares, min_size=3, max_size=3), st.floats(0.1, 0.95), st.integers(1, 5_000))
def test_a_verdict_is_given_only_where_the_whole_interval_is_on_one_side(values, threshold, n):
    low, value, high = sorted(values)
    found = gate(Agreement(value, low, high, n, 0.0), threshold)
    if n < 30:
        assert found.verdict == "cannot_say_yet"
    else:
        assert (found.verdict == "pass") == (low >= threshold)
        assert (found.verdict == "below") == (high < threshold)


def test_what_cannot_be_known_is_said():
    assert "unknown" in gate(Agreement(None, None, None, 0, 1.0), 0.8).sentence
    undefined = gate(Agreement(None, None, None, 50, 1.0), 0.8)
    assert undefined.verdict == "unknown" and "one and the same class" in undefined.sentence


def test_the_sentence_says_what_to_do():
    below = gate(Agreement(0.5, 0.4, 0.6, 200, 0.0), 0.8, differ_on="a / b: 34 items").sentence
    assert "Sharpen the guideline" in below and "a / b: 34 items" in below and "crowd labels serve better" in below
    # Half the distance to the gate inside the interval: three times as many items more.
    assert "some 300 more items" in gate(Agreement(0.7, 0.5, 0.9, 100, 0.0), 0.8).sentence
    assert "about at the gate" in gate(Agreement(0.801, 0.7, 0.9, 100, 0.0), 0.8).sentence
