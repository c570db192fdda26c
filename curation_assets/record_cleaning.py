"""Whole records cleaned: a document's text, or every part of a conversation that a prompt, a page or a release can show.

A conversation is read again from its original wherever its turns are needed. What cleaning takes out of it must be out of there
too, so where more than repairs is done to one its original is written anew, with the fields it is read from and nothing else
in words; `cleaned.records` keeps that as `cleaned_original`, and who reads turns reads it in the original's place.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson
import polars as pl

from curation_assets.algorithms import pii
from curation_assets.algorithms.cleaning import clean, drop_special_tokens, repair
from curation_assets.algorithms.pii import Finding
from curation_assets.readers import CONVERSATIONS, canonical_text, conversation, read_fields
from curation_assets.readers.turns import ROLES

_MAY_CHANGE = r"&[#A-Za-z]|\\u00|<\||\|>|</?s>|<eos>|<bos>|<pad>|<end_of_turn>|\[(?:PAD|EOS|BOS)\]"
"""Where a record's JSON has none of these, nor what `pii.worth_a_look` looks for, repairs reveal nothing in it."""

_SAID = ("content", "value", "text")
"""Keys of a message under which words stand that somebody says."""
_EMBEDDED = ("arguments", "parameters", "tools", "functions", "messages", "conversations", "conversation")
"""Keys under which a string can be JSON, in which a string can hide something by its escapes."""
_LEAST_NUMBER = 1_000_000
"""Smaller integers are no card, phone or account."""


class Recogniser(Protocol):
    """What finds names."""

    def find(self, texts: Sequence[str]) -> list[list[Finding]]:
        """The names in every text."""
        ...


class Rules(NamedTuple):
    """What is done beside repairs."""

    tidy: tuple[str, ...] = ()
    """Steps of cleaning.TIDYING for documents; template_residue takes special tokens off the ends of turns too."""
    extractor: str = "resiliparse"
    """What finds the main content of HTML pages."""
    actions: Mapping[str, str] = {}
    """Type of personal data → keep, mask, pseudonymise or drop; what is not in it is not looked for."""
    regions: tuple[str, ...] = ()
    """Countries whose national phone numbers are looked for."""
    key: bytes = b""
    """Key of the pseudonyms."""
    names: Recogniser | None = None


class CleanedRecord(NamedTuple):
    """A record after cleaning."""

    text: str
    steps: list[str]
    """The steps that changed it, in order."""
    original: str | None
    """Of a conversation that more than repairs changed: the JSON to read its turns from."""
    findings: list[tuple[str, Finding]]
    """Part (`text`, or the field and place within it) and what was found there before it was replaced."""
    lost: str | None = None
    """Why nothing is left of it that could be used, as the name of a rule."""

    def dropped_for(self, actions: Mapping[str, str]) -> dict[str, int]:
        """Types of its findings for which records are dropped, with their number."""
        types = [finding.type for _, finding in self.findings if actions[finding.type] == "drop"]
        return {type: types.count(type) for type in dict.fromkeys(types)}


class _Part(NamedTuple):
    """A piece of a record that is looked through by itself, and where it stands."""

    path: str
    before: str
    """The words as they were, repaired."""
    words: str
    """The words as they are looked through: repaired and tidied."""
    within: Any
    """The object or list it stands in; None for a document's text."""
    at: Any


def clean_records(
    kinds: Sequence[str], texts: Sequence[str], originals: Sequence[str | None], rules: Rules
) -> Iterator[CleanedRecord]:
    """Clean records: their kind, text and, for those with turns, original JSON."""
    cleaned = [
        clean(text, kind, () if kind in CONVERSATIONS else rules.tidy, rules.extractor)
        for kind, text in zip(kinds, texts, strict=True)
    ]
    examined = _examined(cleaned, kinds, originals, rules)
    parsed: dict[int, Any] = {}
    parts: dict[int, list[_Part]] = {}
    embedded: dict[int, list[_Part]] = {}
    for row in examined:
        text, is_html = cleaned[row].text, "html_to_text" in cleaned[row].steps
        if kinds[row] in CONVERSATIONS and (record := _read(kinds[row], originals[row])) is not None:
            parsed[row], embedded[row] = record, []
            parts[row] = list(_parts(record, "", None, is_html, rules, embedded[row]))
        else:
            parts[row] = [_Part("text", text, text, None, None)]
    found = _found([part.words for row in parts for part in parts[row]], rules)
    for row, (text, steps) in enumerate(cleaned):
        if row not in parts:
            yield CleanedRecord(text, steps, None, [])
            continue
        findings = [(part, next(found)) for part in parts[row]]
        yield _assembled(kinds[row], text, steps, findings, parsed.get(row), embedded.get(row, []), rules)


