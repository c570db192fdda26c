"""Texts longer than a model reads at once: where to cut them, what to compute together, how to put the vectors together."""

import numpy as np


def chunk_bounds(tokens: int, capacity: int, max_chunks: int) -> np.ndarray:
    """Where a text is cut for a model that takes `capacity` tokens at once: int64[chunks, 2], first token and end of each.

    The text is cut into as few chunks as it takes, all of about the same size, so that no chunk is a stump that says
    little. If these are more than `max_chunks`, that many of them are taken, spread evenly over the text with the first
    and the last among them (of one, the first): it bounds what a very long text costs. An empty text is one empty chunk.
    Ours.

    >>> chunk_bounds(10, capacity=4, max_chunks=4).tolist()
    [[0, 3], [3, 6], [6, 10]]
    >>> chunk_bounds(100, capacity=10, max_chunks=3).tolist()
    [[0, 10], [40, 50], [90, 100]]
    """
    if capacity < 1 or max_chunks < 1:
        raise ValueError(f"a chunk holds at least a token and a text at least a chunk, got {capacity} and {max_chunks}")
    chunks = max(1, -(-tokens // capacity))
    taken = np.arange(chunks)
    if chunks > max_chunks:
        taken = np.linspace(0, chunks - 1, max_chunks).astype(np.int64)
    return np.stack([taken * tokens // chunks, (taken + 1) * tokens // chunks], axis=1)


def length_batches(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Group sequences of like length, longest first, so that each group padded to its longest has at most `budget` tokens.

    lengths: int[sequences]. Returns the positions in each group; a sequence beyond the budget is a group of its own.

    >>> [batch.tolist() for batch in length_batches(np.array([3, 9, 4, 2]), budget=8)]
    [[1], [2, 0], [3]]
    """
    order, batches, first = np.argsort(-lengths, kind="stable"), [], 0
    while first < len(order):
        size = max(1, budget // max(1, int(lengths[order[first]])))
        batches.append(order[first : first + size])
        first += size
    return batches


def pool_chunks(vectors: np.ndarray, weights: np.ndarray, chunks_of_text: np.ndarray) -> np.ndarray:
    """One unit vector a text from those of its chunks: their mean, weighted by `weights`, brought back to length 1.

    vectors: float32[chunks, dimensions], a text's chunks next to each other in the order of the texts; weights:
    float[chunks], above 0, the tokens of each; chunks_of_text: int[texts], at least 1 each. The weighted mean is how
    OpenAI's cookbook ("Embedding texts that are longer than the model's maximum context length") does it.
    """
    if not len(chunks_of_text):
        return vectors[:0]
    first = np.cumsum(chunks_of_text) - chunks_of_text
    sums = np.add.reduceat(vectors * weights[:, None].astype(np.float32), first, axis=0)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(np.float32).tiny)
