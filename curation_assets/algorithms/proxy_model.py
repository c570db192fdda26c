"""The evaluation's small language model: whether training on the curated set beats training on something else.

Half a million parameters, trained from scratch on the CPU on each arm's text for the same number of tokens, and read on
held-out text. A proxy this small shows which text is *like* the held-out text and clean enough to learn from; it says
nothing about knowledge or reasoning in a large model, and no number here is comparable with a published perplexity.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

    Parameters = dict[str, torch.Tensor]

SEPARATOR = "<|endoftext|>"  # token 0: stands before every document
HEADS = 4
RESULT_SCHEMA = {
    "arm": pl.String,
    "seed": pl.Int64,
    "slice": pl.String,
    "perplexity": pl.Float64,
    "loss": pl.Float64,
    "bits_per_byte": pl.Float64,
    "train_tokens": pl.Int64,
    "epochs": pl.Float64,
    "record_nats": pl.List(pl.Float64),
    "record_tokens": pl.List(pl.Int64),
}
COMPARISON_SCHEMA = {
    "slice": pl.String,
    "arm": pl.String,
    "seeds": pl.Int64,
    "records": pl.Int64,
    "perplexity": pl.Float64,
    "perplexity_low": pl.Float64,
    "perplexity_high": pl.Float64,
    "bits_per_byte": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
    "epochs": pl.Float64,
}
RESAMPLES = 1_000
"""Bootstrap samples of the held-out records behind an interval."""


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
    tokenizer.encode_special_tokens = True  # a text that spells the separator out stays text
    encodings = tokenizer.encode_batch_fast(list(texts))
    documents = [np.array([0, *encoding.ids], dtype=np.int32) for encoding in encodings]
    return np.concatenate(documents) if documents else np.empty(0, dtype=np.int32)


def perplexities(
    arms: Mapping[str, np.ndarray],
    heldout: Mapping[str, np.ndarray],
    *,
    token_bytes: np.ndarray,
    token_budget: int = 200_000,
    max_epochs: float = 4.0,
    seeds: Sequence[int] = (0, 1, 2),
    context: int = 64,
    batch: int = 4,
    width: int = 128,
    layers: int = 1,
    learning_rate: float = 3e-3,
    heldout_tokens: int = 65_536,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> pl.DataFrame:
    """Train one model per arm and seed on equally many tokens and read each on every held-out slice.

    ``arms`` and ``heldout`` map names to token streams from ``encode``; ``token_bytes`` comes from the function of that
    name. The training tokens are ``token_budget``, lowered for **all** arms alike to ``max_epochs`` times the smallest
    arm: up to four repeats are worth nearly as much as new text (Muennighoff et al. 2023, arXiv 2305.16264), while at
    ten this model only learns the arm by heart and the comparison measures its size. Of a held-out stream the first
    ``heldout_tokens`` are read, in windows of ``context`` tokens without overlap. ``progress`` is called with the share
    of the training done (0-1), from worker threads, one call at a time.

    One row per arm, seed and slice: arm, seed, slice, perplexity (per token), loss (nats per token), bits_per_byte
    (comparable across tokenizers), train_tokens (tokens trained on), epochs (train_tokens / tokens of the arm: above 1
    the arm was repeated, so a small set still pays for its size, as it would in training), record_nats and record_tokens
    (of each held-out record that was read, in its order: nats and tokens in all; what `compare` needs).

    Every arm gets, for the same seed, the same initial weights, order of windows, schedule and number of steps: the
    difference is the text. Runs go ``threads`` at a time (default: the CPU cores, at most 4), each on one core, because
    matrices this small gain nothing from a second one; the figures do not depend on it.

    The defaults are those that learned most per CPU second at 200,000 tokens of instructions: small batches and a fast
    embedding count for most (perplexity 164 → 103, where word frequencies alone give 656); a second layer costs half as
    much again and gains 2-4 %.

    Raises ValueError where a stream is too short to hold one window.
    """
    for kind, streams in (("arm", arms), ("held-out slice", heldout)):
        for name, stream in streams.items():
            if len(stream) <= context:
                raise ValueError(
                    f"perplexities: {kind} {name!r} has {len(stream)} tokens, at least {context + 1} are needed. "
                    "Give it more text or lower context."
                )
    if not arms or not heldout or not seeds:
        raise ValueError("perplexities needs at least one arm, one held-out slice and one seed.")

    import torch

    token_budget = min(token_budget, int(max_epochs * min(map(len, arms.values()))))
    steps = max(1, token_budget // (batch * context))
    runs = [(arm, seed) for seed in seeds for arm in arms]
    done, lock = [0], threading.Lock()

    def step_done() -> None:
        with lock:
            done[0] += 1
            if progress and (done[0] % 20 == 0 or done[0] == steps * len(runs)):
                progress(done[0] / (steps * len(runs)))

    def train_and_read(run: tuple[str, int]) -> list[dict[str, object]]:
        torch.set_num_threads(1)  # counts for the calling thread
        arm, seed = run
        parameters = _initial_parameters(len(token_bytes), width, layers, seed)
        windows = _windows(len(arms[arm]), context, steps * batch, seed)
        _train(parameters, arms[arm], windows.reshape(steps, batch), context, learning_rate, step_done)
        rows = []
        for name, stream in heldout.items():
            nats, targets = _read(parameters, stream[: heldout_tokens + 1], context)
            loss, bytes_per_token = float(nats.mean()), float(token_bytes[targets].mean())
            record = np.cumsum(stream[: len(targets) + 1] == 0)
            record = record[1:] - record[0]  # of each target; a record begins with its separator
            rows.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "slice": name,
                    "perplexity": float(np.exp(loss)),
                    "loss": loss,
                    "bits_per_byte": loss / np.log(2) / bytes_per_token if bytes_per_token else None,
                    "train_tokens": steps * batch * context,
                    "epochs": steps * batch * context / len(arms[arm]),
                    "record_nats": np.bincount(record, weights=nats).tolist(),
                    "record_tokens": np.bincount(record).tolist(),
                }
            )
        return rows

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads or min(4, os.cpu_count() or 1)) as pool:
            rows = [row for rows in pool.map(train_and_read, runs) for row in rows]
    finally:
        torch.set_num_threads(before)
    return pl.DataFrame(rows, schema=RESULT_SCHEMA).sort("slice", "arm", "seed")


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one core: matrices this small gain nothing from a second one, and lose where others use it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def trained(
    stream: np.ndarray,
    *,
    vocabulary: int,
    token_budget: int = 200_000,
    max_epochs: float = 4.0,
    seed: int = 0,
    context: int = 64,
    batch: int = 4,
    width: int = 128,
    layers: int = 1,
    learning_rate: float = 3e-3,
) -> "Parameters":
    """One model trained as `perplexities` trains an arm, on a token stream from ``encode``: its weights by name.

    Raises ValueError where the stream is too short to hold one window.
    """
    if len(stream) <= context:
        raise ValueError(f"trained: the stream has {len(stream)} tokens, at least {context + 1} are needed.")
    steps = max(1, min(token_budget, int(max_epochs * len(stream))) // (batch * context))
    parameters = _initial_parameters(vocabulary, width, layers, seed)
    windows = _windows(len(stream), context, steps * batch, seed)
    _train(parameters, stream, windows.reshape(steps, batch), context, learning_rate, lambda: None)
    return parameters


def token_losses(parameters: "Parameters", inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The loss in nats of every target int64[windows, context] after the inputs before it in its window: float32, the same shape."""
    import torch

    with torch.no_grad():
        found = logits(parameters, torch.from_numpy(inputs)).float()
        nats = torch.nn.functional.cross_entropy(found, torch.from_numpy(targets).reshape(-1), reduction="none")
    return nats.reshape(targets.shape).numpy()