def _examined(cleaned: Sequence[Any], kinds: Sequence[str], originals: Sequence[str | None], rules: Rules) -> list[int]:
    """Records in which there may be something to take out: all others are passed over at the speed of a search."""
    has_turns = [kind in CONVERSATIONS for kind in kinds]
    if rules.names is not None:
        return list(range(len(kinds)))
    looked_through = [
        (original or "") if of_turns else one.text
        for one, original, of_turns in zip(cleaned, originals, has_turns, strict=True)
    ]
    frame = pl.DataFrame(
        {
            "words": pl.Series(looked_through, dtype=pl.String),
            "has_turns": has_turns,
            "is_html": ["html_to_text" in one.steps for one in cleaned],
        }
    )
    is_examined = frame.select(
        (pl.col("has_turns") & (pl.col("is_html") | pl.col("words").str.contains(_MAY_CHANGE)))
        | (pl.Series(pii.worth_a_look(frame["words"])) if rules.actions else pl.lit(False))
    ).to_series()
    return is_examined.arg_true().to_list()


def _read(kind: str, original: str | None) -> dict[str, Any] | None:
    """The fields of a conversation that it is read from; None where it cannot be (read by an older version, less strict)."""
    try:
        conversation(kind, original)
    except ValueError:
        return None
    record = orjson.loads(original)
    names = read_fields(kind, record)
    return {name: value for name, value in record.items() if name in names}


def _parts(
    value: Any, path: str, key: str | None, is_html: bool, rules: Rules, embedded: list[_Part]
) -> Iterator[_Part]:
    """Every string of a record, and every large integer, with its place; keys of objects are left alone."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        where = f"{path}[{name}]" if isinstance(value, list) else f"{path}.{name}" if path else name
        of = key if isinstance(value, list) else name
        if isinstance(inner, int) and inner >= _LEAST_NUMBER:
            yield _Part(where, str(inner), str(inner), value, name)
        elif isinstance(inner, str):
            if of in ("role", "from") and inner.lower() in ROLES:
                continue
            if of in _EMBEDDED and (unpacked := _unpacked(inner)) is not None:
                embedded.append(_Part(where, inner, inner, value, (name, unpacked)))
                yield from _parts(unpacked, where, of, is_html, rules, embedded)
                continue
            before = clean(inner).text if is_html else repair(inner)
            is_said = not path or of in _SAID
            tidied = drop_special_tokens(before) if is_said and "template_residue" in rules.tidy else before
            yield _Part(where, before, tidied if tidied.strip() else before, value, name)
        else:
            yield from _parts(inner, where, of, is_html, rules, embedded)


def _unpacked(text: str) -> Any:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _found(texts: Sequence[str], rules: Rules) -> Iterator[list[Finding]]:
    types = [type for type in rules.actions if type != "person"]
    named = rules.names.find(texts) if rules.names is not None and "person" in rules.actions else [[]] * len(texts)
    for text, people in zip(texts, named, strict=True):
        found = pii.find(text, types, rules.regions) if types else []
        yield pii.without_overlaps([*found, *people]) if people else found


def _assembled(
    kind: str,
    text: str,
    steps: list[str],
    findings: Sequence[tuple[_Part, list[Finding]]],
    record: dict[str, Any] | None,
    embedded: Sequence[_Part],
    rules: Rules,
) -> CleanedRecord:
    """Put the parts of a record together again, with what was found in them replaced."""
    pseudonymised = [type for type, action in rules.actions.items() if action == "pseudonymise"]
    is_redacted = is_tidied = False
    for part, found in findings:
        acted = [one for one in found if rules.actions[one.type] in ("mask", "pseudonymise")]
        words = pii.redact(part.words, acted, pseudonymised, rules.key) if acted else part.words
        if words == part.before:
            continue
        is_redacted |= bool(acted)
        is_tidied |= part.words != part.before
        if part.within is None:
            text = words
        else:
            part.within[part.at] = words
    told = [(part.path, one) for part, found in findings for one in found]
    more = [*(["template_residue"] if is_tidied else []), *(["pii"] if is_redacted else [])]
    if not more or record is None:
        return CleanedRecord(text, [*steps, *more], None, told)
    for part in reversed(embedded):  # the innermost first
        name, unpacked = part.at
        if unpacked != _unpacked(part.before):
            part.within[name] = orjson.dumps(unpacked).decode()
    original = orjson.dumps(record).decode()
    try:
        found = conversation(kind, original)
    except ValueError:  # two answers that differed in what was replaced alone
        # It has no canonical text any more, and that before cleaning would show what was replaced.
        said = "\n".join(str(part.within[part.at]) for part, _ in findings)
        return CleanedRecord(said, [*steps, *more], original, told, lost="same_after_cleaning")
    return CleanedRecord(clean(canonical_text(found), kind).text, [*steps, *more], original, told)
