"""Which files a source means, their hashes, and their bytes as lines: globs, compression, byte order marks, long lines.

What a line or a file means is for `formats.py`; nothing here knows of records.
"""

import codecs
import glob
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import zstandard

from curation_assets.readers import python_environment
from curation_assets.readers.fields import template_fields
from curation_assets.readers.kinds import KINDS
from curation_assets.readers.records import EXCERPT_BYTES, FORMATS, PARTS, Source

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
    ".html": "html",
    ".htm": "html",
    ".warc": "warc",
    ".wet": "warc",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}

_READ_BYTES = 1 << 20
_ZSTD_FEED_BYTES = 1 << 10  # four bytes of zstd can stand for a 128 KiB block: a feed of 1 KiB gives 32 MiB at worst


class SourceError(ValueError):
    """A source in a recipe can't be read at all; the message is one sentence for whoever wrote the recipe."""


class File(NamedTuple):
    """One file of a source."""

    path: Path
    """Where it is on this machine."""
    uri: str
    """Its name on every machine: the path below the fixed part of the glob, with forward slashes."""
    size_bytes: int
    """Its size as stored."""


class BrokenOff(ValueError):
    """A file's data end or turn to garbage in the middle; what was read before stays good."""

    row: int | None = None
    rest: bytes = b""


class LongLine(NamedTuple):
    """A line over the limit: where it begins in the decompressed bytes, how long it is, and its first bytes."""

    offset: int
    size_bytes: int
    head: bytes


# --- which files ----------------------------------------------------------------------------------------------------


def files(source: Source) -> list[File]:
    """List the files of a source, sorted by uri.

    A folder means all files below it with a suffix we know; hidden files are left out, as in a shell.

    Raises:
        SourceError: an option of the source is wrong, the path is missing, or the glob or folder gives no file.

    """
    _check(source)
    if source.path == python_environment.PATH:
        return [File(python_environment.path(source.parts, source.max_records), python_environment.PATH, 0)]
    path = Path(source.path).expanduser()
    if path.is_file():
        return [_file(path, path.parent)]
    if path.is_dir():
        found = [f for f in _walk(path, "**") if _suffixes(f)[0] in SUFFIXES]
        if not found:
            raise SourceError(
                f"Source '{source.name}': the folder {path} has no file we know by its suffix ({' '.join(SUFFIXES)},"
                " each also with .gz or .zst); name the files with a glob and give their format."
            )
        return sorted((_file(f, path) for f in found), key=lambda file: file.uri)
    if not glob.has_magic(str(path)):
        raise SourceError(f"Source '{source.name}': there is no file {path}; relative paths count from {Path.cwd()}.")
    fixed, pattern = _split_glob(path)
    if not (found := _walk(fixed, pattern)):
        at = "" if fixed.is_dir() else f" (there is no folder {fixed})"
        raise SourceError(f"Source '{source.name}': the glob {path} matches no file{at}.")
    return sorted((_file(f, fixed) for f in found), key=lambda file: file.uri)


def _check(source: Source) -> None:
    def refuse(problem: str) -> None:
        raise SourceError(f"Source '{source.name}': {problem}")

    if source.format is not None and source.format not in FORMATS:
        refuse(f"format '{source.format}' is unknown; choose one of {', '.join(FORMATS)}.")
    if source.kind is not None and source.kind not in KINDS:
        refuse(f"kind '{source.kind}' is unknown; choose one of {', '.join(KINDS)}.")
    if source.text_field and source.text_template:
        refuse("give text_field or text_template, not both.")
    if source.text_template is not None:
        try:
            template_fields(source.text_template)
        except ValueError as error:
            refuse(str(error))
    if source.quoting not in ("minimal", "none"):
        refuse(f"quoting '{source.quoting}' is unknown; choose minimal or none.")
    if source.max_record_bytes < 1:
        refuse(f"max_record_bytes is {source.max_record_bytes}; it must be at least 1.")
    try:
        codecs.lookup(source.encoding)
    except LookupError:
        refuse(f"encoding '{source.encoding}' is unknown to Python; usual ones are utf-8, latin-1, cp1252, cp949.")
    if unknown := [part for part in source.parts if part not in PARTS]:
        refuse(f"parts has {unknown}; choose from {', '.join(PARTS)}.")
    if source.max_records is not None and (source.path != python_environment.PATH or source.max_records < 1):
        refuse("max_records is a sample size of at least 1 for path 'python_environment'; files are read whole.")


