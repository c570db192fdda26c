"""Whole records cleaned: a document's text, or every part of a conversation that a prompt, a page or a release can show.

A conversation is read again from its original wherever its turns are needed. What cleaning takes out of it must be out of there
too, so where more than repairs is done to one its original is written anew, with the fields it is read from and nothing else
in words; `cleaned.records` keeps that as `cleaned_original`, and who reads turns reads it in the original's place.
"""

import json
import re
from collections import Counter
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

_SAID = ("content", "value", "text", "history")
"""Keys, of a message or of earlier exchanges, under which words stand that somebody says."""
_EMBEDDED = ("arguments", "parameters", "tools", "functions", "messages", "conversations", "conversation")
"""Keys under which a string can be JSON, in which a string can hide something by its escapes; what is said can be so too."""
_LEAST_NUMBER, _GREATEST_NUMBER = 1_000_000, 10**19
"""Other whole numbers are no card, phone or account."""
_FIELD_NAME = re.compile(r"[^\W\d]{1,40}\Z")
"""Keys of objects that are passed over: letters alone."""


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
    """Part (`text`, `label`, or the field and place within it) and what was found there before it was replaced."""
    label: str | None = None
    """The owner's label, what was found in it replaced."""
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
    is_key: bool = False
    """Whether it is the key `at` itself, and not what stands there."""
    said_before: str = ""
    """The key of the object below turns and tools that it stands under: `password` and the like say what a value is."""


def clean_records(
    kinds: Sequence[str],
    texts: Sequence[str],
    originals: Sequence[str | None],
    labels: Sequence[str | None],
    rules: Rules,
) -> Iterator[CleanedRecord]:
    """Clean records: their kind, text, for those with turns original JSON, and the owner's label."""
    different = pl.Series(list({*labels} - {None}), dtype=pl.String)
    in_labels = {label: pii.find(label, *_patterns(rules)) for label in different.filter(pii.worth_a_look(different))}
    for label, record in zip(labels, _cleaned(kinds, texts, originals, rules), strict=True):
        found = in_labels.get(label, [])
        yield record._replace(
            label=_redacted(label, found, rules) if found else label,
            findings=[*record.findings, *(("label", one) for one in found)],
        )


