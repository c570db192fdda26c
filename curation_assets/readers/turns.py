"""Turns of a conversation, read from lists of messages in any of the usual dialects and from transcripts.

Whole records, of which turns are a part, are for `kinds.py`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from curation_assets.readers.records import Unusable, json_type


class Message(NamedTuple):
    """One turn: who says what."""

    role: str
    """system, user, assistant or tool."""
    content: str
    """The words; of a list of typed parts, its texts, a line each. Empty where a tool is called without a word."""
    more: Mapping[str, Any] = {}
    """The message's other fields as they stood (tool_calls, tool_call_id, name, …), and `content` if it was a list."""


ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "bot", "model", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "function_response", "ipython"), "tool"),
}
"""What the dialects call whoever speaks → what we call them."""
_OWN = ("role", "from", "content", "value")
_TRANSCRIPT = re.compile(r"\n\n(Human|Assistant):[ ]?")


def _message(record: Any, at: int, field: str) -> Message:
    where = f"message {at} of '{field}'"
    if not isinstance(record, dict):
        raise Unusable(f"{where} is {json_type(record)}, not an object with role and content")
    said_by = _first_of(record, "role", "from")
    role = ROLES.get(said_by.lower()) if isinstance(said_by, str) else None
    if role is None:
        who = f"the role {said_by!r:.60}" if said_by is not None else "no role ('role' or 'from')"
        raise Unusable(f"{where} has {who}; known are system, user, assistant, tool and their usual other names")
    if "content" not in record and "value" not in record and not calls(record):
        raise Unusable(f"{where} has no 'content' or 'value'")
    content = _first_of(record, "content", "value")
    more = {name: value for name, value in record.items() if name not in _OWN}
    if isinstance(content, list):
        more["content"] = content
        content = "\n".join(part if isinstance(part, str) else part["text"] for part in content if _is_text(part))
    if said_by == "function_call" and (call := _call(content)):
        more["tool_calls"] = [{"type": "function", "function": call}]
        content = ""
    if content is not None and not isinstance(content, str):
        raise Unusable(f"the content of {where} is {json_type(content)}, not a string")
    message = Message(role, content or "", more)
    if role in ("user", "assistant") and _is_empty(message):
        raise Unusable(f"{where} is an empty {role} turn")
    return message


def _first_of(record: Mapping[str, Any], name: str, other: str) -> Any:
    """One of two fields: tables have both in every message, and null in one of them."""
    return record[name] if record.get(name) is not None else record.get(other)


def _is_text(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, dict) and isinstance(part.get("text"), str))


def _is_empty(message: Message) -> bool:
    return not message.content.strip() and not calls(message.more) and not message.more.get("content")


def calls(more: Mapping[str, Any]) -> list[Any]:
    """The calls of tools in a message: OpenAI's `tool_calls`, or its older `function_call`."""
    calls = more.get("tool_calls") or []
    return calls if isinstance(calls, list) and calls else [call for call in [more.get("function_call")] if call]


def _call(content: Any) -> dict[str, Any] | None:
    """A ShareGPT function_call turn, whose words are the call as JSON."""
    try:
        call = orjson.loads(content) if isinstance(content, str) else content
    except orjson.JSONDecodeError:
        return None
    return call if isinstance(call, dict) and "name" in call else None


def read_turns(value: Any, field: str, role: str) -> list[Message]:
    """Read the turns of a field: messages or one of them, a transcript with Human: and Assistant:, or one role's words.

    Raises:
        Unusable: a role is unknown, there is no turn, a user's or an assistant's is empty, or it is none of these.

    """
    if isinstance(value, dict):
        return [_message(value, 1, field)]
    if isinstance(value, list) and value:
        return [_message(message, at, field) for at, message in enumerate(value, 1)]
    if not isinstance(value, str | list):
        raise Unusable(f"the field '{field}' is {json_type(value)}, not a string or a list of messages")
    if not value or value.isspace():
        raise Unusable(f"the field '{field}' is empty")
    if value.startswith("\n\nHuman:"):
        return _transcript(value, field)
    return [Message(role, value)]


def _transcript(text: str, field: str) -> list[Message]:
    """A transcript as in HH-RLHF: a blank line, then `Human:` or `Assistant:`, before every turn.

    An `Assistant:` at the very end of a prompt is where the answer begins, and no turn.
    """
    _, *pieces = _TRANSCRIPT.split(text)
    turns = list(zip(pieces[::2], pieces[1::2], strict=True))
    if field == "prompt" and not turns[-1][1].strip():
        turns.pop()
    return [_message({"role": who, "content": said}, at, field) for at, (who, said) in enumerate(turns, 1)]


def as_messages(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """Write turns in OpenAI's messages form, all their fields kept.

    >>> as_messages([Message("assistant", "", {"tool_calls": [{"id": "a"}]})])
    [{'role': 'assistant', 'content': '', 'tool_calls': [{'id': 'a'}]}]
    """
    return [{"role": turn.role, "content": turn.content, **turn.more} for turn in turns]


def words(turn: Message) -> Iterator[str]:
    """What a turn says, and each tool it calls as `name(arguments)`."""
    if turn.content:
        yield turn.content
    for call in calls(turn.more):
        of = call.get("function", call) if isinstance(call, dict) else {}
        if isinstance(of, dict) and of.get("name"):
            arguments = of.get("arguments") or of.get("parameters") or ""
            yield f"{of['name']}({arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()})"
