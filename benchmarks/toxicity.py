"""What the lexicons of abuse find, and whom they wrong: precision, recall, AUC and false alarms on labelled texts.

    python benchmarks/toxicity.py SHARED

SHARED is a folder with hate_speech_en (Davidson et al. 2017: tweets, most of them found by such words, so recall is
flattered) and korean_hate (Moon et al. 2020: comments on entertainment news). Texts that nobody collected for their abuse
show the false alarms of everyday text: Alpaca's answers, news headlines, Korean questions and answers. Nothing was fitted
on any of them. Precision and recall are of texts with at least one word. `fitted` is the classifier that toxicity_examples gives: on half
of the tweets, measured on the other; on Korean train, measured on dev; precision and recall are of the rule max_toxicity: .9.
"""

import csv
import gzip
import json
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from curation_assets.algorithms.language import languages
from curation_assets.algorithms.toxicity import toxic_words
from curation_assets.models.reference_judge import fit_reference_judge


def labelled(shared: Path) -> dict[str, tuple[list[str], np.ndarray, np.ndarray]]:
    """Name -> texts, whether people found them abusive, whether they found them hateful."""
    with (shared / "hate_speech_en/labeled_data.csv").open(encoding="utf-8", newline="") as file:
        tweets = list(csv.DictReader(file))
    kind = np.array([int(row["class"]) for row in tweets])
    found = {"hate_speech_en": ([row["tweet"] for row in tweets], kind < 2, kind == 0)}
    for part in ("train", "dev"):
        lines = (shared / f"korean_hate/{part}.tsv").read_text(encoding="utf-8").split("\n")[1:]
        rows = [line.split("\t") for line in lines if line]
        hate = np.array([row[3] for row in rows])
        found[f"korean_hate {part}"] = ([row[0] for row in rows], hate != "none", hate == "hate")
    return found


def harmless(shared: Path) -> dict[str, list[str]]:
    """Name -> texts that were not collected for their abuse."""
    with gzip.open(shared / "instruction_en/alpaca_random_9k.json.gz", "rt", encoding="utf-8") as file:
        alpaca = [row["output"] for row in json.load(file)]
    with gzip.open(shared / "clickbait/non_clickbait_data.gz", "rt", encoding="utf-8") as file:
        news = [line for line in file.read().split("\n") if line]
    with (shared / "instruction_ko/ChatbotData.csv").open(encoding="utf-8", newline="") as file:
        chat = [row["Q"] for row in csv.DictReader(file)]
    return {"Alpaca's answers": alpaca, "news headlines": news, "Korean questions": chat}


def main() -> None:
    """Print a row per set."""
    shared = Path(sys.argv[1])
    print(
        f"{'set':20} {'texts':>7} {'abusive':>8} {'precision':>9} {'recall':>7} {'of hate':>8} {'AUC':>6} "
        f"{'false alarms':>12} {'/CPU-s':>8}"
    )
    sets = labelled(shared)
    for name, (texts, is_abusive, is_hate) in sets.items():
        counts, rate = measured(texts)
        hit = counts > 0
        ratio = counts / np.array([max(len(text.split()), 1) for text in texts])
        print(
            f"{name:20} {len(texts):7,} {is_abusive.mean():8.3f} {is_abusive[hit].mean():9.3f} {hit[is_abusive].mean():7.3f} "
            f"{hit[is_hate].mean():8.3f} {roc_auc_score(is_abusive, ratio):6.3f} {hit[~is_abusive].mean():12.3f} {rate:8,.0f}"
        )
    for name, (train, test) in {"hate_speech_en": halves(sets["hate_speech_en"]),
                                "korean_hate": (sets["korean_hate train"], sets["korean_hate dev"])}.items():  # fmt: skip
        (texts, is_abusive, _), (others, is_abuse, _) = train, test
        harmless_texts, abuse = (
            [text for text, bad in zip(texts, is_abusive, strict=True) if bad == of] for of in (False, True)
        )
        scores = 1 - fit_reference_judge(harmless_texts, abuse).score(others)
        told = scores > 0.9
        print(
            f"{name + ' fitted':20} {len(others):7,} {is_abuse.mean():8.3f} {is_abuse[told].mean():9.3f} "
            f"{told[is_abuse].mean():7.3f} {'':8} {roc_auc_score(is_abuse, scores):6.3f} {told[~is_abuse].mean():12.3f}"
        )
    for name, texts in harmless(shared).items():
        counts, rate = measured(texts)
        print(f"{name:20} {len(texts):7,} {'':8} {'':9} {'':7} {'':8} {'':6} {(counts > 0).mean():12.4f} {rate:8,.0f}")


def halves(given: tuple[list[str], np.ndarray, np.ndarray]) -> tuple[tuple, tuple]:
    """Every other text: one half to fit on, one to measure on."""
    texts, is_abusive, is_hate = given
    return tuple((texts[of::2], is_abusive[of::2], is_hate[of::2]) for of in (0, 1))


def measured(texts: list[str]) -> tuple[np.ndarray, float]:
    """The toxic words of each text, and texts per CPU-second."""
    series = pl.Series(texts)
    language = languages(series)["language"]
    toxic_words(series[:10], language[:10])
    started = time.process_time()
    counts = toxic_words(series, language)["toxic_words"].fill_null(0).to_numpy()
    return counts, len(texts) / (time.process_time() - started)


if __name__ == "__main__":
    main()
