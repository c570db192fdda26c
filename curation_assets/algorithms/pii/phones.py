"""Telephone numbers: runs of digits that libphonenumber knows, written as their region writes them, or said to be one."""

import re
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Any

from curation_assets.algorithms.pii.boundaries import DASHES, SAID_CHARS, SPACES, Spans, begin

_BETWEEN = rf"{SPACES}.()/{DASHES}"

_PHONE = re.compile(
    rf"[+(0-9](?:(?<=\+){begin('+', 1)}[0-9]|(?<!\+){begin('+$€£¥₩#&%/-', 1)}(?<![0-9]\..)(?:(?<=[0-9])|[0-9]))"
    rf"(?:[{_BETWEEN}]{{0,3}}[0-9]){{6,16}}"
    r"(?![0-9%€£¥₩]|_+[0-9A-Za-z]|(?!x[0-9])[A-Za-z]|[.\-:][0-9]|\s?[=×÷]|\s?[<>*]\s?[0-9])"
)

_EXTENSION = re.compile(r"(?:[ ,]{0,2}(?:x|ext\.?|#) ?[0-9]{1,6})(?![0-9A-Za-z])", re.IGNORECASE)

_SAID_BEFORE = re.compile(
    r"(?:(?<![A-Za-z])(?:(?:tele|cell|mobile )?phone|t[eé]l(?:[eé]fono?|efone|ephone|[eé]phone)?|mobile|cell|fax|whatsapp|hotline|dial|"
    r"call (?:me|us|him|her|them))(?:[ _]?(?:no|number|nr))?(?![A-Za-z])|전화|연락처|휴대폰|핸드폰|팩스)"
    r"(?:[^0-9\n]{0,20}[:=]|(?: (?:is|was|at|on|line|us|no|nr|number)(?![A-Za-z])){0,3})[^0-9A-Za-z\n]{0,15}\n?[^0-9A-Za-z\n]{0,5}\Z",
    re.IGNORECASE,
)

_SAID_AFTER = re.compile(r"[ (\-]{0,3}(?:fax|mobile|cell|tel|office)\b", re.IGNORECASE)

_SAID_LOOSELY = re.compile(
    r"(?<![A-Za-z])(?:call|ring|text|sms|messag(?:es?|ing)|contact|reach|answering|registered)(?![A-Za-z])[^0-9\n]{0,20}\Z",
    re.IGNORECASE,
)
"""Words that stand beside other numbers too: enough for one that libphonenumber has as valid, grouped in a way of its own."""

_BETWEEN_DATE = r"(?:\s?[.\-/\u2013]\s?|\s)"

_DATE = re.compile(
    rf"(?<![0-9])(?:(?:19|20)[0-9]{{2}}{_BETWEEN_DATE}(?:0?[1-9]|1[0-2]){_BETWEEN_DATE}[0-3]?[0-9]"
    rf"|[0-3]?[0-9]{_BETWEEN_DATE}[0-3]?[0-9]{_BETWEEN_DATE}(?:19|20)[0-9]{{2}})(?![0-9])"
)

_YEARS = re.compile(rf"(?<![0-9])(?:1[5-9]|20)[0-9]{{2}}[{_BETWEEN}]{{1,3}}(?:1[5-9]|20)[0-9]{{2}}(?![0-9])")

_DECIMAL = re.compile(r"\+[0-9]+\.[0-9]+")

_THOUSANDS = re.compile(rf"\+?[1-9][0-9]{{0,2}}(?:[{SPACES}.][0-9]{{3}})+")

_ROUND = re.compile(rf"[1-9][0-9]{{0,2}}(?:[{SPACES}.][0-9]{{3}})*[{SPACES}.]000")

_UNIT = re.compile(
    rf"[{SPACES}]?(?:mAh|[KMGT]i?B|[kMG]?Hz|px|mm|cm|km|kg|mg|ml|USD|EUR|GBP|KRW|won|dollars|euros|users|people)(?![A-Za-z])",
    re.IGNORECASE,
)

_PIECE = re.compile(rf"[^{SPACES}]+")

_NUMBER_BEFORE = re.compile(rf"[0-9][{SPACES}]{{1,3}}\Z")

_NUMBER_AFTER = re.compile(rf"[{SPACES}]{{1,3}}[0-9]")

_NANP = re.compile(r"(?:\+?1[ .\-]?)?\(?[2-9][0-9]{2}\)?[ .\-]{0,2}[2-9][0-9]{2}[ .\-][0-9]{4}\Z")

