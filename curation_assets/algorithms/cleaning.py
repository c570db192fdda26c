"""Text repair: each step takes a text and returns a better one. What was done is returned with the text.

Steps only repair form (encoding, Unicode, control characters, markup of HTML records, what templates and page furniture leave
behind); they never judge content. What stands in a code block (fenced, or indented by four spaces or a tab) is left as it is by
all steps that go by lines, and entities stay in it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import ftfy
from ftfy.badness import is_bad

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

_ENCODING_OF_MARKUP = _ENCODING._replace(unescape_html=False)
_LINE = re.compile("[^\n]*\n|[^\n]+")

_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ufff9-\ufffb\ufffe\uffff]")
_LINE_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_HTML_PAGE = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?(<!--(?!>)[^>]*-->\s*){0,3}(<!doctype\s+html|<html\b|<head\b|<body\b)", re.IGNORECASE
)
_HTML_FRAGMENT = re.compile(
    r"\s*<(p|div|span|table|ul|ol|article|section|main|h[1-6]|br|b|i|em|strong|a)\b[^>]*>", re.IGNORECASE
)
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:\-]*)(?=[\s/>])[^<>]*>|<[A-Za-z]")
_NOT_CLOSED = frozenset((
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
    "p", "li", "dt", "dd", "option", "colgroup", "thead", "tbody", "tfoot", "tr", "td", "th",
))  # fmt: skip
"""Elements of HTML that need no closing tag."""
_MARKDOWN = re.compile(r"\n(?:#|[ ]{0,3}(?:```|~~~)|\||={3,}[ \t]*(?:\n|\Z))|\A[ ]{0,3}(?:```|~~~)")
_NEEDS_FTFY = re.compile(
    # Beside ASCII, Hangul, kana and Chinese characters stand in none of the code pages that ftfy looks for.
    "[^\x00-\x7f\u1100-\u11ff\u3000-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]|&[#\\w]+;|\x1b"
)
_CHANGED_BY_FTFY = re.compile("&[#\\w]+;|[\x1b\x80-\x9f\ud800-\udfff]")
"""What ftfy changes in a line where its `is_bad` sees no mojibake: entities, escapes of terminals, C1 controls, surrogates."""


class Cleaned(NamedTuple):
    """A cleaned text and the steps that changed it, in order."""

    text: str
    steps: list[str]


def clean(text: str, kind: str = "document", tidy: Collection[str] = (), extractor: str = "resiliparse") -> Cleaned:
    r"""Repair a text. kind 'html' is always read as HTML, a document only if it is HTML from end to end.

    What is said in turns (any other kind) is no document: where it is HTML, that is what it is about.

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
    is_markup = kind == "html" or (kind == "document" and is_html(text))
    tidying = [
        *((name, step) for name, step in TIDYING if name in tidy),
        ("outer_whitespace", strip_outside if kind in ("document", "html") else str.strip),
    ]
    todo = [("html_to_text", lambda text: html_to_text(text, extractor))] if is_markup else []
    todo += [*REPAIRS, *tidying]
    while todo:
        changed = []
        for name, step in todo:
            repaired = step(text)
            if repaired != text:
                changed.append(name)
            text = repaired
        steps += [name for name in changed if name not in steps]
        # Without a token such as <s> what is left can be no markup any more, and its entities be in need of repair.
        todo = list(REPAIRS) if "template_residue" in changed else tidying if changed and todo == list(REPAIRS) else []
    return Cleaned(text, steps)


def strip_outside(text: str) -> str:
    r"""Take blank lines and spaces off the ends of a text; the first line of an indented block keeps its indentation.

    >>> strip_outside("\n  One line. \n"), strip_outside("    def f(x):\n        return x\n")
    ('One line.', '    def f(x):\n        return x')
    """
    stripped = text.strip()
    if "\n" not in stripped:
        return stripped
    before = text[: len(text) - len(text.lstrip())]
    indentation = before[before.rfind("\n") + 1 :]
    is_block = indentation.startswith(("    ", "\t")) and f"\n{indentation}" in stripped
    return indentation + stripped if is_block else stripped


def repair(text: str) -> str:
    r"""Repair a part of a record, such as a turn of a conversation: its HTML and its outer whitespace may be meant.

    >>> repair("  <p>cafÃ©</p>\r\n")
    '  <p>café</p>\n'
    """
    for _, step in REPAIRS:
        text = step(text)
    return text


