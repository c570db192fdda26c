r"""Personal data and secrets in texts: where they are, and a text with them masked or pseudonymised.

type             what is found                                                   accepted when
---------------  --------------------------------------------------------------  -------------------------------------------
secret           keys and tokens of known services, JWTs, private keys, bearer   its form; assignments also need mixed
                 tokens, values assigned to password, token, api_key, …          characters (letters and digits, entropy)
url_credentials  user:password of a URL                                          its form
email            name@domain, name (at) domain, name at domain dot org           its form; a known ending where spelled out
iban             bank account numbers                                            length of its country, ISO 7064 mod 97-10
credit_card      card numbers, in groups or not                                  Luhn; prefix and length of an issuer, or a word
                                                                                 such as card beside
kr_rrn           Korean resident and foreigner registration numbers              birth date, and check digit, or born since
                                                                                 2020-10, or said to be one
us_ssn           US social security numbers                                      ranges that are issued; 123-45-6789, or said
uk_nino          UK national insurance numbers                                   prefixes that are issued
ip_address       public IPv4 and IPv6 addresses                                  ipaddress.is_global; no version or heading
phone            telephone numbers                                               libphonenumber and the groups of its region,
                                                                                 or a word such as tel beside
person           names of people                                                 a model, elsewhere (models/names.py)

What overlaps goes to the type that stands first. Markdown emphasis (_1_), commas of CSV and the escapes of JSON and code (\n, \t, \u00a0)
may stand right before a value; the letter of an escape is never taken for a part of it.

Every pattern begins at a boundary its own characters cannot cross and every repetition is bounded or cannot match in two ways, so time
is linear in the text whatever it holds.

Not found: postal addresses, dates of birth, passports, licence plates, names without a model, numbers that are spelled out or in
other scripts' digits, phone numbers without separators unless international, of a mobile phone or named.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from curation_assets.algorithms.pii import addresses, numbers, phones, secrets
from curation_assets.algorithms.pii.boundaries import SEPARATOR, Spans

TYPES = (
    *(
        "secret",
        "url_credentials",
        "email",
        "iban",
        "credit_card",
        "kr_rrn",
        "us_ssn",
        "uk_nino",
        "ip_address",
        "phone",
    ),
    "person",
)
"""What can be found, in order of precedence."""

PSEUDONYM_DIGITS = 8
"""Hex digits of a pseudonym: of 10,000 different values two share one with probability .012 (n² / 2^33). Ours."""

LEAST_KEY_CHARS = 16


class Finding(NamedTuple):
    """Personal data or a secret at a place in a text."""

    type: str
    """One of TYPES."""
    start: int
    """First character, from 0."""
    end: int
    """The character after its last."""
    engine: str
    """What recognised it: the rule, or the name of a model."""


def find(text: str, types: Collection[str] = TYPES, regions: Sequence[str] = ("US", "KR")) -> list[Finding]:
    """Find personal data and secrets, in order of place, none overlapping another.

    regions: ISO 3166 codes whose national phone numbers are looked for beside international ones.

    >>> [text[f.start:f.end] for text in ["Mail jane@example.org or +1 202-456-1414."] for f in find(text)]
    ['jane@example.org', '+1 202-456-1414']
    >>> [f.type for f in find("card 4111 1111 1111 1111, not 4111 1111 1111 1112")]
    ['credit_card']
    """
    found: list[Finding] = []
    has_digits = bool(_SIX_DIGITS.search(text))
    for type in TYPES:
        if type in types and type in _FINDERS and (has_digits or type not in _OF_DIGITS):
            found += [Finding(type, *span) for span in _FINDERS[type](text, regions)]
    return without_overlaps(found)


def without_overlaps(findings: Iterable[Finding]) -> list[Finding]:
    """Of findings that overlap keep the one whose type stands first in TYPES, then the earlier; in order of place.

    >>> without_overlaps([Finding("phone", 3, 9, "a"), Finding("email", 0, 5, "b"), Finding("phone", 5, 9, "c")])
    [Finding(type='email', start=0, end=5, engine='b'), Finding(type='phone', start=5, end=9, engine='c')]
    """
    by_rank = sorted(findings, key=lambda f: (TYPES.index(f.type), f.start, -f.end))
    kept: list[Finding] = []
    taken: dict[int, list[Finding]] = {}  # kept findings by block of text, so that each looks at its neighbours alone
    for one in by_rank:
        blocks = range(one.start // 4096, one.end // 4096 + 1)
        if not any(
            one.start < other.end and other.start < one.end for block in blocks for other in taken.get(block, ())
        ):
            kept.append(one)
            for block in blocks:
                taken.setdefault(block, []).append(one)
    return sorted(kept, key=lambda f: f.start)


def redact(text: str, findings: Sequence[Finding], pseudonymise: Collection[str] = (), key: bytes = b"") -> str:
    """The text with findings replaced by `[TYPE]`, or for some types by a pseudonym under a key.

    >>> redact("Mail jane@example.org.", find("Mail jane@example.org."))
    'Mail [EMAIL].'
    """
    parts, at = [], 0
    for one in findings:
        value = text[one.start : one.end]
        parts += [text[at : one.start], pseudonym(one.type, value, key) if one.type in pseudonymise else mask(one.type)]
        at = one.end
    return "".join([*parts, text[at:]])


def mask(type: str) -> str:
    """What stands in a text in the place of a value of a type.

    >>> mask("email")
    '[EMAIL]'
    """
    return f"[{type.upper()}]"


def pseudonym(type: str, value: str, key: bytes) -> str:
    """What stands for a value under a key: the same for the same value in every text, run and type, and not to be reversed without it.

    The digits are of HMAC-SHA256 (RFC 2104) of the value as `canonical` writes it.

    >>> pseudonym("email", "Jane@example.org", b"a key of your own") == pseudonym("email", "jane@example.org", b"a key of your own")
    True
    """
    digest = hmac.new(key, canonical(type, value).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    return f"{mask(type)[:-1]}_{digest[:PSEUDONYM_DIGITS]}]"


def canonical(type: str, value: str) -> str:
    """A value without what may differ between two ways of writing it: case, spaces and separators, or for a secret nothing.

    >>> canonical("credit_card", "4111-1111 1111 1111"), canonical("email", "Jane@Example.ORG"), canonical("person", " Jane  Doe")
    ('4111111111111111', 'jane@example.org', 'jane doe')
    """
    if type in ("secret", "url_credentials"):
        return value
    if type in ("credit_card", "kr_rrn", "us_ssn"):
        return re.sub("[^0-9]", "", value)
    if type == "phone":
        return ("+" if value.lstrip("( ").startswith("+") else "") + re.sub("[^0-9x]", "", value.casefold())
    if type in ("iban", "uk_nino"):
        return re.sub("[^0-9a-z]", "", value.casefold())
    return " ".join(value.casefold().split())


# --- which texts are worth a look -----------------------------------------------------------------------------------

_SIX_DIGITS = re.compile("[0-9](?:[^0-9]{0,4}[0-9]){5}")

_OF_DIGITS = ("credit_card", "kr_rrn", "us_ssn", "uk_nino", "phone")

_FINDERS: Mapping[str, Callable[[str, Sequence[str]], Spans]] = {
    "secret": secrets.secrets,
    "url_credentials": secrets.url_credentials,
    "email": addresses.emails,
    "iban": numbers.ibans,
    "credit_card": numbers.credit_cards,
    "kr_rrn": numbers.korean_numbers,
    "us_ssn": numbers.social_security_numbers,
    "uk_nino": numbers.national_insurance_numbers,
    "ip_address": addresses.ip_addresses,
    "phone": phones.phones,
}

_TRIGGER = "|".join(
    (
        "[0-9](?:[^0-9]{0,4}[0-9]){5}",  # six digits and more: numbers of every sort
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|:[0-9A-Fa-f]{0,4}:",  # addresses of IP
        f"[A-Za-z]{{2}}[0-9]{{2}}{SEPARATOR}?[0-9A-Za-z]",  # IBAN
        *("@", "://", secrets.KEY_MARK),
        *(f"(?i:{of})" for of in (secrets.AUTHORIZATION, secrets.ASSIGNS, addresses.SPELLED_OUT)),
        *(re.escape(mark) for token in secrets.TOKENS for mark in token.marks),
    )
)
"""Matches in every text that `find` finds anything in: a test holds the two together. Run by polars in Rust, in linear time."""


def worth_a_look(texts: pl.Series) -> pl.Series:
    """Whether each text may hold something: false only where `find` finds nothing.

    >>> worth_a_look(pl.Series(["Nothing here.", "a@b.org"])).to_list()
    [False, True]
    """
    return texts.str.contains(_TRIGGER)
