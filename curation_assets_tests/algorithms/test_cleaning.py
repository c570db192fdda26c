"""Cases of text repair, with negatives: what must be repaired, and what must be left alone."""

import json
from pathlib import Path

import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import cleaning
from curation_assets.algorithms.cleaning import TIDYING, clean, drop_special_tokens, repair_encoding

CASES = json.loads((Path(__file__).parents[1] / "cases" / "cleaning.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["label"])
def test_case(case):
    text, steps = clean(case["text"], case["kind"], case.get("tidy", ()))
    if "expected" in case:
        assert text == case["expected"]
    for part in case.get("contains", []):
        assert part in text
    for part in case.get("lacks", []):
        assert part not in text
    assert steps == case["steps"]


@given(st.text())
def test_cleaning_a_clean_text_changes_nothing(text):
    once = clean(text).text
    twice = clean(once)
    assert (
        twice.text == once or "encoding" in clean(text).steps + twice.steps
    )  # ftfy may find a layer of mojibake under another


@given(st.text(st.characters(codec="ascii", exclude_characters="&<\x1b", categories=["L", "N", "P", "Zs"])))
def test_plain_ascii_without_markup_is_only_stripped(text):
    assert clean(text).text == text.strip()


LINES = st.sampled_from(
    [
        *(
            "Words.",
            "  spaced  ",
            "",
            "\t",
            "```",
            "    code  ",
            "Read more",
            "{{ x }}",
            "{% y %}",
            "<|endoftext|>",
            "We use cookies.",
        ),
        *("a [](b) c", "&nbsp;", "<s>", "~~~", "</s> x"),
    ]
)


@given(st.lists(LINES, max_size=12).map("\n".join))
def test_tidying_a_tidy_text_changes_nothing_and_only_takes_out(text):
    for _, step in TIDYING:
        once = step(text)
        assert step(once) == once or step is cleaning.drop_boilerplate_lines or step is cleaning.drop_template_residue
        assert len(once) <= len(text)
        inner = once.split("\n")[:-1]  # a token that goes takes the white space before it along
        code = [line for line in inner if line.startswith("    ") and line.strip()]
        assert set(code) <= set(text.split("\n"))


@given(
    st.text(
        st.characters(codec="utf-8", whitelist_categories=["Lo", "Nd", "Po", "Zs"], max_codepoint=0xFFEF), max_size=40
    )
)
def test_what_ftfy_is_not_asked_about_it_would_not_change(text):
    assert repair_encoding(text) == ftfy.fix_text(text, cleaning._ENCODING)


@given(st.text("한국어テスト漢字。、！ abc.", max_size=40))
def test_texts_in_hangul_kana_and_chinese_are_what_ftfy_makes_of_them(text):
    assert repair_encoding(text) == ftfy.fix_text(text, cleaning._ENCODING)


def test_white_space_goes_only_where_a_token_went():
    transcript = "\n\nHuman: Hi there\n\nAssistant: Ho ho"
    assert drop_special_tokens(f"{transcript}</s>\n") == transcript
    assert drop_special_tokens(f"<s>{transcript}") == transcript
    assert drop_special_tokens(f"<s> {transcript} </s>") == transcript
    assert drop_special_tokens("<s>  One.\n") == "One.\n"


def test_a_long_run_of_spaces_before_a_token_is_read():
    assert drop_special_tokens(" " * 1_000_000 + "|>") == " " * 1_000_000 + "|>"


def test_trafilatura_finds_the_main_content():
    pytest.importorskip("trafilatura")
    story = "".join(
        f"<p>Paragraph {n} of the story says something about the river and the town it runs through.</p>"
        for n in range(6)
    )
    page = f"<!DOCTYPE html><html><body><nav><ul><li>Home</li></ul></nav><article><h1>A story</h1>{story}</article></body></html>"
    text = clean(page, "html", extractor="trafilatura").text
    assert "Paragraph 5" in text
    assert "Home" not in text


@pytest.mark.parametrize("depth", range(5))
def test_an_articles_lists_stay_on_a_plain_page_and_menus_go(depth):
    paragraph = f"<p>{'The ferry leaves the harbour twice a day and takes two hours to the island. ' * 4}</p>"
    steps = "<ul><li>Bring flour.</li><li>Ask for the key.</li></ul>"
    menu = "<ul><li><a href='/'>Home</a></li><li><a href='/about'>About us</a></li></ul>"
    inside = "<div>" * depth + paragraph + steps + paragraph + "</div>" * depth
    text = clean(f"<html><body>{menu}{inside}{menu}</body></html>").text
    assert text.count("Bring flour.") == text.count("Ask for the key.") == 1
    assert text.index("harbour") < text.index("flour") < text.rindex("harbour")
    assert "About us" not in text
