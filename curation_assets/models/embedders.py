"""Embedders: from texts to unit vectors. Each says which model and which revision it is, for the cache and the ledger."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from curation_assets.algorithms.text_chunks import chunk_bounds, length_batches, pool_chunks
from curation_assets.models.chunked_inputs import frame_of, token_ids
from curation_assets.models.half_precision import half_precision_copy
from curation_assets.models.model_files import packaged_default, revision_from_hub, revision_of_folder
from curation_assets.progress import logger

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The embedded default: 384 dimensions, English, 256 tokens at once."""

SAME_COSINE = 0.999
"""Mean cosine with the float32 vectors from which a faster arithmetic counts as the same model. Ours."""

MAX_CHUNKS = 4
"""Chunks read of a text at most. With the default model that is 1,016 tokens, some 4,000 characters: all of 9,229 instructions, and
of the demo's corpus 98 % of the texts whole and 78 % of the tokens, for 1.35 times the work of reading first chunks only."""

BATCH_TOKENS = {"cpu": 1024, "cuda": 16_384, "mps": 4096}
"""Tokens computed together at most, padding included. On CPU a batch's activations should stay in a core's cache; measured 512 to
2,048 alike within 5 %. The figures for GPUs are not measured."""

MIN_BATCH_TOKENS = 256
"""On CPU batches may get this small where there are few for the threads."""


class Read(NamedTuple):
    """What an embedder made of some texts."""

    vectors: np.ndarray
    """float32[texts, dimensions], every row of length 1."""
    tokens: np.ndarray
    """int64[texts]: tokens of each text, special tokens and prompt apart; 0 where the model does not tell."""
    tokens_read: np.ndarray
    """int64[texts]: those of them that its vector was made from."""
    chunks: np.ndarray
    """int64[texts]: pieces it was read in."""


class SelfTest(NamedTuple):
    """What trying 16-bit arithmetic on a few texts gave."""

    precision: str
    """The arithmetic to take: bf16 or fp16 if it is faster and the vectors stay the same, else fp32."""
    texts: int
    speedup: float
    """Seconds in float32 over seconds in 16 bits; 0 if the model does not compute in 16 bits here."""
    mean_cosine: float
    """Of the 16-bit vectors with the float32 ones."""


class Embedder(Protocol):
    """Turns texts into vectors."""

    model: str
    revision: str
    dimensions: int
    precision: str
    limit: int | None

    def self_test(self, sample: Sequence[str]) -> SelfTest | None:
        """Try on a sample which arithmetic is fastest here without changing the vectors; None where there is no choice."""

    def read(self, texts: Sequence[str]) -> Read:
        """Embed texts and say how much of each the vectors are made from."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts: float32[texts, dimensions], every row of length 1."""


