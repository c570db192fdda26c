"""Which lines of a web page are furniture: the line rules of C4 and of RefinedWeb, vectorised.

Here: pure functions from texts to what is left of them and to how much went. The `filtered` stage measures with them
and drops whole records; a step that edits texts can take the column `text`.

Both sets were made for English pages: they look for English phrases and for words between spaces.
"""

import polars as pl

from curation_assets.algorithms.surface_signals import capitals_and_letters
from curation_assets.algorithms.token_signals import sentences

END_MARKS = (".", "?", "!", '"', "'")
POLICY_PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
CITATION = r"\[\d*\]|\[edit\]|\[citation needed\]"

# str.splitlines(): C4's and DataTrove's lines. The rest of the module splits at \n.
_LINE_ENDS = "\r\n|[\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]"

COUNTERS = (
    "likes?|shares?|comments?|replies|retweets?|reposts?|quotes?|bookmarks?|upvotes?|downvotes?|downloads?|views?|followers?"
    "|following|subscribers?|points?|votes?|posts?|reads?|claps?"
)
"""What a counter counts ("3 likes"); the paper names likes, the others are ours."""

BEGINNINGS = (
    r"sign[ -]?in|sign[ -]?up|log[ -]?in|log ?out|register|share|follow us|subscribe|click here|skip to|back to"
)
"""Beginnings of a short line of navigation; the paper names sign-in, the others are ours."""

ENDINGS = r"read more|continue reading|see more|view all|show more|learn more|load more"
"""Ends of a short line of navigation; the paper names "Read more...", the others are ours."""

ANYWHERE = (
    r"items? in (?:your )?cart|add to cart|all rights reserved|powered by|cookie settings|accept (?:all )?cookies"
)
"""Phrases of a short line of navigation; the paper names "items in cart", the others are ours."""

SHORT_LINE_WORDS = 10
"""RefinedWeb: a line of navigation has at most so many words."""


PAPER_WORDS = 3
"""C4's paper, and DataTrove with it: a line has at least so many words; the reference code that made the corpus asks for 5."""


def c4_lines(texts: pl.Series, min_words: int = 5, max_word_chars: int = 1000) -> pl.DataFrame:
    r"""Apply C4's line rules (Raffel et al. 2020, section 2.2; the reference code's c4_utils.py); one row per text, in order.

    A line goes if a word has more than `max_word_chars` characters, if it does not end in one of `END_MARKS` or ends in
    an ellipsis, if it has fewer than `min_words` words (5 in the reference code, `PAPER_WORDS` in the paper), or if it has the word
    javascript or one of `POLICY_PHRASES`. Citations like [3] and [edit] are taken out of the others.

    Columns: `text`, what is left, a line each; `c4_sentences`, sentences in it; `datatrove_c4_sentences`, sentences with
    `PAPER_WORDS` instead of `min_words`; `c4_dropped_line_ratio`, share of the lines with text that go, null without any;
    `lorem_ipsum_lines` and `curly_bracket_lines`, how many of the lines that
    pass the first three rules have "lorem ipsum" or "{": C4 drops the page of a single one.

    >>> c4_lines(pl.Series(["Home | About\nThe tower was built in 1889 for a fair.[2]"])).row(0)[:3]
    ('The tower was built in 1889 for a fair.', 1, 1)
    """
    lines = (
        pl.DataFrame({"row": pl.int_range(len(texts), eager=True), "line": texts})
        .with_columns(pl.col("line").str.replace_all(_LINE_ENDS, "\n").str.split("\n"))
        .explode("line")
        .with_columns(pl.col("line").str.strip_chars())
        .filter(pl.col("line") != "")
    )
    has_long_word = pl.when(pl.col("line").str.len_chars() > max_word_chars).then(
        pl.col("line").str.split(" ").list.eval(pl.element().str.len_chars()).list.max() > max_word_chars
    )
    line = pl.col("line")
    lines = lines.with_columns(
        has_long_word=has_long_word.fill_null(False), words=line.str.count_matches(r"\S+"),
        line=pl.when(line.str.contains("[", literal=True)).then(line.str.replace_all(CITATION, "")).otherwise(line),
    )  # fmt: skip
    ends = pl.any_horizontal([line.str.ends_with(mark) for mark in END_MARKS]) & ~line.str.ends_with("...")
    is_sentence = ends & (pl.col("words") >= min(min_words, PAPER_WORDS)) & ~pl.col("has_long_word")
    held = lines.filter(is_sentence).with_columns(
        is_long=pl.col("words") >= min_words,
        is_lorem=line.str.contains_any(["lorem ipsum"], ascii_case_insensitive=True),
        is_bracket=line.str.contains("{", literal=True),
        is_policy=line.str.contains_any(["javascript", *POLICY_PHRASES], ascii_case_insensitive=True),
    )
    kept = held.filter(~pl.col("is_policy"))
    kept = kept.with_columns(sentences=sentences(kept["line"]))
    rows = pl.DataFrame({"row": pl.int_range(len(texts), eager=True)})
    return (
        rows.join(lines.group_by("row").agg(all_lines=pl.len()), on="row", how="left", maintain_order="left")
        .join(
            held.filter("is_long")
            .group_by("row")
            .agg(
                lorem_ipsum_lines=pl.col("is_lorem").sum(), curly_bracket_lines=pl.col("is_bracket").sum()
            ),
            on="row", how="left", maintain_order="left",
        )
        .join(
            kept.group_by("row", maintain_order=True).agg(
                text=line.filter("is_long").str.join("\n"),
                kept_lines=pl.col("is_long").sum(),
                c4_sentences=pl.col("sentences").filter("is_long").sum(),
                datatrove_c4_sentences=pl.col("sentences").filter(pl.col("words") >= PAPER_WORDS).sum(),
            ),
            on="row", how="left", maintain_order="left",
        )
        .select(
            text=pl.col("text").fill_null("").str.strip_chars(),
            c4_sentences=pl.col("c4_sentences").fill_null(0).cast(pl.Int64),
            datatrove_c4_sentences=pl.col("datatrove_c4_sentences").fill_null(0).cast(pl.Int64),
            c4_dropped_line_ratio=1 - pl.col("kept_lines").fill_null(0) / pl.col("all_lines"),
            lorem_ipsum_lines=pl.col("lorem_ipsum_lines").fill_null(0).cast(pl.Int64),
            curly_bracket_lines=pl.col("curly_bracket_lines").fill_null(0).cast(pl.Int64),
        )
    )  # fmt: skip


