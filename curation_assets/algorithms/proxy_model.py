"""The evaluation's small language model: does training on the curated set beat training on something else?

A few hundred thousand parameters, trained from scratch on the CPU on each arm's text for the same number of tokens, and
read on held-out text. All runs (arms × seeds) share one set of stacked weights and every step is a batched matrix
product over them: as many small models for little more than the price of one. A proxy this small shows which text is
*like* the held-out text and clean enough to learn from; it says nothing about knowledge or reasoning in a large model.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

SEPARATOR = "<|endoftext|>"  # token 0: stands before every document


def train_tokenizer(texts: Iterable[str], *, vocab: int = 2_048) -> "Tokenizer":
    """A byte-level BPE tokenizer with at most ``vocab`` tokens, the separator included; any text can be encoded.

    Train it on text of all arms together, or the arm it was trained on gets the shorter token stream.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=[SEPARATOR],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    return tokenizer


def token_bytes(tokenizer: "Tokenizer") -> np.ndarray:
    """The number of UTF-8 bytes each token stands for, int64[vocab]; 0 for the separator."""
    vocabulary = tokenizer.get_vocab()
    lengths = np.zeros(len(vocabulary), dtype=np.int64)
    for token, number in vocabulary.items():  # a byte-level token has one character per byte
        lengths[number] = 0 if token == SEPARATOR else len(token)
    return lengths


def encode(tokenizer: "Tokenizer", texts: Sequence[str]) -> np.ndarray:
    """All texts as one token stream, int32: a separator, then the document's tokens, for each text in turn."""
    # The separator's own spelling inside a text must stay text: it is escaped by splitting its first character off.
    encodings = tokenizer.encode_batch_fast([text.replace(SEPARATOR, "< |endoftext|>") for text in texts])
    documents = [np.array([0, *encoding.ids], dtype=np.int32) for encoding in encodings]
    return np.concatenate(documents) if documents else np.empty(0, dtype=np.int32)


def _init(torch, seeds, vocab, width, layers, context):
    def draw(shape, std):
        return torch.stack([torch.randn(shape, generator=g) * std for g in gens])
    gens = [torch.Generator().manual_seed(s) for s in seeds]
    p = {"embedding": draw((vocab, width), CFG["estd"]), "shift": torch.zeros(len(seeds), 1, width)+CFG["shift"]}
    if not CFG["rope"]:
        p["pos"] = draw((context, width), 0.02)
    for l in range(layers):
        p[f"{l}.qkv"] = draw((width, 3 * width), width**-0.5)
        p[f"{l}.out"] = torch.zeros(len(seeds), width, width)
        p[f"{l}.up"] = draw((width, CFG["ff"] * width), width**-0.5)
        p[f"{l}.down"] = torch.zeros(len(seeds), CFG["ff"] * width, width)
    return {k: v.requires_grad_() for k, v in p.items()}

CFG = dict(estd=0.02, shift=0.5, rope=False, ff=4, bf16=True, heads=4, hscale=1.0, qknorm=False)

def _logits(torch, p, ids, layers):
    F = torch.nn.functional
    M, B, T = ids.shape
    V, d = p["embedding"].shape[1:]
    flat = (ids + torch.arange(M)[:, None, None] * V).reshape(M, B * T)
    e = F.embedding(flat, p["embedding"].reshape(M * V, d)).reshape(M, B, T, d)
    norm = lambda x: F.rms_norm(x, (d,))
    x = norm(e)
    x = x + F.pad(x, (0, 0, 1, 0))[:, :, :-1] * p["shift"][:, :, None]
    if "pos" in p: x = x + p["pos"][:, None]
    x = x.reshape(M, B * T, d)
    H = CFG["heads"]
    for l in range(layers):
        qkv = torch.bmm(norm(x), p[f"{l}.qkv"]).reshape(M * B, T, 3, H, d // H).permute(2, 0, 3, 1, 4)
        q, k, v = qkv
        if CFG["rope"]:
            hd = d // H
            f = 1000 ** (-torch.arange(0, hd // 2) / (hd // 2)); a = torch.arange(T)[:, None] * f
            c, s = a.cos(), a.sin()
            rot = lambda z: torch.cat([z[..., : hd // 2] * c - z[..., hd // 2 :] * s, z[..., : hd // 2] * s + z[..., hd // 2 :] * c], -1).to(v.dtype)
            q, k = rot(q), rot(k)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + torch.bmm(y.transpose(1, 2).reshape(M, B * T, d), p[f"{l}.out"])
        x = x + torch.bmm(F.relu(torch.bmm(norm(x), p[f"{l}.up"])).square(), p[f"{l}.down"])
    return torch.bmm(norm(x), p["embedding"].transpose(1, 2))
