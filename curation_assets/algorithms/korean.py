"""What tells Korean prose from lists and chatter: endings and particles, and letters that form no syllable."""

import polars as pl

# Particles and verb endings, most common last syllables of an eojeol (a word between spaces). Ours, from grammar.
ENDINGS = (
    "은는이가을를에의로와과도만랑께란부터까지처럼보다에게에서한테"  # particles
    "다요고며면지서니게한할된인던들까죠네라자나데해어아여야음함임될려든적듯기"  # endings
)


def korean_signals(texts: pl.Series) -> pl.DataFrame:
    """Return one row per text, in order: `korean_ending_ratio` and `jamo_ratio`, Float64; null in a text without Hangul.

    `korean_ending_ratio`: share of the runs of Hangul that end in a syllable of `ENDINGS`, as most words of Korean prose do: it is what
    stop words are for English. Of 440 texts of eight KLUE sentences the lowest has .45, the median is .69; of headlines strung together
    the median is .28, of keywords .15. `jamo_ratio`: share of the letters that are lone jamo (ㅋㅋㅋ, ㅠㅠ).

    >>> korean_signals(pl.Series(["배는 항구를 떠난다 ㅋㅋ", "부동산 아파트 매매 전세", "Hello"])).rows()
    [(0.75, 0.2), (0.0, 0.0), (None, None)]
    """
    text = pl.col("text")
    runs = text.str.count_matches("[가-힣ㄱ-ㅎㅏ-ㅣ]+")
    ended = text.str.count_matches(rf"[가-힣]*[{''.join(sorted(set(ENDINGS)))}](?:[^가-힣ㄱ-ㅎㅏ-ㅣ]|$)")
    jamo = text.str.count_matches("[ㄱ-ㅎㅏ-ㅣ]")
    # Few corpora are Korean throughout: the others are only looked through once.
    numbered = pl.DataFrame({"text": texts}).with_row_index("row")
    measured = numbered.filter(text.str.contains("[가-힣ㄱ-ㅎㅏ-ㅣ]")).select(
        "row", korean_ending_ratio=ended / runs, jamo_ratio=jamo / text.str.count_matches(r"\p{L}")
    )
    return numbered.select("row").join(measured, on="row", how="left", maintain_order="left").drop("row")