def refinedweb_lines(texts: pl.Series) -> pl.DataFrame:
    r"""Apply RefinedWeb's line rules (Penedo et al. 2023, arXiv 2306.01116, appendix G.2); one row per text, in order.

    A line goes if most of its letters are capitals ("mainly composed of uppercase characters"; half is ours), if it is
    only of numbers, a counter ("3 likes") or a single word, or if it has at most ten words and is of navigation: one of
    `BEGINNINGS`, `ENDINGS` or `ANYWHERE`. (The paper cuts the phrase out of such a line; here the line goes.)

    Columns: `text`, what is left, its line breaks kept; `refinedweb_flagged_word_ratio`, share of the words that are in
    lines that go: the paper drops a page above .05. Null without words.

    >>> refinedweb_lines(pl.Series(["SHARE THIS\n12 comments\nIt rained in June, and the river rose."])).row(0)
    ('It rained in June, and the river rose.', 0.333...)
    """
    line = pl.col("line")
    lines = (
        pl.DataFrame({"row": pl.int_range(len(texts), eager=True), "line": texts})
        .with_columns(line.str.split("\n"))
        .explode("line")
        .with_columns(words=line.str.count_matches(r"\S+"), lower=line.str.strip_chars().str.to_lowercase())
    )
    lines = lines.hstack(capitals_and_letters(lines["line"]))
    capitals, letters, lower = pl.col("capitals"), pl.col("letters"), pl.col("lower")
    is_navigation = lower.str.contains(rf"^(?:{BEGINNINGS})\b|(?:{ENDINGS})\W*$|{ANYWHERE}")
    short = pl.col("words") <= SHORT_LINE_WORDS
    lines = lines.with_columns(
        is_flagged=(pl.col("words") == 1)
        | (2 * capitals > letters)
        | ((letters == 0) & (pl.col("words") > 0))
        | (short & (lower.str.contains(rf"^[\d.,]+[km]?\s+(?:{COUNTERS})$") | is_navigation))
    )
    rows = pl.DataFrame({"row": pl.int_range(len(texts), eager=True)})
    counted = lines.group_by("row", maintain_order=True).agg(
        text=line.filter(~pl.col("is_flagged")).str.join("\n"),
        words=pl.col("words").sum(),
        flagged=pl.col("words").filter(pl.col("is_flagged")).sum(),
    )
    return rows.join(counted, on="row", how="left", maintain_order="left").select(
        text=pl.col("text").fill_null(""),
        refinedweb_flagged_word_ratio=pl.when(pl.col("words") > 0).then(pl.col("flagged") / pl.col("words")),
    )
