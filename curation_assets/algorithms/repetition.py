"""How much of a text repeats itself: Gopher's n-gram repetition ratios, from the hashes of its tokens.

Here: the nine ratios over runs of tokens (Rae et al. 2021, arXiv 2112.11446, table A1), three of them in two readings.
Texts come in by `token_signals.py`. Repeated lines and paragraphs are in `surface_signals.py`, the thresholds
in `rules.sql`.

`top_{2,3,4}gram_token_ratio`: the characters of the most frequent run of n tokens (joined by spaces), times how often it
occurs, over those of the text. Zero if no run occurs twice. Of equally frequent runs the first counts. Copies may overlap
("no no no"), so it can exceed 1.

`datatrove_top_{2,3,4}gram_token_ratio`: the same as DataTrove computes it: if no run occurs twice it takes the first one,
which in a text of three words is most of it.

`duplicate_{5..10}gram_token_ratio`: walk the tokens; where the next n occurred before, add their characters (without
spaces) and step over them; else remember them and step one token on; over the characters of the text.

Tokens are compared by 64-bit hashes: in a text of a million two different runs are taken for one with a probability
below 1e-6. In a script written without spaces there are few tokens, and this sees little of its repetition.
"""

import numpy as np
from numba import njit, types

TOP = (2, 3, 4)
"""n of the ratios that look at the most frequent run of n words."""

DUPLICATE = (5, 6, 7, 8, 9, 10)
"""n of the ratios that look at all runs of n words that occurred before."""

COLUMNS = (
    *(f"top_{n}gram_token_ratio" for n in TOP),
    *(f"duplicate_{n}gram_token_ratio" for n in DUPLICATE),
    *(f"datatrove_top_{n}gram_token_ratio" for n in TOP),
)
"""The ratios, in order."""

# Odd 64-bit multipliers without structure: the finaliser of splitmix64.
_STEP, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2 = np.uint64(30), np.uint64(31)

_HASHES = types.uint64[::1]
_COUNTS = types.int64[::1]
_RATIOS = types.float64[::1]


@njit(types.int64(_HASHES, _COUNTS, types.int64, types.uint64, types.int64), cache=True, nogil=True)
def slot_of(keys: np.ndarray, stamps: np.ndarray, mask: int, key: np.uint64, stamp: int) -> int:
    """Open addressing: the slot that holds `key` or, if `stamps[slot] != stamp`, the free one where it belongs."""
    slot = np.int64(key & np.uint64(mask))
    while stamps[slot] == stamp and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(
    types.int64(
        _HASHES, _COUNTS, types.int64, types.int64, _HASHES, _COUNTS, _COUNTS, types.int64, types.int64, _RATIOS
    ),
    cache=True,
    nogil=True,
)
def ngram_ratios(
    gram_hashes: np.ndarray,
    gram_chars: np.ndarray,
    n_tokens: int,
    text_chars: int,
    keys: np.ndarray,
    stamps: np.ndarray,
    counts: np.ndarray,
    stamp: int,
    wanted: int,
    ratios: np.ndarray,
) -> int:
    """Fill `ratios` (float64[12], `COLUMNS`) of one text from the hash and the characters of each token, which are overwritten.

    keys, stamps, counts: one hash table for all texts, of a power of two at least twice the tokens: a slot is taken only
    if its stamp is that of this text and this n, so nothing is ever cleared. wanted: bit n is set for the n to measure, the
    other ratios are 0. Returns the last stamp used.
    """
    mask = 15
    while mask + 1 < 2 * n_tokens:
        mask = 2 * mask + 1
    token_hashes, token_chars = gram_hashes[:n_tokens].copy(), gram_chars[:n_tokens].copy()
    ratios[:] = 0
    for n in range(2, 11):
        if not wanted >> n:
            break
        grams = n_tokens - n + 1
        for w in range(grams):  # a run of n is a run of n - 1 and one more token
            gram_hash = (gram_hashes[w] + _STEP) * _MIX_1 ^ token_hashes[w + n - 1]
            gram_hash = (gram_hash ^ (gram_hash >> _SHIFT_1)) * _MIX_2
            gram_hashes[w] = gram_hash ^ (gram_hash >> _SHIFT_2)
            gram_chars[w] += token_chars[w + n - 1]
        if not wanted >> n & 1:
            continue
        stamp += 1
        if n <= 4:
            best_count = 1
            for w in range(grams):
                slot = slot_of(keys, stamps, mask, gram_hashes[w], stamp)
                if stamps[slot] != stamp:
                    keys[slot], stamps[slot], counts[slot] = gram_hashes[w], stamp, 0
                counts[slot] += 1
                best_count = max(best_count, counts[slot])
            for w in range(grams):
                slot = slot_of(keys, stamps, mask, gram_hashes[w], stamp)
                if counts[slot] == best_count:
                    ratio = (gram_chars[w] + n - 1) * best_count / text_chars
                    ratios[9 + n - 2] = ratio
                    if best_count > 1:
                        ratios[n - 2] = ratio
                    break
        else:
            duplicate_chars = 0
            w = 0
            while w < grams:
                slot = slot_of(keys, stamps, mask, gram_hashes[w], stamp)
                if stamps[slot] == stamp:
                    duplicate_chars += gram_chars[w]
                    w += n
                else:
                    keys[slot], stamps[slot] = gram_hashes[w], stamp
                    w += 1
            if duplicate_chars:
                ratios[n - 2] = duplicate_chars / text_chars
    return stamp
