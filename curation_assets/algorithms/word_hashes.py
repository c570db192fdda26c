"""128-bit hashes of the words of one text, in order: what shingles are made of.

What a word is stands in `words.py`, whose `next_word` is asked wherever a character beyond ASCII or a `-` stands. Text is
mostly ASCII, and there a word is a run of letters, digits and `_`, or one symbol, which takes no decoding: its first bytes
are found with no branch per byte, and a word is hashed sixteen bytes at a time.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from curation_assets.algorithms.words import BYTES, IGNORED, code_point_class, next_word

# 64-bit odd multipliers with no structure (splitmix64's and MurmurHash3's finalisers, Knuth's MMIX generator, the fractional
# parts of square roots). Only their being odd and different matters.
_LOW_1, _LOW_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x5851F42D4C957F2D)
_HIGH_1, _HIGH_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_SEED_1, _SEED_2 = np.uint64(0xBB67AE8584CAA73B), np.uint64(0x3C6EF372FE94F82B)
_HALF = np.uint64(32)
_NOTHING = np.uint64(0)

# What an ASCII byte is; a separator is 0.
_SYMBOL, _WORD, _BEYOND, _DASH = (np.uint8(1 << bit) for bit in range(4))
_IN_A_RUN = np.uint8(_WORD | _BEYOND)
_TAIL = 24  # bytes behind a text that are 0, for sixteen are read at a time
_MARKED_DASH = np.uint8(0xAD)  # of a `-` that `next_word` must look at: any byte with the top bit set
_TOP_BITS = np.uint64(0x8080808080808080)

# Masks that leave the first n of sixteen bytes, the first eight of them in `_KEPT_LOW`.
_KEPT_LOW = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(17)], np.uint64)
_KEPT_HIGH = np.array([(1 << 8 * max(n - 8, 0)) - 1 for n in range(17)], np.uint64)


class Scratch(NamedTuple):
    """Room for the words of one text."""

    folded: np.ndarray
    """uint8[…]: the text's bytes as they are hashed: ASCII lower-cased, 0 for a separator."""
    kinds: np.ndarray
    """uint8[…]: what each byte is."""
    begins: np.ndarray
    """uint8[…]: whether something begins at each byte."""
    starts: np.ndarray
    """int64[…]: where something begins, and at last the text's length."""
    first: np.ndarray
    """uint64[…]: the first hash of each word."""
    second: np.ndarray
    """uint64[…]: the second."""


def scratch(longest: int) -> Scratch:
    """Return room for a text of so many bytes; pages that nothing reaches are never touched."""
    folded = np.empty(longest + _TAIL, np.uint8)
    kinds, begins = np.empty((2, longest + 1), np.uint8)
    starts = np.empty(longest + 1, np.int64)
    first, second = np.empty((2, longest + 1), np.uint64)
    return Scratch(folded, kinds, begins, starts, first, second)


@intrinsic
def _eight_bytes(_typing, data, at):  # noqa: ANN001, ANN202
    """The eight bytes of `data` from `at` on as a number, the first the lowest; they must be there, which is not checked."""

    def load(context, builder, signature, arguments):  # noqa: ANN001, ANN202
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, at), load


