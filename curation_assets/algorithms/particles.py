"""Korean nouns without the particles attached to them, so that 영화가, 영화는 and 영화를 count as one word.

Light on purpose: no dictionary and no analyser. A particle is only taken off where the words at hand show that it is
one: what is left must itself stand with several endings. Verbs stay as they are.
"""

import polars as pl

# Case, topic and auxiliary particles (the standard grammar's 조사), alone and in the commonest pairs; ours in extent.
_LISTED = """
은 는 이 가 을 를 의 에 도 만 로 와 과 랑 야 여 들 께 나
에서 에게 으로 까지 부터 보다 처럼 한테 께서 이나 이랑 라도 마다 조차 밖에 대로 만큼 이라 이란 라는 라고 하고 이고
에는 에도 에만 로는 들이 들은 들을 들의 들도 와는 과는 만이 만은 이다 입니다 이에요 예요
에서는 에서도 에게는 으로는 으로도 까지도 까지는 부터는 보다는 보다도 처럼만 한테는 이라도 이라는 이라고 이지만
"""
PARTICLES = frozenset(_LISTED.split())
MIN_FORMS = 3  # ours: 고양이 is 고양 with 이, but 고양 stands with nothing else; 영화 stands bare, with 가, with 는 …


def bare_nouns(words: pl.Series) -> pl.DataFrame:
    """Each different word with its form without particles, columns word and bare; a word that loses nothing is its own.

    A word is cut after at least two syllables, where the rest is a particle and what is left occurs among ``words`` in
    at least ``MIN_FORMS`` forms, bare or with a particle. Of several such cuts the longest stem is taken, and a stem
    that is cut itself goes on being cut.

    >>> found = bare_nouns(pl.Series(["영화", "영화가", "영화를", "고양이", "film"]))
    >>> dict(found.iter_rows())
    {'영화': '영화', '영화가': '영화', '영화를': '영화', '고양이': '고양이', 'film': 'film'}
    """
    known = pl.DataFrame({"word": words.drop_nulls().unique(maintain_order=True)}, schema={"word": pl.String})
    korean = known.filter(pl.col("word").str.contains(r"^[가-힣]{3,}$"))
    length = pl.col("word").str.len_chars()
    cuts = pl.concat(
        korean.filter(pl.col("word").str.slice(-taken).is_in(list(PARTICLES)) & (length >= taken + 2)).select(
            "word", stem=pl.col("word").str.slice(0, length - taken)
        )
        for taken in sorted(set(map(len, PARTICLES)))
    )
    bare = cuts.join(known.select(stem="word"), on="stem", how="semi").select("stem", forms=pl.lit(1)).unique()
    forms = pl.concat(
        [cuts.group_by("stem").agg(forms=pl.len().cast(pl.Int32)), bare.with_columns(pl.col("forms").cast(pl.Int32))]
    )
    good = forms.group_by("stem").agg(pl.col("forms").sum()).filter(pl.col("forms") >= MIN_FORMS)
    longest = cuts.join(good, on="stem", how="semi").sort(pl.col("stem").str.len_chars()).unique("word", keep="last")
    stem_of = dict(longest.select("word", "stem").iter_rows())

    def cut(word: str) -> str:
        while word in stem_of:
            word = stem_of[word]
        return word

    return known.with_columns(bare=pl.Series([cut(word) for word in known["word"]], dtype=pl.String))