class SentenceTransformerEmbedder:
    """Any sentence-transformers or transformers model by id or path. Its transformer loads as safetensors only, and no remote code runs.

    A plain transformers model, an encoder or a decoder such as GPT-2, is pooled by the mean over its tokens. A text longer
    than the model's limit is read in chunks, each with the special tokens and the prompt the model expects, and its
    vector is the mean of theirs, weighted by their tokens.
    """

    def __init__(self, model: str = DEFAULT_MODEL, max_chunks: int = MAX_CHUNKS) -> None:
        """Load a model. Raises OSError if it is neither in a package or folder here nor on the hub."""
        folder = packaged_default() if model in (DEFAULT_MODEL, "all-MiniLM-L6-v2") else Path(model)
        found = folder is not None and folder.is_dir()
        self._transformer = load_sentence_transformer(str(folder) if found else model)
        self._modules = {"fp32": list(self._transformer)}
        self._frame = frame_of(self._transformer)
        self._max_chunks = max_chunks
        self.model = DEFAULT_MODEL if folder == packaged_default() else model
        weights = revision_of_folder(folder) if found else revision_from_hub(self._transformer)
        self.revision = f"{weights}-{f'chunks{max_chunks}' if self._frame else 'whole'}"
        self.dimensions = _dimensions(self._transformer)
        self.limit = self._frame.capacity if self._frame else None
        self.precision = "fp32"

    def self_test(self, sample: Sequence[str]) -> SelfTest | None:
        """Try 16-bit arithmetic on a sample of texts against float32; None where there is no choice.

        It is to be taken if it is faster and the mean cosine with the float32 vectors is at least `SAME_COSINE`. CPUs with
        AVX512-BF16 or AMX gain a factor of 2 to 3; older ones are slower in bfloat16, so it is tried rather than guessed.
        Each is tried twice and its faster try counts: other work on the machine would slow one down by chance, and the
        choice stays with a database.
        """
        half = self._half()
        if not sample or not half:
            return None
        first_seconds, fp32_vectors = self._try("fp32", sample)
        try:
            (seconds, vectors), (again_seconds, _) = self._try(half, sample), self._try(half, sample)
        except RuntimeError as error:  # a processor, or a model's own code, without this arithmetic
            logger.warning("embeddings: %s does not compute in %s here, so in fp32: %s", self.model, half, error)
            return SelfTest("fp32", len(sample), 0.0, 0.0)
        fp32_seconds = min(first_seconds, self._try("fp32", sample)[0])
        speedup = fp32_seconds / min(seconds, again_seconds)
        cosine = float(np.nan_to_num((fp32_vectors * vectors).sum(axis=1).mean()))  # NaN where fp16 overflows
        chosen = half if speedup > 1 and cosine >= SAME_COSINE else "fp32"
        return SelfTest(chosen, len(sample), round(speedup, 2), round(cosine, 6))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts: float32[texts, dimensions], every row of length 1."""
        return self.read(texts).vectors

    def read(self, texts: Sequence[str]) -> Read:
        """Embed texts and say how much of each the vectors are made from.

        Chunks of like length are computed together, whatever texts they are from: the company a text is in changes its
        vector by no more than rounding.
        """
        if not self._frame or not texts:
            return self._read_whole(list(texts))
        ids = list(token_ids(self._transformer, self._frame, texts))
        tokens = np.array([max(0, len(of_text) - self._frame.prompt_tokens) for of_text in ids], dtype=np.int64)
        cuts = [chunk_bounds(count, self._frame.capacity, self._max_chunks) for count in tokens.tolist()]
        chunks = [self._frame.chunk(ids[i], start, end) for i, bounds in enumerate(cuts) for start, end in bounds]
        start, end = np.concatenate(cuts).T
        chunks_of_text = np.array([len(bounds) for bounds in cuts], dtype=np.int64)
        first_chunk = np.cumsum(chunks_of_text) - chunks_of_text
        vectors = pool_chunks(self._compute(chunks), np.maximum(1, end - start), chunks_of_text)
        return Read(vectors, tokens, np.add.reduceat(end - start, first_chunk), chunks_of_text)

    def _compute(self, chunks: list[np.ndarray]) -> np.ndarray:
        """Unit vectors of chunks, float32[chunks, dimensions].

        On CPU every thread computes a batch of its own, rather than all threads a part of the same: there is nothing to wait
        for in every layer, and a batch stays in one core's cache.
        """
        import torch

        device, threads = self._transformer.device.type, torch.get_num_threads()
        lengths, budget = np.array([len(chunk) for chunk in chunks]), BATCH_TOKENS.get(device, BATCH_TOKENS["cpu"])
        if device == "cpu":
            budget = int(np.clip(lengths.sum() // (4 * threads), MIN_BATCH_TOKENS, budget))
        batches = length_batches(lengths, budget)
        vectors = np.empty((len(chunks), self.dimensions), dtype=np.float32)
        modules = self._modules_in(self.precision)

        def compute(batch: np.ndarray) -> None:
            vectors[batch] = self._forward(modules, [chunks[i] for i in batch])

        if device != "cpu" or len(batches) < threads:
            for batch in batches:
                compute(batch)
            return vectors
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(compute, batches))
        finally:
            torch.set_num_threads(threads)
        return vectors

    def _forward(self, modules: "list[torch.nn.Module]", chunks: list[np.ndarray]) -> np.ndarray:
        """One batch through the model's modules: all after the transformer are small and compute in float32."""
        import torch

        features = {name: values.to(self._transformer.device) for name, values in self._frame.padded(chunks).items()}
        if self._frame.prompt:
            features["prompt_length"] = self._frame.pooled_from
        with torch.inference_mode():
            for module in modules:
                features = module(features)
                features = {
                    name: values.float() if torch.is_tensor(values) and values.is_floating_point() else values
                    for name, values in features.items()
                }
            vectors = features["sentence_embedding"][:, : self.dimensions]
            return torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()

    def _modules_in(self, precision: str) -> "list[torch.nn.Module]":
        """The model's modules with its transformer in some precision, made when first asked for."""
        if precision not in self._modules:
            transformer, *others = self._modules["fp32"]
            self._modules[precision] = [half_precision_copy(transformer, precision, self.limit), *others]
        return self._modules[precision]

    def _half(self) -> str | None:
        """The 16-bit arithmetic of this device, if the model can be had in it."""
        import torch

        if not self._frame:
            return None
        device = self._transformer.device.type
        has_bf16 = device == "cpu" or (device == "cuda" and torch.cuda.is_bf16_supported())
        return "bf16" if has_bf16 else "fp16"

    def _try(self, precision: str, sample: Sequence[str]) -> tuple[float, np.ndarray]:
        """Seconds for a sample, and its vectors."""
        before, self.precision = self.precision, precision
        try:
            self.embed(sample[:2])  # the first call pays for set-up
            started = time.perf_counter()
            vectors = self.embed(sample)
            return time.perf_counter() - started, vectors
        finally:
            self.precision = before

    def _read_whole(self, texts: list[str]) -> Read:
        """Embed by the model's own encode: static word vectors and others that are not cut into tokens first."""
        vectors = self._transformer.encode(texts, normalize_embeddings=True, show_progress_bar=False) if texts else []
        unknown = np.zeros(len(texts), dtype=np.int64)
        return Read(np.asarray(vectors, np.float32).reshape(-1, self.dimensions), unknown, unknown, unknown + 1)


def load_sentence_transformer(name: str) -> "SentenceTransformer":
    """Load a model in float32, whatever its weights are stored in. What is no sentence-transformers model gets mean pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling
    from sentence_transformers.util import is_sentence_transformer_model
    from transformers.utils import logging

    logging.disable_progress_bar()
    transformer = SentenceTransformer(
        name, trust_remote_code=False, model_kwargs={"use_safetensors": True, "torch_dtype": "float32"}
    )
    if len(transformer) > 1 and not is_sentence_transformer_model(name):
        # Some versions of the library take a decoder's last token, and a text for a user's message to a chat model.
        transformer[1] = Pooling(transformer[1].pooling_output_dimension)
        getattr(transformer[0], "modality_config", {}).pop("message", None)
    return transformer.eval()


def _dimensions(transformer: "SentenceTransformer") -> int:
    size = getattr(transformer, "get_embedding_dimension", None) or transformer.get_sentence_embedding_dimension
    return int(size())


# The tokenizers fork nothing here; without this they warn once a process was forked.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
