r"""Personal data and secrets in texts: where they are, and a text with them masked or pseudonymised.

type             what is found                                                   accepted when
---------------  --------------------------------------------------------------  -------------------------------------------
secret           keys and tokens of known services, JWTs, private keys, bearer   its form; assignments also need mixed
                 tokens, values assigned to password, token, api_key, …          characters (letters and digits, entropy)
url_credentials  user:password of a URL                                          its form
email            name@domain                                                     its form
iban             bank account numbers                                            length of its country, ISO 7064 mod 97-10
credit_card      card numbers, in groups or not                                  Luhn; prefix and length of an issuer, or a word
                                                                                 such as card beside
kr_rrn           Korean resident and foreigner registration numbers              birth date, and check digit, or born or
                                                                                 registered since 2020-10, or said to be one
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

Not found: postal addresses, dates of birth, passports, licence plates, names without a model, anything spelled out ("jane at
example dot org"), numbers in other scripts' digits, phone numbers without separators unless international, Korean mobile or named.
"""

import base64
import hashlib
import hmac
import ipaddress
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

import polars as pl

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


_SAID_CHARS = 40
"""How far before a number the word may stand that says what it is."""


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

_ASSIGNED = (
    r"passw(?:or)?d|passphrase|pwd|secret|token|api[_\- ]?key|access[_\- ]?key|private[_\- ]?key|account[_\- ]?key|"
    r"auth[_\- ]?key|encryption[_\- ]?key|signing[_\- ]?key"
)

# --- where a value begins and ends ----------------------------------------------------------------------------------

Spans = Iterator[tuple[int, int, str]]

_WORD = "A-Za-z0-9_"
_SPACES = " \u00a0\u2007\u2009\u202f"
_DASHES = r"\-\u2010-\u2015\u2212"
_SEPARATOR = f"[{_SPACES}{_DASHES}]"


def _begin(more: str = "", read: int = 0) -> str:
    r"""Where a value can begin: not behind a character of a word or of `more`, but behind an escape (\n) or an underscore of emphasis.

    It stands behind the first `read` characters of the value: a pattern that begins with characters is searched for many times faster.
    """
    value = rf"[\s\S]{{{read}}}" if read else ""
    letter = (
        rf"(?<!\\[nrt]{value[:-3]}{{{read - 1}}})" if read > 1 else r"(?<!\\[nrt])" if read else r"(?!(?<=\\)[nrt])"
    )
    return (
        rf"(?:(?<![0-9A-Za-z_{more}]{value}){letter}|(?<=_{value})(?<![0-9A-Za-z{more}]_{value})"
        rf"|(?<=\\[nrt]{value})|(?<=\\u[0-9A-Fa-f]{{4}}{value}))"
    )


_END = "(?![0-9A-Za-z]|_+[0-9A-Za-z])"
"""Where a value can end: before no character of a word, but before an underscore of emphasis."""
_END_OF_NUMBER = r"(?![0-9A-Za-z]|_+[0-9A-Za-z]|[.\-][0-9])"

# --- secrets --------------------------------------------------------------------------------------------------------


class _Token(NamedTuple):
    """The form of a service's keys; where none of its marks is in a text the pattern need not be tried."""

    name: str
    marks: tuple[str, ...]
    pattern: re.Pattern[str]
    least_entropy: float = 0.0
    """For prefixes that words have too: the rest must look drawn at random."""