def _windows(tokens: int, context: int, count: int, seed: int) -> np.ndarray:
    """The first token of each training window, int64[count]: epochs of windows without overlap, shuffled, shifted."""
    rng = np.random.default_rng(seed)
    epochs: list[np.ndarray] = []
    while sum(map(len, epochs)) < count:
        shift = int(rng.integers(min(context, tokens - context)))
        epochs.append(shift + context * rng.permutation((tokens - 1 - shift) // context))
    return np.concatenate(epochs)[:count]


def _initial_parameters(vocab: int, width: int, layers: int, seed: int) -> "dict[str, torch.Tensor]":
    """Weights by name; each block starts as the identity (its last matrix is 0), as in muP and modded-nanogpt."""
    import torch

    generator = torch.Generator().manual_seed(seed)

    def draw(rows: int, columns: int, scale: float) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) * scale

    parameters = {"embedding": draw(vocab, width, 0.02), "previous": torch.full((width,), 0.5)}
    for layer in range(layers):
        parameters[f"{layer}.attention_in"] = draw(3 * width, width, width**-0.5)
        parameters[f"{layer}.attention_out"] = torch.zeros(width, width)
        parameters[f"{layer}.mlp_in"] = draw(4 * width, width, width**-0.5)
        parameters[f"{layer}.mlp_out"] = torch.zeros(width, 4 * width)
    return {name: parameter.requires_grad_() for name, parameter in parameters.items()}


def logits(parameters: "dict[str, torch.Tensor]", ids: "torch.Tensor") -> "torch.Tensor":
    """Next-token logits float[b × t, vocab] of a decoder-only transformer with tied embeddings, for ids int64[b, t].

    RMSNorm before each block, rotary positions, squared ReLU. Each embedding carries half of the previous token's (a
    learned share): the bigram, which attention would need most of this training to find, is there from the first step.
    """
    import torch
    from torch.nn import functional

    embedding = parameters["embedding"]
    width = embedding.shape[1]
    b, t = ids.shape
    half = width // HEADS // 2
    angles = torch.arange(t)[:, None] * 1_000.0 ** (-torch.arange(half) / half)
    cosine, sine = angles.cos(), angles.sin()
    future = torch.full((t, t), float("-inf")).triu(1)

    def norm(x: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x, (width,))

    def rotate(x: torch.Tensor) -> torch.Tensor:
        left, right = x.float().chunk(2, dim=-1)
        return torch.cat([left * cosine - right * sine, left * sine + right * cosine], dim=-1)

    x = norm(functional.embedding(ids, embedding))
    x = x + functional.pad(x, (0, 0, 1, 0))[:, :-1] * parameters["previous"]
    for layer in range(sum(name.endswith("mlp_in") for name in parameters)):
        projected = functional.linear(norm(x), parameters[f"{layer}.attention_in"])
        query, key, value = projected.reshape(b, t, 3, HEADS, 2 * half).permute(2, 0, 3, 1, 4)
        affinity = (rotate(query) @ rotate(key).transpose(-1, -2)).float() * (2 * half) ** -0.5 + future
        mixed = (affinity.softmax(-1) @ value).transpose(1, 2).reshape(b, t, width)
        x = x + functional.linear(mixed, parameters[f"{layer}.attention_out"])
        hidden = functional.relu(functional.linear(norm(x), parameters[f"{layer}.mlp_in"])).square()
        x = x + functional.linear(hidden, parameters[f"{layer}.mlp_out"])
    return functional.linear(norm(x), embedding).reshape(b * t, -1)


def _autocast() -> "torch.autocast":
    """Bfloat16 products where the CPU has them in hardware (2.7 times float32's rate on one core), else float32."""
    import torch

    in_hardware = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=in_hardware, cache_enabled=False)


