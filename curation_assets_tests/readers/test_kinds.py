"""Records with turns: what each layout is read as, its canonical text, and why a broken one is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.readers import Message, as_messages, conversation, exchange
from curation_assets.readers.kinds import canonical_text, shape_of
from curation_assets.readers.records import Unusable


def read(record):
    """The kind, the conversation and the canonical text of a record, by its JSON alone."""
    found = conversation(kind := shape_of(record).kind, json.dumps(record))
    return kind, found, canonical_text(found)


def turns(*pairs, name="role", words="content"):
    return [{name: role, words: said} for role, said in pairs]


ASKED, TOLD, WORSE = ("user", "What is 2 + 2?"), ("assistant", "4"), ("assistant", "5")

SAME_EXCHANGE = [
    {"instruction": ASKED[1], "input": "", "output": TOLD[1]},
    {"instruction": ASKED[1], "context": "", "response": TOLD[1], "category": "closed_qa"},
    {"prompt": ASKED[1], "completion": TOLD[1]},
    {"prompt": turns(ASKED), "completion": turns(TOLD)},
    {"system_prompt": "Be brief.", "question": ASKED[1], "response": TOLD[1]},
    {"messages": turns(ASKED, TOLD)},
    {"messages": turns(("developer", "Be brief."), ASKED, TOLD)},
    {"conversations": turns(("human", ASKED[1]), ("gpt", TOLD[1]), name="from", words="value"), "system": "Be brief."},
    {"prompt": ASKED[1], "response": TOLD[1], "score": 5},
    {"prompt": ASKED[1], "completion": TOLD[1], "label": True},
    {"prompt": ASKED[1], "chosen": TOLD[1], "rejected": WORSE[1]},
    {"prompt": turns(ASKED), "chosen": turns(TOLD), "rejected": turns(WORSE)},
    {"chosen": turns(ASKED, TOLD), "rejected": turns(ASKED, WORSE), "prompt": ASKED[1], "score_chosen": 9.5},
    {
        "chosen": f"\n\nHuman: {ASKED[1]}\n\nAssistant: {TOLD[1]}",
        "rejected": f"\n\nHuman: {ASKED[1]}\n\nAssistant: {WORSE[1]}",
    },
    {"prompt": f"\n\nHuman: {ASKED[1]}\n\nAssistant:", "chosen": TOLD[1], "rejected": WORSE[1]},
    {"system": "Be brief.", "input": ASKED[1], "chosen": TOLD[1], "rejected": WORSE[1]},
    {"instruction": ASKED[1], "input": "", "chosen": TOLD[1], "rejected": WORSE[1]},
    {
        "conversations": turns(("human", ASKED[1]), name="from", words="value"),
        "chosen": {"from": "gpt", "value": TOLD[1]},
        "rejected": {"from": "gpt", "value": WORSE[1]},
    },
    {"messages": json.dumps(turns(ASKED, TOLD))},
    {"messages": [turn | {"from": None, "value": None} for turn in turns(ASKED, TOLD)]},
    {"messages": [turn | {"role": None} for turn in turns(ASKED, TOLD, name="from", words="value")]},
    {"messages": [{"role": "user", "content": [ASKED[1]]}, *turns(TOLD)]},
]


@pytest.mark.parametrize("record", SAME_EXCHANGE, ids=lambda record: "-".join(record))
def test_one_exchange_reads_alike_in_every_layout(record):
    kind, found, text = read(record)
    assert [turn[:2] for turn in found.prompt if turn.role != "system"] == [ASKED]
    assert [turn[:2] for turn in found.response] == [TOLD]
    assert text == "What is 2 + 2?\n4"
    assert [turn[:2] for turn in found.rejected] == ([WORSE] if kind == "preference" else [])
    assert bool(found.scores) == (kind == "reward" or "score_chosen" in record)
    has_system = "Be brief." in json.dumps(record)
    assert (found.prompt[0] == Message("system", "Be brief.")) == has_system


def test_scores_keep_their_names():
    record = {"prompt": "a", "response": "b", "helpfulness": "4", "verbosity": 1.5, "complexity": "high", "score": None}
    kind, found, _ = read(record)
    assert (kind, found.scores) == ("reward", {"helpfulness": 4.0, "verbosity": 1.5})
    assert read({"prompt": "a", "completion": "b", "label": False})[1].scores == {"label": 0.0}
    assert read({"prompt": "a", "response": "b", "score": None})[0] == "instruction"
    assert read({"prompt": "a", "response": "b", "label": 1})[0] == "instruction"  # an owner's label, not a score


def test_an_instruction_keeps_its_input_apart():
    _, found, text = read({"instruction": "Add.", "input": "1 2", "output": "3"})
    assert (found.instruction, found.input, found.prompt[0].content) == ("Add.", "1 2", "Add.\n1 2")
    assert text == "Add.\n1 2\n3"
    _, found, text = read({"instruction": "Add.", "input": "1 2", "chosen": "3", "rejected": "4"})
    assert (found.instruction, found.input, text) == ("Add.", "1 2", "Add.\n1 2\n3")


def test_earlier_exchanges_of_an_instruction_come_before_it():
    record = {"instruction": "Add.", "input": "1 2", "output": "3", "history": [["Hi", "Ho"]], "system": "Be brief."}
    _, found, text = read(record)
    assert [turn.role for turn in found.prompt] == ["system", "user", "assistant", "user"]
    assert text == "User: Hi\nAssistant: Ho\nUser: Add.\n1 2\nAssistant: 3"
    assert read(record | {"history": []})[2] == read(record | {"history": "long ago"})[2] == "Add.\n1 2\n3"


def test_turns_are_named_where_there_are_several_and_where_tools_are_called():
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Seoul"}'}}
    record = {
        "messages": [
            {"role": "system", "content": "Use the tools."},
            {"role": "user", "content": "Rain?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "no", "tool_call_id": "c1"},
            {"role": "assistant", "content": "No rain."},
        ],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
    }
    _, found, text = read(record)
    assert text == 'User: Rain?\nAssistant: weather({"city": "Seoul"})\nTool: no\nAssistant: No rain.'
    assert found.tools == record["tools"]
    assert as_messages([*found.prompt, *found.response]) == [
        message | {"content": message["content"] or ""} for message in record["messages"]
    ]
    share = {
        "conversations": [
            {"from": "human", "value": "Rain?"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Seoul"}}'},
            {"from": "observation", "value": "no"},
            {"from": "gpt", "value": "No rain."},
        ],
        "tools": "[]",
    }
    _, found, text = read(share)
    assert text == 'User: Rain?\nAssistant: weather({"city":"Seoul"})\nTool: no\nAssistant: No rain.'
    assert found.prompt[1].more["tool_calls"][0]["function"]["arguments"] == {"city": "Seoul"}


def test_whole_chats_part_where_they_differ_and_an_answer_begins_with_the_assistant():
    begun = (ASKED, TOLD)
    _, found, text = read({"chosen": turns(*begun, ("user", "Sure?"), TOLD), "rejected": turns(*begun)})
    assert [turn[:2] for turn in found.prompt] == [ASKED]
    assert [turn[:2] for turn in found.rejected] == [TOLD]
    assert text.startswith("User: What")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"messages": turns(("narrator", "a"), TOLD)}, "message 1 of 'messages' has the role 'narrator'"),
        ({"messages": [{"content": "a"}]}, "message 1 of 'messages' has no role"),
        ({"messages": turns(ASKED, ("assistant", " "))}, "message 2 of 'messages' is an empty assistant turn"),
        ({"messages": turns(ASKED, ("assistant", None))}, "an empty assistant turn"),
        ({"messages": turns(ASKED)}, "none of the 1 messages of 'messages' is an assistant's"),
        ({"messages": [*turns(ASKED), "b"]}, "message 2 of 'messages' is a string"),
        ({"messages": turns(("user", 5), TOLD)}, "the content of message 1 of 'messages' is a number"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "chosen and rejected answers are the same"),
        ({"prompt": "a", "chosen": "b", "rejected": None}, "the field 'rejected' is null"),
        ({"chosen": turns(ASKED), "rejected": turns(ASKED)}, "the same"),
        ({"chosen": turns(ASKED, TOLD), "rejected": turns(ASKED)}, "'rejected' has no answer"),
        ({"chosen": "\n\nHuman: a\n\nAssistant:", "rejected": "\n\nHuman: a\n\nAssistant: b"}, "an empty assistant"),
        ({"prompt": "a", "response": "b", "score": "good"}, "its score 'score' is 'good', which is not a number"),
        ({"prompt": "a", "response": "b", "score": [4]}, "its score 'score' is an array, which is not a number"),
        ({"prompt": "a", "response": "b", "score": float("nan")}, "its score 'score' is nan"),
        ({"instruction": "a", "output": ""}, "the field 'output' is empty"),
        ({"prompt": "a", "chosen": [], "rejected": turns(TOLD)}, "the field 'chosen' is empty"),
        ({"prompt": [], "completion": "b"}, "the field 'prompt' is empty"),
        ({"prompt": "a", "completion": []}, "the field 'completion' is empty"),
        ({"instruction": turns(ASKED, TOLD), "input": "b", "output": "c"}, "not clear what 'input' belongs to"),
        ({"prompt": "a", "response": "b", "score": 10**400}, "its score 'score' is 1000"),
        ({"instruction": "a", "input": ["b"], "output": "c"}, "the field 'input' is an array, not a string"),
        ({"instruction": "a", "completions": [{"response": "b"}]}, "make a row of each"),
    ],
)
def test_a_broken_record_says_what_is_wrong_with_it(record, says):
    with pytest.raises(Unusable, match=says):
        shape_of(record).read(record)


def test_an_exchange_has_all_turns_but_the_system_prompt_and_of_a_preference_the_chosen_answer():
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]}
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add."}, call]
    chat = {"messages": [*asked, {"role": "tool", "content": "3"}, {"role": "assistant", "content": "It is 3."}]}
    assert exchange(conversation("chat", json.dumps(chat))) == ("Add.\nadd({})\n3", "It is 3.")
    worse = {"prompt": "Add 1 and 2.", "chosen": "3", "rejected": "4"}
    assert exchange(conversation("preference", json.dumps(worse))) == ("Add 1 and 2.", "3")


def test_a_document_has_no_turns():
    with pytest.raises(ValueError, match="kind 'document' has no turns"):
        conversation("document", '{"text": "a"}')
    with pytest.raises(ValueError, match="not laid out as any chat"):
        conversation("chat", '{"text": "a"}')


WORDS = st.text(min_size=1).filter(lambda text: text.strip() and "\n\n" not in text and not text.startswith(" "))
EXCHANGES = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4)
ALIASES = {"user": "human", "assistant": "gpt"}


@given(EXCHANGES, WORDS)
def test_turns_read_back_as_they_were_written(exchanges, worse):
    said = [turn for asked, told in exchanges for turn in (("user", asked), ("assistant", told))]
    messages = turns(*said)
    found = conversation("chat", json.dumps({"messages": messages}))
    assert as_messages(found.prompt + found.response) == messages
    share = turns(*((ALIASES[role], words) for role, words in said), name="from", words="value")
    assert conversation("chat", json.dumps({"conversations": share})) == found
    if worse == said[-1][1]:
        return
    transcript = ["".join(f"\n\n{NAMES[role]}: {words}" for role, words in all) for all in (said, bad(said, worse))]
    pair = conversation("preference", json.dumps(dict(zip(("chosen", "rejected"), transcript, strict=True))))
    assert (pair.prompt, pair.response) == (found.prompt, found.response)
    assert as_messages(pair.rejected) == turns(("assistant", worse))
    chats = {"chosen": messages, "rejected": turns(*bad(said, worse))}
    assert conversation("preference", json.dumps(chats)) == pair


NAMES = {"user": "Human", "assistant": "Assistant"}


def bad(said, worse):
    return [*said[:-1], ("assistant", worse)]