def is_html(text: str) -> bool:
    r"""Whether a text is HTML from end to end: a page, or a fragment that begins and ends with a tag and closes all it opens.

    Markdown that begins with an HTML badge or logo is not: its own line structure would be lost. Nor are grammars, placeholders and
    types of programming languages in angle brackets: nothing closes them.

    >>> [is_html(text) for text in ("<!DOCTYPE html><html>…", "<p>One</p>", "<p><img src='x'></p>\n# Title\nProse", "a < b > c")]
    [True, True, False, False]
    >>> [is_html(text) for text in ("<i> and <j> index a Map<String, List<int>>", "<b>1</b>\n```\nx\n```\n<b>2</b>")]
    [False, False]
    """
    if _HTML_PAGE.match(text[:500]):
        return True
    if not _HTML_FRAGMENT.match(text[:500]) or not text.rstrip().endswith(">") or _MARKDOWN.search(text):
        return False
    balance: Counter[str] = Counter()
    for tag in _TAG.finditer(text):
        if tag[2] is None:
            return False
        if (name := tag[2].lower()) not in _NOT_CLOSED and not tag[0].endswith("/>"):
            balance[name] += -1 if tag[1] else 1
    return not any(balance.values())


def html_to_text(html: str, extractor: str = "resiliparse") -> str:
    """The text of an HTML page's main content, or of a whole fragment.

    extractor: resiliparse or, for pages alone, trafilatura, which has to be installed. On 95 pages with the articles written out by
    hand their F1 is .933 and .957, their pages a CPU-second 600 and 60 (benchmarks/html_pages.py). Comments of readers and lines of
    author and date are no main content: with them resiliparse has .922.
    """
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    if not _HTML_PAGE.match(html[:500]):
        return extract_plain_text(html, alt_texts=False, preserve_formatting=True).strip()
    text = ""
    if extractor == "trafilatura":
        import trafilatura

        text = trafilatura.extract(html, include_comments=False) or ""
    if not text:
        page = HTMLTree.parse(html)
        _put_lists_deeper(page)
        text = extract_plain_text(page, main_content=True, alt_texts=False, comments=False, post_meta=False)
        # Pages whose main content is not recognised give nothing: then all of their text is better than none.
        text = text or extract_plain_text(page, alt_texts=False)
    return text.strip()


_SHALLOW_LISTS = "body > p ~ ul, body > * > p ~ ul, body > * > * > p ~ ul"
_LEVELS = 3


def _put_lists_deeper(page: Any) -> None:
    """Keep lists behind paragraphs for resiliparse, which takes every `ul` up to three levels below the body for navigation.

    So it does on plain pages, whose articles stand right in the body. Lists of links stay where they are.
    """
    if page.body is None:
        return
    for found in page.body.query_selector_all(_SHALLOW_LISTS):
        linked = sum(len(link.text.strip()) for link in found.get_elements_by_tag_name("a"))
        if 2 * linked > len(found.text.strip()):
            continue
        outer = inner = page.create_element("div")
        found.parent.replace_child(outer, found)
        for _ in range(_LEVELS - 1):
            inner = inner.append_child(page.create_element("div"))
        inner.append_child(found)


def repair_encoding(text: str) -> str:
    """Undo mojibake, stray HTML entities, terminal escapes and lone surrogates (ftfy).

    Entities in code, fenced or between backticks, are what it is about, and stay.

    >>> repair_encoding("schÃ¶n &amp; gut"), repair_encoding("In HTML `&amp;` is written for &amp;.")
    ('schön & gut', 'In HTML `&amp;` is written for &.')
    """
    if (text.isascii() and "&" not in text and "\x1b" not in text) or not _NEEDS_FTFY.search(text):
        return text
    if not (_ENTITY.search(text) and _CODE_MARK.search(text)):
        return _fixed(text)
    lines = [
        _CODE_SPAN.sub(_without_entities, line) if is_prose else _ENTITY.sub(_KEPT, line)
        for line, is_prose in _prose_lines(text.replace(_KEPT, ""), indented=False)
    ]
    return _fixed("\n".join(lines)).replace(_KEPT, "&")


def _fixed(text: str) -> str:
    """What ftfy.fix_text gives, which goes line by line: only the lines that it would change are handed to it."""
    config, lines = _ENCODING, []
    for line in _LINE.findall(text):
        if "<" in line:  # from here on, entities are those of markup
            config = _ENCODING_OF_MARKUP
        is_changed = _CHANGED_BY_FTFY.search(line) or (not line.isascii() and is_bad(line))
        lines.append(ftfy.fix_text(line, config) if is_changed else line)
    return "".join(lines)


_ENTITY = re.compile(r"&(?=[#\w]{1,40};)")
_CODE_MARK = re.compile("`|~~~")
_CODE_SPAN = re.compile(r"(?<!`)(`{1,3})(?!`)[^`\n]{1,200}\1(?!`)")
_KEPT = "\x10"  # an ASCII control character, which repairs take out anyway and no encoding reads as another


