"""Personal data: precision and recall by type on labelled sentences, and megabytes a CPU-second; beside Presidio where it is installed.

    python benchmarks/pii.py                     pip install presidio-analyzer, in an environment of its own, to see it beside ours

The sentences are the 1,500 of ../shared/data/pii/synth_dataset_v2.json (presidio-research, MIT). A finding is right where it overlaps a
labelled span of its type; precision is the share of findings that are right, recall the share of spans that a finding of their type
overlaps.
The exact column is the share of spans that one has with both ends. The types of the set that we do not look for (addresses, organisations,
places, dates, ages, titles, nationalities, driving licences, and names without a model) are counted below the table: they stay in texts.

Presidio runs by its own patterns and checks alone, on a blank spaCy pipeline: without a language model (12 to 400 MB more) it finds
no names and scores no context. Speed is measured on human-rated pages of Common Crawl (web_quality).
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
from vectors import SHARED

from curation_assets.algorithms import pii
from curation_assets.stages.cleaned import PiiConfig

NAMES = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "credit_card",
    "IBAN_CODE": "iban",
    "US_SSN": "us_ssn",
    "IP_ADDRESS": "ip_address",
    "PERSON": "person",
}
PATTERNS = [name for name in NAMES if name != "PERSON"]

Span = tuple[str, int, int]
Find = Callable[[str], list[Span]]


def main() -> None:
    """Print a table of each engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with pii and web_quality")
    parser.add_argument("--names-model", help="a token-classification model for names, by id or path")
    options = parser.parse_args()
    rows = json.loads((options.data / "pii" / "synth_dataset_v2.json").read_text(encoding="utf-8"))
    lines = (options.data / "web_quality" / "dclm_quality_dev.jsonl").read_text(encoding="utf-8").splitlines()
    pages = [json.loads(line)["text"] for line in lines]
    for name, find in engines(options.names_model):
        print_engine(name, find, rows, pages)
    everything = Counter(span["entity_type"] for row in rows for span in row["spans"])
    missed = ", ".join(f"{kind} {n:,}" for kind, n in everything.most_common() if kind not in PATTERNS)
    print(f"\nnot looked for by patterns: {missed}")
    print_speed_of_search(pages)


def engines(names_model: str | None) -> Iterator[tuple[str, Find]]:
    """Name and function of ours and, where they are installed, of others."""
    regions = PiiConfig().phone_regions
    people = None
    if names_model:
        from curation_assets.models.names import NameRecogniser

        people = NameRecogniser(names_model)

    def ours(text: str) -> list[Span]:
        found = pii.find(text, pii.TYPES, regions)
        found = pii.without_overlaps([*found, *people.find([text])[0]]) if people else found
        return [(one.type, one.start, one.end) for one in found]

    yield "ours", ours
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import SpacyNlpEngine
    except ImportError:
        return
    engine = SpacyNlpEngine()
    engine.nlp = {"en": spacy.blank("en")}
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])

    def presidio(text: str) -> list[Span]:
        found = analyzer.analyze(text, "en", entities=PATTERNS)
        return [(NAMES[one.entity_type], one.start, one.end) for one in found]

    yield "presidio, patterns alone", presidio


def print_engine(name: str, find: Find, rows: list[dict], pages: list[str]) -> None:
    """Precision and recall of one engine by type, and its speed."""
    find(pages[0])
    seconds = least_seconds(lambda: [find(page) for page in pages])
    size = sum(len(page.encode()) for page in pages) / 1e6
    print(f"\n{name}: {size / seconds:.2f} MB a CPU-second, {len(pages) / seconds:,.0f} pages\n")
    print(f"{'type':16} {'spans':>6} {'found':>6} {'precision':>9} {'recall':>7} {'exact':>6}")
    spans, hits, exact, found, right = Counter(), Counter(), Counter(), Counter(), Counter()
    for row in rows:
        wanted = {
            (NAMES[s["entity_type"]], s["start_position"], s["end_position"])
            for s in row["spans"]
            if s["entity_type"] in NAMES
        }
        got = find(row["full_text"])
        spans.update(kind for kind, _, _ in wanted)
        found.update(kind for kind, _, _ in got)
        exact.update(kind for kind, _, _ in wanted & set(got))
        hits.update(one[0] for one in wanted if any(overlap(one, other) for other in got))
        right.update(one[0] for one in got if any(overlap(one, other) for other in wanted))
    for kind in sorted(set(spans) | set(found)):
        precision = f"{right[kind] / found[kind]:9.3f}" if found[kind] else f"{'–':>9}"
        recall, ends = (f"{n[kind] / spans[kind]:.3f}" if spans[kind] else "–" for n in (hits, exact))
        print(f"{kind:16} {spans[kind]:6,} {found[kind]:6,} {precision} {recall:>7} {ends:>6}")


def least_seconds(run: Callable[[], object]) -> float:
    """CPU-seconds of the quickest of five runs."""
    seconds = []
    for _ in range(5):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    return min(seconds)


def overlap(a: Span, b: Span) -> bool:
    """Whether two spans are of one type and share a character."""
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def print_speed_of_search(pages: list[str]) -> None:
    """How fast texts without anything are passed over."""
    texts = pl.Series(pages * 8)
    size = sum(len(page.encode()) for page in pages) * 8 / 1e6
    seconds = least_seconds(lambda: pii.worth_a_look(texts))
    share = pii.worth_a_look(texts).mean()
    print(f"search before it: {size / seconds:,.0f} MB a CPU-second; {share:.0%} of the pages are worth a look")


if __name__ == "__main__":
    main()
