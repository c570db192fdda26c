"""In which script a text is written, counted letter by letter in one pass over its Arrow buffers.

Here: the column `script` of `filtered.signals`, by which rules made for one script keep out of the others. The language
is told in `language.py`.
"""

import sys
import unicodedata
from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit, types

from curation_assets.algorithms.token_signals import buffers
from curation_assets.algorithms.tokens import decode

SCRIPTS = ("Latin", "Hangul", "Kana", "Han", "Cyrillic", "Arabic", "Devanagari", "Greek", "Hebrew", "Thai")
"""The scripts that are told, in the order in which they are asked."""

ONE_LETTER_IN = {"Kana": 5}
"""A script has more than one letter in so many, in two if not here: Japanese is written in kana and Han, Chinese in Han alone. Ours."""

_LETTERS_OF = {script: rf"\p{{{script}}}" for script in SCRIPTS} | {"Kana": r"[\p{Hiragana}\p{Katakana}ー]"}
_OTHER, _NONE = len(SCRIPTS), len(SCRIPTS) + 1
_POINTS = 0x20000
_HAN_PLANES = slice(0x20000, 0x323B0)

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)


def scripts(texts: pl.Series | pa.Array | pa.ChunkedArray) -> pl.Series:
    """Return the script of most letters of each text, in order, as String: one of SCRIPTS, else 'other'; 'none' without a letter.

    A letter is what is no white space, number, punctuation or symbol. Raises as `token_signals` does.

    >>> scripts(pl.Series(["Ça va?", "밥 먹었어?", "東京へ行きます", "東京", "42!"])).to_list()
    ['Latin', 'Hangul', 'Kana', 'Han', 'none']
    """
    one_in = np.array([ONE_LETTER_IN.get(script, 2) for script in SCRIPTS])
    told = _scripts(*buffers(texts), _script_of_points(), one_in)
    return pl.Series("script", [*SCRIPTS, "other", "none"], dtype=pl.String).gather(told)


@cache
def _script_of_points() -> np.ndarray:
    """uint8[0x110000]: each code point's place in SCRIPTS, `_OTHER` for other letters, `_NONE` for what is no letter."""
    characters = pl.Series([chr(point) if not 0xD800 <= point < 0xE000 else "" for point in range(_POINTS)])
    is_letter = np.array(
        [not c.isspace() and unicodedata.category(c)[0] not in "NPS" if c else False for c in characters]
    )
    of_points = np.full(sys.maxunicode + 1, _OTHER, np.uint8)
    for place, script in enumerate(SCRIPTS):
        of_points[:_POINTS][characters.str.contains(_LETTERS_OF[script]).to_numpy()] = place
    of_points[_HAN_PLANES] = SCRIPTS.index("Han")
    of_points[:_POINTS][~is_letter] = _NONE
    of_points.flags.writeable = False
    return of_points


@njit(types.int64[::1](_BYTES, _OFFSETS, _BYTES, _OFFSETS), cache=True, nogil=True)
def _scripts(data: np.ndarray, offsets: np.ndarray, of_points: np.ndarray, one_in: np.ndarray) -> np.ndarray:
    """The script of each text as a place in SCRIPTS, int64[n]."""
    n_texts, n_scripts = len(offsets) - 1, len(one_in)
    told = np.empty(n_texts, np.int64)
    most = np.int64(1)
    for i in range(n_texts):
        most = max(most, offsets[i + 1] - offsets[i])
    points = np.empty(most, np.uint32)
    counts = np.empty(n_scripts + 2, np.int64)
    for i in range(n_texts):
        counts[:] = 0
        for k in range(decode(data, offsets[i], offsets[i + 1], points)):
            counts[of_points[points[k]]] += 1
        letters = counts[: n_scripts + 1].sum()
        told[i] = n_scripts if letters else n_scripts + 1
        for s in range(n_scripts):
            if counts[s] * one_in[s] > letters:
                told[i] = s
                break
    return told
