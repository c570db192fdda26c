"""Signals of Korean texts and of instructions, and that all of them stand beside their texts."""

import polars as pl
import pytest

from curation_assets.algorithms.instructions import EXCHANGES, instruction_signals
from curation_assets.algorithms.korean import korean_signals
from curation_assets.algorithms.signals import text_signals


def test_korean_prose_has_endings_and_lists_have_not():
    texts = [
        "배는 하루에 두 번 항구를 떠나 두 시간쯤 뒤에 섬에 닿는다. 섬사람들은 작은 배를 가지고 있지만 파도가 높다.",
        "부동산 아파트 매매 전세 월세 시세 강남 분당 판교 광교 대출 상담 전화 문의",
        "ㅋㅋㅋㅋㅋ 대박 ㅠㅠ",
        "There is no Hangul here.",
    ]
    found = korean_signals(pl.Series(texts))
    assert found["korean_ending_ratio"][0] > 0.6
    assert found["korean_ending_ratio"][1] < 0.3
    assert found["jamo_ratio"].to_list() == [0, 0, pytest.approx(7 / 9), None]
    assert found["korean_ending_ratio"][3] is None


def test_instructions_are_measured_and_their_responses_compared():
    asked = [
        ("Name three colours of the rainbow.", None, "Red, green and blue."),
        ("Draw a graph of the sales.", "", "Here it is."),
        ("Use a mapped filename.", None, "No."),
        ("Which word does not belong?", "Cup, Plate, Kettle", "Kettle"),  # a part of the input, and right
        ("Mend the sentence.", "The map of the  image. " * 60, "The map of the image. " * 60),
        ("Say that the sea is calm.", None, "Say that  the sea is calm."),
        ("Complete:", "The sea is", "Complete: The sea is"),
        ("Write it in capitals.", "the sea", "THE SEA"),
        ("Is it calm?", "", ""),
        (None, None, None),
    ]
    rows = [(said, given, f"{said} {given}" if said else None, answer) for said, given, answer in asked]
    found = instruction_signals(pl.DataFrame(rows, EXCHANGES, orient="row"))
    assert found["request_words"].to_list() == [6, 6, 4, 5, 3, 6, 1, 4, 3, None]
    assert found["blocked_request_words"].to_list() == [0, 2, 0, 0, 0, 0, 0, 0, 0, None]
    assert found["response_repeats_request"].to_list() == [0, 0, 0, 0, 1, 1, 1, 0, 0, None]
    assert found["request_hash"].n_unique() == 10
    nothing_asked = instruction_signals(pl.DataFrame([("", None, " ", "Hello.")], EXCHANGES, orient="row"))
    assert nothing_asked["request_hash"].is_null().all() and nothing_asked["response_hash"].is_not_null().all()


def test_every_signal_has_a_value_for_every_text():
    texts = pl.Series(["It is one. That is two.", "", "비가 온다."])
    found = text_signals(texts)
    assert len(found) == 3
    assert found["language"].to_list() == ["en", "und", "ko"]
    assert found["toxicity"].null_count() == found["request_words"].null_count() == 3
    assert text_signals(pl.Series([], dtype=pl.String)).schema == found.schema
