"""Personal data and secrets: cases with negatives and known failures, what every text keeps to, and texts made to be slow."""

import json
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import pii

CASES = json.loads((Path(__file__).parents[1] / "cases" / "pii.json").read_text(encoding="utf-8"))
KEY = b"a key that is long enough"
VALUES = [value for case in CASES if "known_failure" not in case for _, value in case["found"]]
PIECES = st.one_of(
    st.sampled_from(VALUES),
    st.sampled_from(
        ["@", ".", "-", "+", " ", "\n", ":", "://", "password=", "주민번호 ", "Tel ", "x", "1", "(", "[EMAIL]"]
    ),
    st.text(max_size=8),
    st.integers(0, 10**17).map(str),
    st.from_regex(r"\+?0{0,2}[0-9]{1,4}([ .\-/][0-9]{2,4}){1,4}", fullmatch=True),
)
REGIONS = ["US", "KR", "GB", "DE", "FR"]
TEXTS = st.lists(PIECES, max_size=8).map("".join)


def found_in(case, text=None):
    return pii.find(case["text"] if text is None else text, pii.TYPES, case.get("regions", ["US", "KR"]))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, marks=pytest.mark.xfail(strict=True, reason=case["known_failure"]) if "known_failure" in case else ()
        )
        for case in CASES
    ],
    ids=lambda case: case["label"],
)
def test_case(case):
    assert [[one.type, case["text"][one.start : one.end]] for one in found_in(case)] == case["found"]


@given(TEXTS)
def test_what_is_found_lies_in_the_text_in_order_and_the_search_passes_nothing_over(text):
    found = pii.find(text, regions=REGIONS)
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert not found or pii.worth_a_look(pl.Series([text])).item()


@given(TEXTS, st.booleans())
def test_nothing_of_a_value_is_left(text, pseudonymise):
    found = pii.find(text, regions=REGIONS)
    redacted = pii.redact(text, found, pii.TYPES if pseudonymise else (), KEY)
    kept = [
        text[a.end : b.start]
        for a, b in zip([pii.Finding("", 0, 0, ""), *found], [*found, pii.Finding("", len(text), 0, "")], strict=True)
    ]
    assert pii.redact(redacted, []) == redacted
    at = 0
    for piece in kept:  # all that was no value is there, in order
        at = redacted.index(piece, at) + len(piece)
    assert redacted.count("[") >= len(found)


@pytest.mark.parametrize("pseudonymise", [(), pii.TYPES])
@pytest.mark.parametrize(
    "case", [case for case in CASES if "known_failure" not in case], ids=lambda case: case["label"]
)
def test_what_stands_in_the_place_of_a_value_is_not_found_again(case, pseudonymise):
    redacted = pii.redact(case["text"], found_in(case), pseudonymise, KEY)
    assert not [value for _, value in case["found"] if value in redacted]
    assert not case["found"] or pii.worth_a_look(pl.Series([case["text"], json.dumps(case["text"])])).all()
    assert found_in(case, redacted) == []


@pytest.mark.parametrize("between", ["\n", "\t", "\r", "\n\t", "_", "**", ";", "|", "\u00a0"])
def test_what_is_found_in_words_is_found_in_their_json_which_stays_json(between):
    for value in VALUES:
        words = f"x{between}{value}{between} y" if between != "_" else f"_{value}_ y"
        written = json.dumps(words, ensure_ascii=value.isascii())
        found, in_json = pii.find(words), pii.find(written)
        assert [one.type for one in in_json] == [one.type for one in found], words
        assert json.loads(pii.redact(written, in_json)) == pii.redact(words, found)


def test_a_pseudonym_is_the_same_for_the_same_value_however_written_and_another_under_another_key():
    written = ("4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111")
    assert len({pii.pseudonym("credit_card", value, KEY) for value in written}) == 1
    assert pii.pseudonym("email", "a@b.org", KEY) != pii.pseudonym("email", "a@c.org", KEY)
    assert pii.pseudonym("email", "a@b.org", KEY) != pii.pseudonym("email", "a@b.org", KEY + b"!")
    assert pii.pseudonym("email", "a@b.org", KEY)[:7] == "[EMAIL_"


def test_only_what_is_asked_for_is_found():
    text = "a@b.org, 41.173.96.26, 0161 496 0000"
    assert [one.type for one in pii.find(text, ["email"])] == ["email"]
    assert [one.type for one in pii.find(text, ["phone"], ["US"])] == []
    assert [one.type for one in pii.find(text, ["phone"], ["GB"])] == ["phone"]


SLOW = {
    **{
        unit: unit * (1_000_000 // len(unit))
        for unit in ("a", "1", "1-", "a.", "@a.", "a@", "(1)", "password", "password:", "eyJaaaaaaaaaa.")
    },
    **{
        unit: unit * (1_000_000 // len(unit))
        for unit in ("http://a:", "::", "1:", "-----BEGIN PRIVATE KEY-----", "key=", " ", "sk-", "AKIA", "GB8")
    },
    **{
        unit: unit * (1_000_000 // len(unit))
        for unit in ("14 72 07 05 42 09 ", "200 300 4000 ", "\\n", "_", "pass", "a at ", "a dot ", "a(at)")
    },
    "one address": "@" + "a." * 500_000,
    "long labels": ("@" + ("a" * 62 + ".") * 9) * 1_700,
    "spaces before a token": " " * 1_000_000 + "|>",
}


@pytest.mark.parametrize("text", SLOW.values(), ids=SLOW)
def test_a_megabyte_made_to_be_slow_is_read(text):
    """A pattern that backtracked would not come to an end here."""
    assert len(pii.redact(text, pii.find(text))) <= len(text) + 10


def test_the_shared_set_by_type(shared_data):
    """Floors a little below what was measured; benchmarks/pii.py has the figures."""
    rows = json.loads((shared_data / "pii" / "synth_dataset_v2.json").read_text(encoding="utf-8"))
    names = {
        "EMAIL_ADDRESS": "email",
        "IBAN_CODE": "iban",
        "US_SSN": "us_ssn",
        "IP_ADDRESS": "ip_address",
        "CREDIT_CARD": "credit_card",
    }
    names["PHONE_NUMBER"] = "phone"
    hit, gold, found, right = (dict.fromkeys(names.values(), 0) for _ in range(4))
    for row in rows:
        wanted = {
            (names[s["entity_type"]], s["start_position"], s["end_position"])
            for s in row["spans"]
            if s["entity_type"] in names
        }
        got = pii.find(row["full_text"], list(names.values()), ["US", "KR", "GB", "DE", "FR"])
        for kind, start, end in wanted:
            gold[kind] += 1
            hit[kind] += any(one.type == kind and one.start < end and start < one.end for one in got)
        for one in got:
            found[one.type] += 1
            right[one.type] += any(
                kind == one.type and one.start < end and start < one.end for kind, start, end in wanted
            )
    assert all(hit[kind] == gold[kind] > 10 for kind in names.values() if kind != "phone")
    assert hit["phone"] >= 0.85 * gold["phone"]
    assert right == found