@njit(inline="always")
def _absorbed(h_1: np.uint64, h_2: np.uint64, low: np.uint64, high: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Two hashes with sixteen more bytes in them; of up to eight bytes no two have the same."""
    h_1 = (h_1 ^ low) * _LOW_1
    h_1 = (h_1 ^ (h_1 >> _HALF) ^ high) * _HIGH_1
    h_2 = (h_2 ^ low) * _LOW_2
    h_2 = (h_2 ^ (h_2 >> _HALF) ^ high) * _HIGH_2
    return h_1 ^ (h_1 >> _HALF), h_2 ^ (h_2 >> _HALF)


@njit(
    types.int64(
        BYTES, types.int64, types.int64,
        types.uint8[::1], types.uint8[::1], types.uint8[::1], types.int64[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def find_starts(
    data: np.ndarray,
    i: int,
    end: int,
    folded: np.ndarray,
    kinds: np.ndarray,
    begins: np.ndarray,
    starts: np.ndarray,
) -> int:
    """Fill `starts` with the places in `data[i:end]`, from 0, where an ASCII word, a symbol or what must be looked at begins.

    Returns their number; `folded` gets the bytes. The loops but the last have no branch and no step that waits for the one
    before, so that compilers take many bytes at once.
    """
    text = data[i:end]
    n = len(text)
    kinds[0] = 0
    for k in range(n):
        b = text[k]
        is_word = (
            (np.uint8((b | np.uint8(0x20)) - np.uint8(0x61)) < 26) | (np.uint8(b - np.uint8(0x30)) < 10) | (b == 0x5F)
        )
        is_symbol = (
            (np.uint8(b - np.uint8(0x23)) < 4)  # # $ % &
            | (np.uint8(b - np.uint8(0x2A)) < 2)  # * +
            | (b == 0x2F)
            | (np.uint8(b - np.uint8(0x3C)) < 3)  # < = >
            | (b == 0x40)
            | (b == 0x5E)
            | (b == 0x7C)
            | (b == 0x7E)
        )
        kinds[k + 1] = (
            np.uint8(is_symbol) * _SYMBOL
            + np.uint8(is_word) * _WORD
            + np.uint8(b >= 0x80) * _BEYOND
            + np.uint8(b == 0x2D) * _DASH
        )
    for k in range(n):
        b, kind, before = text[k], kinds[k + 1], kinds[k]
        is_hyphen = (kind == _DASH) & (before == _WORD)
        is_capital = np.uint8(b - np.uint8(0x41)) < 26
        byte = b | (np.uint8(is_capital) << np.uint8(5))
        byte = _MARKED_DASH if kind == _DASH else byte
        folded[k] = np.uint8(0) if is_hyphen | (kind == 0) else byte
        # Whatever follows a character beyond ASCII directly belongs to it, for `next_word` to see.
        begins[k] = (kind == _SYMBOL) | ((kind != 0) & ((before & _IN_A_RUN) == 0))
    for k in range(n, n + _TAIL):
        folded[k] = 0
    found = np.uint64(0)
    for k in range(n):
        starts[found] = k
        found += np.uint64(begins[k])
    starts[found] = n
    return np.int64(found)


@njit(types.UniTuple(types.uint64, 2)(BYTES, types.int64, types.int64, BYTES), cache=True, nogil=True)
def _hash_of(data: np.ndarray, i: int, end: int, classes: np.ndarray) -> tuple[np.uint64, np.uint64]:
    """The hashes of the word `data[i:end]`, without what is passed over in it."""
    h_1, h_2, low, high = _SEED_1, _SEED_2, _NOTHING, _NOTHING
    taken = np.uint64(0)
    while i < end:
        byte, kind, width = data[i], 0, 1
        if byte >= 0x80:
            kind, width = code_point_class(data, i, classes)
        elif 0x41 <= byte <= 0x5A:
            byte |= 0x20
        if kind & 7 != IGNORED:
            for k in range(width):
                b = np.uint64(byte if k == 0 else data[i + k]) << ((taken & np.uint64(7)) << np.uint64(3))
                if taken & np.uint64(8):
                    high |= b
                else:
                    low |= b
                taken += np.uint64(1)
                if taken & np.uint64(15) == 0:
                    h_1, h_2 = _absorbed(h_1, h_2, low, high)
                    low = high = _NOTHING
        i += width
    if taken & np.uint64(15):
        h_1, h_2 = _absorbed(h_1, h_2, low, high)
    return h_1, h_2


@njit(
    types.int64(
        BYTES, types.int64, types.int64, BYTES, types.int64,
        types.uint8[::1], types.int64[::1], types.uint64[::1], types.uint64[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def hash_starts(
    data: np.ndarray,
    i: int,
    end: int,
    classes: np.ndarray,
    n: int,
    folded: np.ndarray,
    starts: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> int:
    """Hash the words of `data[i:end]`, whose `n` beginnings were found; return how many words there are.

    From one beginning to the next stand a word's bytes and separators, which are 0 and add nothing to sixteen bytes.
    """
    count = np.uint64(0)
    for place in range(n):
        start, stop = np.uint64(starts[place]), np.uint64(starts[place + 1])
        h_1, h_2, seen, at = _SEED_1, _SEED_2, _NOTHING, start
        while True:
            taken = min(stop - at, np.uint64(16))
            low = _eight_bytes(folded, at) & _KEPT_LOW[taken]
            high = _eight_bytes(folded, at + np.uint64(8)) & _KEPT_HIGH[taken]
            h_1, h_2 = _absorbed(h_1, h_2, low, high)
            seen |= low | high
            at += np.uint64(16)
            if at >= stop or folded[at] == 0:
                break
        first[count], second[count] = h_1, h_2
        if seen & _TOP_BITS == 0:
            count += np.uint64(1)
            continue
        here, behind, word_end = i + np.int64(start), i + np.int64(stop), np.int64(-1)
        while here < behind:
            word, here, word_end, _ = next_word(data, here, behind, end, word_end, classes)
            if word < behind:
                first[count], second[count] = _hash_of(data, word, here, classes)
                count += np.uint64(1)
    return np.int64(count)