def _train(
    parameters: "dict[str, torch.Tensor]",
    stream: np.ndarray,
    windows: np.ndarray,
    context: int,
    learning_rate: float,
    step_done: Callable[[], None],
) -> None:
    """AdamW over the windows int64[steps, batch], in place; linear warm-up over a tenth, cosine down to a twentieth.

    The tied embedding and the share of the previous token learn eight times as fast as the matrices.
    """
    import torch

    tokens = torch.from_numpy(np.asarray(stream, dtype=np.int64))
    starts = torch.from_numpy(windows)
    matrices = [parameter for name, parameter in parameters.items() if "." in name]
    embeddings = [parameter for name, parameter in parameters.items() if "." not in name]
    groups = [{"params": matrices, "lr": learning_rate}, {"params": embeddings, "lr": 8 * learning_rate}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.1, fused=True)
    steps, warm_up = len(starts), max(1, len(starts) // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, (step + 1) / warm_up)
            * (0.525 + 0.475 * np.cos(np.pi * max(0, step - warm_up) / max(1, steps - warm_up)))
        ),
    )
    offsets = torch.arange(context + 1)
    for step_starts in starts:
        window = tokens[step_starts[:, None] + offsets]
        with _autocast():
            predicted = logits(parameters, window[:, :-1])
        loss = torch.nn.functional.cross_entropy(predicted.float(), window[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        step_done()


def _read(parameters: "Parameters", stream: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """The loss in nats, float64[n], of each of the stream's tokens that its windows predict, and these tokens, int64[n]."""
    import torch

    count = (len(stream) - 1) // context
    tokens = torch.from_numpy(np.asarray(stream, dtype=np.int64))
    inputs = tokens[: count * context].reshape(count, context)
    targets = tokens[1 : count * context + 1].reshape(count, context)
    nats = np.empty((count, context))
    with torch.no_grad(), _autocast():
        for start in range(0, count, 16):
            predicted = logits(parameters, inputs[start : start + 16]).float()
            target = targets[start : start + 16].reshape(-1)
            found = torch.nn.functional.cross_entropy(predicted, target, reduction="none")
            nats[start : start + 16] = found.reshape(-1, context).numpy()
    return nats.reshape(-1), targets.reshape(-1).numpy()


def compare(results: pl.DataFrame, *, baseline: str = "random", confidence: float = 0.95) -> pl.DataFrame:
    """Each arm on each held-out slice, and its paired difference to the ``baseline`` arm with an interval.

    One row per slice and arm: slice, arm, seeds, records (held-out records that were read), perplexity (mean over seeds),
    perplexity_low, perplexity_high (Student's t over the seeds), bits_per_byte (mean), difference (mean over seeds of
    arm - baseline in perplexity; negative = the arm is better), difference_low, difference_high (all null for the baseline
    itself), epochs. Intervals are at ``confidence``, null with one seed, those of differences also with one held-out record.

    The interval of a difference covers the luck of training (Student's t on the seeds' paired differences) and which records
    happened to be held out (percentiles of ``RESAMPLES`` bootstrap samples of the records, the same for both arms), put
    together by their distances from the estimate, as for a sum of independent parts (Zou and Donner 2008, Statistics in
    Medicine 27, sec. 2). It does not cover which records the arms were drawn from.

    Percentiles of n records are too narrow by sqrt((n - 1) / n), and by what a normal quantile lacks to Student's t of n - 1 degrees
    (Hesterberg 2015, The American Statistician 69, "narrowness bias"): of five records a difference was shown in 16 of 100 cases
    where there was none. So their distances from the estimate are widened by both, which for 100 records is 2 %. Ours.
    """
    from scipy.stats import norm as normal
    from scipy.stats import t as student

    if baseline not in results["arm"].to_list():
        known = ", ".join(sorted(set(results["arm"].to_list())))
        raise ValueError(f"compare: no arm {baseline!r} to compare with; the results hold {known}.")
    rows = []
    for (name, arm), part in results.sort("slice", "arm", "seed").group_by("slice", "arm", maintain_order=True):
        reference = results.filter(slice=name, arm=baseline).sort("seed")
        seeds, values = len(part), part["perplexity"].to_numpy()
        quantile = float(student.ppf((1 + confidence) / 2, seeds - 1)) if seeds > 1 else None
        half = values.std(ddof=1) * quantile / seeds**0.5 if quantile else None
        records = len(part["record_tokens"][0])
        row = {
            "slice": name,
            "arm": arm,
            "seeds": seeds,
            "records": records,
            "perplexity": values.mean(),
            "perplexity_low": None if half is None else values.mean() - half,
            "perplexity_high": None if half is None else values.mean() + half,
            "bits_per_byte": part["bits_per_byte"].mean(),
            "difference": None,
            "difference_low": None,
            "difference_high": None,
            "epochs": part["epochs"][0],
        }
        if arm != baseline:
            differences = values - reference["perplexity"].to_numpy()
            row["difference"] = difference = differences.mean()
            if quantile and records > 1:
                training = differences.std(ddof=1) * quantile / seeds**0.5
                of_few = student.ppf((1 + confidence) / 2, records - 1) / normal.ppf((1 + confidence) / 2)
                wider = float(of_few) * (records / (records - 1)) ** 0.5
                low, high = _interval_over_records(part, reference, confidence)
                row["difference_low"] = difference - np.hypot(training, wider * max(0.0, difference - low))
                row["difference_high"] = difference + np.hypot(training, wider * max(0.0, high - difference))
        rows.append(row)
    return pl.DataFrame(rows, schema=COMPARISON_SCHEMA).sort("slice", "arm")


def _interval_over_records(part: pl.DataFrame, reference: pl.DataFrame, confidence: float) -> tuple[float, float]:
    """The interval of the mean difference in perplexity of two arms when the held-out records are drawn again and again."""
    tokens = part["record_tokens"][0].to_numpy()
    nats = [np.stack(frame["record_nats"].to_list()) for frame in (part, reference)]  # each [seeds, records]
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(0, RESAMPLES, 100):
        times = rng.multinomial(len(tokens), np.full(len(tokens), 1 / len(tokens)), size=100).astype(np.float64)
        read = np.maximum(times @ tokens, 1)[:, None]
        arm, other = (np.exp(times @ one.T / read).mean(axis=1) for one in nats)
        differences.append(arm - other)
    low, high = np.quantile(np.concatenate(differences), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def verdict(comparison: pl.DataFrame, *, arm: str = "curated", baseline: str = "random") -> str:
    """What the comparison shows about ``arm``, in one plain sentence a held-out slice; says so where nothing is shown.

    Give it the table from ``compare`` with the same baseline.
    """
    sentences = []
    for row in comparison.filter(pl.col("arm") == arm).sort("slice").to_dicts():
        reference = comparison.filter((pl.col("arm") == baseline) & (pl.col("slice") == row["slice"])).to_dicts()[0]
        figures = f"perplexity {row['perplexity']:.1f} against {reference['perplexity']:.1f}"
        place = f"On held-out text '{row['slice']}'"
        if row["difference_low"] is None:
            only = "one seed" if row["seeds"] == 1 else "one held-out record"
            sentences.append(f"{place} {only} gives {figures}: without repeats no difference can be shown.")
            continue
        figures += (
            f", difference {row['difference']:+.1f} [{row['difference_low']:+.1f}, {row['difference_high']:+.1f}], "
            f"{row['seeds']} seeds, {row['records']:,} held-out records"
        )
        if row["difference_high"] < 0:
            sentences.append(f"{place} the model trained on '{arm}' is better than on '{baseline}' ({figures}).")
        elif row["difference_low"] > 0:
            sentences.append(f"{place} the model trained on '{arm}' is worse than on '{baseline}' ({figures}).")
        else:
            sentences.append(f"{place} no difference between '{arm}' and '{baseline}' is shown ({figures}).")
    if not sentences:
        raise ValueError(f"verdict: the comparison holds no arm {arm!r}.")
    return " ".join(sentences)
