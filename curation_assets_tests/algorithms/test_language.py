"""Languages told and not told."""

import zipfile

import polars as pl
import pytest

from curation_assets.algorithms.language import CODES, _model, languages

TOLD = {
    "en": "It is not all gold that shines in the evening sun.",
    "ko": "비가 오는 날에는 집에서 책을 읽는다.",
    "ja": "雨の日は家で本を読みます。",
    "zh": "下雨天他们在家里看书。",
    "es": "Cuando llueve se quedan en casa y leen un libro.",
    "hi": "बारिश के दिन वे घर पर किताब पढ़ते हैं।",
    "ar": "في يوم ممطر يقرأون كتابا في البيت.",
    "uk": "У дощовий день вони читають книжку вдома.",
    "el": "Όταν βρέχει διαβάζουν ένα βιβλίο στο σπίτι.",
}


def test_languages_are_told_with_a_score():
    found = languages(pl.Series(list(TOLD.values())))
    assert found["language"].to_list() == list(TOLD)
    assert found["language_score"].is_between(0.4, 1).all()


def test_the_codes_are_those_of_the_model():
    labels, _ = _model().predict("any text", 1000, -1.0)
    assert {label.removeprefix("__label__") for label in labels} == CODES


def test_capitals_are_read_as_the_letters_they_are():
    assert languages(pl.Series([TOLD["en"].upper(), TOLD["es"].upper()]))["language"].to_list() == ["en", "es"]


def test_what_cannot_be_told_is_und_without_a_score():
    found = languages(pl.Series(["", "  \n", "12:30 – 4.5 %", "ㅋㅋㅋ", "?!", "🙂🙂"]))
    assert found.rows() == [("und", None)] * 6


def test_no_texts_give_no_rows():
    assert languages(pl.Series([], dtype=pl.String)).schema == {"language": pl.String, "language_score": pl.Float64}


@pytest.mark.parametrize("chars, least", [(50, 0.93), (200, 0.97)])
def test_pieces_of_the_declaration_of_human_rights(shared_data, chars, least):
    files = {"eng": "en", "kor": "ko", "deu": "de", "fra": "fr", "rus": "ru", "jpn": "ja", "tur": "tr", "vie": "vi"}
    right = []
    with zipfile.ZipFile(shared_data / "langid/udhr2.zip") as archive:
        for name in archive.namelist():
            code = files.get(name.rsplit("/", 1)[-1].removesuffix(".txt"))
            if code:
                text = " ".join(archive.read(name).decode().split())
                pieces = pl.Series([text[i : i + chars] for i in range(0, 6_000, chars) if len(text) > i + chars])
                right.append((languages(pieces)["language"] == code).mean())
    assert len(right) == len(files)
    assert sum(right) / len(right) > least
