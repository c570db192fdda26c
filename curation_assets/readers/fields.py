"""Which fields of a file's records hold the text, the owner's id, the label, the licence and the time.

The recipe says, or the file's first records do; each guess is put in words. Records with turns (instructions, chats,
…) are recognised one by one, in `kinds.py`. What a record is, is in `records.py`; how it is read from a file, in
`formats.py`.
"""

import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, NamedTuple

import numpy as np
import orjson

from curation_assets.readers.kinds import CHATS, CONVERSATIONS, Shape, canonical_text, shape_of
from curation_assets.readers.records import Record, Source, Unusable, json_type, refuse_unstorable

SAMPLE_RECORDS = 100  # the guess is made once a file, from this many good records


class TextRule(NamedTuple):
    """One way to get a text out of a record."""

    fields: tuple[str, ...]
    fits: Callable[[Mapping[str, Any]], bool]
    text: Callable[[Mapping[str, Any]], str]


class Fields(NamedTuple):
    """Which fields of one file's records hold what."""

    rule: TextRule | None
    """How a document's text is taken, or every record's if the recipe says how; None if nothing tells."""
    kind: str | None = None
    """The kind of all records; None: each is looked at."""
    is_given: bool = False
    """Whether the recipe says where the text is: then it is that of every record, whatever its kind."""
    id: str | None = None
    time: str | None = None
    label: str | None = None
    license: str | None = None


# --- values ---------------------------------------------------------------------------------------------------------


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
    return TextRule((name,), lambda record: isinstance(record.get(name), str), lambda record: _string(record, name))


def template_rule(template: str) -> TextRule:
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

    return TextRule(tuple(names), lambda record: all(name in record for name in names), text)


_NAMED = tuple(field_rule(name) for name in _TEXT_NAMES)
_TEXT = field_rule("text")


def is_one_record(source: Source, value: Mapping[str, Any]) -> bool:
    """Tell a JSON file that is one record from one that wraps a list of records."""
    if source.text_field or source.text_template:
        asked = [source.text_field] if source.text_field else template_fields(source.text_template or "")
        return all(name in value for name in asked)
    return _TEXT.fits(value) or shape_of(value) is not None


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
    """Guess how to get the text from a file's first documents; None if no field holds a string.

    `text` if any record has it; else a usual name for a text; else the field with the longest strings.

    >>> guess_text([{"review": "Fine.", "url": "https://example.org/1"}]).fields
    ('review',)
    """
    if any("text" in record for record in sample):
        return _TEXT
    return _common_rule(sample, _NAMED) or _longest_rule(sample)


def _has_text(record: Mapping[str, Any]) -> bool:
    text = record.get("text")
    return type(text) is str and text != "" and not text.isspace()


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


def choose_fields(source: Source, uri: str, sample: Sequence[Mapping[str, Any]], notes: list[str]) -> Fields:
    """Decide which fields of a file hold what, from the recipe or else from the file's first records.

    Each guess is put in words in `notes`.
    """
    kind, is_given = source.kind, bool(source.text_field or source.text_template)
    if source.text_field:
        rule = field_rule(source.text_field)
    elif source.text_template:
        rule = template_rule(source.text_template)
        kind = kind or _kind_of_template(rule, sample)
    else:
        shapes = [_shape(kind, record) for record in sample]
        documents = [record for record, shape in zip(sample, shapes, strict=True) if shape is None]
        rule = None if kind in CONVERSATIONS else guess_text(documents)
        notes.extend(f"{uri}: {note}" for note in _what_is_read(kind, sample, shapes, rule))

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
        kind,
        is_given,
        owner_id,
        source.time_field or _first_name(sample, _TIME_NAMES),
        source.label_field or _first_name(sample, ("label",)),
        source.license_field or _first_name(sample, _LICENSE_NAMES),
    )