def _split_glob(path: Path) -> tuple[Path, str]:
    """Split a glob before its first wildcard: data/2024/*/x.csv → (data/2024, */x.csv)."""
    first = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
    return Path(*path.parts[:first]), str(Path(*path.parts[first:]))


def _walk(root: Path, pattern: str) -> list[Path]:
    # glob rather than Path.glob: it leaves hidden files out, and `**` reaches files as well as folders.
    found = (root / name for name in glob.glob(pattern, root_dir=root, recursive=True))  # noqa: PTH207
    return [file for file in found if file.is_file()]


def _file(path: Path, root: Path) -> File:
    uri = os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")
    return File(path, uri, path.stat().st_size)


def _suffixes(path: Path) -> tuple[str, str | None]:
    """Split off the suffix that tells the format and the compression: reviews.jsonl.gz → ('.jsonl', 'gzip')."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression:
        suffixes.pop()
    return suffixes[-1] if suffixes else "", compression


def format_of(source: Source, file: File, notes: list[str]) -> str:
    """Tell a file's format from the recipe or from its suffix; an unknown suffix is read as text, and said."""
    suffix, _ = _suffixes(file.path)
    if source.format is None and suffix not in SUFFIXES:
        notes.append(
            f"{file.uri}: the suffix '{suffix}' is unknown, so the whole file is one text; give the source a format"
            " if it holds many records."
        )
    return source.format or SUFFIXES.get(suffix, "text")


def file_hash(path: Path | str) -> str:
    """Give the SHA-256 of a file's bytes as stored, in hex.

    For `python_environment`: of the installed packages and versions, Python's version, the parts and the sample size,
    so that the same hash means the same records.
    """
    path = Path(path)
    if not path.exists() and path.parts[:1] == (python_environment.PATH,):
        return python_environment.environment_hash(path)
    digest = hashlib.sha256()
    with path.open("rb") as stored:
        while piece := stored.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


# --- bytes ----------------------------------------------------------------------------------------------------------


def compression_of(file: File) -> str | None:
    """Tell a file's compression by its first bytes; its name is only believed to have promised one.

    Raises:
        BrokenOff: the name ends in .gz or .zst and the bytes are something else.

    """
    with file.path.open("rb") as stored:
        head = stored.read(4)
    found = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    _, promised = _suffixes(file.path)
    if promised and head and found != promised:
        error = BrokenOff(f"it is named as {promised} but its bytes are not {promised}")
        error.rest = head
        raise error
    return found


def data(file: File) -> Iterator[bytes]:
    """Give a file's bytes, decompressed, in pieces of bounded size.

    Raises:
        BrokenOff: after the last good piece, if the compressed data are cut off or damaged.

    """
    compression = compression_of(file)
    with file.path.open("rb") as stored:
        if compression == "gzip":
            yield from _gunzip(iter(lambda: stored.read(_READ_BYTES), b""))
        elif compression == "zstd":
            yield from _unzstd(iter(lambda: stored.read(_ZSTD_FEED_BYTES), b""))
        else:
            yield from iter(lambda: stored.read(_READ_BYTES), b"")


