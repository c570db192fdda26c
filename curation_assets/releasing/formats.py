r"""One record as a row of each format that trainers read.

format             one row                                                                         read by
-----------------  ------------------------------------------------------------------------------  --------------------
text               text                                                                            every trainer
alpaca             instruction, input, output; system where there is one                           LLaMA-Factory, Axolotl
sharegpt           conversations: [{from, value}], from system, human, gpt, function_call or       LLaMA-Factory, Axolotl
                   observation; tools (JSON in a string)
messages           messages: [{role, content, tool_calls, …}], tools; text if a tokenizer is named  TRL, OpenAI, Axolotl
prompt_completion  prompt, completion: two strings                                                 TRL, MLX, OpenAI
preference         prompt, chosen, rejected: lists of messages; score_chosen, score_rejected       TRL (DPO, reward)
reward             prompt, completion: lists of messages; score, score_field, further scores       reward and KTO trainers
classification     text, label                                                                     any classifier

A record that a format cannot hold whole (several turns in Alpaca, an image anywhere) is refused with the reason rather
than cut. What is optional in a format is a column only where a record of the release has it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from curation_assets.algorithms.cleaning import repair
from curation_assets.readers.kinds import CONVERSATIONS, Conversation
from curation_assets.readers.turns import Message, calls

Row = dict[str, Any]


class Unfit(ValueError):
    """A format cannot hold a record; the message says why."""


class Releasable(NamedTuple):
    """A record with what the formats are written from."""

    kind: str
    text: str
    """The cleaned text; of a conversation its canonical text."""
    found: Conversation | None
    """Its turns, repaired as the text was; None for a document."""
    label: str | None


# --- repairing turns ------------------------------------------------------------------------------------------------


def repaired(found: Conversation) -> Conversation:
    """A conversation with every turn repaired as its canonical text was when it was cleaned; markup is part of what is said."""

    def turns(said: Iterable[Message]) -> list[Message]:
        return [turn._replace(content=repair(turn.content)) for turn in said]

    return found._replace(
        prompt=turns(found.prompt),
        response=turns(found.response),
        rejected=turns(found.rejected),
        instruction=found.instruction and repair(found.instruction),
        input=found.input and repair(found.input),
    )


# --- formats --------------------------------------------------------------------------------------------------------


def text(record: Releasable) -> Row:
    """The text of a document; of a conversation its canonical text."""
    return {"text": record.text}


def alpaca(record: Releasable) -> Row:
    """One request, what it applies to, its answer (Stanford Alpaca's fields; `system` as LLaMA-Factory reads it)."""
    system, user, assistant = _exchange(record.found, "Alpaca")
    told_apart = record.found.instruction is not None
    row = {
        "instruction": record.found.instruction if told_apart else user.content,
        "input": (record.found.input or "") if told_apart else "",
        "output": assistant.content,
    }
    return row | ({"system": system} if system else {})


def prompt_completion(record: Releasable) -> Row:
    """One request and its answer as two strings; a system prompt has no place in it."""
    system, user, assistant = _exchange(record.found, "prompt and completion")
    if system:
        raise Unfit("it has a system prompt, which prompt and completion have no place for")
    return {"prompt": user.content, "completion": assistant.content}


def sharegpt(record: Releasable) -> Row:
    """All turns as `from` and `value`; a call of tools is a turn of its own, its value the JSON of the call or calls."""
    turns = [*record.found.prompt, *record.found.response]
    row = {"conversations": [part for turn in turns for part in _sharegpt_turns(turn)]}
    tools = _tools(record.found)
    return row | ({"tools": orjson.dumps(tools["tools"]).decode()} if tools else {})


def messages(record: Releasable) -> Row:
    """All turns in OpenAI's messages form, with the tools that may be called."""
    return {"messages": as_rows([*record.found.prompt, *record.found.response])} | _tools(record.found)


def preference(record: Releasable) -> Row:
    """A prompt, the better and the worse answer, each a list of messages (TRL's conversational preference form)."""
    found = record.found
    row = {"prompt": as_rows(found.prompt), "chosen": as_rows(found.response), "rejected": as_rows(found.rejected)}
    for name, value in found.scores.items():
        row["score_chosen" if "chosen" in name else "score_rejected"] = value
    return row | _tools(found)


def reward(record: Releasable) -> Row:
    """A prompt, its answer and its scores: the first stated as `score` with its field's name, others under their own."""
    found = record.found
    (field, score), *others = found.scores.items()
    row = {"prompt": as_rows(found.prompt), "completion": as_rows(found.response), "score": score, "score_field": field}
    return row | {name: value for name, value in others if name not in row} | _tools(found)


def classification(record: Releasable) -> Row:
    """A text and its class."""
    if record.label is None:
        raise Unfit("it has no label")
    return {"text": record.text, "label": record.label}


FORMATS: Mapping[str, Callable[[Releasable], Row]] = {
    "text": text,
    "alpaca": alpaca,
    "sharegpt": sharegpt,
    "messages": messages,
    "prompt_completion": prompt_completion,
    "preference": preference,
    "reward": reward,
    "classification": classification,
}

DOCUMENTS = ("document", "html")
KINDS: Mapping[str, Sequence[str]] = {
    "text": DOCUMENTS,
    "alpaca": ("instruction", "chat"),
    "sharegpt": ("instruction", "chat"),
    "messages": ("instruction", "chat"),
    "prompt_completion": ("instruction", "chat"),
    "preference": ("preference",),
    "reward": ("reward",),
    "classification": (*DOCUMENTS, *CONVERSATIONS),
}
"""Which kinds of record each format is meant for."""

BY_DEFAULT: Mapping[str, Sequence[str]] = {
    "document": ("text",),
    "html": ("text",),
    "instruction": ("alpaca", "messages"),
    "chat": ("messages", "sharegpt"),
    "preference": ("preference",),
    "reward": ("reward",),
}


def chosen_formats(asked: Sequence[str], kinds: Iterable[str], *, has_labels: bool) -> list[str]:
    """The formats of a release: those asked for, else those usual for the kinds it holds, in the order of FORMATS.

    >>> chosen_formats([], ["document", "instruction"], has_labels=True)
    ['text', 'alpaca', 'messages', 'classification']
    """
    usual = {name for kind in kinds for name in BY_DEFAULT[kind]} | ({"classification"} if has_labels else set())
    return [name for name in FORMATS if name in (set(asked) or usual)]


def formats_for(kind: str, formats: Sequence[str]) -> list[str]:
    """Those of a release's formats that records of a kind go into.

    A kind that none is meant for goes into `text` by its canonical text, where `text` was asked for.

    >>> formats_for("chat", ["text", "messages"]), formats_for("chat", ["text"]), formats_for("chat", ["reward"])
    (['messages'], ['text'], [])
    """
    meant = [name for name in formats if kind in KINDS[name]]
    only_labels = not set(meant) - {"classification"}
    return ["text", *meant] if only_labels and kind in CONVERSATIONS and "text" in formats else meant


def as_rows(turns: Sequence[Message]) -> list[Row]:
    """Turns as messages with the fields of MESSAGE, those that are there. Raises Unfit for a part that is not text."""
    return [_message(turn) for turn in turns]


def further_fields(found: Conversation) -> set[str]:
    """Names of the fields of messages that no format carries."""
    carried = {field.name for field in MESSAGE} | {"content", "function_call", *_REASONING}
    return {name for turn in (*found.prompt, *found.response, *found.rejected) for name in turn.more} - carried


# --- one turn -------------------------------------------------------------------------------------------------------

_REASONING = ("reasoning_content", "reasoning", "thinking")
_FROM = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def _exchange(found: Conversation, what: str) -> tuple[str | None, Message, Message]:
    """System prompt, request and answer of a conversation that is one exchange of words. Raises Unfit for others."""
    systems = [turn for turn in found.prompt if turn.role == "system"]
    asked = [turn for turn in found.prompt if turn.role != "system"]
    turns = [*asked, *found.response]
    if [turn.role for turn in turns] != ["user", "assistant"] or len(systems) > 1:
        raise Unfit(f"it has {len(turns)} turns, and {what} has place for one request and one answer")
    if found.tools or any(calls(turn.more) for turn in turns):
        raise Unfit(f"it calls tools, which {what} has no place for")
    for turn in (*systems, *turns):
        _refuse_other_than_text(turn)
    return (systems[0].content if systems else None), *turns


def _refuse_other_than_text(turn: Message) -> None:
    parts = turn.more.get("content")
    for part in parts if isinstance(parts, list) else []:
        if not (isinstance(part, str) or (isinstance(part, dict) and isinstance(part.get("text"), str))):
            raise Unfit("a message holds a part that is not text")


def _message(turn: Message) -> Row:
    _refuse_other_than_text(turn)
    row: Row = {"role": turn.role, "content": turn.content}
    if reasoning := next((turn.more[name] for name in _REASONING if isinstance(turn.more.get(name), str)), None):
        row["reasoning_content"] = reasoning
    for name in ("name", "tool_call_id"):
        if turn.more.get(name) is not None:
            row[name] = str(turn.more[name])
    if made := [_call(call) for call in calls(turn.more)]:
        row["tool_calls"] = made
    if isinstance(turn.more.get("weight"), int | float):
        row["weight"] = float(turn.more["weight"])
    return row


def _call(call: Any) -> Row:
    """A call in OpenAI's form, its arguments JSON in a string, as OpenAI has them: each tool's differ in shape."""
    of = call.get("function", call) if isinstance(call, dict) else {}
    if not isinstance(of, dict) or not of.get("name"):
        raise Unfit("a message calls a tool without naming it")
    arguments = of.get("arguments", of.get("parameters"))
    said = arguments if isinstance(arguments, str) else orjson.dumps({} if arguments is None else arguments).decode()
    row = {"type": "function", "function": {"name": str(of["name"]), "arguments": said}}
    return row if call.get("id") is None else {"id": str(call["id"])} | row


def _sharegpt_turns(turn: Message) -> list[Row]:
    _refuse_other_than_text(turn)
    made = [_call(call)["function"] for call in calls(turn.more)]
    said = [{"from": _FROM[turn.role], "value": turn.content}] if turn.content or not made else []
    if not made:
        return said
    value = [{"name": one["name"], "arguments": _parsed(one["arguments"])} for one in made]
    return [*said, {"from": "function_call", "value": orjson.dumps(value[0] if len(value) == 1 else value).decode()}]


def _tools(found: Conversation) -> Row:
    """The tools as objects, also where they stood as JSON in a string; nothing where there are none."""
    tools = _parsed(found.tools)
    return {"tools": tools} if tools else {}


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


# --- columns --------------------------------------------------------------------------------------------------------

_OPTIONAL = {b"optional": b"1"}


def _optional(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, metadata=_OPTIONAL)


CALL = pa.struct(
    [
        _optional("id", pa.string()),
        pa.field("type", pa.string()),
        pa.field("function", pa.struct([pa.field("name", pa.string()), pa.field("arguments", pa.string())])),
    ]
)
MESSAGE = pa.struct(
    [
        pa.field("role", pa.string()),
        pa.field("content", pa.string()),
        _optional("reasoning_content", pa.string()),
        _optional("name", pa.string()),
        _optional("tool_calls", pa.list_(CALL)),
        _optional("tool_call_id", pa.string()),
        _optional("weight", pa.float64()),
    ]
)
_TURNS = pa.list_(MESSAGE)
_TOOLS = _optional("tools", pa.string())  # JSON: no two tools have the same columns

COLUMNS: Mapping[str, Sequence[pa.Field]] = {
    "text": (pa.field("text", pa.string()),),
    "alpaca": (
        *(pa.field(name, pa.string()) for name in ("instruction", "input", "output")),
        _optional("system", pa.string()),
    ),
    "sharegpt": (
        pa.field("conversations", pa.list_(pa.struct({"from": pa.string(), "value": pa.string()}))),
        _TOOLS,
    ),
    "messages": (pa.field("messages", _TURNS), _TOOLS, _optional("text", pa.string())),
    "prompt_completion": (pa.field("prompt", pa.string()), pa.field("completion", pa.string())),
    "preference": (
        *(pa.field(name, _TURNS) for name in ("prompt", "chosen", "rejected")),
        *(_optional(name, pa.float64()) for name in ("score_chosen", "score_rejected")),
        _TOOLS,
    ),
    "reward": (
        *(pa.field(name, _TURNS) for name in ("prompt", "completion")),
        pa.field("score", pa.float64()),
        pa.field("score_field", pa.string()),
        *(
            _optional(name, pa.float64())
            for name in (
                *("rating", "reward", "overall_score", "helpfulness"),
                *("correctness", "coherence", "complexity", "verbosity"),
            )
        ),
        _TOOLS,
    ),
    "classification": (pa.field("text", pa.string()), pa.field("label", pa.string())),
}
"""The columns of each format's Parquet files, before `without_absent`."""


def present_fields(row: Row) -> set[str]:
    """Dotted names of all fields that a row has, also those of its messages and their calls."""
    names = set(row)
    for name, value in row.items():
        for part in value if isinstance(value, list) and name != "tools" else []:
            if isinstance(part, dict):
                names |= {f"{name}.{inner}" for inner in part}
                names |= {f"{name}.tool_calls.id" for call in part.get("tool_calls", ()) if "id" in call}
    return names


def without_absent(fields: Iterable[pa.Field], present: set[str], inside: str = "") -> list[pa.Field]:
    """The fields that no row has left out, where they are optional, at every depth."""
    kept = []
    for field in fields:
        name = f"{inside}{field.name}"
        if field.metadata == _OPTIONAL and name not in present:
            continue
        kind = field.type
        if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
            kind = pa.list_(pa.struct(without_absent(kind.value_type, present, f"{name}.")))
        kept.append(pa.field(field.name, kind))
    return kept
