"""Secrets: keys and tokens of known services, private keys, credentials in headers and URLs, values assigned to a password."""

import base64
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from curation_assets.algorithms.pii.boundaries import WORD, Spans, begin

_ASSIGNED = (
    r"passw(?:or)?d|passphrase|pwd|secret|token|api[_\- ]?key|access[_\- ]?key|private[_\- ]?key|account[_\- ]?key|"
    r"auth[_\- ]?key|encryption[_\- ]?key|signing[_\- ]?key"
)


class _Token(NamedTuple):
    """The form of a service's keys; where none of its marks is in a text the pattern need not be tried."""

    name: str
    marks: tuple[str, ...]
    pattern: re.Pattern[str]
    least_entropy: float = 0.0
    """For prefixes that words have too: the rest must look drawn at random."""


TOKENS = (
    # Forms as the services document them, and as gitleaks (github.com/gitleaks/gitleaks, config/gitleaks.toml) has them.
    _Token(
        "aws_access_key",
        ("AKIA", "ASIA", "ABIA", "ACCA"),
        re.compile(rf"{begin()}(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16}}(?![{WORD}])"),
    ),
    _Token(
        "github_token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(rf"{begin()}(?:gh[pousr]_[A-Za-z0-9]{{36,255}}|github_pat_[{WORD}]{{22,255}})(?![{WORD}])"),
    ),
    _Token("gitlab_token", ("glpat-",), re.compile(rf"{begin()}glpat-[{WORD}\-]{{20,64}}(?![{WORD}\-])")),
    _Token("slack_token", ("xox",), re.compile(rf"{begin('-')}xox[abeoprs]-[A-Za-z0-9\-]{{10,250}}(?![{WORD}\-])")),
    _Token(
        "slack_webhook",
        ("hooks.slack.com",),
        re.compile(rf"hooks\.slack\.com/(?:services|workflows|triggers)/[{WORD}/]{{20,120}}"),
    ),
    _Token(
        "google_key",
        ("AIza", "GOCSPX-"),
        re.compile(rf"{begin('-')}(?:AIza[{WORD}\-]{{35}}|GOCSPX-[{WORD}\-]{{28}})(?![{WORD}\-])"),
    ),
    _Token("google_token", ("ya29.",), re.compile(rf"{begin('.-')}ya29\.[{WORD}\-]{{20,2000}}")),
    _Token(
        "stripe_key",
        ("k_live_", "k_test_"),
        re.compile(rf"{begin()}[rsp]k_(?:live|test)_[A-Za-z0-9]{{16,247}}(?![{WORD}])"),
    ),
    _Token("huggingface_token", ("hf_",), re.compile(rf"{begin()}hf_[A-Za-z0-9]{{30,40}}(?![{WORD}])")),
    _Token("npm_token", ("npm_",), re.compile(rf"{begin()}npm_[A-Za-z0-9]{{36}}(?![{WORD}])")),
    _Token("pypi_token", ("pypi-",), re.compile(rf"{begin('-')}pypi-[{WORD}\-]{{60,400}}"), 3.5),
    _Token(
        "sendgrid_key",
        ("SG.",),
        re.compile(rf"{begin('-')}SG\.[{WORD}\-]{{16,32}}\.[{WORD}\-]{{32,64}}(?![{WORD}\-])"),
    ),
    _Token(
        "jwt",
        ("eyJ",),
        re.compile(rf"{begin('-')}eyJ[{WORD}\-]{{8,4000}}\.eyJ[{WORD}\-]{{8,8000}}\.[{WORD}\-]{{8,4000}}"),
    ),
    _Token("openai_like_key", ("sk-",), re.compile(rf"{begin('-')}sk-[{WORD}\-]{{20,250}}(?![{WORD}\-])"), 3.5),
    _Token(
        "bearer_token",
        ("bearer ", "Bearer ", "bearer\t", "Bearer\t", "bearer\\t", "Bearer\\t"),
        re.compile(rf"{begin()}[Bb]earer(?:[ \t]|\\t){{1,4}}([A-Za-z0-9\-._~+/]{{20,4000}}={{0,2}})"),
        3.5,
    ),
)

KEY_MARK = "PRIVATE KEY"

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

ASSIGNS = rf"(?:{_ASSIGNED}|pass)[a-z0-9_]{{0,20}}(?:\\?[\"'])?{_GAP}[:=]"
"""How every assignment begins, in lower case: many times faster to look for than the whole."""

_MAY_ASSIGN = re.compile(ASSIGNS)

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

AUTHORIZATION = "authorization"

LEAST_PASSWORD_ENTROPY, LEAST_TOKEN_ENTROPY = 2.5, 3.0
"""Bits a character from which an assigned value counts as a password, or a key. Ours: 'hunter2' has 2.8, 'aaaa1111' 1.0."""


def secrets(text: str, _: Sequence[str]) -> Spans:
    """Keys and tokens by their form, private keys, credentials in headers, and what is assigned to password, token, api_key, …."""
    for token in TOKENS:
        if any(mark in text for mark in token.marks):
            for match in token.pattern.finditer(text):
                start, end = match.span(match.lastindex or 0)
                if not token.least_entropy or looks_random(text[start:end], token.least_entropy):
                    yield start, end, token.name
    if KEY_MARK in text:
        yield from _private_keys(text)
    lower = text.lower()
    if AUTHORIZATION in lower:
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
    r"(?<![A-Za-z0-9+.\-])[A-Za-z][A-Za-z0-9+.\-]{1,20}://([^\s/:?#\[\]<>\"']{0,128}:[^\s/@?#<>\"']{1,128}(?:@[^\s/@?#<>\"',;]{1,64}(?=@)){0,3})@"
)


def url_credentials(text: str, _: Sequence[str]) -> Spans:
    """User and password of URLs, up to the last @ before the host: some have one in them, though RFC 3986 wants it written %40."""
    if "://" in text and "@" in text:
        for match in _URL_CREDENTIALS.finditer(text):
            if not (match[1].startswith(":") and match[1][1:].isdigit()):
                yield *match.span(1), "url"