_KOREAN_MOBILE = re.compile(r"01[016789][0-9]{7,8}\Z")

_UNSEPARATED = re.compile(r"0[1-9][0-9]{8,10}\Z")

_MOST_PIECES = 8


def phones(text: str, regions: Sequence[str]) -> Spans:
    """Telephone numbers with their extensions: international ones, those of the regions, and what is said to be one."""
    for match in _PHONE.finditer(text):
        if found := _phone(text, *match.span(), regions):
            start, end, engine = found
            extension = _EXTENSION.match(text, end)
            yield start, extension.end() if extension else end, engine


def _phone(text: str, start: int, end: int, regions: Sequence[str]) -> tuple[int, int, str] | None:
    """The longest part of a run of digits, between spaces, that is a phone number: a year may stand before it."""
    pieces = [piece.span() for piece in _PIECE.finditer(text, start, end)][:_MOST_PIECES]
    until = [0, *accumulate(sum(map(str.isdigit, text[a:b])) for a, b in pieces)]
    has_date = _DATE.search(text, start, end) is not None
    said = text[max(0, start - SAID_CHARS) : start]
    is_said, is_said_loosely = bool(_SAID_BEFORE.search(said)), bool(_SAID_LOOSELY.search(said))
    if len(pieces) > 5 and not is_said and all(b - a == 2 for a, b in pieces):
        return None  # a row of a table, which would be asked about in every part of it
    for size in range(len(pieces), 0, -1):
        for first in range(len(pieces) - size + 1):
            if not 7 <= until[first + size] - until[first] <= 17:
                continue
            a, b = pieces[first][0], pieces[first + size - 1][1]
            while b > a and not text[b - 1].isdigit():
                b -= 1
            while a < b and not (text[a].isdigit() or text[a] in "(+"):
                a += 1
            if has_date and _DATE.search(text[a:b]):
                continue
            # What is said before a run is said of its first number alone.
            context = (is_said, is_said_loosely) if first == 0 else (False, False)
            if engine := _phone_engine(text, a, b, regions, *context):
                return a, b, engine
    return None


def _phone_engine(
    text: str, start: int, end: int, regions: Sequence[str], is_said: bool, is_said_loosely: bool
) -> str | None:
    value = text[start:end]
    groups = re.findall("[0-9]+", value)
    digits = sum(map(len, groups))
    if value.startswith("+"):
        return "libphonenumber" if _is_international(value, groups) else None
    if digits >= 8 and _is_national(text, start, end, groups, regions, is_said, is_said_loosely):
        return "libphonenumber"
    if digits > 15 or not (is_said or (len(groups) > 1 and _SAID_AFTER.match(text, end))):
        return None
    if _YEARS.search(value) or _UNIT.match(text, end) or (not is_said and _ROUND.fullmatch(value)):
        return None
    return "context"


