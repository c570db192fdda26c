"""Our verdicts against DataTrove's own filters, rule by rule, on real text; and both's throughput in the same run.

    uv pip install "datatrove==0.10.*" spacy        # in an environment of its own; nothing else here needs them
    POLARS_MAX_THREADS=1 python benchmarks/datatrove_rules.py SHARED   # --details: texts on which a rule differs, by length and source
    python benchmarks/datatrove_rules.py --write-special-tokens   # algorithms/english_special_tokens.json, from spaCy

Every rule of GopherQualityFilter, GopherRepetitionFilter, C4QualityFilter and FineWebQualityFilter is asked alone, with
DataTrove's own code and thresholds. Ours are the signals of sql/40_filtered/signals.sql against the same thresholds,
whatever kinds and languages a rule speaks about in the graph. Texts: SHARED (labelled web pages, articles and whole
pages as text, CCNet records, Alpaca's answers, speeches) and the documentation and docstrings of this environment, all
as `cleaned` hands them on, to both.

Throughput is texts per CPU-second of this process, the best of three rounds over every fifth of the texts: DataTrove
running its four filters one after the other without a cache of ours (its tokenizer keeps the last five texts), here
everything that filtered.signals measures, language, abuse and the judge's signals included, and then only what the four
filters measure (with the judge's signals).
"""

import argparse
import ast
import gzip
import json
import sysconfig
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from curation_assets.algorithms.cleaning import clean
from curation_assets.algorithms.scripts import scripts
from curation_assets.algorithms.signals import text_signals
from curation_assets.algorithms.surface_signals import surface_signals
from curation_assets.algorithms.token_signals import token_signals
from curation_assets.algorithms.tokens import SPECIAL_TOKENS
from curation_assets.algorithms.web_lines import c4_lines
from curation_assets.filter_rules import RULE_SETS, RuleSettings
from curation_assets.tables import tables

MOST_CHARS = 300_000
ROUNDS = 3
DATATROVES = {
    "min_alpha_token_ratio": 0.8,
    "datatrove_max_top_2gram_char_ratio": 0.2,
    "datatrove_max_top_3gram_char_ratio": 0.18,
    "datatrove_max_top_4gram_char_ratio": 0.16,
    "datatrove_min_c4_sentences": 5,
}
"""The settings that switch DataTrove's readings on."""

NGRAMS = {2: 0.2, 3: 0.18, 4: 0.16, 5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}


def corpus(shared: Path) -> list[tuple[str, str]]:
    """(where from, text) of a few thousand real texts."""
    from resiliparse.extract.html2text import extract_plain_text

    found = [
        ("web_quality", json.loads(line)["text"])
        for line in (shared / "web_quality/dclm_quality_dev.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    articles = json.loads((shared / "html_articles/ground-truth.json").read_text(encoding="utf-8"))
    found += [("articles", article["articleBody"]) for article in articles.values()]
    for page in sorted((shared / "html_articles/html").glob("*.gz")):
        html = gzip.decompress(page.read_bytes()).decode("utf-8", "replace")
        found.append(("whole pages", extract_plain_text(html)))
    with gzip.open(shared / "web_crawl/cc_en_head-0091.jsonl.gz", "rt", encoding="utf-8") as file:
        found += [("web_crawl", json.loads(line)["text"]) for line in file]
    with gzip.open(shared / "instruction_en/alpaca_random_9k.json.gz", "rt", encoding="utf-8") as file:
        found += [("alpaca", row["output"]) for row in json.load(file)][:3000]
    with zipfile.ZipFile(shared / "drift/state_union.zip") as archive:
        found += [
            ("speeches", archive.read(name).decode("latin-1")) for name in archive.namelist() if name.endswith("txt")
        ]
    packages = Path(np.__file__).parents[1]
    for suffix in ("*.md", "*.rst", "METADATA", "*.txt"):
        for path in sorted(packages.rglob(suffix))[:200]:
            found.append(("documentation", path.read_text(encoding="utf-8", errors="replace")))
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        nodes = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)))
        found += [("docstrings", text) for text in map(ast.get_docstring, nodes) if text and len(text) > 200]
    cleaned = ((where, clean(text).text) for where, text in found if len(text) <= MOST_CHARS)
    return [(where, text) for where, text in cleaned if text]


