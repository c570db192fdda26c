"""What Self-Instruct's filters ask of an instruction and its response (Wang et al. 2023, arXiv 2212.10560, section 2.2 and appendix A).

Whether the same request has several responses is counted over all records, in `sql/40_filtered/decisions.sql`; whether a
request is new beside others (ROUGE-L below .7) is asked where requests are generated.
"""

import polars as pl

BLOCKED_WORDS = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot", "go to",
    "video", "audio", "music", "flowchart", "diagram",
)  # fmt: skip
"""Words of requests that text alone cannot answer: those of Self-Instruct's code, video to diagram added by Alpaca's."""


EXCHANGES = {"instruction": pl.String, "input": pl.String, "request": pl.String, "response": pl.String}
"""What is measured of a record with turns: the last request without its input, the input where it is told apart, all that is asked with
the turns before it, and the response. All null for a record without turns."""


def instruction_signals(exchanges: pl.DataFrame) -> pl.DataFrame:
    """Return one row per row of `exchanges` (columns of EXCHANGES), in order; null where there is no response (the record has no turns).

    `request_words`: words between spaces of the instruction alone, as Self-Instruct counts them: an input may be long.
    `blocked_request_words`: how many of `BLOCKED_WORDS` occur in it, English only. `response_repeats_request`: 1 if the response is
    the input, the instruction, or both together, in any spacing, else 0: a part of one of them, or the same in capitals, can be right.
    `request_hash`, `response_hash`: UInt64, of the words of the whole request and of the response in lower case; no hash of a request
    that is empty, for who asks nothing asks not the same.

    >>> rows = [("Draw a map.", None, "Draw a map.", "Here."), ("Fix it:", "Hi  there", "Fix it: Hi there", "Hi there"), (None,) * 4]
    >>> instruction_signals(pl.DataFrame(rows, EXCHANGES, orient="row")).select(
    ...     "request_words", "blocked_request_words", "response_repeats_request"
    ... ).rows()
    [(3, 2, 0), (2, 0, 1), (None, None, None)]
    """
    instruction, given, request, response = map(pl.col, EXCHANGES)
    pattern = r"(?i-u:\b)(?i:" + "|".join(BLOCKED_WORDS) + r")(?i-u:\b)"
    return (
        exchanges.select(*EXCHANGES)
        .cast(pl.String)
        .with_columns(pl.all().str.replace_all(r"\s+", " ").str.strip_chars())
        .with_columns(given.fill_null(""))
        .select(
            request_words=instruction.str.count_matches(r"\S+").cast(pl.Int64),
            blocked_request_words=instruction.str.to_lowercase().str.count_matches(pattern).cast(pl.Int64),
            response_repeats_request=(
                (response != "")
                & ((response == given) | (response == instruction) | (response == instruction + " " + given))
            ).cast(pl.Int64),
            request_hash=pl.when(request != "").then(request.str.to_lowercase().hash(0)),
            response_hash=pl.when(response.is_not_null()).then(response.str.to_lowercase().hash(0)),
        )
    )