def _without_entities(code: re.Match[str]) -> str:
    return _ENTITY.sub(_KEPT, code[0])


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
_EMPTY_LINK = re.compile(  # not the box of a task, nor a lambda of C++
    r"(?<!!)(?:\[\]|(?<![-*+] )\[[ \t]{1,9}\])\((?:[a-z]{2,10}:|www\.|[/#.?])[^()\s]{0,500}\)", re.IGNORECASE
)
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

    What is said of tokens stays. A token at the end goes where it stands on a line of its own, right at the last word, after a
    sentence, or where the text begins with one that begins texts; a token at the beginning unless a sentence goes on after it.
    White space goes on the side where a token went, but for the blank line that a transcript's first turn begins with.

    >>> drop_special_tokens("<s> Hello <|im_end|>\n</s>"), drop_special_tokens("  Ho ho</s>\n"), drop_special_tokens("It is [PAD]")
    ('Hello', '  Ho ho', 'It is [PAD]')
    """
    if not any(mark in text for mark in _TOKEN_MARKS):
        return text
    stripped = _strip_tokens(text, f"{_SPECIAL_TOKEN}|{_STRUCK}")
    # Where one is left inside, those at the ends were markup.
    return _strip_tokens(text, _SPECIAL_TOKEN) if re.search(_STRUCK, stripped) else stripped


def _strip_tokens(text: str, token: str) -> str:
    first, last = re.compile(token), re.compile(rf"(?:{token})\Z")
    start, end = 0, len(text)
    is_wrapped = bool(_BEGINS_TEXT.match(text.lstrip()[:_LONGEST_TOKEN]))

    def last_token(end: int) -> re.Match[str] | None:
        while end > start and text[end - 1].isspace():
            end -= 1
        return last.search(text, max(start, end - _LONGEST_TOKEN), end)

    is_wrapped = is_wrapped and last_token(end) is not None
    while True:
        at = start
        while at < end and text[at].isspace():
            at += 1
        if not (match := first.match(text, at, end)) or not (is_wrapped or not _GOES_ON.match(text, match.end(), end)):
            break
        start = match.end()
    at = end
    while match := last_token(at):
        at = match.start()
        if is_wrapped or _is_at_an_end(text[max(start, at - 100) : at]):
            end = at
    if start >= end:
        return ""
    kept = text[start:end]
    if end < len(text):
        kept = kept.rstrip()
    if start > 0:
        bare = kept.lstrip()
        kept = "\n\n" + bare if bare.startswith("Human:") and kept[: -len(bare)].endswith("\n\n") else bare
    return kept


def _is_at_an_end(before: str) -> bool:
    """Whether a token after this is no word of a sentence: on a line of its own, right at a word, or after a sentence's last mark."""
    said = before.rstrip(" \t\u00a0")
    if not said or said.endswith("\n"):
        return True
    return said[-1] not in "=:([{<,/" if said == before else bool(_SENTENCE_ENDS.search(said))


_BEGINS_TEXT = re.compile(r"<s>|<bos>|\[BOS\]|<\|(?:im_start|begin_of_text|endoftext)\|>")
_GOES_ON = re.compile(r"[ \t]+[a-z]")
_SENTENCE_ENDS = re.compile(r"[.!?…。！？][\"'”’)\]}*_»」』`]{0,4}\Z")


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
_TABLE = re.compile(r"\S\t[^\S\n]*\S")
_HARD_BREAK = re.compile(r"[^ \t\u00a0]  \Z")
MOST_BLANK_LINES = 2


def tidy_whitespace(text: str) -> str:
    r"""Take spaces off the ends of lines, and keep at most two blank lines together.

    Two spaces at the end of a line before another stay, a line break in Markdown; so do the empty last cells of a table in tabs.

    >>> tidy_whitespace("One. \n\n\n\n\nTwo.\n\n```\nx = 1  \n\n\n\n```")
    'One.\n\n\nTwo.\n\n```\nx = 1  \n\n\n\n```'
    """
    if not _UNTIDY.search(text):
        return text
    kept, blank = [], 0
    spaces = " \u00a0" if _TABLE.search(text) else " \t\u00a0"
    lines = list(_prose_lines(text))
    followed = [bool(after.strip()) for after, _ in lines[1:]] + [False]
    for (line, is_prose), is_followed in zip(lines, followed, strict=True):
        if is_prose and not (is_followed and _HARD_BREAK.search(line)):
            line = line.rstrip(spaces if line.strip() else None)
        blank = blank + 1 if is_prose and not line else 0
        if blank <= MOST_BLANK_LINES:
            kept.append(line)
    return "\n".join(kept)


_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def _prose_lines(text: str, *, indented: bool = True) -> Iterator[tuple[str, bool]]:
    """Each line of a text, and whether it is outside of code (CommonMark's fenced and, if asked for, indented blocks)."""
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
            yield line, not (indented and line.startswith(("    ", "\t")) and line.strip() != "")


TIDYING: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("template_residue", drop_template_residue),
    ("boilerplate_lines", drop_boilerplate_lines),
    ("whitespace", tidy_whitespace),
)
"""The steps for documents that a user may switch off, in order."""
