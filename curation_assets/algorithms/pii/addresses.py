"""Addresses of the net: e-mail and public IP."""

import ipaddress
import re
from collections.abc import Sequence

from curation_assets.algorithms.pii.boundaries import SAID_CHARS, SPACES, Spans, begin

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

_COUNTRIES = ("md", "py", "sh")
"""Endings of files that are countries too: Moldova, Paraguay, St Helena. They are domains behind a name, not behind a version (@2x.py)."""

_NAME = re.compile(rf"(?!v[0-9])[{_LETTERS}]{{2}}")

_LOCAL_EDGES = "!#$%&'*/=?^`{|}~.-"


def emails(text: str, _: Sequence[str]) -> Spans:
    """Addresses as RFC 5322 and 6532 have them in practice (dot-atoms, labels); icon@2x.png, git@host:path and A@B.dot(C) are none."""
    yield from _spelled_out(text)
    if "@" not in text:
        return
    last = 0
    for match in _DOMAIN.finditer(text):
        at = match.start()
        start = _start_of_local(text, last, at, match.end())
        top = match["top"].lower()
        is_file = top in _FILES and (top not in _COUNTRIES or not _NAME.match(match["labels"]))
        is_remote = text[start:at] == "git" and text[match.end() : match.end() + 1] in (":", "/")
        if start < at and text[at - 1] != "." and not is_file and not is_remote and not _is_product(text, match):
            last = match.end()
            yield start, match.end(), "address"


_GAP = f"[{SPACES}\\t\\r\\n]"
_AT = rf"(?:{_GAP}?[\[({{<]{_GAP}?at{_GAP}?[\])}}>]{_GAP}?|{_GAP}at{_GAP})"
_DOT = rf"(?:{_GAP}?[\[({{<]{_GAP}?(?:dot|\.){_GAP}?[\])}}>]{_GAP}?|{_GAP}dot{_GAP})"
SPELLED_OUT = rf"[\[({{<]{_GAP}?at{_GAP}?[\])}}>]|{_GAP}dot{_GAP}"
"""What every address that is spelled out holds, in any case."""
_SPELLED = re.compile(
    rf"[A-Za-z0-9](?<!\\.){begin('.+-', 1)}[A-Za-z0-9_.+\-]{{0,63}}(?:{_DOT}[A-Za-z0-9_\-]{{1,64}}){{0,2}}(?P<at>{_AT})"
    rf"[A-Za-z0-9][A-Za-z0-9\-]{{0,62}}(?:(?:{_DOT}|\.)[A-Za-z0-9\-]{{2,62}}){{1,4}}(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_IS_SPELLED_OUT = re.compile(SPELLED_OUT, re.IGNORECASE)
_DOTS = re.compile(_DOT, re.IGNORECASE)
_WORDS = (
    "a all also am an and are available based be been blog book buy check click find found go got he her here him home hosted i is it its "
    "join just know live located look me meet more no not now of on one online only or our out page passed posted read registered see "
    "seen shop shown site someone something start stay stop store that the them there they things this time today up us used visit was "
    "we web website were work working you"
)
_TOP_WORDS = "am as at be by do he if in is it me my no of on or so to up us we"
_NO_TOPS = frozenset(_TOP_WORDS.split())
"""Words that are countries' domains too, after a spelled dot between words: "arrive at noon dot no more". Ours."""

_NO_NAMES = frozenset(_WORDS.split())
"""Words before `at` in "visit us at example dot com": not the names of mailboxes. Ours."""


def _spelled_out(text: str) -> Spans:
    """As in jane at example dot org, jane (at) example.org: between words `at` needs a spelled dot behind it and a name before it."""
    if not _IS_SPELLED_OUT.search(text):
        return
    for match in _SPELLED.finditer(text):
        if match["at"].strip().lower() == "at" and (
            match[0].split()[0].lower() in _NO_NAMES or not _DOTS.search(match[0], match.end("at") - match.start())
        ):
            continue
        top = re.split(r"[\s.\])}>]+", match[0])[-1]
        if (
            top.isalpha()
            and top.lower() not in _FILES
            and (
                match["at"].strip().lower() != "at"
                or top.lower() in _COMMON_TOPS
                or (len(top) == 2 and top.lower() not in _NO_TOPS)
            )
        ):
            yield *match.span(), "spelled_out"


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


# --- addresses of IP ------------------------------------------------------------------------------------------------

_IPV4 = re.compile(
    rf"[0-9]{begin('.-', 1)}[0-9]{{0,2}}(?:\.[0-9]{{1,3}}){{3}}(?![0-9A-Za-z]|_+[0-9A-Za-z]|[.\-][0-9A-Za-z])"
)

_IPV6 = re.compile(
    rf"[0-9A-Fa-f]{begin(':.', 1)}[0-9A-Fa-f]{{0,3}}(?::[0-9A-Fa-f]{{0,4}}){{2,7}}(?![0-9A-Za-z:]|_+[0-9A-Za-z])"
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


def ip_addresses(text: str, _: Sequence[str]) -> Spans:
    """Public addresses: those of private networks and of documentation name nobody (as datatrove's PIIFormatter decides)."""
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            before = text[max(0, match.start() - SAID_CHARS) : match.start()]
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