def _cleaned(
    kinds: Sequence[str], texts: Sequence[str], originals: Sequence[str | None], rules: Rules
) -> Iterator[CleanedRecord]:
    """The records without their labels."""
    cleaned = [
        clean(text, kind, () if kind in CONVERSATIONS else rules.tidy, rules.extractor)
        for kind, text in zip(kinds, texts, strict=True)
    ]
    examined = _examined(cleaned, kinds, originals, rules)
    parsed: dict[int, Any] = {}
    parts: dict[int, list[_Part]] = {}
    embedded: dict[int, list[_Part]] = {}
    for row in examined:
        if kinds[row] in CONVERSATIONS and (record := _read(kinds[row], originals[row])) is not None:
            parsed[row], embedded[row] = record, []
            parts[row] = list(_parts(record, "", None, rules, embedded[row]))
        else:
            parts[row] = [_Part("text", cleaned[row].text, cleaned[row].text, None, None)]
    found = _found([part for row in parts for part in parts[row]], rules)
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
        {"words": pl.Series(looked_through, dtype=pl.String), "has_turns": has_turns},
    )
    is_examined = frame.select(
        (pl.col("has_turns") & pl.col("words").str.contains(_MAY_CHANGE))
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


def _parts(value: Any, path: str, key: str | None, rules: Rules, embedded: list[_Part]) -> Iterator[_Part]:
    """Every string of a record, every large whole number and, below its own fields, every key of an object, with its place."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for at, (name, inner) in enumerate(items):
        is_key = bool(path) and isinstance(name, str) and not _FIELD_NAME.match(name)
        place = (
            f"[{name}]" if isinstance(value, list) else f".{{{at}}}" if is_key else f".{name}"
        )  # a key can be a leak itself
        where = path + place if path else name
        of = key if isinstance(value, list) else name
        said_before = f"{of}: " if path and of not in (None, *_SAID, *_EMBEDDED) else ""
        if is_key:
            words = repair(name)
            yield _Part(where, words, words, value, name, is_key=True)
        if isinstance(inner, int | float) and _LEAST_NUMBER <= inner < _GREATEST_NUMBER and inner == int(inner):
            words = str(int(inner))
            yield _Part(where, words, words, value, name, said_before=said_before)
        elif isinstance(inner, str):
            if of in ("role", "from") and inner.lower() in ROLES:
                continue
            is_said = not path or of in _SAID
            if (is_said or of in _EMBEDDED) and (unpacked := _unpacked(inner)) is not None:
                embedded.append(_Part(where, inner, inner, value, (name, unpacked)))
                yield from _parts(unpacked, where, of, rules, embedded)
                continue
            before = repair(inner)
            tidied = _tidied(before) if is_said and "template_residue" in rules.tidy else before
            yield _Part(where, before, tidied if tidied.strip() else before, value, name, said_before=said_before)
        else:
            yield from _parts(inner, where, of, rules, embedded)


def _tidied(words: str) -> str:
    """Without special tokens, and repaired again: beside `<s>` entities are left, for what has markup can be about them."""
    while (tidied := drop_special_tokens(words)) != words:
        words = repair(tidied)
    return words


def _packed(value: Any, like: str) -> str:
    """JSON of a value, spaced as it was."""
    if '": ' not in like:
        return orjson.dumps(value).decode()
    return json.dumps(value, ensure_ascii=False, indent=2 if "\n" in like else None)


def _renamed(value: dict[str, Any], names: Mapping[str, str]) -> None:
    """Rename keys of an object in their place; a key that another already has gets a number."""
    items = list(value.items())
    value.clear()
    taken = {name for name, _ in items if name not in names}
    numbers: Counter[str] = Counter()
    for name, inner in items:
        new = wanted = names.get(name, name)
        while name in names and new in taken:
            numbers[wanted] += 1
            new = f"{wanted} {numbers[wanted] + 1}"
        taken.add(new)
        value[new] = inner


def _unpacked(text: str) -> Any:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _found(parts: Sequence[_Part], rules: Rules) -> Iterator[list[Finding]]:
    patterns = _patterns(rules)
    texts = [part.words for part in parts]
    named = rules.names.find(texts) if rules.names is not None and "person" in rules.actions else [[]] * len(texts)
    for part, people in zip(parts, named, strict=True):
        found = _found_after(part.said_before, part.words, *patterns)
        yield pii.without_overlaps([*found, *people]) if people else found


def _patterns(rules: Rules) -> tuple[list[str], tuple[str, ...]]:
    """What is looked for by patterns: types, and countries of phone numbers. Names are a model's, and not looked for in labels."""
    return [type for type in rules.actions if type != "person"], rules.regions


def _redacted(words: str, found: Sequence[Finding], rules: Rules) -> str:
    """Words with what was found in them masked or pseudonymised, where that is its action."""
    pseudonymised = [type for type, action in rules.actions.items() if action == "pseudonymise"]
    acted = [one for one in found if rules.actions[one.type] in ("mask", "pseudonymise")]
    return pii.redact(words, acted, pseudonymised, rules.key) if acted else words


def _found_after(said_before: str, words: str, types: Sequence[str], regions: Sequence[str]) -> list[Finding]:
    """What is found in words where something is said before them; places are those in the words."""
    at = len(said_before)
    return [
        one._replace(start=max(0, one.start - at), end=one.end - at)
        for one in pii.find(said_before + words, types, regions)
        if one.end > at
    ]


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
    renamed: dict[int, tuple[dict[str, Any], dict[str, str]]] = {}
    left: list[str] = []
    is_redacted = is_tidied = False
    for part, found in findings:
        words = _redacted(part.words, found, rules)
        left.append(words)
        if words == part.before:
            continue
        is_redacted |= words != part.words
        is_tidied |= part.words != part.before
        if part.within is None:
            text = words
        elif part.is_key:
            renamed.setdefault(id(part.within), (part.within, {}))[1][part.at] = words
        else:
            part.within[part.at] = words
    told = [(part.path, one) for part, found in findings for one in found]
    more = [*(["template_residue"] if is_tidied else []), *(["pii"] if is_redacted else [])]
    if not more or record is None:
        return CleanedRecord(text, [*steps, *more], None, told)
    for within, names in renamed.values():
        _renamed(within, names)
    for part in reversed(embedded):  # the innermost first
        name, unpacked = part.at
        if unpacked != _unpacked(part.before):
            part.within[name] = _packed(unpacked, part.before)
    original = orjson.dumps(record).decode()
    try:
        found = conversation(kind, original)
    except ValueError:  # two answers that differed in what was replaced alone
        # It has no canonical text any more, and that before cleaning would show what was replaced.
        return CleanedRecord("\n".join(left), [*steps, *more], original, told, lost="same_after_cleaning")
    return CleanedRecord(clean(canonical_text(found), kind).text, [*steps, *more], original, told)