def datatrove_filters() -> dict[str, Callable[[str], bool]]:
    """Rule -> whether DataTrove keeps a text when only that rule is on."""
    from datatrove.data import Document
    from datatrove.pipeline.filters.c4_filters import C4QualityFilter
    from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
    from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
    from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter

    def keeps(one: object) -> Callable[[str], bool]:
        return lambda text: one.filter(Document(text=text, id="")) is True

    def alone(filter_class: type, off: dict, **on: object) -> Callable[[str], bool]:
        return keeps(filter_class(**{**off, **on}))

    quality = dict.fromkeys(
        ("min_doc_words", "max_doc_words", "min_avg_word_length", "max_avg_word_length", "max_symbol_word_ratio",
         "max_bullet_lines_ratio", "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio", "min_stop_words")
    )  # fmt: skip
    repetition = {**dict.fromkeys(("dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac")),
                  "top_n_grams": (), "dup_n_grams": ()}  # fmt: skip
    fineweb = {"line_punct_thr": 0, "short_line_thr": 1, "char_duplicates_ratio": 1e9, "new_line_ratio": 1e9}
    c4 = {"filter_lorem_ipsum": False, "filter_curly_bracket": False, "min_num_sentences": -1}
    only_symbols = {name: value for name, value in quality.items() if name != "max_symbol_word_ratio"}

    def symbols(mark: str) -> Callable[[str], bool]:
        one = GopherQualityFilter(**only_symbols)
        return lambda text: one.filter(Document(text=text, id="")) != (False, f"gopher_too_many_{mark}")

    rules = {
        "min_words": alone(GopherQualityFilter, quality, min_doc_words=50),
        "max_words": alone(GopherQualityFilter, quality, max_doc_words=100_000),
        "min_mean_word_chars": alone(GopherQualityFilter, quality, min_avg_word_length=3),
        "max_mean_word_chars": alone(GopherQualityFilter, quality, max_avg_word_length=10),
        "max_hash_symbol_ratio": symbols("hashes"),
        "max_ellipsis_ratio": symbols("ellipsis"),
        "max_bullet_line_ratio": alone(GopherQualityFilter, quality, max_bullet_lines_ratio=0.9),
        "max_ellipsis_line_ratio": alone(GopherQualityFilter, quality, max_ellipsis_lines_ratio=0.3),
        "min_alpha_token_ratio": alone(GopherQualityFilter, quality, max_non_alpha_words_ratio=0.8),
        "min_alpha_word_ratio": alone(GopherQualityFilter, quality, max_non_alpha_words_ratio=0.8),
        "min_stop_words": alone(GopherQualityFilter, quality, min_stop_words=2),
        "max_duplicate_paragraph_ratio": alone(GopherRepetitionFilter, repetition, dup_para_frac=0.3),
        "max_duplicate_paragraph_char_ratio": alone(GopherRepetitionFilter, repetition, dup_para_char_frac=0.2),
        "max_duplicate_line_ratio": alone(GopherRepetitionFilter, repetition, dup_line_frac=0.3),
        "gopher_max_duplicate_line_char_ratio": alone(GopherRepetitionFilter, repetition, dup_line_char_frac=0.2),
    }
    for n, bound in NGRAMS.items():
        grams = "top_n_grams" if n <= 4 else "dup_n_grams"
        one = alone(GopherRepetitionFilter, repetition, **{grams: ((n, bound),)})
        rules[f"max_{'top' if n <= 4 else 'duplicate'}_{n}gram_char_ratio"] = one
        if n <= 4:
            rules[f"datatrove_max_top_{n}gram_char_ratio"] = one
    return {
        **rules,
        "min_terminal_punctuation_line_ratio": alone(FineWebQualityFilter, fineweb, line_punct_thr=0.12),
        "max_short_line_ratio": alone(FineWebQualityFilter, fineweb, short_line_thr=0.67),
        "max_duplicate_line_char_ratio": alone(FineWebQualityFilter, fineweb, char_duplicates_ratio=0.01),
        "max_newline_word_ratio": alone(FineWebQualityFilter, fineweb, new_line_ratio=0.3),
        "datatrove_min_c4_sentences": alone(C4QualityFilter, c4, min_num_sentences=5),
        "max_lorem_ipsum_lines": alone(C4QualityFilter, c4, filter_lorem_ipsum=True),
        "max_curly_bracket_lines": alone(C4QualityFilter, c4, filter_curly_bracket=True),
    }


def our_signals(texts: pl.Series, *, only_rules_of_both: bool = False) -> pl.DataFrame:
    """filtered.signals of the texts, in order, by the graph's own SQL, on one thread.

    `only_rules_of_both`: leave out what DataTrove's four filters have nothing like (language, RefinedWeb, abuse, Korean, instructions); the
    SQL measures its signals for the judge all the same.
    """
    records = pl.DataFrame({"record_id": pl.int_range(len(texts), eager=True), "text": texts})
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("create schema deduped")
        measured = signals_of_both(texts) if only_rules_of_both else text_signals(texts)
        connection.register("incoming", records.select("record_id").hstack(measured).to_arrow())
        connection.register("texts", records.to_arrow())
        connection.execute("create table deduped.records as select *, '' as text_hash from texts")
        return connection.sql(tables()["filtered.signals"].sql).pl().sort("record_id")


