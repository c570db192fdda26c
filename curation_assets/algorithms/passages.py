"""Lines and paragraphs of texts, hashed straight over Arrow buffers: what repeats inside a text and across texts.

A line is what stands between line breaks; of a paragraph's lines, at least two, none is blank and a blank one (or an end of
the text) stands on either side. A paragraph of one line is a line. Both are compared as they stand, blanks at their ends
apart. What is shorter than `MIN_CHARS` (headings, braces, list marks) repeats in any good text and is passed over.

CCNet (Wenzek et al. 2020, arXiv 1911.00359, sec. 3.1) drops lines that were seen before in another document; Gopher (arXiv
2112.11446, table A1) measures repeated lines and paragraphs within one.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit, types

from curation_assets.algorithms.words import BYTES, INTS, mixed, slabs

MIN_CHARS = 30
"""Characters of the shortest passage that is looked at (ours)."""

_STEP = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64(0x100000001B3)
_OFFSET = np.uint64(0xCBF29CE484222325)


class Passages(NamedTuple):
    """The passages of n texts, every occurrence of each, by text and place."""

    offsets: np.ndarray
    """int64[n + 1]: text i's passages are `offsets[i]` to `offsets[i + 1]`."""
    hashes: np.ndarray
    """uint64[passages]: of what the passage says; equal passages have equal ones, also a line and a line of another text."""
    starts: np.ndarray
    """int64[passages]: the character it begins at, from 0."""
    chars: np.ndarray
    """int64[passages]: its characters, the line break after it included: what must go for it to be gone."""
    is_paragraph: np.ndarray
    """bool[passages]: whether it is a paragraph of several lines."""


def passages(texts: pa.Array | pa.ChunkedArray | Iterable[pa.Array]) -> Passages:
    r"""Return the passages of texts, of `MIN_CHARS` characters and more.

    >>> line = "The same words stand here once more."
    >>> found = passages(pa.array([f"{line}\nand this\n\n  {line}\n"]))
    >>> found.starts.tolist(), found.chars.tolist(), found.is_paragraph.tolist()
    ([0, 0, 47], [37, 46, 39], [False, True, False])
    >>> bool(found.hashes[0] == found.hashes[2])
    True

    Raises:
        ValueError: a text is null, or not valid UTF-8.
        TypeError: the texts are not strings.

    """
    counts, parts = [np.zeros(1, np.int64)], []
    for slab in slabs(texts, normalized=False):
        n_lines = int((slab.data[slab.offsets[0] : slab.offsets[-1]] == 0x0A).sum()) + len(slab.offsets)
        room = np.empty(2 * n_lines, np.uint64), *(np.empty(2 * n_lines, np.int64) for _ in range(3))
        found = np.zeros(len(slab.offsets) - 1, np.int64)
        _passages(slab.data, slab.offsets, MIN_CHARS, *room, found)
        counts.append(found)
        parts.append([column[: found.sum()].copy() for column in room])
    columns = [np.concatenate(some) for some in zip(*parts, strict=True)] if parts else [np.empty(0, np.int64)] * 4
    return Passages(
        np.concatenate(counts).cumsum(), columns[0].astype(np.uint64), columns[1], columns[2], columns[3].astype(bool)
    )


@njit(
    types.void(
        BYTES, INTS, types.int64, types.uint64[::1], types.int64[::1], types.int64[::1], types.int64[::1], types.int64[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _passages(
    data: np.ndarray,
    offsets: np.ndarray,
    min_chars: int,
    hashes: np.ndarray,
    starts: np.ndarray,
    chars: np.ndarray,
    is_paragraph: np.ndarray,
    found: np.ndarray,
) -> None:
    """Fill the columns, and per text how many passages it has."""
    filled = 0
    for record in range(len(offsets) - 1):
        before = filled
        at, end = offsets[record], offsets[record + 1]
        char = 0  # characters before `at`
        lines_in, paragraph_start, paragraph_said, paragraph_hash = 0, 0, 0, _OFFSET
        while True:
            # One line: data[at:stop], blanks at its ends apart.
            line_start = char
            said, trailing, h = 0, 0, _OFFSET  # characters up to the last that is no blank; blanks since
            while at < end and data[at] != 0x0A:
                byte = data[at]
                if byte == 0x20 or byte == 0x09 or byte == 0x0D:
                    if said:
                        trailing += 1
                else:
                    while trailing:  # blanks within the line count alike, whichever they are
                        h = (h ^ np.uint64(0x20)) * _PRIME
                        trailing -= 1
                        said += 1
                    h = (h ^ np.uint64(byte)) * _PRIME
                    said += byte & 0xC0 != 0x80
                char += byte & 0xC0 != 0x80
                at += 1
            is_last = at >= end
            if not is_last:  # the line break
                at += 1
                char += 1
            if said:
                if lines_in == 0:
                    paragraph_start, paragraph_said, paragraph_hash = line_start, 0, _OFFSET
                lines_in += 1
                paragraph_said += said
                paragraph_hash = mixed(paragraph_hash ^ h) + _STEP
                paragraph_chars = char - paragraph_start
                if said >= min_chars:
                    hashes[filled], starts[filled], chars[filled], is_paragraph[filled] = (
                        mixed(h),
                        line_start,
                        char - line_start,
                        0,
                    )
                    filled += 1
            if not said or is_last:
                if lines_in > 1 and paragraph_said >= min_chars:
                    hashes[filled], starts[filled], chars[filled] = (
                        mixed(paragraph_hash),
                        paragraph_start,
                        paragraph_chars,
                    )
                    is_paragraph[filled] = 1
                    filled += 1
                lines_in = 0
            if is_last:
                break
        found[record] = filled - before
