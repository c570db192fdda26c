"""Text repair: each step takes a text and returns a better one. What was done is returned with the text.

Steps only repair form (encoding, Unicode, control characters, markup of HTML records); they never judge content.
"""

import re
import unicodedata
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
_HTML_PAGE = re.compile(r"\s*(<\?xml[^>]*>\s*)?(<!doctype\s+html|<html\b|<head\b|<body\b)", re.IGNORECASE)
_HTML_FRAGMENT = re.compile(
    r"\s*<(p|div|span|table|ul|ol|article|section|main|h[1-6]|br|b|i|em|strong|a)\b[^>]*>", re.IGNORECASE
)
_NEEDS_FTFY = re.compile("[^\x00-\x7f]|&[#\\w]+;|\x1b")


class Cleaned(NamedTuple):
    """A cleaned text and the steps that changed it, in order."""

    text: str
    steps: list[str]


def clean(text: str, kind: str = "document") -> Cleaned:
    r"""Repair a text. kind 'html' is always read as HTML, any other only if it is HTML from end to end.

    >>> clean("The Mona Lisa doesnâ€™t have eyebrows.\x00")
    Cleaned(text='The Mona Lisa doesn’t have eyebrows.', steps=['encoding', 'control_characters'])
    >>> clean("<p>First.</p><p>Second &amp; last.</p>").text
    'First.\n\nSecond & last.'
    >>> clean("Plain text, a < b.")
    Cleaned(text='Plain text, a < b.', steps=[])
    """
    steps = []
    for name, step in (
        ("html_to_text", lambda text: html_to_text(text) if kind == "html" or is_html(text) else text),
        *REPAIRS,
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


def html_to_text(html: str) -> str:
    """The text of an HTML page's main content, or of a whole fragment, by resiliparse."""
    from resiliparse.extract.html2text import extract_plain_text

    if _HTML_PAGE.match(html[:500]):
        # Pages whose main content is not recognised give nothing: then all of their text is better than none.
        text = extract_plain_text(html, main_content=True, alt_texts=False) or extract_plain_text(html, alt_texts=False)
    else:
        text = extract_plain_text(html, alt_texts=False, preserve_formatting=True)
    return text.strip()


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
