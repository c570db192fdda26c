"""Main content of web pages: resiliparse as the `cleaned` stage uses it, with other settings, and trafilatura where it is installed.

    python benchmarks/html_pages.py                 trafilatura is in no extra: pip install trafilatura to see it beside ours

The pages are the 95 of ../shared/data/html_articles with the article's text written out by hand (half of scrapinghub's
article-extraction-benchmark). Measured as its evaluate.py does: a text is the bag of its shingles of 4 word tokens; precision is the share
of the extracted shingles that are in the article's text, recall the share of the article's that were extracted, each averaged over the
pages; F1 is the harmonic mean of those two averages. Beside them the pages a CPU-second.
"""

import argparse
import functools
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from resiliparse.extract.html2text import extract_plain_text
from vectors import SHARED

from curation_assets.algorithms.cleaning import html_to_text

SHINGLE_TOKENS = 4
ROUNDS = 3


def main() -> None:
    """Measure every extractor and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with html_articles")
    options = parser.parse_args()
    pages = read_pages(options.data / "html_articles")
    print(f"{'extractor':44} {'F1':>6} {'precision':>9} {'recall':>6} {'pages/s':>8}")
    for name, extract in extractors().items():
        pages_a_second, texts = timed(extract, [html for html, _ in pages])
        precision, recall = np.mean([scores(text, gold) for text, (_, gold) in zip(texts, pages, strict=True)], axis=0)
        f1 = 2 * precision * recall / (precision + recall)
        print(f"{name:44} {f1:6.3f} {precision:9.3f} {recall:6.3f} {pages_a_second:8.0f}")


def extractors() -> dict[str, Callable[[str], str]]:
    """Name → from HTML to text; trafilatura's only where it is installed."""
    settings = {
        "resiliparse, all text": {},
        "resiliparse, main content": {"main_content": True, "alt_texts": False},
        "resiliparse, without comments": {"main_content": True, "alt_texts": False, "comments": False},
        "resiliparse, without comments and metadata": {
            "main_content": True,
            "alt_texts": False,
            "comments": False,
            "post_meta": False,
        },
    }
    found: dict[str, Callable[[str], str]] = {"ours (curation_assets)": html_to_text}
    found |= {name: functools.partial(extract_plain_text, **more) for name, more in settings.items()}
    try:
        import trafilatura
    except ImportError:
        return found
    quick = {"fast": True, "include_comments": False}
    return found | {
        f"trafilatura {trafilatura.__version__}": lambda html: trafilatura.extract(html, include_comments=False) or "",
        "trafilatura, fast": lambda html: trafilatura.extract(html, **quick) or "",
        "trafilatura, favouring precision": lambda html: (
            trafilatura.extract(html, include_comments=False, favor_precision=True) or ""
        ),
        "trafilatura, favouring recall": lambda html: (
            trafilatura.extract(html, include_comments=False, favor_recall=True) or ""
        ),
    }


def read_pages(folder: Path) -> list[tuple[str, str]]:
    """HTML and article text of every page."""
    gold = json.loads((folder / "ground-truth.json").read_text(encoding="utf-8"))
    return [
        (
            gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()).decode("utf-8", "replace"),
            page["articleBody"],
        )
        for name, page in sorted(gold.items())
    ]


def timed(extract: Callable[[str], str], pages: list[str]) -> tuple[float, list[str]]:
    """Pages a CPU-second, the best of ROUNDS, and the texts."""
    extract(pages[0])
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        texts = [extract(page) for page in pages]
        seconds.append(time.process_time() - started)
    return len(pages) / min(seconds), texts


def scores(text: str, gold: str) -> tuple[float, float]:
    """Precision and recall of a text's shingles."""
    got, wanted = shingles(text), shingles(gold)
    hits = (got & wanted).total()
    return hits / max(1, got.total()), hits / max(1, wanted.total())


def shingles(text: str) -> Counter[tuple[str, ...]]:
    """How often each run of 4 tokens is in a text; a shorter text is one."""
    tokens = re.findall(r"\w+", text)
    last = max(1, len(tokens) - SHINGLE_TOKENS + 1) if tokens else 0
    return Counter(tuple(tokens[at : at + SHINGLE_TOKENS]) for at in range(last))


if __name__ == "__main__":
    main()
