"""Texts as tokens, words and punctuation marks apart, as the published rules count them.

Here: the tokeniser that the thresholds of Gopher's and FineWeb's rules were used with. The papers do not say what a
word is; DataTrove, which made FineWeb, reads texts with spaCy's English tokeniser (`spacy.blank("en")`, MIT), in which
a comma is a token and "don't" is two. This is that algorithm over Arrow buffers, without a Python object per token:

- white space divides a text into spans;
- from a span, prefixes (opening quotes and brackets, currency signs, `#`, `*`, …) and suffixes (closing ones, full stops,
  `'s`, units after a digit) are taken off one by one, until a special case is left or nothing more comes off;
- a special case (`don't` = `do` + `n't`, `e.g.`, `10pm`, `:-)`) has the tokens of spaCy's list, in
  `english_special_tokens.json`; a URL stays whole;
- what is left is cut at infixes: hyphens, slashes and commas between letters, operators between digits, ellipses, icons.

Left out of spaCy: special cases that only appear once a span has been cut, and private networks' addresses among the
URLs. `benchmarks/datatrove_rules.py` measures what is left of a difference.

Languages: made for English, sensible for scripts with spaces. Chinese, Japanese and Thai come out as runs between
punctuation marks. What `words.py` gives is another thing: normalised words to compare texts by.
"""

import json
import sys
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
from numba import njit, types

SPECIAL_TOKENS = Path(__file__).with_name("english_special_tokens.json")
"""String -> the lengths of its tokens; from spaCy 3.8 (MIT, Explosion), written by `benchmarks/datatrove_rules.py`."""

# What a code point is to the tokeniser, one bit each.
SPACE, LOWER, UPPER, DIGIT, PREFIX, SUFFIX, QUOTE, STOPPED, ICON, CURRENCY, SYMBOL, LETTER, TERMINAL = (
    np.uint16(1 << bit) for bit in range(13)
)
_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
_MARKS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_CURRENCIES = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
# A token of nothing but these is no word (DataTrove's utils/text.py, PUNCTUATION and TERMINAL_PUNCTUATION).
_SYMBOLS = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
TERMINAL_MARKS = (
    "!.?։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕៖៙៚᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᭽᭾᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼⹓⹔。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？｡"
    "𐩖𐩗𐽕𐽖𐽗𐽘𐽙𐾆𐾇𐾈𐾉𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟𑈸𑈹𑈻𑈼𑊩𑑋𑑌𑗂𑗃𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑥄𑥆𑩂𑩃𑪛𑪜𑱁𑱂𑻷𑻸𑽃𑽄𖩮𖩯𖫵𖬷𖬸𖭄𖺘𛲟𝪈"
)
"""Marks that end a sentence in any script (DataTrove's TERMINAL_PUNCTUATION; Unicode's Sentence_Terminal)."""

# spaCy's units, which come off behind a digit.
_UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa "
    "mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч "
    "кПа Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ US$ C$ A$"
)
_LONGEST_UNIT = 4

_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)

_POINTS = types.Array(types.uint32, 1, "C", readonly=True)
_FLAGS = types.Array(types.uint16, 1, "C", readonly=True)
_HASHES = types.Array(types.uint64, 1, "C", readonly=True)
_COUNTS = types.Array(types.int64, 1, "C", readonly=True)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)


@cache
def code_point_flags() -> np.ndarray:
    """Return uint16[0x110000]: what each Unicode code point is to the tokeniser, as the bits above.

    >>> bool(code_point_flags()[ord("(")] & PREFIX), bool(code_point_flags()[ord("-")] & PREFIX)
    (True, False)
    """
    flags = np.zeros(sys.maxunicode + 1, np.uint16)
    for point in range(0x20000):
        character, category = chr(point), unicodedata.category(chr(point))
        if character.isspace():
            flags[point] |= SPACE
        if category[0] == "L":
            flags[point] |= LETTER | (LOWER if category != "Lu" else UPPER)
            if category not in ("Lu", "Ll", "Lt", "Lm"):
                flags[point] |= UPPER  # scripts without case count as both
        elif category == "Nd":
            flags[point] |= DIGIT if point < 0x80 else 0
        elif category == "So":
            flags[point] |= ICON | PREFIX | SUFFIX
    flags[0x20000:0x323B0] |= LETTER | LOWER | UPPER  # Han
    for marks, bits in (
        (_MARKS, PREFIX | SUFFIX | STOPPED),
        (_QUOTES, PREFIX | SUFFIX | QUOTE | STOPPED),
        ("—–", PREFIX | SUFFIX),
        ("§%=", PREFIX),
        (_CURRENCIES, PREFIX | CURRENCY),
        ("%²-+", STOPPED),
        (_SYMBOLS, SYMBOL),
        (TERMINAL_MARKS, SYMBOL | TERMINAL),
        ("".join(map(chr, [*range(9), *range(11, 32), *range(127, 160)])), SYMBOL),
    ):
        for character in set(marks):
            flags[ord(character)] |= bits
    flags.flags.writeable = False
    return flags


