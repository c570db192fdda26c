"""What Self-Instruct's filters ask of an instruction and its response (Wang et al. 2023, arXiv 2212.10560, section 2.2 and appendix A).

Whether the same request has several responses is counted over all records, in `sql/40_filtered/signals.sql`; whether a
request is new beside others (ROUGE-L below .7) is asked where requests are generated.
"""

import polars as pl

BLOCKED_WORDS = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot", "go to",
    "video", "audio", "music", "flowchart", "diagram",
)  # fmt: skip
"""Words of requests that text alone cannot answer: those of Self-Instruct's code, video to diagram added by Alpaca's."""


def instruction_signals(requests: pl.Series, responses: pl.Series) -> pl.DataFrame:
    """Return one row per pair, in order; null where the request or the response is null (the record has no turns).

    `request_words`: words between spaces. `blocked_request_words`: how many of `BLOCKED_WORDS` occur, English only.
    `response_repeats_request`: 1 if the response is the request, or the end or the beginning of it (its input), in any
    case and spacing, else 0. `request_hash`, `response_hash`: UInt64, of their words in lower case.

    >>> instruction_signals(pl.Series(["Draw a map.", "Say: Hi there", None]), pl.Series(["Here.", "hi  there", None])).select(
    ...     "request_words", "blocked_request_words", "response_repeats_request"
    ... ).rows()
    [(3, 2, 0), (3, 0, 1), (None, None, None)]
    """
    request, response = pl.col("request"), pl.col("response")
    pattern = r"(?i-u:\b)(?i:" + "|".join(BLOCKED_WORDS) + r")(?i-u:\b)"
    return (
        pl.DataFrame({"request": requests.cast(pl.String), "response": responses.cast(pl.String)})
        .with_columns(pl.all().str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars())
        .select(
            request_words=request.str.count_matches(r"\S+").cast(pl.Int64),
            blocked_request_words=request.str.count_matches(pattern).cast(pl.Int64),
            response_repeats_request=((response != "") & (request.str.ends_with(response) | request.str.starts_with(response)))
            .cast(pl.Int64),
            request_hash=pl.when(request.is_not_null()).then(request.hash(0)),
            response_hash=pl.when(response.is_not_null()).then(response.hash(0)),
        )
    )  # fmt: skip
