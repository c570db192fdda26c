"""Text repair: each step takes a text and returns a better one. What was done is returned with the text.

Steps only repair form (encoding, Unicode, control characters, markup of HTML records, what templates and page furniture leave
behind); they never judge content. What stands in a code block (fenced, or indented by four spaces or a tab) is left as it is by
all steps that go by lines.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import ftfy

# Only what breaks text is repaired; what is a matter of taste (curly quotes, ligatures, full-width forms) stays.
_ENCODING = ftfy.TextFixerConfig(
    unescape_html="auto",
    remove_terminal_escapes=True,
    fix_encoding=True,
    restore_byte_a0=True,
    replace_lossy_sequences=True,
    decode_inconsistent_utf8=True,
    fix_c1_controls=True,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    fix_surrogates=True,
    remove_control_chars=False,
    normalization=None,
)

_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ufff9-\ufffb\ufffe\uffff]")
_LINE_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_HTML_PAGE = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?(<!--(?!>)[^>]*-->\s*){0,3}(<!doctype\s+html|<html\b|<head\b|<body\b)", re.IGNORECASE
)
_HTML_FRAGMENT = re.compile(
    r"\s*<(p|div|span|table|ul|ol|article|section|main|h[1-6]|br|b|i|em|strong|a)\b[^>]*>", re.IGNORECASE
)
_NEEDS_FTFY = re.compile(
    # Beside ASCII, Hangul, kana and Chinese characters stand in none of the code pages that ftfy looks for.
    "[^\x00-\x7f\u1100-\u11ff\u3000-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]|&[#\\w]+;|\x1b"
)


class Cleaned(NamedTuple):
    """A cleaned text and the steps that changed it, in order."""

    text: str
    steps: list[str]


def clean(text: str, kind: str = "document", tidy: Collection[str] = (), extractor: str = "resiliparse") -> Cleaned:
    r"""Repair a text. kind 'html' is always read as HTML, any other only if it is HTML from end to end.

    tidy: names of the steps of TIDYING to take as well; they are for documents, not for what is said in turns.
    extractor: what finds the main content of a page, as in `html_to_text`.

    >>> clean("The Mona Lisa doesnâ€™t have eyebrows.\x00")
    Cleaned(text='The Mona Lisa doesn’t have eyebrows.', steps=['encoding', 'control_characters'])
    >>> clean("<p>First.</p><p>Second &amp; last.</p>").text
    'First.\n\nSecond & last.'
    >>> clean("Plain text, a < b.")
    Cleaned(text='Plain text, a < b.', steps=[])
    """
    steps = []
    for name, step in (
        ("html_to_text", lambda text: html_to_text(text, extractor) if kind == "html" or is_html(text) else text),
        *REPAIRS,
        *((name, step) for name, step in TIDYING if name in tidy),
        ("outer_whitespace", str.strip),
    ):
        repaired = step(text)
        if repaired != text:
            steps.append(name)
        text = repaired
    return Cleaned(text, steps)


def repair(text: str) -> str:
    r"""Repair a part of a record, such as a turn of a conversation: its HTML and its outer whitespace may be meant.

    >>> repair("  <p>cafÃ©</p>\r\n")
    '  <p>café</p>\n'
    """
    for _, step in REPAIRS:
        text = step(text)
    return text


def is_html(text: str) -> bool:
    r"""Whether a text is HTML from end to end: a page, or a fragment that begins and ends with a tag.

    Markdown that begins with an HTML badge or logo is not: its own line structure would be lost.

    >>> [is_html(text) for text in ("<!DOCTYPE html><html>…", "<p>One</p>", "<p><img src='x'></p>\\n# Title\\nProse", "a < b > c")]
    [True, True, False, False]
    """
    if _HTML_PAGE.match(text[:500]):
        return True
    return bool(_HTML_FRAGMENT.match(text[:500])) and text.rstrip().endswith(">") and "\n#" not in text


def html_to_text(html: str, extractor: str = "resiliparse") -> str:
    """The text of an HTML page's main content, or of a whole fragment.

    extractor: resiliparse or, for pages alone, trafilatura, which has to be installed. On 95 pages with the articles written out by
    hand their F1 is .933 and .957, their pages a CPU-second 600 and 60 (benchmarks/html_pages.py). Comments of readers and lines of
    author and date are no main content: with them resiliparse has .922.
    """
    from resiliparse.extract.html2text import extract_plain_text

    if not _HTML_PAGE.match(html[:500]):
        return extract_plain_text(html, alt_texts=False, preserve_formatting=True).strip()
    text = ""
    if extractor == "trafilatura":
        import trafilatura

        text = trafilatura.extract(html, include_comments=False) or ""
    text = text or extract_plain_text(html, main_content=True, alt_texts=False, comments=False, post_meta=False)
    # Pages whose main content is not recognised give nothing: then all of their text is better than none.
    return (text or extract_plain_text(html, alt_texts=False)).strip()


def repair_encoding(text: str) -> str:
    """Undo mojibake, stray HTML entities, terminal escapes and lone surrogates (ftfy).

    >>> repair_encoding("schÃ¶n &amp; gut")
    'schön & gut'
    """
    return ftfy.fix_text(text, _ENCODING) if _NEEDS_FTFY.search(text) else text


def unify_line_breaks(text: str) -> str:
    r"""Write every line break as a line feed.

    >>> unify_line_breaks("a\r\nb\rc\u2028d")
    'a\nb\nc\nd'
    """
    return _LINE_BREAKS.sub("\n", text)


def normalise_unicode(text: str) -> str:
    """Write every character in its composed form (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


REPAIRS = (
    ("encoding", repair_encoding),
    ("line_breaks", unify_line_breaks),
    ("unicode_nfc", normalise_unicode),
    ("control_characters", lambda text: _CONTROL.sub("", text)),
)
"""The steps that repair any piece of text, in order."""


# --- what templates and page furniture leave behind -----------------------------------------------------------------

_STRUCK = r"</?s>"  # also HTML for what is struck out
_SPECIAL_TOKEN = (
    r"<\|(?:endoftext|im_start|im_end|end_of_text|begin_of_text|eot_id|end|endofprompt|pad)\|>|<(?:eos|bos|pad|end_of_turn)>|"
    r"\[(?:PAD|EOS|BOS)\]"
)
_SPECIAL_LINE = re.compile(rf"\s*(?:{_SPECIAL_TOKEN})\s*\Z")
_LONGEST_TOKEN = 20
_TEMPLATE_LINE = re.compile(r"\s*(?:\{\{[^{}]{1,200}\}\}|\{%[^{}%]{1,200}%\})\s*\Z")
_EMPTY_LINK = re.compile(r"(?<!!)\[[ \t]{0,9}\]\([^()\s]{0,500}\)")
_DATA_IMAGE = re.compile(r"!\[([^\[\]\n]{0,300})\]\(data:image/[A-Za-z0-9.+\-]{1,30};base64,[A-Za-z0-9+/=]*\)")
_TOKEN_MARKS = ("|>", "<s>", "</s>", "<eos>", "<bos>", "<pad>", "<end_of_turn>", "[PAD]", "[EOS]", "[BOS]")
_RESIDUE_MARKS = (*_TOKEN_MARKS, "{{", "{%", "](")

MOST_TEMPLATE_LINES = 0.2
"""A text with a larger share of lines that are template tags is about templates, or one itself: they stay. Ours."""


def drop_template_residue(text: str) -> str:
    r"""Take out what no reader was meant to see: special tokens at the ends, lines of unrendered tags, links without words.

    In the middle of a sentence special tokens and tags stay: there the text is about them.

    >>> drop_template_residue("Paris.<|endoftext|>")
    'Paris.'
    >>> drop_template_residue("GPT-2 writes <|endoftext|> between texts, Jinja {{ name }} for a value.")
    'GPT-2 writes <|endoftext|> between texts, Jinja {{ name }} for a value.'
    """
    if not any(mark in text for mark in _RESIDUE_MARKS):
        return text
    text = drop_special_tokens(text)
    lines = list(_prose_lines(text))
    tags = sum(is_prose and bool(_TEMPLATE_LINE.match(line)) for line, is_prose in lines)
    drops_tags = tags <= MOST_TEMPLATE_LINES * sum(bool(line.strip()) for line, _ in lines)
    kept = []
    for line, is_prose in lines:
        if is_prose and (_SPECIAL_LINE.match(line) or (drops_tags and _TEMPLATE_LINE.match(line))):
            continue
        kept.append(_without_residue(line) if is_prose and "`" not in line else line)
    return "\n".join(kept)


def drop_special_tokens(text: str) -> str:
    r"""Take special tokens of language models off the ends of a text, or of a turn: trainers put their own there.

    >>> drop_special_tokens("<s> Hello <|im_end|>\n</s>")
    'Hello'
    """
    if not any(mark in text for mark in _TOKEN_MARKS):
        return text
    stripped = _strip_tokens(text, f"{_SPECIAL_TOKEN}|{_STRUCK}")
    # Where one is left inside, those at the ends were markup.
    return _strip_tokens(text, _SPECIAL_TOKEN) if re.search(_STRUCK, stripped) else stripped


def _strip_tokens(text: str, token: str) -> str:
    first, last = re.compile(token), re.compile(rf"(?:{token})\Z")
    start, end = 0, len(text)
    while True:
        at = start
        while at < end and text[at].isspace():
            at += 1
        if not (match := first.match(text, at, end)):
            break
        start = match.end()
    while True:
        at = end
        while at > start and text[at - 1].isspace():
            at -= 1
        if not (match := last.search(text, max(start, at - _LONGEST_TOKEN), at)):
            break
        end = match.start()
    return (text if (start, end) == (0, len(text)) else text[start:end].strip()) if start < end else ""


def _without_residue(line: str) -> str:
    return _DATA_IMAGE.sub(r"\1", _EMPTY_LINK.sub("", line)) if "](" in line else line


_FURNITURE_LINES = """
advertisement; advertisements; advertise with us; sponsored content; story continues below advertisement
article continues below advertisement; read more; read the full story; read full article; continue reading; keep reading
load more; view comments; leave a comment; leave a reply; post a comment; add a comment; share this; share this article; share this story
share this post; share this page; share on facebook; share on twitter; share on x; share on linkedin; share on pinterest
share on whatsapp; share on reddit; share via email; email this article; email this page; tweet this; pin it; print this page
print this article; copy link; follow us on facebook; follow us on twitter; click to share on facebook (opens in new window
click to share on twitter (opens in new window; click to print (opens in new window; skip to content; skip to main content
skip to navigation; jump to navigation; back to top; go to top; toggle navigation; accept cookies; accept all cookies; manage cookies
cookie settings; cookie preferences; all rights reserved; subscribe to our newsletter; sign up for our newsletter; get our newsletter
enter your email address; please enable javascript
기사 더보기; 공유하기; 기사 공유하기; 페이스북 공유하기; 트위터 공유하기; 카카오톡 공유하기; url 복사; 인쇄하기; 목록으로
댓글쓰기; 댓글 쓰기
본문 바로가기; 메뉴 바로가기; 맨 위로; 무단전재 및 재배포 금지; 무단 전재 및 재배포 금지
"""
"""What a page's furniture says, as whole lines. No single word that could be a heading. Ours."""
_FURNITURE = frozenset(entry.strip() for entry in _FURNITURE_LINES.replace("\n", ";").split(";") if entry.strip())
_FURNITURE_EDGES = " \t*•·-–—>[]()!.:«»→…\u00a0"
_NOTICES = re.compile(
    r"(?:we|our (?:web)?site|this (?:web)?site|our partners) (?:uses?|may use) "
    r"(?:(?:our|some|necessary|essential|functional|tracking|analytics|first[- ]party|third[- ]party|and|or) ){0,4}cookies\b"
    r"|by (?:continuing to|using|browsing|clicking|visiting)\b[^.]{0,80}\b(?:our|the) use of cookies\b"
    r"|(?:please )?(?:enable|turn on) javascript\b|javascript (?:is|must be) (?:disabled|enabled|required)\b"
    r"|copyright ©|©\s?(?:19|20)[0-9]{2}\b.{0,80}all rights reserved"
    r"|(?:본|이) (?:사이트|웹사이트)는 쿠키를|저작권자\s?(?:\(c\)|ⓒ|©)|[ⓒ©].{0,60}(?:무단\s?전재|재배포\s?금지)",
    re.IGNORECASE,
)
MOST_NOTICE_CHARS = 300
"""A line that begins like a notice and is longer is a paragraph about something. Ours."""
FEWEST_LINES = 4
"""Texts of fewer lines with words in them (titles, comments, reviews) have no page furniture around them. Ours."""


def drop_boilerplate_lines(text: str) -> str:
    r"""Take out whole lines that are a page's furniture: share buttons, "Read more", cookie and copyright notices.

    Only lines that say nothing else go, only from texts of several lines, and never all of them.

    >>> drop_boilerplate_lines("The council met.\nRead more\nIt voted.\nShare on Facebook\nThe end.")
    'The council met.\nIt voted.\nThe end.'
    >>> drop_boilerplate_lines("Read more")
    'Read more'
    """
    if text.count("\n") < FEWEST_LINES - 1:
        return text
    lines = list(_prose_lines(text))
    if sum(bool(line.strip()) for line, _ in lines) < FEWEST_LINES:
        return text
    kept = [line for line, is_prose in lines if not (is_prose and is_boilerplate(line))]
    return "\n".join(kept) if len(kept) < len(lines) and any(map(str.strip, kept)) else text


def is_boilerplate(line: str) -> bool:
    """Whether a line is a page's furniture and nothing else.

    >>> [is_boilerplate(line) for line in ("» Read more…", "# Share this", "Read more books.", "This site uses cookies to help you.")]
    [True, False, False, True]
    """
    if len(line) > MOST_NOTICE_CHARS:
        return False
    bare = line.strip(_FURNITURE_EDGES)
    return (len(bare) <= 60 and bare.casefold() in _FURNITURE) or bool(_NOTICES.match(line.lstrip(_FURNITURE_EDGES)))


_UNTIDY = re.compile(r"[ \t\u00a0](?:\n|\Z)|\n(?:[ \t\u00a0]*\n){3}")
MOST_BLANK_LINES = 2


def tidy_whitespace(text: str) -> str:
    r"""Take spaces off the ends of lines, and keep at most two blank lines together.

    >>> tidy_whitespace("One. \n\n\n\n\nTwo.\n\n```\nx = 1  \n\n\n\n```")
    'One.\n\n\nTwo.\n\n```\nx = 1  \n\n\n\n```'
    """
    if not _UNTIDY.search(text):
        return text
    kept, blank = [], 0
    for line, is_prose in _prose_lines(text):
        line = line.rstrip(" \t\u00a0") if is_prose else line
        blank = blank + 1 if is_prose and not line else 0
        if blank <= MOST_BLANK_LINES:
            kept.append(line)
    return "\n".join(kept)


_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def _prose_lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line of a text, and whether it is outside of code (CommonMark's fenced and indented blocks)."""
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if fence:
            yield line, False
            if mark and mark[1].startswith(fence) and not line.strip(" \t`~"):
                fence = ""
        elif mark:
            fence = mark[1]
            yield line, False
        else:
            yield line, not (line.startswith(("    ", "\t")) and line.strip() != "")


TIDYING: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("template_residue", drop_template_residue),
    ("boilerplate_lines", drop_boilerplate_lines),
    ("whitespace", tidy_whitespace),
)
"""The steps for documents that a user may switch off, in order."""
