"""How much abuse a text says out loud: words of lexicons in English and Korean, however they are disguised.

The lexicons are `toxic_words.json`, compiled for this project in five groups: slurs (against who somebody is), insults,
profanity, sexual words, threats. They see words, not meaning. They miss abuse in polite words, sarcasm and new coinages;
they hit quotations, words taken back by those they were coined against ("nigga", "queer" is left out), other senses
("coon", a dyke of stones), and dialects in which such words are no insult: English of Black Americans is flagged more
often for the same tone (Sap et al. 2019, "The risk of racial bias in hate speech detection"). `benchmarks/toxicity.py`
measures how often texts are hit that people found harmless. So: a signal to look at and to bound, no judge of people.

Other languages have no lexicon: their counts are null, and no rule judges a null.
"""

import json
import re
from functools import cache
from pathlib import Path

import polars as pl

LEXICONS = Path(__file__).with_name("toxic_words.json")

GROUPS = ("slur", "insult", "profanity", "sexual", "threat")

# How a letter is disguised. Vowels are also starred out, inside a word any letter is.
_DISGUISES = {
    "a": "a4@", "b": "b8", "e": "e3", "g": "g9", "i": "i1!", "l": "l1", "o": "o0", "s": "s5$z", "t": "t7",
    "u": "uv", "z": "zs",
}  # fmt: skip
_BETWEEN = r"[0-9!-/:-@\[-`{-~]+"
"""Marks and figures that stand between the syllables of a disguised Korean word; they go before it is looked for."""


def toxic_words(texts: pl.Series, language: pl.Series) -> pl.DataFrame:
    """Return one row per text, in order: `toxic_words`, `slur_words` and `threat_words`, Int64.

    `toxic_words` counts words of all groups, the other two those of theirs. `language`: the texts' languages as `languages` names them. The
    English lexicon reads texts in English and those whose language cannot be told, the Korean one also texts of any language with Hangul;
    elsewhere the counts are null.

    >>> toxic_words(pl.Series(["What a load of bulllsh1t!", "시1발점", "Bonjour à tous"]), pl.Series(["en", "ko", "fr"]))[
    ...     "toxic_words"
    ... ].to_list()
    [1, 0, None]
    """
    text = pl.col("text")
    has_hangul = text.str.contains("[가-힣ㄱ-ㅎ]")
    is_english = pl.col("language").is_in(["en", "und"])
    patterns = _patterns()

    def count(group: str) -> pl.Expr:
        english = pl.when(is_english).then(text.str.count_matches(patterns["en", group]))
        korean = pl.when(has_hangul).then(text.str.replace_all(_BETWEEN, "").str.count_matches(patterns["ko", group]))
        return pl.when(is_english | has_hangul).then(english.fill_null(0) + korean.fill_null(0)).cast(pl.Int64)

    counted = (
        pl.DataFrame({"text": texts, "language": language}).with_columns(toxic_words=count("all")).with_row_index("row")
    )
    hit = counted.filter(pl.col("toxic_words") > 0)  # few texts: the others have no slur and no threat
    groups = hit.select("row", slur_words=count("slur"), threat_words=count("threat"))
    without = pl.when(pl.col("toxic_words") == 0).then(0).cast(pl.Int64)
    return counted.join(groups, on="row", how="left", maintain_order="left").select(
        "toxic_words", pl.coalesce("slur_words", without), pl.coalesce("threat_words", without)
    )


@cache
def _patterns() -> dict[tuple[str, str], str]:
    """(language, group or 'all') -> regular expression in Rust's dialect."""
    lexicons = json.loads(LEXICONS.read_text(encoding="utf-8"))
    found = {}
    for language, disguised in (("en", _english), ("ko", _korean)):
        for group in (*GROUPS, "all"):
            groups = GROUPS if group == "all" else (group,)
            entries = [
                entry[3:] if entry.startswith("re:") else disguised(entry)
                for name in groups
                for entry in lexicons[language][name]
            ]
            joined = "|".join(sorted(entries, key=len, reverse=True))
            found[language, group] = rf"(?i-u:\b)(?i:{joined})(?i-u:\b)" if language == "en" else joined
    return found


def _english(word: str) -> str:
    """A word with its disguises: letters repeated, figures for letters, asterisks inside it, and a plural."""
    runs = [(run[0], len(run)) for run in (match.group() for match in re.finditer(r"(.)\1*", word))]
    letters = []
    for at, (letter, times) in enumerate(runs):
        inside = "*#" if 0 < at < len(runs) - 1 else ""
        known = _DISGUISES.get(letter, letter)
        known = re.sub(r"\d", "", known) if at == 0 else known  # 455 is a number
        disguises = re.escape("".join(sorted(set(known + inside))))
        letters.append(f"[{disguises}]{{{times},}}" if times > 1 else f"[{disguises}]+")
    return "".join(letters) + "(?:e?[sz])?"


def _korean(word: str) -> str:
    """A word of three syllables or more also with spaces between them."""
    return " ?".join(word) if len(word) >= 3 else word
