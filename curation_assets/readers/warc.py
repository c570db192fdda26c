"""WARC files (ISO 28500): the pages and texts that a crawl brought back.

A record is a page where it is a response with status 200 of a text or HTML type, or a conversion of one to text (Common Crawl's WET).
Records are told apart here, so that one that is broken costs only itself; what is inside of one (HTTP, chunks, compression) is read
by fastwarc.
"""

import codecs
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from curation_assets.readers.files import BrokenOff
from curation_assets.readers.records import Reject, excerpt

HTML_TYPES = ("text/html", "application/xhtml+xml")
TYPES = (*HTML_TYPES, "text/plain")

_HEAD_BYTES = 1 << 16
_BEGINS = re.compile(rb"WARC/[0-9]\.[0-9]{1,2}[ \t]*\r?\n")
_NEXT = re.compile(rb"(?:\A|\n)(?=WARC/[0-9]\.[0-9]{1,2}\r?\n)")
_BLANK = re.compile(rb"[\r\n]*")
_HEAD_ENDS = re.compile(rb"\r?\n\r?\n")


class Block(NamedTuple):
    """One record of a file before anything inside of it is read."""

    row: int
    """Which record of the file, from 1, of whatever type."""
    head: bytes
    block: bytes
    problem: str | None = None
    """Why it cannot be read, if it cannot; then `head` is what there was."""


def pages(
    uri: str, pieces: Iterator[bytes], max_bytes: int, notes: list[str]
) -> Iterator[tuple[int, dict[str, Any]] | Reject]:
    """Read the pages of a WARC file: row and fields (uri, date, content_type, charset, warc_record_id, text) of each, or a Reject.

    Raises:
        BrokenOff: the file ends in the middle of a record, or its compressed data are damaged.

    """
    passed_over: Counter[str] = Counter()
    for record in blocks(pieces, max_bytes):
        try:
            found = None if record.problem else _page(record, max_bytes)
        except Passed as passed:
            passed_over[str(passed)] += 1
            continue
        except ValueError as error:
            yield _reject(uri, record, str(error))
            continue
        if found is None:
            yield _reject(uri, record, record.problem)
        else:
            yield record.row, found
    if passed_over:
        told = ", ".join(f"{n:,} {what}" for what, n in sorted(passed_over.items(), key=lambda of: (-of[1], of[0])))
        notes.append(f"{uri}: {passed_over.total():,} records that are no page in text or HTML passed over: {told}.")


class Passed(Exception):
    """A record is sound and none of what is read; the message says what it is."""


def _reject(uri: str, record: Block, reason: str) -> Reject:
    return Reject(uri, record.row, f"{uri}, record {record.row}: {reason}.", excerpt(record.head))


# --- records --------------------------------------------------------------------------------------------------------


def blocks(pieces: Iterator[bytes], max_bytes: int) -> Iterator[Block]:
    """Tell a file's records apart by their Content-Length; after one whose length is wrong, by how the next begins.

    A record of more than `max_bytes` is passed over in pieces and comes with a problem.
    """
    held = bytearray()
    row = 0

    def more() -> bool:
        piece = next(pieces, None)
        if piece is not None:
            held.extend(piece)
        return piece is not None

    def skip_to_next(at: int) -> None:
        """Let go of what is held up to where the next record begins, from `at` on."""
        while not (match := _NEXT.search(held, at)):
            del held[: max(0, len(held) - 16)]
            at = 0
            if not more():
                held.clear()
                return
        del held[: match.end()]

    try:
        while True:
            while (blank := _BLANK.match(held).end()) == len(held) and more():
                pass
            del held[:blank]
            if not held:
                return
            row += 1
            while not (end := _HEAD_ENDS.search(held)) and len(held) < _HEAD_BYTES and more():
                pass
            begins = _BEGINS.match(held)
            if begins is None or end is None or end.end() > _HEAD_BYTES:
                if begins and len(held) < _HEAD_BYTES:
                    raise BrokenOff("the last record is cut off")
                yield Block(
                    row, bytes(held[:1000]), b"", "it does not begin as a WARC record does (WARC/1.x and header lines)"
                )
                skip_to_next(1)
                continue
            head = bytes(held[: end.end()])
            length = headers(head).get("content-length", "")
            if not (length.isascii() and length.isdigit()):
                yield Block(row, head, b"", f"its Content-Length is {length[:60]!r}, not a number")
                skip_to_next(1)
                continue
            size = int(length)
            if size > max_bytes:
                yield Block(row, head, b"", f"its {size:,} bytes are over max_record_bytes ({max_bytes:,})")
                del held[: end.end()]
                while size > len(held):
                    size -= len(held)
                    held.clear()
                    if not more():
                        raise BrokenOff("the last record is cut off")
                del held[:size]
                continue
            whole = end.end() + size
            while len(held) < whole + 2 and more():
                pass
            if len(held) < whole and not _NEXT.search(held, 1):
                raise BrokenOff("the last record is cut off")
            if len(held) < whole or bytes(held[whole : whole + 2]) not in (b"\r\n", b"\n\n", b"\n", b""):
                yield Block(row, head, b"", f"its Content-Length of {size:,} does not lead to its end")
                skip_to_next(1)
                continue
            yield Block(row, head, bytes(held[end.end() : whole]))
            del held[:whole]
    except BrokenOff as error:
        error.row, error.rest = row or 1, bytes(held[:1000])
        raise


