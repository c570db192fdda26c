"""Names by a real token classifier that the tests make."""

import pytest
from small_language_models import PEOPLE, save_name_tagger

from curation_assets.models.names import NameRecogniser, names


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    return NameRecogniser(str(save_name_tagger(tmp_path_factory.mktemp("names"))))


def test_names_are_found_whole_and_nothing_else(recogniser):
    texts = [
        f"Then {PEOPLE[0]} said that the sea has waves .",
        "No one was here .",
        "",
        f"{PEOPLE[1]} met {PEOPLE[2]} .",
    ]
    found = recogniser.find(texts)
    assert [[text[one.start : one.end] for one in of] for text, of in zip(texts, found, strict=True)] == [
        [PEOPLE[0]],
        [],
        [],
        [PEOPLE[1], PEOPLE[2]],
    ]
    assert {one.engine for of in found for one in of} == {recogniser.model}


def test_a_text_longer_than_the_model_reads_is_read_to_its_end(recogniser):
    text = "We saw the salt water . " * 40 + f"Then {PEOPLE[0]} said that the sea has waves ."
    [found] = recogniser.find([text])
    assert PEOPLE[0] in [text[one.start : one.end] for one in found]


def test_a_name_marked_in_part_is_widened_to_its_words():
    assert names("Ann-Marie O'Neil left", [(0, 2, True), (6, 8, False)]) == [(0, 9)]
    assert names("Okonkwo", [(2, 4, True)]) == [(0, 7)]
    assert names("Ann, Bo", [(0, 3, True), (5, 7, True)]) == [(0, 3), (5, 7)]


def test_a_model_without_people_is_refused(tmp_path):
    folder = save_name_tagger(tmp_path, ("O", "B-ORG", "I-ORG", "B-LOC"))
    with pytest.raises(ValueError, match="no label for people"):
        NameRecogniser(str(folder))
