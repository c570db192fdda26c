"""From texts to a transformer's inputs: tokens, cut into chunks with what the model expects around them, padded together."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

UNKNOWN_LIMIT = 512
"""Tokens read at once of a model that names no limit of its own. Ours."""

TOKENIZED_CHARS = 1_000_000
"""Characters tokenised together; the tokenizer's own objects take some hundred bytes a token."""


class Frame(NamedTuple):
    """What a model wants around every chunk of a text, and how much of its limit that leaves."""

    before: np.ndarray
    """Special tokens ahead of a chunk, int64."""
    after: np.ndarray
    """Special tokens behind it."""
    prompt: str
    """The model's default prompt, "" for most."""
    prompt_tokens: int
    """Tokens of the prompt, which every chunk repeats."""
    pooled_from: int
    """Tokens that a model which leaves its prompt out of the pooling leaves out."""
    capacity: int
    """Tokens of the text that a chunk has room for."""
    padding: int
    """The padding token, or any token where the model has none: it is masked."""
    has_types: bool
    """Whether the model takes token_type_ids."""

    def chunk(self, ids: np.ndarray, start: int, end: int) -> np.ndarray:
        """Give the inputs for tokens `start` to `end` of a text; `ids` are the prompt's and the text's, int64."""
        text = ids[self.prompt_tokens + start : self.prompt_tokens + end]
        chunk = np.concatenate([self.before, ids[: self.prompt_tokens], text, self.after])
        return chunk if len(chunk) else np.array([self.padding])  # an empty text, and a model without special tokens

    def padded(self, chunks: Sequence[np.ndarray]) -> "dict[str, torch.Tensor]":
        """Put chunks together, padded on the right: features for the first module of a sentence-transformers model."""
        import torch

        ids = np.full((len(chunks), max(map(len, chunks))), self.padding, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, chunk in enumerate(chunks):
            ids[row, : len(chunk)] = chunk
            mask[row, : len(chunk)] = 1
        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if self.has_types:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        return features


def frame_of(transformer: "SentenceTransformer") -> Frame | None:
    """Find out a model's frame; None for one whose texts are not cut into tokens first (static vectors, images, chats).

    Raises ValueError if its prompt and special tokens leave no room for text.
    """
    from sentence_transformers.models import Transformer

    first = transformer[0]
    if not isinstance(first, Transformer) or "message" in getattr(first, "modality_config", {}):
        return None
    tokenizer = first.tokenizer
    prompt = transformer.prompts.get(transformer.default_prompt_name) or ""
    bare, in_frame = (tokenizer(["a"], add_special_tokens=special)["input_ids"][0] for special in (False, True))
    start = next((i for i in range(len(in_frame)) if in_frame[i : i + len(bare)] == bare), 0)
    before, after = in_frame[:start], in_frame[start + len(bare) :]
    prompt_tokens, pooled_from = (
        len(_tokenize(tokenizer, [text])[0]) if prompt else 0 for text in (prompt.rstrip(), prompt)
    )
    limit = _limit(transformer)
    capacity = limit - len(before) - len(after) - prompt_tokens
    if capacity < 1:
        raise ValueError(
            f"The model takes {limit} tokens at once, and its prompt {prompt!r} leaves no room for text in them; "
            "set max_seq_length in the model's sentence_bert_config.json higher, or take another model."
        )
    return Frame(
        np.array(before, dtype=np.int64),
        np.array(after, dtype=np.int64),
        prompt,
        prompt_tokens,
        len(before) + pooled_from if prompt else 0,
        capacity,
        tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0,
        "token_type_ids" in tokenizer.model_input_names,
    )


def _limit(transformer: "SentenceTransformer") -> int:
    """Tokens a model reads at once. RoBERTa's kind counts positions from behind that of the padding token."""
    limit = transformer.max_seq_length or UNKNOWN_LIMIT
    limit = UNKNOWN_LIMIT if limit > 1 << 24 else int(limit)  # transformers' "no limit" is 10^30
    embeddings = getattr(transformer[0].auto_model, "embeddings", None)
    padding_position = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
    if padding_position is None:
        return limit
    return min(limit, embeddings.position_embeddings.num_embeddings - padding_position - 1)


def token_ids(transformer: "SentenceTransformer", frame: Frame, texts: Sequence[str]) -> Iterator[np.ndarray]:
    """Tokens of each text behind those of the prompt, without special tokens: int64 arrays."""
    waiting, chars = [], 0
    for text in (*texts, None):
        if waiting and (text is None or chars + len(text) > TOKENIZED_CHARS):
            yield from (np.array(ids, dtype=np.int64) for ids in _tokenize(transformer.tokenizer, waiting))
            waiting, chars = [], 0
        if text is not None:
            waiting.append(frame.prompt + text)
            chars += len(text)


def _tokenize(tokenizer: object, texts: list[str]) -> list[list[int]]:
    return tokenizer(
        texts,
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )["input_ids"]
