"""Asking a language model about records: what it would take, then in chunks, so that no answer is paid for twice.

`curate estimate` and the stages plan with the same functions. A cap holds for one run: what earlier runs asked is in
`quality_scores.answers` and costs nothing.
"""

import math
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import NamedTuple

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field

from curation_assets.models.ask_llm import Answers, Asker, AskStopped, Prompt, load_prompt
from curation_assets.progress import logger, reporter
from curation_assets.warehouse import Warehouse

SAMPLED_TEXTS = 200
"""Texts whose tokens are counted to estimate those of all."""

ASSUMED_SECONDS_PER_CALL = 1.0
"""Assumed of a server that was never asked before; said wherever it is used."""

FEW = 4
"""Texts of a chunk from which on it tells something if none of them gets an answer."""

TEXTS = (
    "select distinct on (text_hash) text_hash, text from filtered.records "
    "where text_hash in (select unnest($hashes::varchar[])) order by text_hash"
)

ANSWERED = (
    "select text_hash, yes, no, method, prompt_tokens, completion_tokens from quality_scores.answers where model = $model and "
    "revision = $revision and prompt = $prompt and prompt_version = $prompt_version"
)


class Price(dg.Config):
    """What a model's tokens cost."""

    prompt_per_million: float = Field(ge=0, description="Price of a million tokens of prompts.")
    completion_per_million: float = Field(default=0, ge=0, description="Price of a million generated tokens.")
    currency: str = Field(default="USD", description="Currency of both.")


class LanguageModel(dg.Config):
    """A language model to ask, what it may cost, and how fast it may be asked."""

    model: str = Field(
        description="A transformers model by id or path (seq2seq such as Flan-T5, or causal such as Qwen), or the server's name of it."
    )
    server: str | None = Field(
        default=None,
        description="Base URL of an OpenAI-compatible server (vLLM, llama.cpp, Ollama, …), such as http://127.0.0.1:8000/v1. "
        "Default: the model is loaded here.",
    )
    api_key_variable: str | None = Field(
        default=None,
        description="Environment variable that holds the server's key. The key itself belongs in no config.",
    )
    prompt: str = Field(
        default="pretraining",
        description="The question: pretraining (the paper's), multilingual, instruction, code, medical, legal, or a file's path.",
    )
    max_prompt_tokens: int = Field(
        default=2_048,
        ge=128,
        description="Tokens of question and record together; a longer record is cut, the question never is.",
    )
    tokenizer: str | None = Field(
        default=None,
        description="Id or folder of the server model's tokenizer, to count and cut exactly. Default: 3 bytes are taken for a token.",
    )
    votes: int = Field(
        default=8,
        ge=1,
        description="Sampled answers a record, where a server gives neither logprobs nor probabilities.",
    )
    concurrency: int = Field(default=8, ge=1, description="Requests under way at once.")
    requests_per_minute: float | None = Field(default=None, gt=0, description="Limit on requests. Default: none.")
    tokens_per_minute: float | None = Field(default=None, gt=0, description="Limit on tokens. Default: none.")
    chunk_texts: int = Field(
        default=64, ge=1, description="Texts asked about between two commits: what an interruption costs at most."
    )
    price: Price | None = Field(default=None, description="What its tokens cost. Default: nothing is reckoned.")
    max_calls: int | None = Field(default=None, ge=1, description="Most texts a run may ask about.")
    max_tokens: int | None = Field(default=None, ge=1, description="Most tokens a run may spend, in and out.")
    max_cost: float | None = Field(default=None, gt=0, description="Most a run may cost, in the price's currency.")


class Plan(NamedTuple):
    """What asking about some texts would take, before anything is asked."""

    texts: int
    """Texts to be asked about."""
    answered: int
    """Those of them whose answers are in the cache."""
    prompt_tokens: int
    """Tokens of the prompts of the rest: counted on a sample and scaled."""
    completion_tokens: int
    """Tokens generated for the rest."""
    cost: float | None
    """What that costs, where a price is given."""
    seconds: float
    """How long it takes."""
    basis: str
    """What the time is reckoned from, in words."""

    @property
    def calls(self) -> int:
        """Texts still to be asked about."""
        return self.texts - self.answered


