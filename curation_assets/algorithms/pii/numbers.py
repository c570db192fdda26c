"""Numbers with check digits or a form of their own: bank accounts, cards, national ids of Korea, the US and the UK."""

import re
from collections.abc import Sequence

from curation_assets.algorithms.pii.boundaries import (
    DASHES,
    END,
    END_OF_NUMBER,
    SAID_CHARS,
    SEPARATOR,
    SPACES,
    Spans,
    begin,
)

IBAN_CHARS = {
    country: chars
    for chars, countries in (
        (15, "NO"),
        (16, "BE"),
        (18, "DK FI FK FO GL NL SD"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU MN XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ OM SO TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "LY PT ST"),
        (26, "IS TR"),
        (27, "BI DJ FR GR IT MC MR SM"),
        (28, "AL AZ BY CY DO GT HN HU LB NI PL SV"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU YE"),
        (31, "MT SC"),
        (32, "LC"),
        (33, "RU"),
    )
    for country in countries.split()
}
"""Characters of an IBAN by country (ISO 13616, the registry of SWIFT)."""

_IBAN = re.compile(rf"[A-Za-z]{{2}}[0-9]{{2}}{begin(read=4)}(?:{SEPARATOR}?[0-9A-Za-z]){{11,30}}")


def ibans(text: str, _: Sequence[str]) -> Spans:
    """Bank accounts: the length of their country and check digits (ISO 13616)."""
    at = 0
    while match := _IBAN.search(text, at):
        wanted = IBAN_CHARS.get(match[0][:2].upper())
        end, left = match.start(), wanted or 0
        while left and end < match.end():
            left -= text[end].isalnum()
            end += 1
        # What follows it may have been taken for a part of it, so the search goes on right behind.
        at = match.start() + 4
        if wanted and not left and not text[end : end + 1].isalnum() and has_mod_97(text[match.start() : end]):
            at = end
            yield match.start(), end, "mod_97"


def has_mod_97(value: str) -> bool:
    """Whether an IBAN's check digits are right (ISO 7064 mod 97-10).

    >>> has_mod_97("GB82 WEST 1234 5698 7654 32"), has_mod_97("GB82 WEST 1234 5698 7654 33")
    (True, False)
    """
    compact = re.sub(SEPARATOR, "", value)
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


_OR_NO = r"(?<=[Nn][or]\.[0-9])"
"""A number can stand right behind No. or Nr., though behind another dot it is a part of something."""

_CARD = re.compile(rf"[0-9](?:{begin('.+-', 1)}|{_OR_NO})(?:{SEPARATOR}?[0-9]){{11,18}}{END_OF_NUMBER}")

_ISSUERS = (  # prefix and digits, ISO/IEC 7812 as the networks publish them
    (re.compile("4|5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile("3[47]|1800|2131"), (15,)),
    (re.compile("30[0-5]|36|38|39"), (14, 16)),
    (re.compile("6011|64[4-9]|65|35(?:2[89]|[3-8])|62|81|50|5[6-8]|6"), (16,)),
)
"""Of the other lengths, 12 to 19, are the numbers of articles (EAN) and of posts too: there a word must say that it is a card. Ours."""

_GROUP = re.compile("[0-9]+")

_SHORT_GROUP = re.compile(f"[0-9]{{1,3}}(?=[{SPACES}])")

_LEAST_CARD_DIGITS = 12

_SAID_CARD = re.compile(r"(?<![A-Za-z])(?:cards?|cc|visa|mastercard|maestro|amex)(?![A-Za-z])|카드", re.IGNORECASE)


def credit_cards(text: str, _: Sequence[str]) -> Spans:
    """Card numbers: a check digit, and the prefix and length of an issuer or a word such as card before them.

    An expiry date or a code may stand behind one, and a short number before it, with a space between.
    """
    at = 0
    while match := _CARD.search(text, at):
        start, at = match.span()
        short = _SHORT_GROUP.match(text, start)
        if found := _card(text, *match.span()):
            at = found[0]
            yield start, *found
        elif short:
            at = short.end()


def _card(text: str, start: int, end: int) -> tuple[int, str] | None:
    """Where the longest card number ends that begins a run of digits and ends with it or before a space, and what tells; or None."""
    spans = [group.span() for group in _GROUP.finditer(text, start, end)]
    is_said = None
    while spans:
        groups = [b - a for a, b in spans]
        digits = "".join(text[a:b] for a, b in spans)
        if len(digits) < _LEAST_CARD_DIGITS:
            return None
        is_written_so = len(groups) == 1 or (min(groups[:-1]) >= 4 and max(groups) <= 7)
        if is_written_so and has_luhn(digits) and len(set(digits)) > 1:
            if any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in _ISSUERS):
                return spans[-1][1], "luhn"
            if is_said is None:
                is_said = bool(_SAID_CARD.search(text, max(0, start - SAID_CHARS), start))
            if is_said:
                return spans[-1][1], "context"
        last = spans.pop()[0]
        if text[last - 1] not in SPACES:
            return None
    return None


def has_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).

    >>> has_luhn("4111111111111111"), has_luhn("4111111111111112")
    (True, False)
    """
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


_RRN = re.compile(
    rf"([0-9](?:{begin('.-', 1)}|{_OR_NO})[0-9](?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))([{SPACES}]?[{DASHES}][{SPACES}]?)?([0-9]{{7}})"
    rf"{END_OF_NUMBER}"
)

_SAID_RRN = re.compile(r"(?:주민|외국인)\s?(?:등록)?\s?번호|resident registration|\bRRN\b", re.IGNORECASE)

_WITHOUT_CHECK_DIGIT = 2010  # YYMM of October 2020


def korean_numbers(text: str, _: Sequence[str]) -> Spans:
    """YYMMDD-SXXXXXX. Numbers issued since 2020-10-05 end in digits drawn at random (행정안전부), so they have no check digit."""
    for match in _RRN.finditer(text):
        digits = match[1] + match[3]
        if not _is_date(digits):
            continue
        is_said = bool(_SAID_RRN.search(text, max(0, match.start() - SAID_CHARS), match.start()))
        if has_korean_check_digit(digits) and (match[2] or is_said):
            yield *match.span(), "check_digit"
        elif is_said:
            yield *match.span(), "context"
        elif match[2] and digits[6] in "3478" and int(digits[:4]) >= _WITHOUT_CHECK_DIGIT:
            yield *match.span(), "birth_date"


def _is_date(digits: str) -> bool:
    month, day = int(digits[2:4]), int(digits[4:6])
    return digits[6] != "0" and day <= (29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31)


def has_korean_check_digit(digits: str) -> bool:
    """Whether the 13th digit checks the others: weights 2-9, 2-5, modulo 11, for foreigners (5-8) 2 more.

    >>> has_korean_check_digit("8001011234560"), has_korean_check_digit("8001011234561")
    (True, False)
    """
    weighted = sum(
        int(digit) * weight for digit, weight in zip(digits, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), strict=False)
    )
    foreign = 2 if digits[6] in "5678" else 0
    return ((11 - weighted % 11) % 10 + foreign) % 10 == int(digits[12])


_SSN = re.compile(
    rf"[0-8](?:{begin('.-', 1)}|{_OR_NO})[0-9]{{2}}(?<!000|666)({SEPARATOR}?)(?!00)[0-9]{{2}}\1(?!0000)[0-9]{{4}}{END_OF_NUMBER}"
)

_SAID_SSN = re.compile(r"\bSSN\b|social security", re.IGNORECASE)


def social_security_numbers(text: str, _: Sequence[str]) -> Spans:
    """AAA-GG-SSSS in the ranges the Social Security Administration issues (since 2011 all but 000, 666 and 9xx)."""
    for match in _SSN.finditer(text):
        if match[1] and match[1] not in SPACES:
            yield *match.span(), "form"
        elif _SAID_SSN.search(text, max(0, match.start() - SAID_CHARS), match.start()):
            yield *match.span(), "context"


_NINO = re.compile(
    rf"[A-CEGHJ-PR-TW-Z]{begin(read=1)}[A-CEGHJ-NPR-TW-Z](?<!BG|GB|KN|NK|NT|TN|ZZ)(?:[{SPACES}]?[0-9]{{2}}){{3}}[{SPACES}]?[A-D]{END}"
)


def national_insurance_numbers(text: str, _: Sequence[str]) -> Spans:
    """Two letters, six digits, a letter A-D (HMRC manual NIM39110)."""
    return ((*match.span(), "form") for match in _NINO.finditer(text))