def holds_text(fields: Fields, sample: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any record of a file's first ones gives a text."""
    return fields.rule is not None or any(_shape(fields.kind, record) for record in sample)


def _kind_of_template(rule: TextRule, sample: Sequence[Mapping[str, Any]]) -> str | None:
    """A template over several fields of one shape says how records of that kind are to be written."""
    shape = next(filter(None, map(shape_of, sample)), None)
    return shape.kind if shape and len(rule.fields) > 1 and set(rule.fields) <= set(shape.fields) else None


def _shape(kind: str | None, record: Mapping[str, Any]) -> Shape | None:
    """The shape a record is read by: a field `text` is the text unless the recipe names a kind with turns."""
    if kind is None:
        return None if _has_text(record) else shape_of(record)
    return shape_of(record, kind) if kind in CONVERSATIONS else None


def _what_is_read(
    kind: str | None, sample: Sequence[Mapping[str, Any]], shapes: Sequence[Shape | None], rule: TextRule | None
) -> list[str]:
    """What was guessed about a file's records, in sentences."""

    def present(names: Sequence[str], records: Iterable[Mapping[str, Any]] = sample) -> list[str]:
        return [name for name in names if any(record.get(name) not in (None, "") for record in records)]

    found = list(dict.fromkeys(shape for shape in shapes if shape))
    fields = [
        present(shape.fields, [record for record, its in zip(sample, shapes, strict=True) if its is shape])
        for shape in found
    ]
    read = [f"{shape.kind} (from {named(names)})" for shape, names in zip(found, fields, strict=True)]
    if rule and None in shapes:
        read.append(f"document (from '{rule.fields[0]}')")
    if len(read) > 1:
        return [f"it holds records of several kinds: {', '.join(read)}."]
    names = fields[0] if found else list(rule.fields) if rule else ["text"]
    if names != ["text"]:
        return [f"text is taken from the field{'s' if len(names) > 1 else ''} {named(names)} (no field 'text')."]
    other = next(filter(None, map(shape_of, sample)), None) if kind is None else None
    if other is None:
        return []
    also = f"its records also have {named(present(other.fields))}, which `kind: {other.kind}` would read"
    return [f"text is taken from the field 'text'; {also}."]


# --- from a record to a row -----------------------------------------------------------------------------------------


def is_html(text: str) -> bool:
    r"""Tell a page by how it begins.

    >>> is_html("\n<!DOCTYPE html><title>a</title>"), is_html("<p>a fragment")
    (True, False)
    """
    return text[:200].lstrip()[:14].lower().startswith(("<!doctype html", "<html"))


def _kind_and_text(fields: Fields, values: Mapping[str, Any]) -> tuple[str, str]:
    """What kind a record is, and its text. Raises Unusable if it has none, or is a broken one of its kind."""
    rule = fields.rule
    if rule is _TEXT and fields.kind is None and _has_text(values):  # the common case, quickly
        return "document", values["text"]
    if fields.kind in CONVERSATIONS or not fields.is_given:
        if shape := _shape(fields.kind, values):
            found = shape.read(values)
            return shape.kind, rule.text(values) if fields.is_given else canonical_text(found)
        if fields.kind in CONVERSATIONS:
            raise Unusable(f"it is not laid out as any {fields.kind} we know; its fields are {named(values)}")
        if rule is None or not rule.fits(values):
            rule = _TEXT if _has_text(values) else rule or _common_rule([values], _NAMED)
        if rule is None:
            raise Unusable(_why_no_text(values))
    return fields.kind or "document", rule.text(values)


def _why_no_text(values: Mapping[str, Any]) -> str:
    for name in CHATS:
        if name in values:
            return f"the field '{name}' is {json_type(values[name]) if values[name] != [] else 'empty'}, not a list of messages"
    return f"it has no field with text; its fields are {named(values)}" if values else "it has no fields"


def record_row(
    fields: Fields, source: Source, uri: str, row: int, values: Mapping[str, Any], original: bytes
) -> Record:
    """Make one row of the `raw` table from a record.

    Raises:
        Unusable: the text is missing, no string or empty, the record is a broken one of its kind, or it holds
            characters no database column can.

    """
    kind, text = _kind_and_text(fields, values)
    if not text or text.isspace():
        raise Unusable("the text is empty")
    if fields.kind is None and kind == "document" and text[0] in "<\n\r\t " and is_html(text):
        kind = "html"
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
        kind,
        text,
        label,
        license,
        record_time,
        original,
    )