class Spent(NamedTuple):
    """What was asked in this run."""

    calls: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    stopped_by: str | None
    """The cap that ended it, in words; None if everything was asked."""
    first_error: str | None


def asker_of(config: LanguageModel) -> Asker:
    """The language model of a config, ready to be asked. Raises dagster's Failure if the config cannot be followed."""
    try:
        return _asker_of(config, load_prompt(config.prompt))
    except (OSError, ValueError) as error:
        raise dg.Failure(f"language_model: {error}") from error


def _asker_of(config: LanguageModel, prompt: Prompt) -> Asker:
    if config.server:
        from curation_assets.models.server_asker import ServerAsker

        return ServerAsker(
            config.server,
            config.model,
            prompt,
            api_key_variable=config.api_key_variable,
            max_tokens=config.max_prompt_tokens,
            concurrency=config.concurrency,
            requests_per_minute=config.requests_per_minute,
            tokens_per_minute=config.tokens_per_minute,
            votes=config.votes,
            tokenizer=config.tokenizer,
        )
    from curation_assets.models.transformers_asker import TransformersAsker

    return TransformersAsker(config.model, prompt, max_tokens=config.max_prompt_tokens)


def identity(asker: Asker) -> dict[str, str]:
    """What an answer is cached under, beside the text."""
    return {
        "model": asker.model,
        "revision": asker.revision,
        "prompt": asker.prompt.name,
        "prompt_version": asker.prompt.version,
    }


def no_answers() -> pl.DataFrame:
    """An empty chunk of quality_scores.answers."""
    texts = ("text_hash", "model", "revision", "prompt", "prompt_version", "method")
    numbers = {"yes": pl.Float64, "no": pl.Float64, "prompt_tokens": pl.Int64, "completion_tokens": pl.Int64}
    return pl.DataFrame(schema=dict.fromkeys(texts, pl.String) | numbers | {"asked_at": pl.Datetime("us", "UTC")})


def answers(warehouse: Warehouse, asker: Asker) -> pl.DataFrame:
    """The answers in the cache: text_hash, yes, no, method, prompt_tokens, completion_tokens."""
    if not warehouse.has_table("quality_scores.answers"):
        return no_answers().select("text_hash", "yes", "no", "method", "prompt_tokens", "completion_tokens")
    return warehouse.query(ANSWERED, **identity(asker))


