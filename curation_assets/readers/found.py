"""What the readers of every format yield: records before their fields are chosen, and rejects with their place and a reason."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from curation_assets.readers.files import LongLine
from curation_assets.readers.records import Reject, Source, excerpt


class Found(NamedTuple):
    """One record of a file before its fields are chosen; the original is JSON in UTF-8."""

    row: int
    values: dict[str, Any]
    original: bytes


Items = Iterator[Found | Reject]


def reject(uri: str, unit: str | None, row: int, reason: str, shown: bytes | str, encoding: str = "utf-8") -> Reject:
    """A reject with its place in the file and the beginning of what was found there."""
    where = f"{uri}, {unit} {row}" if unit else uri
    return Reject(uri, row, f"{where}: {reason}.", excerpt(shown, encoding))


def too_long(source: Source, size: int) -> str:
    """Why a record over max_record_bytes is rejected."""
    return f"its {size:,} bytes are over max_record_bytes ({source.max_record_bytes:,})"


def long_line(source: Source, uri: str, row: int, line: LongLine, encoding: str) -> Reject:
    """The reject of a line over max_record_bytes, of which only the head was read."""
    reason = f"{too_long(source, line.size_bytes)}; it begins at byte {line.offset:,} of the file"
    return reject(uri, "line", row, reason, line.head, encoding)


def why_not_text(data: bytes, encoding: str, of: str) -> str | None:
    """Why bytes are no text in an encoding; None if they are."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        return f"it is not valid {encoding.upper()}: byte {error.start + 1} of the {of} is \\x{data[error.start]:02x}"
    return None


def note_blank(uri: str, blank: int, notes: list[str]) -> None:
    """Say how many blank lines were passed over, if any."""
    if blank:
        notes.append(f"{uri}: {blank:,} blank line{'s' if blank > 1 else ''} passed over.")
