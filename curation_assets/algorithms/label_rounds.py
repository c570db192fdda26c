"""Between two rounds of expert labels: which items only evaluate, how well the model does on them, and whether to go on.

Every labelled item either trains or evaluates, for good, or a model would be asked about what it was told. Experts are
asked mostly about the hard items, so the kappa over all evaluation items is that of the hard ones; weights from the
random share turn it into an estimate for the whole pool.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from curation_assets.algorithms.agreement import Agreement
from curation_assets.algorithms.sampling import uniforms

SPLIT_SEED = 0x5EED  # one for all: the split of an item never changes
PARITY_MARGIN = (
    0.1  # ours: how far below the experts the model's interval may reach; narrower needs several hundred items
)
LEAST_EVALUATED = 30  # ours: of fewer items the bootstrap's interval is too narrow; of a few all alike it is a point
PLATEAU_ROUNDS = 4  # ours: fewer points make no line; a loop takes 5-6 rounds in all
LEAST_EFFECTIVE = 50  # ours: items a weighted kappa must be worth for an interval
LEAST_GAIN = 0.01  # ours: kappa a round that is still worth a round of expert time


class Round(NamedTuple):
    """What is known after one round.

    Measure ``model_expert`` of *every* round on the newest evaluation items (each round's predictions of the pool are
    kept): then the rounds differ by their models and not by the luck of their items.
    """

    labelled: int
    """Distinct items with expert labels so far, those that evaluate included."""
    model_expert: Agreement
    expert_expert: Agreement


class Stop(NamedTuple):
    """Whether the loop ends: the reason, 'parity', 'plateau', 'budget' or None to go on, and a sentence for the reader."""

    reason: str | None
    sentence: str


def is_evaluation(items: np.ndarray | Sequence[str], share: float) -> np.ndarray:
    """Whether each item evaluates (True) or trains, bool[n]: from its own id alone, the same in every round and run.

    ``items``: uint64 hashes of the records or their ids as text. An item that evaluates at some share also does at a
    larger one.

    >>> is_evaluation(["a", "b", "c", "d", "e", "f"], 0.5).tolist()
    [True, False, False, True, True, True]

    Raises ValueError for a share outside 0 … 1, and for what is neither uint64 nor text.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"is_evaluation needs a share between 0 and 1, got {share}.")
    items = np.asarray(items)
    if len(items) == 0:
        return np.empty(0, dtype=bool)
    if items.dtype != np.uint64:
        wrong = next((item for item in items.tolist() if not isinstance(item, str)), None)
        if wrong is not None:
            raise ValueError(f"is_evaluation needs uint64 hashes or ids as text, got {wrong!r} ({items.dtype}).")
        digests = b"".join(hashlib.blake2b(item.encode(), digest_size=8).digest() for item in items.tolist())
        items = np.frombuffer(digests, dtype="<u8").astype(np.uint64)
    return uniforms(items, SPLIT_SEED) < share


def should_stop(
    history: Sequence[Round],
    budget: int,
    *,
    margin: float = PARITY_MARGIN,
    rounds: int = PLATEAU_ROUNDS,
    least_gain: float = LEAST_GAIN,
) -> Stop:
    """Whether another round is worth its labels; ``history`` oldest first, ``budget`` in distinct items.

    The first of these that holds:

    - **parity**: the model-expert kappa is at least the expert-expert kappa, and the lower end of its interval is at
      most ``margin`` below it, over ``LEAST_EVALUATED`` items or more. A lucky handful does not stop the loop, nor does a
      kappa that is undefined. Give the model's as its mean kappa with each single expert: with the experts' majority
      a worse model agrees more than one expert does with another.
    - **plateau**: the straight line through the last ``rounds`` model-expert kappas (least squares against the number
      of the round) rises by less than ``least_gain`` a round. Fewer rounds never stop; a round whose kappa is undefined
      counts as missing. The line, not the last difference: with 100 evaluation items a kappa of .8 has a standard error of
      about .06, and the difference of two says nothing.
    - **budget**: ``labelled`` has reached it.

    >>> kappa, experts = Agreement(0.81, 0.74, 0.87, 180, 0.0), Agreement(0.80, 0.74, 0.86, 180, 0.0)
    >>> should_stop([Round(360, kappa, experts)], budget=500).reason
    'parity'
    """
    if not history:
        return Stop(None, f"No round has been labelled yet; {budget:,} items may be.")
    last = history[-1]
    model, experts = last.model_expert, last.expert_expert
    if model.value is not None and experts.value is not None and model.low is not None and model.value >= experts.value:
        if model.low >= experts.value - margin and model.n >= LEAST_EVALUATED:
            return Stop(
                "parity",
                f"The model agrees with single experts as well as they do with each other: kappa {_shown(model)} against "
                f"{_shown(experts)}, and its interval ends at most {margin:.2f} below theirs.",
            )
        almost = (
            f"The model's kappa with single experts, {_shown(model)}, has reached that of the experts with each other, {_shown(experts)}, "
            f"but its interval ends more than {margin:.2f} below it, or fewer than {LEAST_EVALUATED} items evaluate: too few to tell."
        )
    else:
        almost = f"Model-expert kappa is {_shown(model)}, expert-expert kappa {_shown(experts)}."
    recent = [one.model_expert.value for one in history[-rounds:]]
    known = [(number, value) for number, value in enumerate(recent) if value is not None]
    if len(known) == rounds >= 2:
        gain = float(np.polyfit(*zip(*known, strict=True), 1)[0])
        if gain < least_gain:
            return Stop(
                "plateau",
                f"Over the last {rounds} rounds the model-expert kappa rose by {gain:+.3f} a round, less than "
                f"{least_gain:.3f}: {', '.join(f'{value:.2f}' for value in recent)}.",
            )
    if last.labelled >= budget:
        return Stop("budget", f"All {budget:,} items of the budget are labelled ({last.labelled:,}). {almost}")
    return Stop(None, f"{almost} {last.labelled:,} of {budget:,} items are labelled: go on.")


