"""Formats: what is written is read back as the same conversation, and what a format cannot hold is refused, not cut."""

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.readers.kinds import canonical_text, conversation
from curation_assets.releasing import formats
from curation_assets.releasing.formats import (
    COLUMNS,
    FORMATS,
    Releasable,
    Unfit,
    further_fields,
    present_fields,
    repaired,
    without_absent,
)

TOOL_CHAT = {
    "messages": [
        {"role": "system", "content": "You know the weather."},
        {"role": "user", "content": "Is it warm?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"degrees": 21}'},
        {"role": "assistant", "content": "Yes, 21 degrees.", "reasoning_content": "21 is warm."},
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
}
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(
    str.strip
)


def releasable(kind, record, label=None):
    found = conversation(kind, orjson.dumps(record))
    return Releasable(kind, canonical_text(found), found, label)


def through_json(row):
    return orjson.dumps(orjson.loads(orjson.dumps(row)))


@given(st.lists(st.tuples(words, words), min_size=1, max_size=4), st.none() | words)
def test_a_chat_is_the_same_after_messages_and_sharegpt(exchanges, system):
    turns = [{"role": "system", "content": system}] if system else []
    for asked, answered in exchanges:
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    record = releasable("chat", {"messages": turns})
    for name in ("messages", "sharegpt"):
        again = conversation("chat", through_json(FORMATS[name](record)))
        assert [*again.prompt, *again.response] == [*record.found.prompt, *record.found.response]


@given(words, st.none() | words, words, st.none() | words)
def test_an_instruction_is_the_same_after_alpaca(instruction, given_input, output, system):
    record = {"instruction": instruction, "output": output}
    record |= {"input": given_input} if given_input else {}
    record |= {"system": system} if system else {}
    before = releasable("instruction", record)
    again = conversation("instruction", through_json(FORMATS["alpaca"](before)))
    assert (again.prompt, again.response) == (before.found.prompt, before.found.response)


def test_tools_calls_and_reasoning_survive_messages_and_calls_survive_sharegpt():
    record = releasable("chat", TOOL_CHAT)
    row = FORMATS["messages"](record)
    assert row["tools"] == TOOL_CHAT["tools"]
    assert row["messages"][2]["tool_calls"] == TOOL_CHAT["messages"][2]["tool_calls"]
    assert row["messages"][3]["tool_call_id"] == "c1"
    assert row["messages"][4]["reasoning_content"] == "21 is warm."
    shared = FORMATS["sharegpt"](record)
    assert [turn["from"] for turn in shared["conversations"]] == [
        "system",
        "human",
        "function_call",
        "observation",
        "gpt",
    ]
    assert orjson.loads(shared["conversations"][2]["value"]) == {"name": "weather", "arguments": {"city": "Bonn"}}
    assert orjson.loads(shared["tools"]) == TOOL_CHAT["tools"]
    assert canonical_text(conversation("chat", through_json(row))) == record.text
    assert further_fields(record.found) == set()
    TOOL = {"role": "user", "content": "Hi", "mood": "good"}
    assert further_fields(conversation("chat", orjson.dumps({"messages": [TOOL, TOOL_CHAT["messages"][4]]}))) == {
        "mood"
    }


def test_a_preference_and_a_reward_keep_answers_and_scores():
    pair = {"prompt": "Why?", "chosen": "So.", "rejected": "No.", "score_chosen": 8, "rejected_score": 2}
    row = FORMATS["preference"](releasable("preference", pair))
    assert row == {
        "prompt": [{"role": "user", "content": "Why?"}],
        "chosen": [{"role": "assistant", "content": "So."}],
        "rejected": [{"role": "assistant", "content": "No."}],
        "score_chosen": 8.0,
        "score_rejected": 2.0,
    }
    again = conversation("preference", through_json(row))
    assert again.rejected[0].content == "No."
    scored = FORMATS["reward"](
        releasable("reward", {"prompt": "Why?", "response": "So.", "helpfulness": 3, "verbosity": 1})
    )
    assert (scored["score"], scored["score_field"], scored["verbosity"]) == (3.0, "helpfulness", 1.0)
    liked = FORMATS["reward"](releasable("reward", {"prompt": "Why?", "completion": "So.", "label": True}))
    assert (liked["score"], liked["score_field"]) == (1.0, "label")


TWO = {"messages": [{"role": role, "content": "x"} for role in ("user", "assistant", "user", "assistant")]}
IMAGE = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "x"}}]
PICTURE = {"messages": [{"role": "user", "content": IMAGE}, {"role": "assistant", "content": "A cat."}]}


@pytest.mark.parametrize(
    ("name", "kind", "record", "why"),
    [
        ("alpaca", "chat", TWO, "4 turns"),
        ("prompt_completion", "chat", TWO, "4 turns"),
        ("alpaca", "chat", TOOL_CHAT, "turns"),
        ("prompt_completion", "instruction", {"instruction": "Do.", "output": "Done.", "system": "S"}, "system prompt"),
        ("messages", "chat", PICTURE, "not text"),
        ("sharegpt", "chat", PICTURE, "not text"),
        ("alpaca", "chat", PICTURE, "not text"),
        ("classification", "instruction", {"instruction": "Do.", "output": "Done."}, "no label"),
    ],
)
def test_what_a_format_cannot_hold_whole_is_refused(name, kind, record, why):
    with pytest.raises(Unfit, match=why):
        FORMATS[name](releasable(kind, record))


def test_one_exchange_goes_into_prompt_and_completion():
    row = FORMATS["prompt_completion"](
        releasable("instruction", {"instruction": "Add.", "input": "1 2", "output": "3"})
    )
    assert row == {"prompt": "Add.\n1 2", "completion": "3"}


def test_turns_are_repaired_as_the_text_was_and_code_in_them_is_not_read_as_a_page():
    record = {"instruction": "Write a page.", "output": "<p>cafÃ©</p>"}
    found = repaired(conversation("instruction", orjson.dumps(record)))
    assert found.response[0].content == "<p>café</p>"
    asked = {"instruction": "cafÃ©", "input": "thÃ©", "output": "x"}
    found = repaired(conversation("instruction", orjson.dumps(asked)))
    assert (found.instruction, found.input, found.prompt[0].content) == ("café", "thé", "café\nthé")


def test_columns_are_those_that_some_row_has():
    plain = FORMATS["messages"](releasable("chat", TWO))
    schema = pa.schema(without_absent(COLUMNS["messages"], present_fields(plain)))
    assert schema.names == ["messages"]
    assert [field.name for field in schema.field("messages").type.value_type] == ["role", "content"]
    called = present_fields(FORMATS["messages"](releasable("chat", TOOL_CHAT)))
    schema = pa.schema(without_absent(COLUMNS["messages"], called))
    assert schema.names == ["messages", "tools"]
    message = {field.name: field.type for field in schema.field("messages").type.value_type}
    assert list(message) == ["role", "content", "reasoning_content", "tool_calls", "tool_call_id"]
    assert [field.name for field in message["tool_calls"].value_type] == ["id", "type", "function"]


def test_every_format_has_columns_and_kinds():
    assert set(FORMATS) == set(COLUMNS) == set(formats.KINDS)
    assert {name for usual in formats.BY_DEFAULT.values() for name in usual} <= set(FORMATS)