@cache
def is_punctuation() -> np.ndarray:
    """Return bool[0x110000]: which code points are punctuation (Unicode category P).

    >>> is_punctuation()[[ord("!"), ord("a")]].tolist()
    [True, False]
    """
    marks = np.zeros(sys.maxunicode + 1, bool)
    for point in range(0x20000):
        marks[point] = unicodedata.category(chr(point))[0] == "P"
    marks.flags.writeable = False
    return marks


@cache
def special_tokens() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a hash table of spaCy's special cases: keys uint64[slots], 0 where free; first int64[slots + 1]; lengths int64; units uint64.

    The tokens of the case in slot s have the lengths `lengths[first[s]:first[s + 1]]`. Units: the hashes of `_UNITS`, sorted.
    """
    cases = json.loads(SPECIAL_TOKENS.read_text(encoding="utf-8"))
    slots = 8192
    keys, of_slot = np.zeros(slots, np.uint64), [[]] * slots
    for case, lengths in cases.items():
        key = _hash_of(case)
        slot = int(key) & (slots - 1)
        while keys[slot]:
            slot = (slot + 1) & (slots - 1)
        keys[slot], of_slot[slot] = key, lengths
    first = np.concatenate([[0], np.cumsum([len(lengths) for lengths in of_slot])]).astype(np.int64)
    units = np.sort(np.array([_hash_of(unit) for unit in _UNITS.split()], np.uint64))
    return keys, first, np.array([n for lengths in of_slot for n in lengths], np.int64), units


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def tokens(text: str) -> list[str]:
    """The tokens of one text, in order: what the kernels count. For tests and for looking.

    >>> tokens("Don't panic: it's only (about) $3.50, e.g. a well-known U.S. price...")
    ['Do', "n't", 'panic', ':', 'it', "'s", 'only', '(', 'about', ')', '$', '3.50', ',', 'e.g.', 'a', 'well', '-', \
'known', 'U.S.', 'price', '...']
    """
    points = _points(text)
    found = np.empty((len(points) + 1, 2), np.int64)
    n = tokenize(points, code_point_flags(), *special_tokens(), found, np.empty(len(points) + 1, np.int64))
    return [text[start:end] for start, end in found[:n]]


@njit(types.int64(_BYTES, types.int64, types.int64, types.uint32[::1]), cache=True, nogil=True)
def decode(data: np.ndarray, start: int, end: int, points: np.ndarray) -> int:
    """Write the code points of UTF-8 `data[start:end]` to `points`; return how many."""
    n = 0
    i = start
    while i < end:
        byte = np.uint32(data[i])
        if byte < 0x80:
            points[n] = byte
            i += 1
        elif byte < 0xE0:
            points[n] = ((byte & np.uint32(0x1F)) << np.uint32(6)) | (data[i + 1] & np.uint32(0x3F))
            i += 2
        elif byte < 0xF0:
            points[n] = (
                ((byte & np.uint32(0x0F)) << np.uint32(12))
                | ((data[i + 1] & np.uint32(0x3F)) << np.uint32(6))
                | (data[i + 2] & np.uint32(0x3F))
            )
            i += 3
        else:
            points[n] = (
                ((byte & np.uint32(0x07)) << np.uint32(18))
                | ((data[i + 1] & np.uint32(0x3F)) << np.uint32(12))
                | ((data[i + 2] & np.uint32(0x3F)) << np.uint32(6))
                | (data[i + 3] & np.uint32(0x3F))
            )
            i += 4
        n += 1
    return n


@njit(types.uint64(_POINTS, types.int64, types.int64), cache=True, nogil=True)
def hash_points(points: np.ndarray, start: int, end: int) -> np.uint64:
    """64-bit hash of `points[start:end]`, never 0: FNV-1a by code point, then a mix."""
    found = _FNV_OFFSET
    for i in range(start, end):
        found = (found ^ np.uint64(points[i])) * _FNV_PRIME
    found = (found ^ (found >> _SHIFT)) * _MIX
    return (found ^ (found >> _SHIFT)) | np.uint64(1)


def _hash_of(text: str) -> np.uint64:
    points = _points(text)
    return np.uint64(hash_points(points, 0, len(points)))


@njit(types.int64(_POINTS, types.int64, types.int64, _HASHES), cache=True, nogil=True)
def _special(points: np.ndarray, start: int, end: int, keys: np.ndarray) -> int:
    """The slot of the special case that `points[start:end]` is, or -1."""
    if end - start > 12 or end <= start:
        return -1
    key = hash_points(points, start, end)
    slot = np.int64(key & np.uint64(len(keys) - 1))
    while keys[slot] != 0:
        if keys[slot] == key:
            return slot
        slot = (slot + 1) & (len(keys) - 1)
    return -1


@njit(types.int64(_POINTS, _FLAGS, types.int64, types.int64), cache=True, nogil=True)
def _prefix(points: np.ndarray, flags: np.ndarray, start: int, end: int) -> int:
    """Code points of the prefix at `start`, 0 if there is none."""
    point = points[start]
    if flags[point] & PREFIX:
        return 1
    following = points[start + 1] if start + 1 < end else np.uint32(32)
    if point == 46 and following == 46:  # ..+
        i = start + 2
        while i < end and points[i] == 46:
            i += 1
        return i - start
    if point == 43 and not 48 <= following <= 57:  # + that is no sign
        return 1
    if (point == 65 or point == 67) and following == 36:  # A$ C$
        return 2
    if point == 85 and following == 83 and start + 2 < end and points[start + 2] == 36:  # US$
        return 3
    return 0


@njit(types.int64(_POINTS, _FLAGS, types.int64, types.int64, _HASHES), cache=True, nogil=True)
def _suffix(points: np.ndarray, flags: np.ndarray, start: int, end: int, units: np.ndarray) -> int:
    """Code points of the longest suffix of `points[start:end]`, 0 if there is none."""
    last = points[end - 1]
    flag = flags[last]
    size = end - start
    if last == 46:
        i = end - 1
        while i > start and points[i - 1] == 46:
            i -= 1
        if end - i >= 2:
            return end - i
        if size >= 2:
            before = flags[points[end - 2]]
            if before & (DIGIT | LOWER | STOPPED) and not (before & UPPER and not before & LOWER):
                return 1
            if size >= 3 and before & UPPER and flags[points[end - 3]] & UPPER:
                return 1
        return 0
    if (last == 115 or last == 83) and size >= 2 and (points[end - 2] == 39 or points[end - 2] == 0x2019):  # 's
        return 2
    for length in range(min(_LONGEST_UNIT, size - 1), 0, -1):
        if flags[points[end - length - 1]] & DIGIT:
            unit = hash_points(points, end - length, end)
            at = np.searchsorted(units, unit)
            if at < len(units) and units[at] == unit:
                return length
    if flag & SUFFIX:
        return 1
    if size >= 2 and flags[points[end - 2]] & DIGIT and (last == 43 or flag & CURRENCY):
        return 1
    return 0


@njit(types.boolean(_POINTS, _FLAGS, types.int64, types.int64), cache=True, nogil=True)
def _is_url(points: np.ndarray, flags: np.ndarray, start: int, end: int) -> bool:
    """Whether all of it is [scheme://][user@]label.label…tld[:port][/ or ? or # and anything], with a lower-case tld."""
    i = start
    for k in range(start + 2, end - 2):
        if points[k] == 58 and points[k + 1] == 47 and points[k + 2] == 47:
            i = k + 3
            break
        if not (flags[points[k]] & (LETTER | DIGIT) or points[k] in (43, 45, 46, 95)):
            break
    for k in range(end - 1, i, -1):
        if points[k] == 64:  # the last @
            i = k + 1
            break
    labels, label = 0, i
    while True:
        j = label
        is_tld = True
        while j < end:
            point, flag = points[j], flags[points[j]]
            if not (flag & (LETTER | DIGIT) or point == 45 or point == 95 or point >= 0xA1):
                break
            is_tld = is_tld and flag & LOWER != 0
            j += 1
        if j == label or points[label] == 45 or points[j - 1] == 45 or points[j - 1] == 95 or points[label] == 95:
            return False
        labels += 1
        if j < end and points[j] == 46:
            label = j + 1
            continue
        if labels < 2 or not is_tld or j - label < 2:
            return False
        if j < end and points[j] == 58:
            digits = j + 1
            while digits < end and 48 <= points[digits] <= 57:
                digits += 1
            if not 3 <= digits - j <= 6:
                return False
            j = digits
        return j == end or points[j] == 47 or points[j] == 63 or points[j] == 35


@njit(types.int64(_POINTS, _FLAGS, types.int64, types.int64, types.int64), cache=True, nogil=True)
def _infix(points: np.ndarray, flags: np.ndarray, i: int, start: int, end: int) -> int:
    """Code points of the infix at `i` inside `points[start:end]`, 0 if there is none."""
    point = points[i]
    flag = flags[point]
    if flag & ICON or point == 0x2026:
        return 1
    if flag & (LETTER | DIGIT):
        return 0
    if point == 46:
        j = i + 1
        while j < end and points[j] == 46:
            j += 1
        if j - i >= 2:
            return j - i
    if i == start or i + 1 >= end:
        return 0
    before, after = flags[points[i - 1]], flags[points[i + 1]]
    if before & DIGIT and (point in (43, 45, 42, 94)) and (after & DIGIT or points[i + 1] == 45):
        return 1
    if point == 46:
        return 1 if before & (LOWER | QUOTE) and after & (UPPER | QUOTE) else 0
    if point == 44:
        return 1 if before & LETTER and after & LETTER else 0
    if point in (45, 0x2013, 0x2014, 126) and before & (LETTER | DIGIT):
        j = i + 1
        while j < end and points[j] == point and j - i < (3 if point == 45 else 2 if point == 0x2014 else 1):
            j += 1
        return j - i if j < end and flags[points[j]] & LETTER else 0
    if point in (58, 60, 62, 61, 47) and before & (LETTER | DIGIT) and after & LETTER:
        return 1
    return 0


@njit(
    types.int64(_POINTS, _FLAGS, _HASHES, _COUNTS, _COUNTS, _HASHES, types.int64[:, ::1], types.int64[::1]),
    cache=True,
    nogil=True,
)
def tokenize(
    points: np.ndarray,
    flags: np.ndarray,
    keys: np.ndarray,
    first: np.ndarray,
    lengths: np.ndarray,
    units: np.ndarray,
    found: np.ndarray,
    suffixes: np.ndarray,
) -> int:
    """Fill `found` with (start, end) of each token of a text; return how many. `suffixes` is scratch as long as the text."""
    n_tokens = 0
    n_points = len(points)
    i = 0
    while i < n_points:
        if flags[points[i]] & SPACE:
            i += 1
            continue
        start = i
        is_plain = True
        while i < n_points and not flags[points[i]] & SPACE:
            is_plain = is_plain and flags[points[i]] & LETTER != 0
            i += 1
        span_end = end = i
        n_suffixes = 0
        slot = _special(points, start, end, keys)
        while not is_plain and slot < 0 and start < end:
            prefix = _prefix(points, flags, start, end)
            if prefix:
                slot = _special(points, start + prefix, end, keys)
                if slot >= 0:
                    found[n_tokens, 0], found[n_tokens, 1] = start, start + prefix
                    n_tokens += 1
                    start += prefix
                    break
            suffix = _suffix(points, flags, start + prefix, end, units) if start + prefix < end else 0
            if suffix:
                slot = _special(points, start, end - suffix, keys)
                if slot >= 0:
                    end -= suffix
                    suffixes[n_suffixes] = end
                    n_suffixes += 1
                    break
            if prefix:
                found[n_tokens, 0], found[n_tokens, 1] = start, start + prefix
                n_tokens += 1
                start += prefix
            if suffix:
                end -= suffix
                suffixes[n_suffixes] = end
                n_suffixes += 1
            if not prefix and not suffix:
                break
            slot = _special(points, start, end, keys)
        if slot >= 0:
            for k in range(first[slot], first[slot + 1]):
                found[n_tokens, 0], found[n_tokens, 1] = start, start + lengths[k]
                n_tokens += 1
                start += lengths[k]
        elif start < end and (is_plain or _is_url(points, flags, start, end)):
            found[n_tokens, 0], found[n_tokens, 1] = start, end
            n_tokens += 1
        else:
            piece = k = start
            while k < end:
                infix = _infix(points, flags, k, start, end)
                if infix and k != piece:
                    found[n_tokens, 0], found[n_tokens, 1] = piece, k
                    found[n_tokens + 1, 0], found[n_tokens + 1, 1] = k, k + infix
                    n_tokens += 2
                    piece = k + infix
                k += max(infix, 1)
            if piece < end:
                found[n_tokens, 0], found[n_tokens, 1] = piece, end
                n_tokens += 1
        for k in range(n_suffixes - 1, -1, -1):
            found[n_tokens, 0] = suffixes[k]
            found[n_tokens, 1] = suffixes[k - 1] if k else span_end
            n_tokens += 1
    return n_tokens
