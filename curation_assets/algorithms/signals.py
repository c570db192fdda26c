"""All that Python measures of texts for `filtered.signals`, in one place; each signal is explained where it is made."""

import polars as pl

from curation_assets.algorithms.instructions import EXCHANGES, instruction_signals
from curation_assets.algorithms.korean import korean_signals
from curation_assets.algorithms.language import languages
from curation_assets.algorithms.scripts import scripts
from curation_assets.algorithms.surface_signals import surface_signals
from curation_assets.algorithms.token_signals import token_signals
from curation_assets.algorithms.toxicity import toxic_words
from curation_assets.algorithms.web_lines import c4_lines, refinedweb_lines


def text_signals(
    texts: pl.Series,
    exchanges: pl.DataFrame | None = None,
    toxicity: pl.Series | None = None,
) -> pl.DataFrame:
    """Return one row per text, in order.

    `exchanges`: what was asked and answered, as `instruction_signals` takes it, null where a text has no turns; without it all are null.
    `toxicity`: the probability a classifier fitted on the user's labels gives, null where there is none.

    Raises as `token_signals` does.
    """
    none = pl.Series([None] * len(texts), dtype=pl.String)
    told = languages(texts)
    return pl.concat(
        [
            told,
            scripts(texts).to_frame(),
            token_signals(texts),
            surface_signals(texts),
            c4_lines(texts).drop("text"),
            refinedweb_lines(texts).drop("text"),
            toxic_words(texts, told["language"]),
            korean_signals(texts),
            instruction_signals(pl.DataFrame(dict.fromkeys(EXCHANGES, none)) if exchanges is None else exchanges),
            pl.DataFrame({"toxicity": none.cast(pl.Float64) if toxicity is None else toxicity}),
        ],
        how="horizontal",
    )