def _is_international(value: str, groups: Sequence[str]) -> bool:
    """Whether a number with + is one: of a possible length if it is written in groups, valid if it could be an amount, or groups of two."""
    import phonenumbers

    if _DECIMAL.fullmatch(value):  # +1.2024561414, as registries of domains have it, not +3.140000
        return int(groups[0]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE and _is_phone(value, None)
    if max(map(len, groups)) < 2:
        return False
    is_amount = _THOUSANDS.fullmatch(value) or all(len(group) == 2 for group in groups)
    return _is_phone(value, None, possible=len(groups) > 1 and not is_amount)


def _is_national(
    text: str,
    start: int,
    end: int,
    groups: Sequence[str],
    regions: Sequence[str],
    is_said: bool,
    is_said_loosely: bool,
) -> bool:
    """Whether a number without a country is one of a region, written as it is written there."""
    import phonenumbers

    value = text[start:end]
    if _KOREAN_MOBILE.match(value):
        is_assigned = text[start - 1 : start] == "="  # an id in a URL, unless it is said
        return (is_said or not is_assigned) and any(_is_phone(value, region) for region in regions)
    if _UNSEPARATED.match(value):
        is_assigned = text[start - 1 : start] == "="
        if is_said or is_said_loosely:
            return any(_is_phone(value, region) for region in regions)
        return not is_assigned and not has_isbn_digit(value) and any(_is_mobile(value, region) for region in regions)
    if _NANP.match(value):
        is_spaced = not re.search(r"[().\-]", value)
        american = [region for region in regions if phonenumbers.country_code_for_region(region) == 1]
        is_row = is_spaced and _is_of_numbers(text, start, end)
        # (898) 666-3621 is written as nothing else is, of an area that is assigned or not.
        return not is_row and any(_is_phone(value, region, possible="(" in value) for region in american)
    if not (len(groups) >= 2 and groups[0][0] == "0" and len(groups[0]) >= 2):
        return False
    if all(len(group) == 2 for group in groups):
        # Of two-digit numbers a table has many, and a draw of numbers is in order; a number of France is alone, and seldom in order.
        is_mobile, is_in_order = groups[0] in ("06", "07"), list(groups) == sorted(set(groups))
        is_row = len(groups) != 5 or (is_in_order and not (is_mobile or is_said)) or _is_of_numbers(text, start, end)
        return not is_row and any(_is_grouped(groups, region) for region in regions)
    if any(_is_grouped(groups, region) for region in regions):
        return True
    return (is_said or is_said_loosely) and any(_is_phone(value, region) for region in regions)


def has_isbn_digit(digits: str) -> bool:
    """Whether ten digits end in the check digit of an ISBN (ISO 2108 of 1992), which can begin as a mobile number of France does.

    >>> has_isbn_digit("0612345679"), has_isbn_digit("0671234560"), has_isbn_digit("07911123456")
    (False, True, False)
    """
    return (
        len(digits) == 10
        and sum(weight * int(digit) for weight, digit in zip(range(10, 0, -1), digits, strict=True)) % 11 == 0
    )


def _is_mobile(value: str, region: str) -> bool:
    """Whether digits without separators are a valid number of a region's mobile phones: those of its towns are as ids are. Ours."""
    import phonenumbers

    number = _number(value, region)
    mobile = phonenumbers.PhoneNumberType.MOBILE
    return number is not None and phonenumbers.is_valid_number(number) and phonenumbers.number_type(number) == mobile


def _is_of_numbers(text: str, start: int, end: int) -> bool:
    """Whether other numbers stand beside one, with spaces between."""
    return bool(_NUMBER_BEFORE.search(text, max(0, start - 4), start) or _NUMBER_AFTER.match(text, end))


def _is_grouped(groups: Sequence[str], region: str) -> bool:
    """Whether the digits are a valid number of a region, in groups as libphonenumber writes it there, or some of them together.

    Where it writes one group behind the area code, as for Germany, that may be written in several; the prefix of a mobile number may be
    a digit shorter (0151 23456789), and the area code a digit longer if the last groups are right (0207 946 0958). Ours.
    """
    import phonenumbers

    whole = "".join(groups)
    pattern = _digits_of(region)
    if not whole.startswith("00") and not (pattern.fullmatch(whole[1:]) or pattern.fullmatch(whole)):
        return False
    number = _number(whole, region)
    if number is None or not phonenumbers.is_valid_number(number):
        return False
    if whole.startswith("00"):
        return True
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    wanted = re.findall("[0-9]+", written)
    if "".join(wanted) != whole:
        return False
    ends, wanted_ends = list(accumulate(map(len, groups))), list(accumulate(map(len, wanted)))
    if len(wanted) > 2 and wanted[0] != "0":
        is_longer = len(groups) == len(wanted) and ends[0] == wanted_ends[0] + 1 and ends[1:] == wanted_ends[1:]
        return is_longer or (set(ends) <= set(wanted_ends) and groups[0] == wanted[0])
    if len(wanted) > 2:
        return set(ends) <= set(wanted_ends)
    is_mobile = phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
    is_split = (
        groups[1][0] != "0" and min(map(len, groups[1:])) >= 2
    )  # no subscriber's number begins with 0, as pages may
    return is_split and ends[0] in (wanted_ends[0], wanted_ends[0] - is_mobile)


@cache
def _digits_of(region: str) -> re.Pattern[str]:
    """What every number of a region matches, without the digit that is dialled before it: a look-up where libphonenumber would reckon."""
    import phonenumbers

    return re.compile(phonenumbers.PhoneMetadata.metadata_for_region(region).general_desc.national_number_pattern)


def _is_phone(value: str, region: str | None, *, possible: bool = False) -> bool:
    import phonenumbers

    number = _number(value, region)
    return number is not None and (phonenumbers.is_possible_number if possible else phonenumbers.is_valid_number)(
        number
    )


def _number(value: str, region: str | None) -> Any:
    """A phonenumbers.PhoneNumber, or None where the digits cannot be one: 00 and no country."""
    import phonenumbers

    try:
        return phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
