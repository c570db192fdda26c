"""Which record taught a text: how much likelier a small model finds the text after a step on the record than after one on another.

TracIn (Pruthi et al. 2020, arXiv 2002.08484, section 3) defines a record's influence on a text as the fall of the text's loss over
the training steps on that record, and approximates it by dot products of gradients. The proxy (`proxy_model.py`) is small enough to
measure the definition itself: from one trained state, a few steps on the record, then the text's loss. No gradient of the text is
taken. As noise serve random records stepped on alike: an influence is told in their standard deviations above their mean.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from curation_assets.algorithms import proxy_model

STEPS = 3
STEP_LENGTH = 0.25
"""Steps on a record, and the length of each in the model's weights (Euclidean). Ours: chosen on planted facts, where it named the
planted record most often; every record moves the model by as much, however long or hard it is."""

READ_TOKENS = 256
"""Tokens of a text or record that are read, from its beginning."""

BACKGROUND = 48
"""Random records the noise is measured on. Ours: its standard deviation is then known to a tenth."""


class Influence(NamedTuple):
    """What steps on records did to the loss of texts."""

    fall: np.ndarray
    """float64[pairs]: nats a token that the text's loss falls by, above what random records make it fall."""
    noise: np.ndarray
    """float64[pairs]: standard deviation of that fall over random records."""

    @property
    def deviations(self) -> np.ndarray:
        """The fall in standard deviations of the noise."""
        return self.fall / np.maximum(self.noise, 1e-9)


class Text(NamedTuple):
    """A text as the model reads it."""

    tokens: np.ndarray
    """int32[…]: a separator, the prompt's tokens, the text's."""
    scored_from: int
    """Position of the first token whose loss counts: the prompt is read, not scored."""


def influences(
    model: "proxy_model.Parameters",
    texts: Sequence[Text],
    records: Sequence[np.ndarray],
    pairs: np.ndarray,
    background: Sequence[np.ndarray],
    *,
    context: int = 64,
    progress: Callable[[float], None] | None = None,
) -> Influence:
    """The influence of records on texts. pairs: int64[pairs, 2] of (text, record). records, background: token streams.

    Every record is stepped on once, from the same state, and read on the texts it is paired with.
    """
    batch = _Batch(texts, context)
    start = _losses(model, batch)
    noise = np.array([start - _losses(_stepped(model, stream, context), batch) for stream in background])
    mean, deviation = noise.mean(axis=0), noise.std(axis=0, ddof=1)
    fall = np.empty(len(pairs))
    stepped_on = np.unique(pairs[:, 1])
    for done, record in enumerate(stepped_on, start=1):
        rows = np.flatnonzero(pairs[:, 1] == record)
        of_record = pairs[rows, 0]
        after = _losses(_stepped(model, records[record], context), batch, of_record)
        fall[rows] = (start - after)[of_record] - mean[of_record]
        if progress:
            progress(done / len(stepped_on))
    return Influence(fall, deviation[pairs[:, 0]])


def losses(model: "proxy_model.Parameters", texts: Sequence[Text], *, context: int = 64) -> np.ndarray:
    """The mean loss of each text's scored tokens in nats, float64[texts]; NaN for a text without any."""
    return _losses(model, _Batch(texts, context))


class _Batch:
    """Texts cut into windows: inputs and targets int64[windows, context], which targets count, and whose each window is."""

    def __init__(self, texts: Sequence[Text], context: int) -> None:
        inputs, targets, counted, owner = [], [], [], []
        for number, text in enumerate(texts):
            tokens = text.tokens[: text.scored_from + READ_TOKENS]
            for at in range(0, len(tokens) - 1, context):
                piece = tokens[at : at + context + 1]
                pad = context + 1 - len(piece)
                place = np.arange(at + 1, at + context + 1)
                padded = np.pad(piece, (0, pad))
                if not ((place >= text.scored_from) & (place < len(tokens))).any():
                    continue  # a window of the prompt alone
                inputs.append(padded[:-1])
                targets.append(padded[1:])
                counted.append((place >= text.scored_from) & (place < len(tokens)))
                owner.append(number)
        self.texts = len(texts)
        self.inputs = np.array(inputs, dtype=np.int64).reshape(-1, context)
        self.targets = np.array(targets, dtype=np.int64).reshape(-1, context)
        self.counted = np.array(counted, dtype=bool).reshape(-1, context)
        self.owner = np.array(owner, dtype=np.int64)


def _losses(model: "proxy_model.Parameters", batch: _Batch, only: np.ndarray | None = None) -> np.ndarray:
    """Mean loss per text, float64[texts]; of the texts in `only`, if given, and NaN for the others."""
    rows = np.arange(len(batch.owner)) if only is None else np.flatnonzero(np.isin(batch.owner, only))
    total, count = np.zeros(batch.texts), np.zeros(batch.texts)
    for at in range(0, len(rows), 32):
        part = rows[at : at + 32]
        nats = proxy_model.token_losses(model, batch.inputs[part], batch.targets[part])
        np.add.at(total, batch.owner[part], (nats * batch.counted[part]).sum(axis=1))
        np.add.at(count, batch.owner[part], batch.counted[part].sum(axis=1))
    with np.errstate(invalid="ignore"):
        return total / count


def _stepped(model: "proxy_model.Parameters", stream: np.ndarray, context: int) -> "proxy_model.Parameters":
    """The model after a few steps on one record's tokens: plain gradient descent, every step of the same length."""
    import torch

    windows = _Batch([Text(stream[: READ_TOKENS + 1], 1)], context)
    inputs, targets = torch.from_numpy(windows.inputs), torch.from_numpy(windows.targets)
    counted = torch.from_numpy(windows.counted).reshape(-1)
    moved = {name: weights.detach().clone().requires_grad_() for name, weights in model.items()}
    for _ in range(STEPS):
        logits = proxy_model.logits(moved, inputs).float()
        loss = torch.nn.functional.cross_entropy(logits[counted], targets.reshape(-1)[counted])
        gradients = torch.autograd.grad(loss, list(moved.values()))
        length = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
        with torch.no_grad():
            for weights, gradient in zip(moved.values(), gradients, strict=True):
                weights -= STEP_LENGTH / (length + 1e-12) * gradient
    return moved