def headers(head: bytes) -> dict[str, str]:
    r"""The header lines of a record, names in lower case.

    >>> headers(b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 5\r\n\r\n")
    {'warc-type': 'response', 'content-length': '5'}
    """
    lines = head.decode("utf-8", "replace").splitlines()[1:]
    return {
        name.strip().lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon
    }


# --- pages ----------------------------------------------------------------------------------------------------------


def _page(record: Block, max_bytes: int) -> dict[str, Any]:
    """The fields of a page. Raises Passed for a record that is none, ValueError for one that cannot be read."""
    said = headers(record.head)
    kind = said.get("warc-type", "of no type")
    if kind not in ("response", "conversion"):
        raise Passed(kind)
    stated = _media_type(said.get("content-type", ""))
    if kind == "response" and stated not in ("application/http", ""):  # look-ups of names, downloads by FTP
        raise Passed(f"of type {stated}")
    cut_off = said.get("warc-truncated", "")
    payload, content_type, charset = (
        _of_http(record, max_bytes, is_whole=not cut_off) if kind == "response" else (record.block, stated, None)
    )
    content_type = _media_type(content_type)
    if content_type not in TYPES:
        raise Passed(f"of type {content_type or 'not stated'}")
    if cut_off:
        raise ValueError(f"the crawler cut its payload off (WARC-Truncated: {cut_off:.40})")
    text, charset = decoded(payload, charset, is_html=content_type in HTML_TYPES)
    return {
        "uri": said.get("warc-target-uri", "").strip("<>") or None,
        "date": said.get("warc-date"),
        "content_type": content_type,
        "charset": charset,
        "warc_record_id": said.get("warc-record-id", "").strip("<>") or None,
        "text": text,
    }


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _of_http(record: Block, max_bytes: int, *, is_whole: bool) -> tuple[bytes, str, str | None]:
    """Payload, content type and charset of a response, dechunked and decompressed; no payload of one that is not whole."""
    if not is_whole:
        found = _fastwarc(record, "none")
        _check_http(found)
        return b"", found.http_content_type or "", None
    try:
        found = _fastwarc(record, "all")
        payload = found.reader.read(max_bytes + 1)  # a few bytes of gzip can stand for gigabytes
        breaks_off = len(payload) <= max_bytes and not _reaches_its_end(found, record)
    except OSError as error:
        # Crawlers keep the header of a compression that they have undone.
        try:
            found = _fastwarc(record, "none")
            payload = found.reader.read()
        except OSError:
            raise ValueError(f"it cannot be read ({error})") from None
        _check_http(found)
        breaks_off = "chunked" in _header(found, "Transfer-Encoding") and _CHUNK_BEGINS.match(payload) is not None
        if not _is_text(payload):
            raise ValueError(f"its payload cannot be decompressed ({error})") from None
    _check_http(found)
    if len(payload) > max_bytes:
        raise ValueError(f"its payload, decompressed, is over max_record_bytes ({max_bytes:,})")
    if breaks_off:
        raise ValueError("its payload breaks off: the last of its chunks or of what is compressed is not there")
    encoding = _header(found, "Content-Encoding")
    if encoding not in ("", "identity") and not _is_text(payload):
        raise ValueError(f"its payload has the Content-Encoding {encoding!r:.40}, which cannot be undone here")
    return payload, found.http_content_type or "", found.http_charset


_CHUNK_BEGINS = re.compile(rb"[0-9A-Fa-f]{1,8}[ \t]*(?:;[^\r\n]{0,200})?\r\n")


def _reaches_its_end(found: Any, record: Block) -> bool:
    """Whether compressed data are all there: fastwarc reads what there is of them. Others always are."""
    if found.http_headers is None or _header(found, "Content-Encoding") not in ("gzip", "deflate"):
        return True
    compressed = _fastwarc(record, "transfer").reader.read()
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by how it begins
    try:
        stream.decompress(compressed)
    except zlib.error:
        return True  # nothing that fastwarc undid
    return stream.eof or not compressed