def signals_of_both(texts: pl.Series) -> pl.DataFrame:
    """What Python measures for the rules that both have; the other columns are null."""
    ours = [scripts(texts).to_frame(), token_signals(texts), surface_signals(texts), c4_lines(texts).drop("text")]
    measured = pl.concat(ours, how="horizontal")
    schema = text_signals(pl.Series([], dtype=pl.String)).schema
    others = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in measured.columns]
    return measured.with_columns(others).select(list(schema))


def our_verdicts(texts: pl.Series) -> dict[str, np.ndarray]:
    """Rule -> whether we keep each text, at DataTrove's thresholds."""
    signals = our_signals(texts)
    with duckdb.connect() as connection:
        settings = RuleSettings(rule_sets=list(RULE_SETS), **DATATROVES)
        rules = connection.sql(tables()["filtered.rules"].sql, params=settings.rule_params()).pl()
    named = {}
    for setting, signal, at_least, at_most in rules.select("setting", "signal", "at_least", "at_most").iter_rows():
        if signal in signals.columns:
            value = signals[signal].cast(pl.Float64)
            keeps = (value >= at_least) if at_least is not None else (value <= at_most)
            named[setting] = keeps.fill_null(True).to_numpy()
    return named


def main() -> None:
    """Print agreement by rule, then throughput."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path, nargs="?")
    parser.add_argument("--details", action="store_true", help="show which texts differ, by source and length")
    parser.add_argument("--throughput", action="store_true", help="only measure the throughput")
    parser.add_argument("--write-special-tokens", action="store_true")
    options = parser.parse_args()
    if options.write_special_tokens:
        write_special_tokens()
        return
    found = corpus(options.shared)
    wheres, texts = [where for where, _ in found], pl.Series([text for _, text in found])
    if options.throughput:
        throughput(texts.gather_every(5))
        return
    print(f"{len(texts):,} texts, {texts.str.len_bytes().sum() / 1e6:.1f} MB: {dict(Counter(wheres))}\n")
    ours = our_verdicts(texts)
    theirs = {rule: np.zeros(len(texts), bool) for rule in datatrove_filters()}
    filters = datatrove_filters()
    for row, text in enumerate(texts):  # text by text, so that DataTrove's tokenizer's cache serves all rules
        for rule, keeps in filters.items():
            try:
                theirs[rule][row] = keeps(text)
            except ZeroDivisionError:
                theirs[rule][row] = False
    is_long = token_signals(texts)["word_tokens"].to_numpy() >= 50
    print(f"{'rule':40} {'both drop':>9} {'only we':>8} {'only they':>9} {'agreement':>9} {'from 50 words':>13}")
    for rule, keeps in theirs.items():
        same = keeps == ours[rule]
        print(
            f"{rule:40} {(~keeps & ~ours[rule]).sum():9,} {(keeps & ~ours[rule]).sum():8,} {(~keeps & ours[rule]).sum():9,} "
            f"{same.mean():9.2%} {same[is_long].mean():13.2%}"
        )
        if options.details and not same.all():
            rows = np.flatnonzero(~same)
            print(
                "   ",
                Counter(wheres[row] for row in rows).most_common(4),
                [len(texts[int(row)]) for row in rows[:8]],
                rows[:8].tolist(),
            )
    throughput(texts.gather_every(5))


def throughput(texts: pl.Series) -> None:
    """Texts per CPU-second of the four filters here and there."""
    from datatrove.data import Document
    from datatrove.pipeline.filters.c4_filters import C4QualityFilter
    from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
    from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
    from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter

    filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()]

    def in_turn() -> None:
        for text in texts:
            for one in filters:
                one.filter(Document(text=text, id=""))

    print()
    runs = {
        "DataTrove": in_turn,
        "filtered.signals, all of it": lambda: our_signals(texts),
        "of it, what the filters measure": lambda: our_signals(texts, only_rules_of_both=True),
    }
    seconds = dict.fromkeys(runs, float("inf"))
    our_signals(texts[:9])  # kernels and models are loaded; DataTrove's tokenizer is by the first round
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started = time.process_time()
            run()
            seconds[name] = min(seconds[name], time.process_time() - started)
    for name, least in seconds.items():
        print(f"{name:32} {len(texts) / least:10,.0f} texts/CPU-s   {seconds['DataTrove'] / least:5.1f} ×")


def write_special_tokens() -> None:
    """Write spaCy's special cases: string -> the lengths of its tokens."""
    import spacy
    from spacy.attrs import ORTH

    cases = spacy.blank("en").tokenizer.rules
    found = {case: [len(token[ORTH]) for token in tokens] for case, tokens in sorted(cases.items())}
    found = {case: lengths for case, lengths in found.items() if not any(map(str.isspace, case))}
    SPECIAL_TOKENS.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    print(f"{SPECIAL_TOKENS}: {len(found):,} cases")


if __name__ == "__main__":
    main()
