"""How much planted contamination is found, and how much is taken for it that is none.

The benchmark is GSM8K's test questions (../shared/data, see its README); planted are the questions as they are, with other numbers,
inside web pages, in capitals with other punctuation, with a share of their words exchanged, and their first halves alone. Not
contaminated are GSM8K's training questions with their answers, Alpaca instructions and web pages. Beside it a rule by a single hit of
a 12-gram without numbers taken for one another, as DataTrove's decontamination decides.

    python benchmarks/decontamination.py [--data ../shared/data]
"""

import argparse
import gzip
import json
import random
import re
import time
from pathlib import Path

import polars as pl
import pyarrow as pa

from curation_assets.algorithms.decontamination import common_ngrams, coverage, hits, ngrams_of
from curation_assets.algorithms.shingles import shingle

MAX_COVERAGE = 0.5
OTHER_WORDS = ("small", "one", "very", "green", "then")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    data = parser.parse_args().data
    items = [json.loads(line) for line in (data / "benchmarks/gsm8k_test.jsonl").open(encoding="utf-8")]
    questions = [item["question"] for item in items]
    texts = planted(items, data) | clean(data)
    shares = {f"{n} words": measured(questions, texts, n) for n in (5, 6, 8, 10, 13)}
    shares["one hit of 12"] = one_hit(questions, texts)
    print(f"Share of records above {MAX_COVERAGE} of an item's n-grams\n")
    print(f"{'':34}" + "".join(f"{name:>15}" for name in shares))
    for name, found in texts.items():
        print(f"{name:<24}{len(found):>9,} " + "".join(f"{share[name]:>15.4f}" for share in shares.values()))
    megabytes = sum(len(text.encode()) for found in texts.values() for text in found) / 1e6
    print(f"{'MB a CPU-second':<34}" + "".join(f"{megabytes / share['CPU s']:>15.0f}" for share in shares.values()))


def planted(items: list[dict[str, str]], data: Path) -> dict[str, list[str]]:
    """Texts that hold an item each, by what was done to it."""
    chance = random.Random(0)
    pages = web_pages(data)
    questions = [item["question"] for item in items]

    def renumbered(text: str) -> str:
        return re.sub(r"\d+(\.\d+)?", lambda _: str(chance.randint(2, 999)), text)

    def inside(text: str) -> str:
        page = chance.choice(pages)
        return f"{page[: len(page) // 2]}\n{text}\n{page[len(page) // 2 :]}"

    def reworded(text: str, share: float) -> str:
        return " ".join(chance.choice(OTHER_WORDS) if chance.random() < share else word for word in text.split())

    return {
        "as it is": questions,
        "with its answer": [f"{item['question']}\n{item['answer']}" for item in items],
        "other numbers": [renumbered(text) for text in questions],
        "inside a page": [inside(text) for text in questions],
        "inside, other numbers": [inside(renumbered(text)) for text in questions],
        "capitals, punctuation": [text.upper().replace(",", " ;").replace(".", " !") for text in questions],
        "5 % other words": [reworded(text, 0.05) for text in questions],
        "10 % other words": [reworded(text, 0.1) for text in questions],
        "first half": [text[: len(text) // 2] for text in questions],
    }


def clean(data: Path) -> dict[str, list[str]]:
    """Texts that hold no item."""
    with gzip.open(data / "benchmarks/gsm8k_train.jsonl.gz", "rt", encoding="utf-8") as file:
        train = [json.loads(line) for line in file]
    with gzip.open(data / "instruction_en/alpaca_random_9k.json.gz", "rt", encoding="utf-8") as file:
        alpaca = json.load(file)
    return {
        "GSM8K train": [f"{item['question']}\n{item['answer']}" for item in train],
        "Alpaca": ["\n".join(item.values()) for item in alpaca],
        "web pages": web_pages(data),
    }


def web_pages(data: Path) -> list[str]:
    """Common Crawl pages as texts."""
    lines = (data / "web_quality/dclm_quality_dev.jsonl").open(encoding="utf-8")
    return [json.loads(line)["text"] for line in lines]


def measured(questions: list[str], texts: dict[str, list[str]], n: int) -> dict[str, float]:
    """Share of the texts of each name that hold more than MAX_COVERAGE of a question, and the CPU time of all."""
    started = time.process_time()
    ngrams = ngrams_of(pl.Series(questions), n)
    shares = {}
    for name, found in texts.items():
        hit = hits([pa.array(found, pa.large_string())], ngrams)
        is_common = common_ngrams(hit, ngrams, min_coverage=0.5, max_records=10, max_parts=5)
        covered = coverage(hit, ngrams, is_common).filter(pl.col("coverage") > MAX_COVERAGE)
        shares[name] = covered["record"].n_unique() / len(found)
    return shares | {"CPU s": time.process_time() - started}


def one_hit(questions: list[str], texts: dict[str, list[str]]) -> dict[str, float]:
    """Share of the texts of each name that hold a single 12-gram of any question, numbers as they stand."""
    started = time.process_time()
    wanted = pl.Series(shingle(pa.array(questions), 12).hashes).implode()
    shares = {}
    for name, found in texts.items():
        shingles = shingle(pa.array(found, pa.large_string()), 12)
        is_hit = pl.Series(shingles.hashes).is_in(wanted).to_numpy()
        shares[name] = sum(
            bool(is_hit[start:end].any())
            for start, end in zip(shingles.offsets[:-1], shingles.offsets[1:], strict=True)
        ) / len(found)
    return shares | {"CPU s": time.process_time() - started}


if __name__ == "__main__":
    main()
