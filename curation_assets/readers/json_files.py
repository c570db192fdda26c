"""JSON: an object a line, an array of objects, or one object that is a record or wraps a list of them."""

import codecs
import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import orjson

from curation_assets.readers.fields import is_one_record, named
from curation_assets.readers.files import BrokenOff, File, LongLine, lines, text_bytes
from curation_assets.readers.found import Found, Items, long_line, note_blank, reject, too_long, why_not_text
from curation_assets.readers.records import Reject, Source, excerpt, json_type

_WHOLE_OBJECT_BYTES = 64 << 20  # a JSON file that is one object is held whole up to this size

_LONE_SURROGATE = re.compile(r"\\u[dD][89abABcdefCDEF][0-9a-fA-F]{2}")


def _why_not_json(line: bytes, encoding: str, of: str) -> str:
    if b"\0" in line:
        return f"byte {line.index(0) + 1} of the {of} is a NUL"
    if reason := why_not_text(line, encoding, of):
        return reason
    text = line.decode(encoding)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "surrogate" in error.msg and (escape := _LONE_SURROGATE.search(text)):
            return f"it holds a lone surrogate escape, such as {escape[0]}, which is no character"
        if text.startswith(("NaN", "Infinity", "-Infinity"), error.pos):
            return f"it holds NaN or Infinity (character {error.pos + 1}), which JSON does not have; write null"
        return f"it is not valid JSON: {error.msg} at character {error.pos + 1}"
    return f"it is {json_type(value)}, not an object with fields"


def json_lines(source: Source, uri: str, encoding: str, pieces: Iterator[bytes], notes: list[str]) -> Items:
    """A line is a JSON object; the original is the line as it stands."""
    blank = row = 0
    numbered = enumerate(lines(pieces, source.max_record_bytes), 1)
    try:
        for row, line in numbered:
            if type(line) is LongLine:
                yield long_line(source, uri, row, line, encoding)
                continue
            try:
                original = line if encoding == "utf-8" else line.decode(encoding).encode()
                values = orjson.loads(original)
            except ValueError:
                values = None
            if type(values) is dict:
                yield Found(row, values, original.removesuffix(b"\r"))
            elif not line.strip():
                blank += 1
            else:
                yield reject(uri, "line", row, _why_not_json(line, encoding, "line"), line, encoding)
    except BrokenOff as error:
        # A cut in the last bytes can leave the last object whole; half an object is never valid JSON.
        if error.rest[-1:] == b"}" and type(values := _object(error.rest, encoding)) is dict:
            yield Found(row + 1, values, error.rest.decode(encoding).encode())
            error.row, error.rest = row + 2, b""
        raise
    note_blank(uri, blank, notes)


def _object(line: bytes, encoding: str) -> Any:
    try:
        return orjson.loads(line.decode(encoding))
    except ValueError:
        return None


def is_json_lines(source: Source, file: File) -> bool:
    """Tell a `.json` file with an object a line from one that is an array or one object, by its first lines."""
    _, pieces = text_bytes(file, source.encoding, [])
    try:
        first = (line for line in lines(pieces, source.max_record_bytes) if type(line) is LongLine or line.strip())
        line, following = next(first, b""), next(first, None)
    except BrokenOff:
        return False
    if type(line) is LongLine or following is None:
        return False
    line = line.strip()
    return line[:1] == b"{" and line[-1:] == b"}" and (type(following) is LongLine or following.lstrip()[:1] == b"{")


def json_items(source: Source, uri: str, encoding: str, pieces: Iterator[bytes], notes: list[str]) -> Items:
    """A file is an array of objects, or one object: a record, or the wrapping of a list of records."""
    head = b""
    for piece in pieces:
        head += piece
        if head.strip():
            break
    if not head.strip():
        return
    if head.lstrip()[:1] == b"[":
        yield from _array(source, uri, encoding, chain([head], pieces), notes)
        return
    whole = bytearray(head)
    for piece in pieces:
        whole += piece
        if len(whole) > _WHOLE_OBJECT_BYTES:
            reason = (
                f"{uri}: it is one JSON value of over {_WHOLE_OBJECT_BYTES >> 20} MiB; write an object a line (jsonl)."
            )
            yield Reject(uri, None, reason, excerpt(bytes(whole[:2000]), encoding))
            return
    value = _object(bytes(whole), encoding)
    if type(value) is not dict:
        yield reject(uri, "element", 1, _why_not_json(bytes(whole), encoding, "file"), bytes(whole), encoding)
        return
    text = whole.decode(encoding).strip()
    lists = [name for name, of in value.items() if type(of) is list and of and all(type(one) is dict for one in of)]
    if is_one_record(source, value) or not lists:
        if len(whole) > source.max_record_bytes:
            yield reject(uri, "element", 1, too_long(source, len(whole)), text)
        else:
            yield Found(1, value, text.encode())
    elif len(lists) == 1:
        notes.append(f"{uri}: the file is one object, and its records are the list under '{lists[0]}'.")
        yield from _array(source, uri, "utf-8", iter([text[_member(text, lists[0]) :].encode()]))
    else:
        reason = f"{uri}: it is one object with several lists of objects ({named(lists)}); put the list that holds the"
        yield Reject(uri, None, f"{reason} records into a file of its own.", excerpt(text))