def _shown(kappa: Agreement) -> str:
    if kappa.value is None:
        return f"undefined (n = {kappa.n})"
    if kappa.low is None:
        return f"{kappa.value:.2f} (n = {kappa.n})"
    return f"{kappa.value:.2f} [{kappa.low:.2f}, {kappa.high:.2f}] (n = {kappa.n})"


def pool_weights(rounds: np.ndarray, sampling_probability: np.ndarray) -> np.ndarray:
    """What each labelled item stands for in an estimate over the whole pool, float64[n].

    ``rounds`` int[n]: the round an item was queued in (any increasing numbers). ``sampling_probability`` float64[n]: as
    `next_items` gave it, NaN for items that were not drawn at random. In round t the random share was drawn from all
    items not labelled before, so Σ over the items labelled before + Σ over the random ones of 1 / probability estimates
    a total over the pool without bias, whatever the earlier rounds have shown (Horvitz & Thompson 1952, given the
    past). Each round with a random share gives one such estimate and the weights are those of their mean: an item counts
    1 in every later round and 1 / probability in its own, over the number of rounds with a random share. Items that only train
    or only evaluate are a random part of all (`is_evaluation`), so weights of one part alone serve as well.
    Near-duplicates of labelled items are in nobody's share: the estimate is of the pool without them.

    >>> pool_weights(np.array([1, 1, 2, 2]), np.array([0.1, np.nan, 0.25, np.nan]))
    array([5.5, 0.5, 2. , 0. ])
    """
    rounds, probability = np.asarray(rounds), np.asarray(sampling_probability, dtype=np.float64)
    if rounds.shape != probability.shape:
        raise ValueError(f"pool_weights needs one round an item: got {len(rounds)} and {len(probability)}.")
    is_random = np.isfinite(probability)
    if (probability[is_random] <= 0).any():
        raise ValueError("pool_weights needs sampling probabilities above 0; NaN is for items not drawn at random.")
    drawn_in = np.unique(rounds[is_random])
    weights = (drawn_in[None, :] > rounds[:, None]).sum(axis=1).astype(np.float64)
    weights[is_random] += 1 / probability[is_random]
    return weights / max(len(drawn_in), 1)


def weighted_kappa(
    model: np.ndarray,
    expert: np.ndarray,
    weights: np.ndarray,
    *,
    replicates: int = 1_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Cohen's kappa of model and expert over weighted items: with `pool_weights`, an estimate for the whole pool.

    ``model``, ``expert`` int[n] classes; ``weights`` float64[n] ≥ 0, of which items of weight 0 do not count. The interval
    is a percentile one of the bootstrap over items with their weights. Consistent, not unbiased: kappa is a ratio.
    Undefined as `cohen_kappa` is. **No interval** where the weights are worth fewer than ``LEAST_EFFECTIVE`` items,
    (Σ w)² / Σ w² (Kish 1965): a dozen heavy items hold too few of a rare class, and no resample of them knows of those
    that were missed. On hate speech at 6 % positive such intervals lay at .43-.63 where the truth was .22; give
    `next_items` a larger random share where the pool's kappa is wanted.

    >>> weighted_kappa([1, 0, 0, 1], [1, 0, 0, 0], [2.0, 6.0, 1.0, 1.0]).value.__round__(3)
    0.737
    """
    model, expert = np.asarray(model), np.asarray(expert)
    weights = np.asarray(weights, dtype=np.float64)
    if not len(model) == len(expert) == len(weights):
        raise ValueError(f"weighted_kappa needs one of each per item: got {len(model)}, {len(expert)}, {len(weights)}.")
    if not ((weights >= 0) & np.isfinite(weights)).all():
        raise ValueError("weighted_kappa needs weights of at least 0 throughout.")
    counts = weights > 0
    model, expert, weights = model[counts], expert[counts], weights[counts]
    n = len(model)
    names, codes = np.unique(np.concatenate([model, expert]), return_inverse=True)
    k = len(names)
    is_cell = np.zeros((n, k * k))
    is_cell[np.arange(n), codes[:n] * k + codes[n:]] = 1

    def kappa(drawn: np.ndarray) -> np.ndarray:
        tables = (drawn @ is_cell).reshape(-1, k, k)
        tables = tables / tables.sum(axis=(1, 2), keepdims=True)
        observed = np.trace(tables, axis1=1, axis2=2)
        chance = (tables.sum(axis=2) * tables.sum(axis=1)).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(chance < 1 - 1e-12, (observed - chance) / (1 - chance), np.nan)

    value = float(kappa(weights[None])[0]) if n else np.nan
    if np.isnan(value):
        return Agreement(None, None, None, n, 1.0)
    rng = np.random.default_rng(seed)
    found = kappa(rng.multinomial(n, np.full(n, 1 / n), replicates) * weights) if n > 1 else np.full(replicates, np.nan)
    undefined = float(np.isnan(found).mean())
    if undefined > 0.5 or weights.sum() ** 2 / np.square(weights).sum() < LEAST_EFFECTIVE:
        return Agreement(value, None, None, n, undefined)
    low, high = np.nanquantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Agreement(value, float(low), float(high), n, undefined)