def plan(warehouse: Warehouse, asker: Asker, config: LanguageModel, hashes: Sequence[str]) -> Plan:
    """Reckon what asking about the texts of these hashes takes. Nothing is sent anywhere."""
    missing = _missing(warehouse, asker, hashes)
    calls = len(missing)
    step = max(1, calls // SAMPLED_TEXTS)
    sample = warehouse.query(TEXTS, hashes=missing[::step][:SAMPLED_TEXTS])["text"].to_list() if calls else []
    tokens = asker.count_tokens(sample)
    prompt_tokens = round(float(tokens.mean()) * calls) if calls else 0
    completion_tokens = calls
    seconds, basis = _time(warehouse, asker, config, calls, prompt_tokens, sample)
    cost = _cost(config.price, prompt_tokens, completion_tokens)
    return Plan(len(hashes), len(hashes) - calls, prompt_tokens, completion_tokens, cost, seconds, basis)


def affordable_calls(planned: Plan, config: LanguageModel) -> int:
    """Of the planned calls, how many the caps allow."""
    if not planned.calls:
        return 0
    shares = [1.0]
    if config.max_calls:
        shares.append(config.max_calls / planned.calls)
    if config.max_tokens:
        shares.append(config.max_tokens / max(1, planned.prompt_tokens + planned.completion_tokens))
    if config.max_cost and planned.cost:
        shares.append(config.max_cost / planned.cost)
    return math.floor(planned.calls * min(shares))


def plan_lines(planned: Plan, config: LanguageModel) -> Iterator[str]:
    """A plan in lines of text: calls, tokens, money, time, and what the caps make of it."""
    yield f"  answered already  {planned.answered:>12,}"
    yield f"  calls             {planned.calls:>12,}"
    yield f"  tokens in         {planned.prompt_tokens:>12,}  counted on at most {SAMPLED_TEXTS} texts and scaled"
    votes = (
        f"; up to {config.votes} times as many, in and out, if the server gives no probabilities"
        if config.server
        else ""
    )
    yield f"  tokens out        {planned.completion_tokens:>12,}  one a call{votes}"
    if config.price is None:
        yield "  cost                   unknown  language_model.price in the recipe gives the price of a million tokens"
    else:
        yield f"  cost              {planned.cost:>12,.2f}  {config.price.currency}"
    yield f"  hours             {planned.seconds / 3600:>12,.2f}  {planned.basis}"
    if (affordable := affordable_calls(planned, config)) < planned.calls:
        yield f"  The caps in the recipe allow {affordable:,} of these calls."


def ask_missing(warehouse: Warehouse, asker: Asker, config: LanguageModel, hashes: Sequence[str]) -> Spent:
    """Ask about the texts that have no answer yet, chunk by chunk into quality_scores.answers, until a cap is reached.

    A text whose question failed is not cached; it is asked about again next time. Raises dagster's Failure if a whole
    chunk of more than a few texts fails: then something is wrong with the model, not with the texts.
    """
    missing = _missing(warehouse, asker, hashes)
    report, started = reporter("asking", "texts", len(missing)), time.monotonic()
    calls = failed = prompt_tokens = completion_tokens = 0
    stopped_by = first_error = None
    with warehouse.spooled(TEXTS, hashes=missing) as spool:
        for batch in spool.batches(config.chunk_texts):
            texts = batch["text"].to_pylist()
            fitting, stopped_by = _fitting(asker, config, texts, calls, prompt_tokens, completion_tokens)
            if fitting:
                given, stopped = _ask(asker, texts[:fitting])
                good = given.yes + given.no > 0
                _put_away(warehouse, asker, batch["text_hash"].to_pylist()[:fitting], given, good)
                calls, failed = calls + fitting, failed + int((~good).sum())
                prompt_tokens += int(given.prompt_tokens.sum())
                completion_tokens += int(given.completion_tokens.sum())
                first_error = first_error or next((error for error in given.error if error), None)
                if stopped or (not good.any() and fitting >= FEW):
                    raise dg.Failure(
                        f"{asker.model}: {stopped or f'it answered none of {fitting} texts. The first error: {first_error}'} "
                        f"What it answered before is kept ({calls - failed:,} texts in this run)."
                    )
                report(calls)
            if stopped_by:
                break
    if failed:
        logger.warning("asking: %s of %s texts got no answer, the first: %s", f"{failed:,}", f"{calls:,}", first_error)
    seconds = time.monotonic() - started
    return Spent(calls, failed, prompt_tokens, completion_tokens, seconds, stopped_by, first_error)


def _ask(asker: Asker, texts: list[str]) -> tuple[Answers, str | None]:
    """The answers, and why no further text can be answered, if so."""
    try:
        return asker.ask(texts), None
    except AskStopped as stop:
        return stop.answers, str(stop)


def _fitting(
    asker: Asker, config: LanguageModel, texts: list[str], calls: int, prompt_tokens: int, completion_tokens: int
) -> tuple[int, str | None]:
    """How many of the next texts the caps still allow, and the cap that leaves some out."""
    if not (config.max_calls or config.max_tokens or config.max_cost):
        return len(texts), None
    tokens_in = prompt_tokens + np.cumsum(asker.count_tokens(texts))
    tokens_out = completion_tokens + np.arange(1, len(texts) + 1)
    allowed = {len(texts): None}
    if config.max_calls:
        allowed[max(0, config.max_calls - calls)] = f"max_calls {config.max_calls:,}"
    if config.max_tokens:
        allowed[int(np.sum(tokens_in + tokens_out <= config.max_tokens))] = f"max_tokens {config.max_tokens:,}"
    if config.max_cost and config.price:
        cost = (tokens_in * config.price.prompt_per_million + tokens_out * config.price.completion_per_million) / 1e6
        allowed[int(np.sum(cost <= config.max_cost))] = f"max_cost {config.max_cost:g} {config.price.currency}"
    fewest = min(min(allowed), len(texts))
    return fewest, allowed[fewest] if fewest < len(texts) else None


def _put_away(warehouse: Warehouse, asker: Asker, hashes: list[str], given: Answers, good: np.ndarray) -> None:
    rows = pl.DataFrame(
        {
            "text_hash": hashes,
            "yes": given.yes,
            "no": given.no,
            "method": pl.Series(given.method, dtype=pl.String),
            "prompt_tokens": given.prompt_tokens,
            "completion_tokens": given.completion_tokens,
        }
    ).with_columns(
        *(pl.lit(value).alias(name) for name, value in identity(asker).items()),
        pl.lit(datetime.now(timezone.utc)).alias("asked_at"),
    )
    warehouse.append("quality_scores.answers", rows.filter(pl.Series(good)))


def _missing(warehouse: Warehouse, asker: Asker, hashes: Sequence[str]) -> list[str]:
    """The hashes without an answer, each once, in an order that says nothing about the texts."""
    known = set(answers(warehouse, asker)["text_hash"])
    return sorted(set(hashes) - known)


def _cost(price: Price | None, prompt_tokens: int, completion_tokens: int) -> float | None:
    if price is None:
        return None
    return (prompt_tokens * price.prompt_per_million + completion_tokens * price.completion_per_million) / 1e6


def _time(
    warehouse: Warehouse, asker: Asker, config: LanguageModel, calls: int, tokens: int, sample: list[str]
) -> tuple[float, str]:
    """Seconds that the calls take, and from what that is reckoned."""
    past = _past_seconds_per_call(warehouse, asker)
    if past:
        seconds, basis = calls * past, f"{past:.3g} s a call in the last run that asked this model"
    elif config.server:
        seconds = calls * ASSUMED_SECONDS_PER_CALL / config.concurrency
        basis = f"assuming {ASSUMED_SECONDS_PER_CALL:g} s a call, {config.concurrency} at once: this server was not asked yet"
    else:
        few = sample[:4]
        started = time.monotonic()
        asker.ask(few)
        per_call = (time.monotonic() - started) / max(1, len(few))
        seconds, basis = calls * per_call, f"{per_call:.3g} s a text on {len(few)} texts tried here"
    limits = [60 * calls / config.requests_per_minute if config.requests_per_minute else 0]
    limits.append(60 * tokens / config.tokens_per_minute if config.tokens_per_minute else 0)
    if config.server and max(limits) > seconds:
        return max(limits), "the rate limit in the config"
    return seconds, basis


def _past_seconds_per_call(warehouse: Warehouse, asker: Asker) -> float | None:
    if not warehouse.has_table("ledger.runs"):
        return None
    return warehouse.value(
        "select max_by((notes -> 'asked' ->> 'seconds_per_call')::double, finished_at) as seconds from ledger.runs "
        "where stage = 'quality_scores' and notes -> 'asked' ->> 'model' = $model and notes -> 'asked' ->> 'revision' = $revision "
        "and (notes -> 'asked' ->> 'calls')::bigint > 0",
        model=asker.model,
        revision=asker.revision,
    )
