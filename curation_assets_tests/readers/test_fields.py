"""Which field is the text, the id, the label: the guesses, and what is said when a record does not have it."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets import readers
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
            {
                "prompt": "a",
                "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
                "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}],
            },
            "preference",
            "a\nb",
        ),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "chat", "a\nb"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]},
                    {"role": "assistant", "content": "b"},
                ]
            },
            "chat",
            "a\nb",
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


def test_the_guess_of_a_documents_text_is_the_files_and_not_the_records():
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
    chats = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]
    for messages, says in [("a", "a string, not a list"), ([{"role": "user"}], "'content' or 'value'"), ([], "empty")]:
        with pytest.raises(Unusable, match=says):
            row_of({"messages": messages}, chats)


MIXED = [
    {"instruction": "a", "input": "", "output": "b"},
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]},
    {"prompt": "a", "chosen": "b", "rejected": "c"},
    {"prompt": "a", "response": "d", "helpfulness": 4},
    {"text": "e"},
    {"text": "<!DOCTYPE html><p>f"},
]


def test_records_of_several_kinds_in_one_file_are_told_apart(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_text(
        "\n".join(json.dumps(record) for record in [*MIXED, {"text": "g"}, {"prompt": "a", "response": ""}])
    )
    source = Source("mixed", str(path))
    [batch] = readers.read(source, readers.files(source)[0])
    assert batch.records["kind"].to_pylist() == [
        *("instruction", "chat", "preference", "reward", "document", "html", "document")
    ]
    assert batch.rejects["reason"].to_pylist() == ["mixed.jsonl, line 8: the field 'response' is empty."]
    assert batch.notes == [
        "mixed.jsonl: it holds records of several kinds: instruction (from 'instruction', 'output'), chat (from "
        "'messages'), preference (from 'prompt', 'chosen', 'rejected'), reward (from 'prompt', 'response', "
        "'helpfulness'), instruction (from 'prompt'), document (from 'text').",
        "mixed.jsonl: its records are of 6 kinds, told apart one by one: 2 document, 1 chat, 1 html, 1 instruction, "
        "1 preference, 1 reward.",
    ]


def test_a_table_holds_the_columns_of_all_kinds_and_nulls_tell_them_apart(tmp_path):
    path = tmp_path / "mixed.parquet"
    columns = dict.fromkeys(name for record in MIXED for name in record)
    pq.write_table(pa.Table.from_pylist([{name: record.get(name) for name in columns} for record in MIXED]), path)
    source = Source("mixed", str(path))
    [batch] = readers.read(source, readers.files(source)[0])
    kinds = batch.records["kind"].to_pylist()
    assert kinds == ["instruction", "chat", "preference", "reward", "document", "html"]
    for kind, original in zip(kinds[:4], batch.records["original"].to_pylist(), strict=False):
        assert readers.conversation(kind, original).prompt[-1].content == "a"


def test_a_kind_in_the_recipe_is_the_kind_of_every_record():
    alpaca = {"text": "Below is an instruction …", "instruction": "a", "output": "b"}
    assert row_of(alpaca)[0].kind == "document"
    assert row_of(alpaca)[1] == [
        "a.jsonl: text is taken from the field 'text'; its records also have 'instruction', 'output', which"
        " `kind: instruction` would read."
    ]
    row, notes = row_of(alpaca, kind="instruction")
    assert (row.kind, row.text) == ("instruction", "a\nb")
    assert notes == ["a.jsonl: text is taken from the fields 'instruction', 'output' (no field 'text')."]
    assert row_of({"question": "a", "answer": "b", "body": "c"}, kind="document")[0].text == "c"
    assert row_of({"text": "<html>"}, kind="document")[0].kind == "document"
    row, _ = row_of({"prompt": "a", "response": "b", "score": 1, "x": "c"}, kind="instruction", text_field="x")
    assert (row.kind, row.text) == ("instruction", "c")
    with pytest.raises(Unusable, match="not laid out as any chat we know; its fields are 'text'"):
        row_of({"text": "a"}, kind="chat")