_TOKENS = (
    # Forms as the services document them, and as gitleaks (github.com/gitleaks/gitleaks, config/gitleaks.toml) has them.
    _Token(
        "aws_access_key",
        ("AKIA", "ASIA", "ABIA", "ACCA"),
        re.compile(rf"{_begin()}(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16}}(?![{_WORD}])"),
    ),
    _Token(
        "github_token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(rf"{_begin()}(?:gh[pousr]_[A-Za-z0-9]{{36,255}}|github_pat_[{_WORD}]{{22,255}})(?![{_WORD}])"),
    ),
    _Token("gitlab_token", ("glpat-",), re.compile(rf"{_begin()}glpat-[{_WORD}\-]{{20,64}}(?![{_WORD}\-])")),
    _Token("slack_token", ("xox",), re.compile(rf"{_begin('-')}xox[abeoprs]-[A-Za-z0-9\-]{{10,250}}(?![{_WORD}\-])")),
    _Token(
        "slack_webhook",
        ("hooks.slack.com",),
        re.compile(rf"hooks\.slack\.com/(?:services|workflows|triggers)/[{_WORD}/]{{20,120}}"),
    ),
    _Token(
        "google_key",
        ("AIza", "GOCSPX-"),
        re.compile(rf"{_begin('-')}(?:AIza[{_WORD}\-]{{35}}|GOCSPX-[{_WORD}\-]{{28}})(?![{_WORD}\-])"),
    ),
    _Token("google_token", ("ya29.",), re.compile(rf"{_begin('.-')}ya29\.[{_WORD}\-]{{20,2000}}")),
    _Token(
        "stripe_key",
        ("k_live_", "k_test_"),
        re.compile(rf"{_begin()}[rsp]k_(?:live|test)_[A-Za-z0-9]{{16,247}}(?![{_WORD}])"),
    ),
    _Token("huggingface_token", ("hf_",), re.compile(rf"{_begin()}hf_[A-Za-z0-9]{{30,40}}(?![{_WORD}])")),
    _Token("npm_token", ("npm_",), re.compile(rf"{_begin()}npm_[A-Za-z0-9]{{36}}(?![{_WORD}])")),
    _Token("pypi_token", ("pypi-",), re.compile(rf"{_begin('-')}pypi-[{_WORD}\-]{{60,400}}"), 3.5),
    _Token(
        "sendgrid_key",
        ("SG.",),
        re.compile(rf"{_begin('-')}SG\.[{_WORD}\-]{{16,32}}\.[{_WORD}\-]{{32,64}}(?![{_WORD}\-])"),
    ),
    _Token(
        "jwt",
        ("eyJ",),
        re.compile(rf"{_begin('-')}eyJ[{_WORD}\-]{{8,4000}}\.eyJ[{_WORD}\-]{{8,8000}}\.[{_WORD}\-]{{8,4000}}"),
    ),
    _Token("openai_like_key", ("sk-",), re.compile(rf"{_begin('-')}sk-[{_WORD}\-]{{20,250}}(?![{_WORD}\-])"), 3.5),
    _Token(
        "bearer_token",
        ("bearer ", "Bearer ", "bearer\t", "Bearer\t", "bearer\\t", "Bearer\\t"),
        re.compile(rf"{_begin()}[Bb]earer(?:[ \t]|\\t){{1,4}}([A-Za-z0-9\-._~+/]{{20,4000}}={{0,2}})"),
        3.5,
    ),
)
_KEY_MARK = "PRIVATE KEY"
_KEY_BEGINS = re.compile("-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_CHARS = 20_000
_KEY_REST = re.compile(r"[A-Za-z0-9+/=\s\\:,\-]*")
_GAP = r"(?:[ \t]|\\t){0,4}"
_ASSIGNMENT = re.compile(
    rf"(?P<name>{_ASSIGNED}|(?<![A-Za-z])pass)(?P<suffix>[A-Za-z0-9_]{{0,20}})(?:\\?[\"'])?{_GAP}(?P<sign>=>|:=|==?|:){_GAP}"
    r"(?:\\?[\"'`](?P<quoted>[^\s\"'`\\]{6,200})(?=\\?[\"'`])"
    r"|(?:\\?[\"'`])?(?P<bare>[^\s\"'`,;<>(){}\[\]\\|]{6,200})(?P<after>[(\[]|\.\w)?)",
    re.IGNORECASE,
)
_ASSIGNS = rf"(?:{_ASSIGNED}|pass)[a-z0-9_]{{0,20}}(?:\\?[\"'])?{_GAP}[:=]"
_MAY_ASSIGN = re.compile(_ASSIGNS)
"""How every assignment begins, in lower case: many times faster to look for than the whole."""
_NO_SECRET = re.compile(
    r"iz(?:e|ation)|name|encod|decod|type|class|count|len|size|limit|path|file|dir|ur[il]|endpoint|field|label|pattern|regex|policy|"
    r"column|param|expir|ttl|version|model|parse|prefix",
    re.IGNORECASE,
)
"""What follows the name where it is not the secret that is assigned: tokenizer, secretName, token_type."""
_PLACEHOLDER = re.compile(
    r"^[*{<]|^\[[A-Z_]+_[0-9a-f]{8}\]|^\$(?:[{(]|\w+$)|^%(?:\w+%|[(]|\w$)|[{]\w*[}]|x{4,}|\*{3,}|\.{3}|your|example|change_?me|placeholder|redacted|dummy",
    re.IGNORECASE,
)
_CODE_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_FILE_PATH = re.compile(r"(?:~|\.{1,2})?(?:/[\w.\-]+){2,}/?|[A-Za-z]:[\\/].*")
_IDENTIFIER = re.compile(r"[A-Za-z]+[0-9]{0,2}(?:_[A-Za-z]+[0-9]{0,2})+")
_NUMBERED = re.compile("(?:passw(?:or)?d|passphrase|pwd|secret|token)_?[0-9]{1,3}", re.IGNORECASE)
_NAMES_ITSELF = re.compile(r"[\w\-]*?(?:passw|passphrase|pwd|secret|token)[\w\-]*", re.IGNORECASE)
_CUT = re.compile(r"[,;<>(){}\[\]|]")
_BASIC = re.compile(
    r"authorization\\?[\"']?(?:[ \t]|\\t){0,4}[:=]?(?:[ \t]|\\t){0,4}\\?[\"']?basic(?:[ \t]|\\t){1,4}([A-Za-z0-9+/]{8,2000}={0,2})",
    re.IGNORECASE,
)
_AUTHORIZATION = "authorization"
LEAST_PASSWORD_ENTROPY, LEAST_TOKEN_ENTROPY = 2.5, 3.0
"""Bits a character from which an assigned value counts as a password, or a key. Ours: 'hunter2' has 2.8, 'aaaa1111' 1.0."""


def _secrets(text: str, _: Sequence[str]) -> Spans:
    for token in _TOKENS:
        if any(mark in text for mark in token.marks):
            for match in token.pattern.finditer(text):
                start, end = match.span(match.lastindex or 0)
                if not token.least_entropy or looks_random(text[start:end], token.least_entropy):
                    yield start, end, token.name
    if _KEY_MARK in text:
        yield from _private_keys(text)
    lower = text.lower()
    if _AUTHORIZATION in lower:
        yield from ((*match.span(1), "basic_credentials") for match in _BASIC.finditer(text) if _has_colon(match[1]))
    if _MAY_ASSIGN.search(lower):
        yield from _assignments(text)


def _has_colon(value: str) -> bool:
    """Whether a value is base64 of user:password (RFC 7617)."""
    try:
        return b":" in base64.b64decode(value, validate=True)
    except ValueError:
        return False


def _private_keys(text: str) -> Spans:
    at = 0
    while match := _KEY_BEGINS.search(text, at):
        end_mark = match[0].replace("BEGIN", "END", 1)
        limit = match.end() + _KEY_CHARS
        end = text.find(end_mark, match.end(), limit)
        # A block that is cut off before its end still gives the key away.
        at = end + len(end_mark) if end >= 0 else _KEY_REST.match(text, match.end(), limit).end()
        while text[at - 1] == "\\":  # it belongs to the quotation mark behind it
            at -= 1
        yield match.start(), at, "private_key"


def _assignments(text: str) -> Spans:
    for match in _ASSIGNMENT.finditer(text):
        if _NO_SECRET.search(match["suffix"]):
            continue
        name, is_quoted = match["name"].lower(), match["quoted"] is not None
        is_password = name.startswith("p") and "key" not in name
        start = match.start("quoted" if is_quoted else "bare")
        value = match["quoted"] if is_quoted else match["bare"].rstrip(".:!?&_")
        if is_quoted and not is_password:
            value = _CUT.split(value, maxsplit=1)[0]
        is_path = _FILE_PATH.fullmatch(value) is not None
        if _PLACEHOLDER.search(value) or "://" in value or is_path or (not is_quoted and _is_code(match, value)):
            continue
        value = value.split("&", 1)[0] if not is_password else value  # a parameter of a URL
        if is_password and len(value) >= (8 if name == "pass" else 6) and looks_random(value, LEAST_PASSWORD_ENTROPY):
            yield start, start + len(value), "assigned_password"
        elif not is_password and len(value) >= 12 and looks_random(value, LEAST_TOKEN_ENTROPY):
            yield start, start + len(value), "assigned_secret"


def _is_code(match: re.Match[str], value: str) -> bool:
    """Whether what is assigned without quotation marks is an expression: a call, a comparison, a variable."""
    is_spaced = match["sign"] != ":" and match.string[match.start("sign") - 1] in " \t"
    return (
        match["after"] is not None
        or match["sign"] == "=="
        or _CODE_PATH.fullmatch(value) is not None
        or _IDENTIFIER.fullmatch(value) is not None
        or _NUMBERED.fullmatch(value) is not None
        or (is_spaced and _NAMES_ITSELF.fullmatch(value) is not None)
    )


def looks_random(value: str, least_entropy: float) -> bool:
    """Whether a value has letters and digits, and at least some bits of entropy a character (Shannon, over its own characters).

    >>> looks_random("hunter2", 2.5), looks_random("required", 2.5), looks_random("aaaa1111", 2.5)
    (True, False, False)
    """
    if not (any(map(str.isdigit, value)) and any(map(str.isalpha, value))):
        return False
    counts = [value.count(character) for character in set(value)]
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts) >= least_entropy


