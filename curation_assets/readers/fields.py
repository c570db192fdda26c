"""Which fields of a file's records hold the text, the owner's id, the label, the licence and the time.

The recipe says, or the file's first records do; each guess is put in words. What a record is, is in `records.py`; how
it is read from a file, in `formats.py`.
"""

import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, NamedTuple

import numpy as np
import orjson

from curation_assets.readers.records import Record, Source, Unusable, refuse_unstorable

SAMPLE_RECORDS = 100  # the guess is made once a file, from this many good records


class TextRule(NamedTuple):
    """One way to get a text out of a record."""

    kind: str
    fields: tuple[str, ...]
    fits: Callable[[Mapping[str, Any]], bool]
    text: Callable[[Mapping[str, Any]], str]


class Fields(NamedTuple):
    """Which fields of one file's records hold what."""

    rule: TextRule
    id: str | None = None
    time: str | None = None
    label: str | None = None
    license: str | None = None


# --- values ---------------------------------------------------------------------------------------------------------


def json_type(value: Any) -> str:
    """Name the type of a value in JSON's terms.

    >>> json_type(None), json_type([1]), json_type(True)
    ('null', 'an array', 'a boolean')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {
        str: "a string",
        int: "a number",
        float: "a number",
        list: "an array",
        tuple: "an array",
        dict: "an object",
    }
    return names.get(type(value), f"of type {type(value).__name__}")


def named(names: Iterable[str], most: int = 12) -> str:
    """List field names for a sentence.

    >>> named(["a", "b", "c"])
    "'a', 'b', 'c'"
    """
    names = [name if len(name) <= 40 else name[:40] + "…" for name in names]
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def as_json(value: Any) -> bytes:
    """Write a row of a table as JSON: dates in ISO 8601, decimals as text, bytes that are no text escaped."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def as_text(value: Any) -> str | None:
    """Turn an id, a label, a licence or a time into text; an empty one is None.

    >>> as_text(7), as_text(" a "), as_text(""), as_text(True), as_text({"$oid": "5f"})
    ('7', ' a ', None, 'true', '{"$oid":"5f"}')
    """
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return _plain(value) or None
    return str(value) if type(value) is int else as_json(value).decode()


# --- which field is the text ----------------------------------------------------------------------------------------

_PAIRS = (  # the request, what it may come with, the names its answer goes by
    ("instruction", "input", ("output", "response")),
    ("prompt", None, ("completion", "response")),
    ("question", None, ("answer",)),
    ("Q", None, ("A",)),
)
_CHATS = ("messages", "conversations")
_TEXT_NAMES = (
    *("content", "body", "document", "article", "full_text", "passage", "review", "comment", "comments", "tweet"),
    *("title", "headline", "sentence", "description"),
)
_ID_NAMES = ("id", "_id", "uuid", "guid", "record_id", "doc_id")
_TIME_NAMES = ("time", "timestamp", "created", "date", "added")
_LICENSE_NAMES = ("license", "licence")