def _member(text: str, name: str) -> int:
    """Find where the value of a member of a JSON object begins."""
    decoder = json.JSONDecoder()
    at = 1
    while True:
        found, at = decoder.raw_decode(text, _BETWEEN.match(text, at).end())
        at = _BETWEEN.match(text, at).end()
        if found == name:
            return at
        _, at = decoder.raw_decode(text, at)


_BETWEEN = re.compile(r"[ \t\r\n,:]*")

_SPACE = re.compile(r"[ \t\r\n]*")


def _array(source: Source, uri: str, encoding: str, pieces: Iterator[bytes], notes: list[str] | None = None) -> Items:
    """Each element of a JSON array, its original as it stands; no more than about two elements are held at a time."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    find_end = json.JSONDecoder(strict=False).raw_decode  # control characters are for the element's own check
    buffer = ""
    at = 0
    number = 0

    def more(chars: int) -> bool:
        """Read on by at least so many characters; what is behind `at` is let go."""
        nonlocal buffer, at
        new: list[str] = []
        n_new = 0
        while n_new < max(chars, 1) and (piece := next(pieces, None)) is not None:
            new.append(decoder.decode(piece))
            n_new += len(new[-1])
        buffer, at = buffer[at:] + "".join(new), 0
        return n_new > 0

    def broken(problem: str) -> BrokenOff:
        error = BrokenOff(f"the JSON array breaks off ({problem})")
        error.row, error.rest = number + 1, buffer[at : at + 1000].encode("utf-8", "surrogateescape")
        return error

    def next_char() -> str:
        nonlocal at
        while (at := _SPACE.match(buffer, at).end()) == len(buffer):
            if not more(1):
                raise broken("its end is missing")
        return buffer[at]

    def element() -> str:
        nonlocal at
        while True:
            held = len(buffer) - at
            try:
                _, end = find_end(buffer, at)
                if end < len(buffer) or not more(held):
                    at, start = end, at
                    return buffer[start:end]
            except RecursionError:
                raise broken("it is nested too deeply") from None
            except json.JSONDecodeError as error:
                # An error near the end of the buffer, or an open string, may only need more text.
                is_open = error.pos > len(buffer) - 16 or error.msg.startswith("Unterminated string")
                problem = f"{error.msg} at character {error.pos - at + 1} of the element"
                if not is_open or not (held <= source.max_record_bytes and more(held)):
                    if held > source.max_record_bytes:
                        problem = f"no end of the element within max_record_bytes, {source.max_record_bytes:,}"
                    raise broken(problem) from None

    try:
        next_char()
        at += 1
        while next_char() != "]":
            if number:
                if buffer[at] != ",":
                    raise broken("a comma is missing")
                at += 1
                if next_char() == "]":
                    break
            original = element().encode("utf-8", "surrogateescape")
            number += 1
            try:
                values = orjson.loads(original)
            except orjson.JSONDecodeError:
                values = None
            if len(original) > source.max_record_bytes:
                yield reject(uri, "element", number, too_long(source, len(original)), original)
            elif type(values) is dict:
                yield Found(number, values, original)
            else:
                stored = original.decode("utf-8", "surrogateescape").encode(encoding, "surrogateescape")
                yield reject(uri, "element", number, _why_not_json(stored, encoding, "element"), stored, encoding)
    except BrokenOff as error:
        error.row = number + 1
        raise
    at += 1
    if notes is not None and (_SPACE.match(buffer, at).end() < len(buffer) or more(1)):
        notes.append(f"{uri}: there is more after the end of the JSON array, and it is not read.")