_URL_CREDENTIALS = re.compile(
    r"(?<![A-Za-z0-9+.\-])[A-Za-z][A-Za-z0-9+.\-]{1,20}://([^\s/@:?#\[\]<>\"']{0,128}:[^\s/@?#<>\"']{1,128})@"
)


def _url_credentials(text: str, _: Sequence[str]) -> Spans:
    if "://" in text and "@" in text:
        for match in _URL_CREDENTIALS.finditer(text):
            if not (match[1].startswith(":") and match[1][1:].isdigit()):
                yield *match.span(1), "url"


# --- e-mail ---------------------------------------------------------------------------------------------------------

_LETTERS = r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0370-\u03ff\u0400-\u052f"
"""Latin, Greek and Cyrillic. Of other scripts, words stand beside an address without a space between."""
_LOCAL = re.compile(rf"[{_LETTERS}0-9!#$%&'*+/=?^_`{{|}}~.\-]{{1,64}}\Z")
_OTHER_LOCAL = re.compile(r"\w{1,64}\Z")
_DOMAIN = re.compile(
    rf"@(?P<labels>(?:[{_LETTERS}0-9](?:[{_LETTERS}0-9\-]{{0,62}})\.){{1,8}})"
    rf"(?P<top>[A-Za-z]{{2,24}}|xn--[A-Za-z0-9\-]{{2,59}}|[\u0400-\u052f]{{2,24}})(?![{_LETTERS}0-9]|_+[{_LETTERS}0-9])"
)
_COMMON_TOPS = frozenset(("com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "name"))
_ESCAPE = re.compile(r"(?:[nrt]|u[0-9A-Fa-f]{4})(?=.)", re.DOTALL)
_FILES = frozenset(
    (
        *(
            "png",
            "jpg",
            "jpeg",
            "gif",
            "svg",
            "webp",
            "ico",
            "bmp",
            "tif",
            "tiff",
            "css",
            "js",
            "ts",
            "json",
            "html",
            "htm",
        ),
        *("xml", "pdf", "md", "txt", "py", "rb", "sh", "yml", "yaml"),
    )
)
_LOCAL_EDGES = "!#$%&'*/=?^`{|}~.-"


def _emails(text: str, _: Sequence[str]) -> Spans:
    """Addresses as RFC 5322 and 6532 have them in practice (dot-atoms, labels); icon@2x.png, git@host:path and A@B.dot(C) are none."""
    if "@" not in text:
        return
    last = 0
    for match in _DOMAIN.finditer(text):
        at = match.start()
        start = _start_of_local(text, last, at, match.end())
        is_file = match["top"].lower() in _FILES
        is_remote = text[start:at] == "git" and text[match.end() : match.end() + 1] in (":", "/")
        if start < at and text[at - 1] != "." and not is_file and not is_remote and not _is_product(text, match):
            last = match.end()
            yield start, match.end(), "address"


def _start_of_local(text: str, last: int, at: int, end: int) -> int:
    """Where the name before an @ begins; at the @ where there is none."""
    local = _LOCAL.search(text, max(last, at - 64), at) or _OTHER_LOCAL.search(text, max(last, at - 64), at)
    if not local:
        return at
    start = local.start()
    if start and text[start - 1] == "\\" and (escape := _ESCAPE.match(text, start, at)):
        start = escape.end()
    is_emphasised = text[end : end + 1] == "_"
    return at - len(text[start:at].lstrip(_LOCAL_EDGES + ("_" if is_emphasised else "")))


def _is_product(text: str, match: re.Match[str]) -> bool:
    """Whether A@B.dot(C) is a matrix product: a call, or an operand of one letter, under no common top-level domain."""
    is_common = match["top"].lower() in _COMMON_TOPS or (len(match["top"]) == 2 and match["top"] != "to")
    return not is_common and (text[match.end() : match.end() + 1] == "(" or len(match["labels"]) == 2)


# --- numbers with check digits --------------------------------------------------------------------------------------

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

_IBAN = re.compile(rf"[A-Za-z]{{2}}[0-9]{{2}}{_begin(read=4)}(?:{_SEPARATOR}?[0-9A-Za-z]){{11,30}}")


def _ibans(text: str, _: Sequence[str]) -> Spans:
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
    compact = re.sub(_SEPARATOR, "", value)
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


_CARD = re.compile(rf"[0-9]{_begin('.+-', 1)}(?:{_SEPARATOR}?[0-9]){{11,18}}{_END_OF_NUMBER}")
_ISSUERS = (  # prefix and digits, ISO/IEC 7812 as the networks publish them
    (re.compile("4|5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile("3[47]|1800|2131"), (15,)),
    (re.compile("30[0-5]|36|38|39"), (14, 16)),
    (re.compile("6011|64[4-9]|65|35(?:2[89]|[3-8])|62|81|50|5[6-8]|6"), (16,)),
)
"""Of the other lengths, 12 to 19, are the numbers of articles (EAN) and of posts too: there a word must say that it is a card. Ours."""
_GROUPS = re.compile(_SEPARATOR)
_SAID_CARD = re.compile(r"(?<![A-Za-z])(?:cards?|cc|visa|mastercard|maestro|amex)(?![A-Za-z])|카드", re.IGNORECASE)


def _credit_cards(text: str, _: Sequence[str]) -> Spans:
    for match in _CARD.finditer(text):
        digits = _GROUPS.sub("", match[0])
        groups = [len(group) for group in _GROUPS.split(match[0])]
        is_written_so = len(groups) == 1 or (min(groups[:-1]) >= 4 and max(groups) <= 7)
        if not (is_written_so and has_luhn(digits) and len(set(digits)) > 1):
            continue
        if any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in _ISSUERS):
            yield *match.span(), "luhn"
        elif _SAID_CARD.search(text, max(0, match.start() - _SAID_CHARS), match.start()):
            yield *match.span(), "context"


def has_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).

    >>> has_luhn("4111111111111111"), has_luhn("4111111111111112")
    (True, False)
    """
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


_RRN = re.compile(
    rf"([0-9]{_begin('.-', 1)}[0-9](?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))([{_SPACES}]?[{_DASHES}][{_SPACES}]?)?([0-9]{{7}})"
    rf"{_END_OF_NUMBER}"
)
_SAID_RRN = re.compile(r"(?:주민|외국인)\s?(?:등록)?\s?번호|resident registration|\bRRN\b", re.IGNORECASE)
_WITHOUT_CHECK_DIGIT = 2010  # YYMM of October 2020


def _korean_numbers(text: str, _: Sequence[str]) -> Spans:
    """YYMMDD-SXXXXXX. Numbers issued since 2020-10-05 end in digits drawn at random (행정안전부), so they have no check digit."""
    for match in _RRN.finditer(text):
        digits = match[1] + match[3]
        if not _is_date(digits):
            continue
        is_said = bool(_SAID_RRN.search(text, max(0, match.start() - _SAID_CHARS), match.start()))
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
    rf"[0-8]{_begin('.-', 1)}[0-9]{{2}}(?<!000|666)({_SEPARATOR}?)(?!00)[0-9]{{2}}\1(?!0000)[0-9]{{4}}{_END_OF_NUMBER}"
)
_SAID_SSN = re.compile(r"\bSSN\b|social security", re.IGNORECASE)


def _social_security_numbers(text: str, _: Sequence[str]) -> Spans:
    """AAA-GG-SSSS in the ranges the Social Security Administration issues (since 2011 all but 000, 666 and 9xx)."""
    for match in _SSN.finditer(text):
        if match[1] and match[1] not in _SPACES:
            yield *match.span(), "form"
        elif _SAID_SSN.search(text, max(0, match.start() - _SAID_CHARS), match.start()):
            yield *match.span(), "context"


_NINO = re.compile(
    rf"[A-CEGHJ-PR-TW-Z]{_begin(read=1)}[A-CEGHJ-NPR-TW-Z](?<!BG|GB|KN|NK|NT|TN|ZZ)(?:[{_SPACES}]?[0-9]{{2}}){{3}}[{_SPACES}]?[A-D]{_END}"
)


def _national_insurance_numbers(text: str, _: Sequence[str]) -> Spans:
    """Two letters, six digits, a letter A-D (HMRC manual NIM39110)."""
    return ((*match.span(), "form") for match in _NINO.finditer(text))


# --- addresses of IP ------------------------------------------------------------------------------------------------

_IPV4 = re.compile(
    rf"[0-9]{_begin('.-', 1)}[0-9]{{0,2}}(?:\.[0-9]{{1,3}}){{3}}(?![0-9A-Za-z]|_+[0-9A-Za-z]|[.\-][0-9A-Za-z])"
)
_IPV6 = re.compile(
    rf"[0-9A-Fa-f]{_begin(':.', 1)}[0-9A-Fa-f]{{0,3}}(?::[0-9A-Fa-f]{{0,4}}){{2,7}}(?![0-9A-Za-z:]|_+[0-9A-Za-z])"
)
_VERSION = re.compile(
    r"(?:(?:version|release|section|chapter|build|ver\.?|v\.?|sec\.?|§|\bOID)\s{0,2}|[=<>~!]=\s?|(?:^|[\s(])[A-Za-z][\w.\-]{0,30}/)\Z",
    re.IGNORECASE,
)
_SAID_IP = re.compile(
    r"(?<![A-Za-z])(?:ip|ipv4|address|host|server|nameserver|dns|ping|from|client|proxy|gateway|peer|remote|login|ssh|주소|서버)"
    r"(?![A-Za-z])[^\n]{0,20}\Z|[@/=]\Z",
    re.IGNORECASE,
)
_OF_ADDRESS = re.compile(r"[:/][0-9]")
_SMALL = 32


def _ip_addresses(text: str, _: Sequence[str]) -> Spans:
    """Public addresses: those of private networks and of documentation name nobody (as datatrove's PIIFormatter decides)."""
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            before = text[max(0, match.start() - _SAID_CHARS) : match.start()]
            if not _VERSION.search(before) and not _is_heading(text, match, before) and _is_public(match[0]):
                yield *match.span(), "ipv4"
    if text.count(":") >= 2:
        for match in _IPV6.finditer(text):
            # a::b is also C++: what is short for zeros must lie in the allocated block 2000::/3 and be long enough.
            is_whole = match[0].count(":") == 7 and "::" not in match[0]
            if (is_whole or (match[0][0] in "23" and len(match[0].split(":")[0]) == 4)) and _is_public(match[0]):
                yield *match.span(), "ipv6"


def _is_heading(text: str, match: re.Match[str], before: str) -> bool:
    """Whether four numbers are a version, a heading or an object identifier: three small ones, and nothing says that they are an address.

    Of addresses drawn at random .7 % have three numbers below 32. Ours.
    """
    few = sum(int(number) < _SMALL for number in match[0].split(".")) >= 3
    return few and not _SAID_IP.search(before) and not _OF_ADDRESS.match(text, match.end())


def _is_public(value: str) -> bool:
    try:
        return ipaddress.ip_address(value).is_global
    except ValueError:
        return False


# --- telephone ------------------------------------------------------------------------------------------------------

_BETWEEN = rf"{_SPACES}.()/{_DASHES}"
_PHONE = re.compile(
    rf"[+(0-9](?:(?<=\+){_begin('+', 1)}[0-9]|(?<!\+){_begin('+$€£¥₩#&%/-', 1)}(?<![0-9]\..)(?:(?<=[0-9])|[0-9]))"
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
_THOUSANDS = re.compile(rf"\+?[1-9][0-9]{{0,2}}(?:[{_SPACES}.][0-9]{{3}})+")
_ROUND = re.compile(rf"[1-9][0-9]{{0,2}}(?:[{_SPACES}.][0-9]{{3}})*[{_SPACES}.]000")
_UNIT = re.compile(
    rf"[{_SPACES}]?(?:mAh|[KMGT]i?B|[kMG]?Hz|px|mm|cm|km|kg|mg|ml|USD|EUR|GBP|KRW|won|dollars|euros|users|people)(?![A-Za-z])",
    re.IGNORECASE,
)
_PIECE = re.compile(rf"[^{_SPACES}]+")
_NUMBER_BEFORE = re.compile(rf"[0-9][{_SPACES}]{{1,3}}\Z")
_NUMBER_AFTER = re.compile(rf"[{_SPACES}]{{1,3}}[0-9]")
_NANP = re.compile(r"(?:\+?1[ .\-]?)?\(?[2-9][0-9]{2}\)?[ .\-]{0,2}[2-9][0-9]{2}[ .\-][0-9]{4}\Z")
_KOREAN_MOBILE = re.compile(r"01[016789][0-9]{7,8}\Z")
_MOST_PIECES = 8


def _phones(text: str, regions: Sequence[str]) -> Spans:
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
    said = text[max(0, start - _SAID_CHARS) : start]
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


_FINDERS: Mapping[str, Callable[[str, Sequence[str]], Spans]] = {
    "secret": _secrets,
    "url_credentials": _url_credentials,
    "email": _emails,
    "iban": _ibans,
    "credit_card": _credit_cards,
    "kr_rrn": _korean_numbers,
    "us_ssn": _social_security_numbers,
    "uk_nino": _national_insurance_numbers,
    "ip_address": _ip_addresses,
    "phone": _phones,
}

_TRIGGER = "|".join(
    (
        "[0-9](?:[^0-9]{0,4}[0-9]){5}",  # six digits and more: numbers of every sort
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|:[0-9A-Fa-f]{0,4}:",  # addresses of IP
        f"[A-Za-z]{{2}}[0-9]{{2}}{_SEPARATOR}?[0-9A-Za-z]",  # IBAN
        *("@", "://", _KEY_MARK, f"(?i:{_AUTHORIZATION})", f"(?i:{_ASSIGNS})"),
        *(re.escape(mark) for token in _TOKENS for mark in token.marks),
    )
)
"""Matches in every text that `find` finds anything in: a test holds the two together. Run by polars in Rust, in linear time."""


def worth_a_look(texts: pl.Series) -> pl.Series:
    """Whether each text may hold something: false only where `find` finds nothing.

    >>> worth_a_look(pl.Series(["Nothing here.", "a@b.org"])).to_list()
    [False, True]
    """
    return texts.str.contains(_TRIGGER)