def template_fields(template: str) -> list[str]:
    r"""Name the fields of a text template.

    >>> template_fields("{question}\n{answer}")
    ['question', 'answer']

    Raises:
        ValueError: the template is no format string, has no field, or has more than plain names (`{a.b}`, `{a[0]}`,
            `{a!r}`, `{a:>10}`): a template picks fields, it computes nothing.

    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"text_template {template!r} can't be read: {error}; write a brace as '{{{{'.") from None
    names = [name for _, name, _, _ in parts if name is not None]
    for _, name, spec, conversion in parts:
        if name is not None and (not name.strip() or any(mark in name for mark in ".[]") or spec or conversion):
            piece = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise ValueError(
                f"text_template takes plain field names only, such as '{{text}}', and '{{{piece}}}' is not one;"
                " make the field you need in the source file."
            )
    if not names:
        raise ValueError(f"text_template {template!r} names no field; write for example '{{question}}\\n{{answer}}'.")
    return names


def _string(record: Mapping[str, Any], name: str) -> str:
    """Take a field that must hold a string."""
    try:
        value = record[name]
    except KeyError:
        has = named(record)
        raise Unusable(f"it has no field '{name}'; its fields are {has}" if has else "it has no fields") from None
    if isinstance(value, str):
        return value
    is_what = "null" if value is None else json_type(value) + ", not a string"
    raise Unusable(f"the field '{name}' is {is_what}; the record's fields are {named(record)}")


def field_rule(name: str) -> TextRule:
    """Take the text from one field."""
    return TextRule(
        "document", (name,), lambda record: isinstance(record.get(name), str), lambda record: _string(record, name)
    )


def template_rule(template: str, kind: str = "document") -> TextRule:
    """Make the text of several fields; a null counts as nothing, a number as its digits."""
    names = template_fields(template)
    parts = [(literal, name) for literal, name, _, _ in string.Formatter().parse(template)]

    def value(record: Mapping[str, Any], name: str) -> str:
        found = record.get(name)
        if type(found) in (int, float):
            return str(found)
        return "" if found is None and name in record else _string(record, name)

    def text(record: Mapping[str, Any]) -> str:
        values = {name: value(record, name) for name in names}
        if not any(values.values()):
            return ""  # only the template's own words would be left
        return "".join(literal + (values[name] if name is not None else "") for literal, name in parts)

    return TextRule(kind, tuple(names), lambda record: all(name in record for name in names), text)


def _pair_rule(request: str, extra: str | None, answers: Sequence[str]) -> TextRule:
    def text(record: Mapping[str, Any]) -> str:
        answer = next((name for name in answers if name in record), answers[0])
        middle = [_string(record, extra)] if extra and record.get(extra) is not None else []
        asked, answered = _string(record, request), _string(record, answer)
        for name, said in ((request, asked), (answer, answered)):
            if not said.strip():
                raise Unusable(f"the field '{name}' is empty; an instruction needs a request and an answer.")
        return "\n".join(part for part in [asked, *middle, answered] if part)

    return TextRule(
        "instruction",
        (request, *((extra,) if extra else ()), *answers),
        lambda record: request in record and any(name in record for name in answers),
        text,
    )


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(message, dict) for message in value)


def _said(message: Any) -> str:
    """Take what one chat message says: `content` or `value`, a string or a list of typed parts."""
    if not isinstance(message, dict) or not ("content" in message or "value" in message):
        raise Unusable("one of its messages is not an object with 'content' or 'value'")
    content = message.get("content", message.get("value"))
    if isinstance(content, list):
        content = "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    if content is None:  # a tool call has no words
        return ""
    if not isinstance(content, str):
        raise Unusable(f"the content of one of its messages is {json_type(content)}, not a string")
    return content


def _chat_text(messages: Any, name: str) -> str:
    if not isinstance(messages, list):
        raise Unusable(f"the field '{name}' is {json_type(messages)}, not a list of messages")
    return "\n".join(said for said in map(_said, messages) if said)


def _chat_rule(name: str) -> TextRule:
    def text(record: Mapping[str, Any]) -> str:
        return _chat_text(record[name], name) if name in record else _string(record, name)

    return TextRule("chat", (name,), lambda record: _is_chat(record.get(name)), text)


def _preference_rule() -> TextRule:
    def text(record: Mapping[str, Any]) -> str:
        chosen = record.get("chosen")
        if isinstance(chosen, list):  # a whole chat, which begins with the prompt
            return _chat_text(chosen, "chosen")
        prompt = _string(record, "prompt") if record.get("prompt") is not None else ""
        return "\n".join(part for part in (prompt, _string(record, "chosen")) if part)

    return TextRule(
        "preference",
        ("prompt", "chosen", "rejected"),
        lambda record: "chosen" in record and "rejected" in record,
        text,
    )


_SHAPES = (*(_pair_rule(*pair) for pair in _PAIRS), _preference_rule(), *(_chat_rule(name) for name in _CHATS))
_NAMED = tuple(field_rule(name) for name in _TEXT_NAMES)
_TEXT = field_rule("text")


def is_one_record(source: Source, value: Mapping[str, Any]) -> bool:
    """Tell a JSON file that is one record from one that wraps a list of records."""
    if source.text_field or source.text_template:
        asked = [source.text_field] if source.text_field else template_fields(source.text_template or "")
        return all(name in value for name in asked)
    return _TEXT.fits(value) or any(rule.fits(value) for rule in _SHAPES)


def _common_rule(sample: Sequence[Mapping[str, Any]], rules: Sequence[TextRule]) -> TextRule | None:
    """Take the first rule that fits at least half the sample, else the one that fits the most of it."""
    fits = [sum(map(rule.fits, sample)) for rule in rules]
    half = next((rule for rule, n in zip(rules, fits, strict=True) if 2 * n >= len(sample) and n), None)
    return half or (rules[int(np.argmax(fits))] if any(fits) else None)


def _longest_rule(sample: Sequence[Mapping[str, Any]]) -> TextRule | None:
    """Take the string field of the greatest mean length, the first of equals."""
    chars: dict[str, int] = {}
    for record in sample:
        for name, value in record.items():
            if isinstance(value, str):
                chars[name] = chars.get(name, 0) + len(value)
    return field_rule(max(chars, key=lambda name: chars[name])) if any(chars.values()) else None


def guess_text(sample: Sequence[Mapping[str, Any]]) -> TextRule | None:
    """Guess how to get the text from a file's first records; None if no field holds a string.

    `text` if any record has it; else the shape of instructions, preferences or chats; else a usual name for a text;
    else the field with the longest strings.

    >>> guess_text([{"review": "Fine.", "url": "https://example.org/1"}]).fields
    ('review',)
    >>> guess_text([{"instruction": "Add.", "input": "1 2", "output": "3"}]).kind
    'instruction'
    """
    if any("text" in record for record in sample):
        return _TEXT
    return _common_rule(sample, _SHAPES) or _common_rule(sample, _NAMED) or _longest_rule(sample)


# --- the other fields -----------------------------------------------------------------------------------------------


def _first_name(sample: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    return next((name for name in names if any(record.get(name) not in (None, "") for record in sample)), None)


def _only_unique_id(sample: Sequence[Mapping[str, Any]]) -> str | None:
    """Find the only field ending in `_id` whose values differ in all records of the sample."""
    names = {name: None for record in sample for name in record if name.endswith("_id")}
    unique = []
    for name in names:
        values = [as_text(record.get(name)) for record in sample]
        if None not in values and len(set(values)) == len(values):
            unique.append(name)
    return unique[0] if len(unique) == 1 else None


def choose_fields(source: Source, uri: str, sample: Sequence[Mapping[str, Any]], notes: list[str]) -> Fields | None:
    """Decide which fields of a file hold what, from the recipe or else from the file's first records.

    Each guess is put in words in `notes`. None if the records have no field that holds a string.
    """
    guess = guess_text(sample)
    if source.text_field:
        rule = field_rule(source.text_field)
    elif source.text_template:
        names = set(template_fields(source.text_template))
        is_shape = guess in _SHAPES and len(names) > 1 and names <= set(guess.fields)
        rule = template_rule(source.text_template, guess.kind if is_shape else "document")
    elif guess:
        rule = guess
        if rule.fields != ("text",):
            present = [name for name in rule.fields if any(name in record for record in sample)]
            plural = "s" if len(present) > 1 else ""
            notes.append(f"{uri}: text is taken from the field{plural} {named(present)} (no field 'text').")
    else:
        return None

    owner_id = source.id_field or _first_name(sample, _ID_NAMES)
    if owner_id is None and (owner_id := _only_unique_id(sample)):
        notes.append(f"{uri}: the owner's id is taken from '{owner_id}', the only field ending in _id with no repeats.")
    for option in ("id_field", "time_field", "label_field", "license_field"):
        name = getattr(source, option)
        if name and not any(name in record for record in sample):
            has = named(dict.fromkeys(field for record in sample for field in record))
            notes.append(f"{uri}: no field '{name}' ({option}) in its first {len(sample)} records; they have {has}.")
    return Fields(
        rule,
        owner_id,
        source.time_field or _first_name(sample, _TIME_NAMES),
        source.label_field or _first_name(sample, ("label",)),
        source.license_field or _first_name(sample, _LICENSE_NAMES),
    )


# --- from a record to a row -----------------------------------------------------------------------------------------


def is_html(text: str) -> bool:
    r"""Tell a page by how it begins.

    >>> is_html("\n<!DOCTYPE html><title>a</title>"), is_html("<p>a fragment")
    (True, False)
    """
    return text[:200].lstrip()[:14].lower().startswith(("<!doctype html", "<html"))


def record_row(
    fields: Fields, source: Source, uri: str, row: int, values: Mapping[str, Any], original: bytes
) -> Record:
    """Make one row of the `raw` table from a record.

    Raises:
        Unusable: the text is missing, no string or empty, or holds characters no database column can.

    """
    text = fields.rule.text(values)
    if not text or text.isspace():
        raise Unusable("the text is empty")
    owner_id = as_text(values.get(fields.id)) if fields.id else None
    label = as_text(values.get(fields.label)) if fields.label else None
    license = (as_text(values.get(fields.license)) if fields.license else None) or source.license
    record_time = as_text(values.get(fields.time)) if fields.time else None
    if b"\\u0000" in original:  # a JSON text can't hold the character itself
        refuse_unstorable(text, owner_id, label, license, record_time)
    return Record(
        owner_id or f"{uri}:{row}",
        owner_id is not None,
        uri,
        row,
        "html" if text[0] in "<\n\r\t " and is_html(text) else fields.rule.kind,
        text,
        label,
        license,
        record_time,
        original,
    )