def _gunzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    # zlib rather than the gzip module: at a cut, everything before it still comes out.
    member = None
    for piece in pieces:
        while piece:
            if member is None:
                piece = piece.lstrip(b"\0")  # members may be padded with zeros (RFC 1952 and gzip's manual)
                if not piece:
                    break
                member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            try:
                out = member.decompress(piece, _READ_BYTES)
            except zlib.error as error:
                raise BrokenOff(f"the gzip data are damaged ({error})") from None
            if out:
                yield out
            piece = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                member = None
    if member is not None:
        # All input is taken in; what is still inside comes out now.
        if rest := member.flush():
            yield rest
        if not member.eof:
            raise BrokenOff("the gzip data are cut off")


def _unzstd(pieces: Iterable[bytes]) -> Iterator[bytes]:
    # stream_reader ends silently at a cut, a decompressobj says whether its frame is complete.
    frame = None
    for piece in pieces:
        while piece:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                out = frame.decompress(piece)
            except zstandard.ZstdError as error:
                raise BrokenOff(f"the zstd data are damaged ({error})") from None
            if out:
                yield out
            piece = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame = None
    if frame is not None:
        raise BrokenOff("the zstd data are cut off")


def text_bytes(file: File, encoding: str, notes: list[str]) -> tuple[str, Iterator[bytes]]:
    """Give the encoding to decode a file's lines with, and its bytes without a byte order mark.

    UTF-16 and UTF-32, in which a newline is more than one byte, are turned into UTF-8 on the way.

    Raises:
        BrokenOff: the compressed data are cut off or damaged, here or while the bytes are read.

    """
    encoding = codecs.lookup(encoding).name
    pieces = data(file)
    first = next(pieces, b"")
    utf8 = encoding in ("utf-8", "utf-8-sig")
    if utf8 and first.startswith(codecs.BOM_UTF8):
        first = first[len(codecs.BOM_UTF8) :]
    elif utf8 and first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        notes.append(f"{file.uri}: its byte order mark says UTF-16, and it is read as that.")
        encoding = "utf-32" if first.startswith(codecs.BOM_UTF32_LE) else "utf-16"
    whole = _chain(first, pieces)
    if encoding.startswith(("utf-16", "utf-32")):
        return "utf-8", _to_utf8(whole, encoding)
    return "utf-8" if utf8 else encoding, whole


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _to_utf8(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    # A lone surrogate passes as the bytes it would have in UTF-8, which the line's own decoding then refuses.
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    try:
        for piece in pieces:
            yield decoder.decode(piece).removeprefix("\ufeff").encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise BrokenOff(f"the {encoding} data are damaged ({error.reason})") from None


# --- lines ----------------------------------------------------------------------------------------------------------


def lines(pieces: Iterator[bytes], max_bytes: int) -> Iterator[bytes | LongLine]:
    """Split bytes at newlines; the newline is left out, a last line needs none.

    A line over `max_bytes` is passed over in pieces: it comes as a LongLine with its first bytes, size and offset.

    Raises:
        BrokenOff: as the bytes do, with the number of the line it happened in and what there was of it.

    """
    held = bytearray()  # a line that is not complete yet
    head, passed = b"", 0  # of an overlong line: how it began, and how many of its bytes are gone by
    offset, row = 0, 1
    try:
        for piece in pieces:
            *complete, rest = piece.split(b"\n")
            for line in complete:
                if held:
                    held += line
                    line = bytes(held)
                    held.clear()
                size = passed + len(line)
                if size <= max_bytes:
                    yield line
                else:
                    yield LongLine(offset, size, head or line[:EXCERPT_BYTES])
                    head, passed = b"", 0
                offset += size + 1
                row += 1
            if passed:
                passed += len(rest)
                continue
            held += rest
            if len(held) > max_bytes:
                head, passed = bytes(held[:EXCERPT_BYTES]), len(held)
                held.clear()
    except BrokenOff as error:
        error.row, error.rest = row, head or bytes(held)
        raise
    if passed:
        yield LongLine(offset, passed, head)
    elif held:
        yield bytes(held)
