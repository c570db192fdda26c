"""C4's and RefinedWeb's line rules: one case for each line that goes, and those that look like it and stay."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.web_lines import c4_lines, refinedweb_lines

KEPT = "The tower was built in 1889 for a fair."


@pytest.mark.parametrize(
    "line",
    [
        "Home | About | Contact the people of the town",  # no end
        "And then they all went away...",  # an ellipsis is no end
        "Four words are few.",
        f"Too long a word stands here {'x' * 1001}.",
        "Please enable JavaScript to read this page.",
        "By going on you accept our Cookie Policy.",
    ],
)
def test_c4_drops_the_line_and_nothing_else(line):
    row = c4_lines(pl.Series([f"{KEPT}\n{line}\n\n“{KEPT}'"])).row(0, named=True)
    assert row["text"] == f"{KEPT}\n“{KEPT}'"
    assert row["c4_dropped_line_ratio"] == pytest.approx(1 / 3)
    assert row["c4_sentences"] == 2


def test_c4_takes_citations_out_and_counts_what_drops_a_page():
    texts = [
        "It was a fair[12] of the world.[citation needed]",
        "Lorem ipsum dolor sit amet consectetur elit.\nIt has a { in a line of words.",
        "{ a bracket in a line that goes anyway",
        "One is here now, yes. Two is here. Three!\nFour is in a line of words.",
        "",
    ]
    found = c4_lines(pl.Series(texts))
    assert found["text"][0] == "It was a fair of the world."
    assert found["lorem_ipsum_lines"].to_list() == [0, 1, 0, 0, 0]
    assert found["curly_bracket_lines"].to_list() == [0, 1, 0, 0, 0]
    assert found["c4_sentences"].to_list() == [1, 2, 0, 4, 0]
    assert found["c4_dropped_line_ratio"].to_list() == [0, 0, 1, 0, None]


def test_c4_counts_a_line_of_three_words_where_asked_to():
    texts = pl.Series(["It rained hard."])
    assert (c4_lines(texts)["text"][0], c4_lines(texts, min_words=3)["text"][0]) == ("", "It rained hard.")


@pytest.mark.parametrize(
    "line",
    [
        "SIGN IN",
        "2 312",
        "3 likes",
        "1.2k Followers",
        "Menu",
        "Sign in to your account",
        "It was so. Read more...",
        "3 items in cart",
        "ALL OF IT in CAPITALS",
    ],
)
def test_refinedweb_flags_the_line(line):
    row = refinedweb_lines(pl.Series([f"{KEPT}\n{line}\n{KEPT}"])).row(0, named=True)
    assert row["text"] == f"{KEPT}\n{KEPT}"
    assert row["refinedweb_flagged_word_ratio"] == pytest.approx(len(line.split()) / (18 + len(line.split())))


@pytest.mark.parametrize(
    "line",
    [
        "He likes the 3 cats.",
        "Signing of the treaty took a day.",
        "To read more about the history of the tower, the reader may ask for the key.",
        "IBM and NASA built it together.",
        "",
    ],
)
def test_refinedweb_leaves_the_line(line):
    assert refinedweb_lines(pl.Series([f"{KEPT}\n{line}\n{KEPT}"]))["text"][0] == f"{KEPT}\n{line}\n{KEPT}"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="aB3 .\n\r\u2028{[]", max_size=40), max_size=5))
def test_every_text_has_its_row_and_shares_are_shares(texts):
    series = pl.Series(texts, dtype=pl.String)
    for found, name in (
        (c4_lines(series), "c4_dropped_line_ratio"),
        (refinedweb_lines(series), "refinedweb_flagged_word_ratio"),
    ):
        assert len(found) == len(texts)
        assert found[name].drop_nulls().is_between(0, 1).all()
        assert (found[name].is_null() == pl.Series([not text.strip() for text in texts], dtype=pl.Boolean)).all()
