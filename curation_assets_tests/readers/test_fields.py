"""Which field is the text, the id, the label: the guesses, and what is said when a record does not have it."""

import pytest

from curation_assets.readers.fields import choose_fields, guess_text, record_row, template_fields
from curation_assets.readers.records import Source, Unusable


def row_of(record, sample=None, **options):
    """Read one record with the fields its file's sample decides: the row and the notes."""
    notes = []
    source = Source("test", "a.jsonl", **options)
    fields = choose_fields(source, "a.jsonl", sample or [record], notes)
    return record_row(fields, source, "a.jsonl", 7, record, b"{}"), notes


@pytest.mark.parametrize(
    ("record", "kind", "text"),
    [
        ({"text": "a", "instruction": "b", "output": "c", "content": "d"}, "document", "a"),
        ({"instruction": "a", "input": "", "output": "c"}, "instruction", "a\nc"),
        ({"instruction": "a", "input": "b", "response": "c"}, "instruction", "a\nb\nc"),
        ({"instruction": "a", "input": None, "output": "c"}, "instruction", "a\nc"),
        ({"prompt": "a", "completion": "b"}, "instruction", "a\nb"),
        ({"question": "a", "answer": "b"}, "instruction", "a\nb"),
        ({"Q": "a", "A": "b"}, "instruction", "a\nb"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference", "a\nb"),
        ({"chosen": "b", "rejected": "c"}, "preference", "b"),
        (
            {"prompt": "a", "chosen": [{"role": "user", "content": "a"}, {"content": "b"}], "rejected": []},
            "preference",
            "a\nb",
        ),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "chat", "a\nb"),
        (
            {"messages": [{"content": [{"type": "text", "text": "a"}, {"type": "image"}]}, {"content": None}]},
            "chat",
            "a",
        ),
        ({"title": "a", "body": "b"}, "document", "b"),
        ({"headline": "a", "url": "https://example.org/a/long/one"}, "document", "a"),
        ({"lyrics": "la la la", "by": "me", "n": 12345678901}, "document", "la la la"),
        ({"page": " \n<!DOCTYPE HTML><html></html>"}, "html", " \n<!DOCTYPE HTML><html></html>"),
        ({"text": "<html lang='en'>"}, "html", "<html lang='en'>"),
        ({"text": "<p>no page"}, "document", "<p>no page"),
    ],
)
def test_the_text_of_a_record(record, kind, text):
    row, _ = row_of(record)
    assert (row.kind, row.text) == (kind, text)


def test_the_guess_is_the_files_and_not_the_records():
    reviews = [{"review": "a"}] * 60 + [{"title": "b"}] * 40
    assert guess_text(reviews).fields == ("review",)
    assert guess_text([{"title": "b"}] * 99 + [{"text": "a"}]).fields == ("text",)
    assert guess_text([{"n": 1, "tags": ["a"]}]) is None
    with pytest.raises(Unusable, match="it has no field 'review'; its fields are 'title'"):
        row_of({"title": "b"}, reviews)


def test_a_guess_is_said():
    _, notes = row_of({"instruction": "a", "output": "b"})
    assert notes == ["a.jsonl: text is taken from the fields 'instruction', 'output' (no field 'text')."]
    assert row_of({"text": "a"})[1] == []
    assert row_of({"review": "a"}, text_field="review")[1] == []


def test_templates():
    row, notes = row_of({"q": "a", "year": 1999, "more": None}, text_template="{q} ({year}) {{{more}}}")
    assert (row.text, row.kind, notes) == ("a (1999) {}", "document", [])
    row, _ = row_of({"question": "a", "answer": "b", "x": "c"}, text_template="Q: {question}\nA: {answer}")
    assert (row.text, row.kind) == ("Q: a\nA: b", "instruction")
    with pytest.raises(Unusable, match="it has no field 'b'"):
        row_of({"a": "x"}, text_template="{a} {b}")
    with pytest.raises(Unusable, match="the field 'a' is an array, not a string"):
        row_of({"a": ["x"]}, text_template="{a}")
    with pytest.raises(Unusable, match="empty"):
        row_of({"a": "", "b": None}, text_template="Q: {a}\nA: {b}")


@pytest.mark.parametrize("template", ["{a.b}", "{a[0]}", "{a!r}", "{a:>10}", "{}", "{a", "no field", "{a.__class__}"])
def test_templates_only_pick_fields(template):
    with pytest.raises(ValueError, match="text_template"):
        template_fields(template)


def test_ids():
    assert row_of({"text": "a", "id": 5})[0][:2] == ("5", True)
    assert row_of({"text": "a", "id": 0})[0][:2] == ("0", True)
    assert row_of({"text": "a", "_id": {"$oid": "5f"}})[0][:2] == ('{"$oid":"5f"}', True)
    assert row_of({"text": "a", "id": ""})[0][:2] == ("a.jsonl:7", False)
    assert row_of({"text": "a", "key": "k", "id": 1}, id_field="key")[0][:2] == ("k", True)
    reviews = [{"text": "a", "review_id": f"r{i}", "movie_id": i % 2} for i in range(9)]
    row, notes = row_of(reviews[3], reviews)
    assert row[:2] == ("r3", True)
    assert notes == ["a.jsonl: the owner's id is taken from 'review_id', the only field ending in _id with no repeats."]
    both = [{"text": "a", "a_id": i, "b_id": -i} for i in range(9)]
    assert row_of(both[3], both)[0][:2] == ("a.jsonl:7", False)


def test_label_licence_and_time():
    record = {"text": "a", "label": 1, "licence": "MIT", "created": "2024-01-02T03:04Z", "date": "no"}
    row, _ = row_of(record, license="CC0-1.0")
    assert (row.label, row.license, row.record_time) == ("1", "MIT", "2024-01-02T03:04Z")
    row, notes = row_of({"text": "a", "label": None}, license="CC0-1.0", time_field="when")
    assert (row.label, row.license, row.record_time) == (None, "CC0-1.0", None)
    assert notes == ["a.jsonl: no field 'when' (time_field) in its first 1 records; they have 'text', 'label'."]


def test_a_chat_that_is_none():
    chats = [{"messages": [{"content": "a"}]}]
    for messages, says in [("a", "a string, not a list"), ([{"role": "user"}], "'content' or 'value'"), ([], "empty")]:
        with pytest.raises(Unusable, match=says):
            row_of({"messages": messages}, chats)