def _header(found: Any, name: str) -> str:
    return (found.http_headers.get(name) or "").strip().lower()


def _fastwarc(record: Block, auto_decode: str) -> Any:
    from fastwarc.warc import ArchiveIterator

    whole = io.BytesIO(b"%b%b\r\n\r\n" % (record.head, record.block))
    return next(iter(ArchiveIterator(whole, parse_http=True, auto_decode=auto_decode, stream_detect=False)))


def _check_http(found: Any) -> None:
    status = found.http_headers.status_code if found.http_headers is not None else None
    if status is None:
        raise ValueError("its block is no HTTP response")
    if status != 200:
        raise Passed(f"of status {status}")


def _is_text(payload: bytes) -> bool:
    return b"\0" not in payload[:4096] and (payload.lstrip()[:1] == b"<" or _decodes(payload, "utf-8") is not None)


MOST_REPLACED = 0.01
"""Greatest share of characters that may be U+FFFD for bytes that the stated charset cannot have. Ours."""
MOST_REPLACED_BEYOND_ASCII = 0.2
"""The same share of the characters beyond ASCII: where more of them do not fit, it is another charset. Ours."""

_WIDER = {"euc_kr": "cp949", "shift_jis": "cp932", "gbk": "gb18030", "gb2312": "gb18030"}
"""Encodings as Python names them → what the WHATWG Encoding standard reads by that name, which has more characters."""


def decoded(payload: bytes, charset: str | None, *, is_html: bool) -> tuple[str, str]:
    """The text of a payload and the encoding it was read in.

    Tried are, in the order of the WHATWG HTML standard (8.2.3.2), a byte order mark, the charset of the HTTP header and, in HTML, that of
    a meta element; then UTF-8, the same again with U+FFFD in the place of a few bytes that do not fit (at most MOST_REPLACED), what
    the bytes look like and, for a few bytes again, Windows-1252. Raises ValueError where none of them fits.

    >>> decoded("café".encode("latin-1"), "ISO-8859-1", is_html=False)
    ('café', 'cp1252')
    """
    from resiliparse.parse.encoding import detect_encoding

    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    tried = [name for mark, name in marks.items() if payload.startswith(mark)]
    in_meta = _encoding(_meta_charset(payload)) if is_html else None
    # A meta element that can be read in ASCII does not stand in UTF-16, whatever it says (WHATWG HTML, 13.2.3.2).
    stated = [_encoding(charset), "utf-8" if in_meta and in_meta.startswith("utf-16") else in_meta]
    tried += [*filter(None, stated), "utf-8"]
    tried = list(dict.fromkeys(tried))
    for name in tried:
        if (text := _decodes(payload, name)) is not None:
            return text, name
    replaced = {name: payload.decode(name, "replace") for name in tried}
    nearly = [name for name in tried if replaced[name].count("\ufffd") <= MOST_REPLACED * len(replaced[name])]
    for name in nearly:
        beyond_ascii = sum(map(len, _BEYOND_ASCII.findall(replaced[name])))
        if replaced[name].count("\ufffd") <= MOST_REPLACED_BEYOND_ASCII * beyond_ascii:
            return replaced[name], name
    # Where hardly a byte is beyond ASCII, those that fit nothing else are the quotes and dashes of Windows-1252.
    for name in (_encoding(detect_encoding(payload)), "cp1252" if nearly else None):
        if name and (text := _decodes(payload, name)) is not None:
            return text, name
    if nearly:
        return replaced[nearly[0]], nearly[0]
    raise ValueError(f"its payload is not valid {tried[0]}, nor in any other encoding it could be in")


def _decodes(payload: bytes, encoding: str) -> str | None:
    try:
        return payload.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None


_BEYOND_ASCII = re.compile("[^\x00-\x7f]+")


def _encoding(name: str | None) -> str | None:
    """What a charset is read in; None for one that is not stated or not known."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    found = map_encoding_to_html5(name, False) if name else None
    try:
        return _WIDER.get(found, found) if found and codecs.lookup(found) else None
    except LookupError:
        return None


_META = re.compile(rb"""<meta[^>]{0,200}charset\s{0,9}=\s{0,9}["']?\s{0,9}([A-Za-z0-9_:.\-]{2,40})""", re.IGNORECASE)


def _meta_charset(payload: bytes) -> str | None:
    """The charset of a meta element within the first 1,024 bytes, where the standard looks for it."""
    match = _META.search(payload[:1024])
    return match[1].decode("ascii") if match else None


def is_html(values: Mapping[str, Any]) -> bool:
    """Whether the fields of a page are those of HTML."""
    return values["content_type"] in HTML_TYPES
