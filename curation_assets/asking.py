"""Asking a language model about records: what it would take, then in chunks, so that no answer is paid for twice.

`curate estimate` and the stages plan with the same functions. A cap holds for one run: what earlier runs asked is in the
stage's own table of answers (`quality_scores.answers`, `predicted_labels.answers`) and costs nothing. Before each chunk
what it may cost at most is reckoned, and no more texts are asked about than that allows; an answer that is lost on its way
counts as paid for, its repeated attempts do not.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl
from pydantic import Field

from curation_assets.models.ask_llm import VOTE_TOKENS, Answers, Asker, AskStopped, Prompt, load_prompt
from curation_assets.progress import logger, reporter
from curation_assets.warehouse import Spool, Warehouse

SAMPLED_TEXTS = 200
"""Texts whose tokens are counted to estimate those of all."""

ASSUMED_SECONDS_PER_CALL = 1.0
"""Assumed of a server that was never asked before; said wherever it is used."""

FEW = 4
"""Texts of a chunk from which on it tells something if none of them gets an answer."""

TITLE_BYTES_PER_TOKEN = 3
"""Bytes taken for a token of a prompt that is no question about a record. Ours; more are usual, so it overestimates."""

TEXTS = (
    "select distinct on (text_hash) text_hash, text from filtered.records "
    "where text_hash in (select unnest($hashes::varchar[])) order by text_hash"
)

QUALITY_ANSWERS = "quality_scores.answers"
"""The table answers are kept in unless a stage names its own."""


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
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields added to every request to the server, such as {chat_template_kwargs: {enable_thinking: false}} for a model "
        "that would think aloud before it answers.",
    )
    price: Price | None = Field(default=None, description="What its tokens cost. Default: nothing is reckoned.")
    max_calls: int | None = Field(
        default=None, ge=1, description="Most texts a run may ask about, by one or `votes` requests each."
    )
    max_tokens: int | None = Field(default=None, ge=1, description="Most tokens a run may spend, in and out.")
    max_cost: float | None = Field(
        default=None, gt=0, description="Most a run may cost, in the price's currency; needs the price."
    )


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
    requests_per_text: int = 1
    """More than 1 where the server answered by votes before."""

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


def asker_of(config: LanguageModel, prompt: Prompt | None = None) -> Asker:
    """The language model of a config, ready to be asked. Raises dagster's Failure if the config cannot be followed.

    ``prompt``: one made for the purpose, instead of the config's. A server is asked which model it has, and nothing else.
    """
    try:
        if config.max_cost and config.price is None:
            raise ValueError("max_cost needs price, or nobody knows what is spent.")
        prompt = versioned(config, prompt or load_prompt(config.prompt))
        return _asker_of(config, prompt)
    except (OSError, ValueError) as error:
        raise dg.Failure(f"language_model: {error}") from error


def versioned(config: LanguageModel, prompt: Prompt) -> Prompt:
    """The prompt with a version that also says how much of a record is read and what is sent beside it."""
    version = f"{prompt.version}-{config.max_prompt_tokens}"
    if config.server and config.extra:
        added = json.dumps(config.extra, sort_keys=True)
        version = f"{version}-{hashlib.sha256(added.encode()).hexdigest()[:8]}"
    return prompt._replace(version=version)


def _asker_of(config: LanguageModel, prompt: Prompt) -> Asker:
    if config.server:
        from curation_assets.models.server_asker import ServerAsker
        from curation_assets.models.server_client import Stop, Unavailable

        asker = ServerAsker(
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
            extra=config.extra,
        )
        try:
            asker.revision  # noqa: B018, answers are kept under it: without it nobody knows what was asked before
        except (Stop, Unavailable) as error:
            raise ValueError(error) from error
        return asker
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
    """An empty chunk of a table of answers."""
    texts = ("text_hash", "model", "revision", "prompt", "prompt_version", "method")
    numbers = {"yes": pl.Float64, "no": pl.Float64, "prompt_tokens": pl.Int64, "completion_tokens": pl.Int64}
    return pl.DataFrame(schema=dict.fromkeys(texts, pl.String) | numbers | {"asked_at": pl.Datetime("us", "UTC")})


def answers(warehouse: Warehouse, asker: Asker, table: str = QUALITY_ANSWERS) -> pl.DataFrame:
    """The answers in the cache: text_hash, yes, no, method, prompt_tokens, completion_tokens."""
    columns = ["text_hash", "yes", "no", "method", "prompt_tokens", "completion_tokens"]
    if not warehouse.has_table(table):
        return no_answers().select(columns)
    return warehouse.matching(table, columns, **identity(asker))


def plan(
    warehouse: Warehouse, asker: Asker, config: LanguageModel, hashes: Sequence[str], table: str = QUALITY_ANSWERS
) -> Plan:
    """Reckon what asking about the texts of these hashes takes. No text is sent anywhere."""
    unknown, known = missing(warehouse, asker, hashes, table), answers(warehouse, asker, table)
    calls, by_votes = len(unknown), config.server and "votes" in known["method"]
    requests = config.votes if by_votes else 1
    step = max(1, calls // SAMPLED_TEXTS)
    sample = warehouse.query(TEXTS, hashes=unknown[::step][:SAMPLED_TEXTS])["text"].to_list() if calls else []
    tokens = asker.count_tokens(sample)
    prompt_tokens = requests * round(float(tokens.mean()) * calls) if calls else 0
    completion_tokens = calls * _generated(requests)
    seconds, basis = _time(warehouse, asker, config, calls, prompt_tokens, sample, requests, table)
    cost = _cost(config.price, prompt_tokens, completion_tokens)
    return Plan(len(hashes), len(hashes) - calls, prompt_tokens, completion_tokens, cost, seconds, basis, requests)


def affordable_calls(planned: Plan, config: LanguageModel) -> int:
    """Of the planned calls, how many the caps allow."""
    if not planned.calls:
        return 0
    allowed = planned.calls
    if config.max_calls:
        allowed = min(allowed, config.max_calls)
    if config.max_tokens:
        tokens = max(1, planned.prompt_tokens + planned.completion_tokens)
        allowed = min(allowed, planned.calls * config.max_tokens // tokens)
    if config.max_cost and planned.cost:
        allowed = min(allowed, math.floor(planned.calls * config.max_cost / planned.cost + 1e-9))
    return allowed


def affordable_prompts(prompts: Sequence[str], completion_tokens: int, config: LanguageModel) -> int:
    """Of some prompts that are no questions about records, how many, from the first, the caps allow."""
    sizes = [len(prompt.encode()) / TITLE_BYTES_PER_TOKEN for prompt in prompts]
    return _allowed(config, 0, np.cumsum(sizes), completion_tokens * np.arange(1, len(sizes) + 1))[0]


def plan_lines(planned: Plan, config: LanguageModel) -> Iterator[str]:
    """A plan in lines of text: calls, tokens, money, time, and what the caps make of it."""
    yield f"  answered already  {planned.answered:>12,}"
    yield f"  calls             {planned.calls:>12,}"
    yield f"  tokens in         {planned.prompt_tokens:>12,}  counted on at most {SAMPLED_TEXTS} texts and scaled"
    votes = (
        f"; up to {config.votes} times as many, in and out, if the server gives no probabilities"
        if config.server and planned.requests_per_text == 1
        else ""
    )
    each = "one a call" if planned.requests_per_text == 1 else f"{planned.requests_per_text} votes a call"
    yield f"  tokens out        {planned.completion_tokens:>12,}  {each}{votes}"
    if config.price is None:
        yield "  cost                   unknown  language_model.price in the recipe gives the price of a million tokens"
    else:
        yield f"  cost              {planned.cost:>12,.2f}  {config.price.currency}"
    yield f"  hours             {planned.seconds / 3600:>12,.2f}  {planned.basis}"
    if (affordable := affordable_calls(planned, config)) < planned.calls:
        yield f"  The caps in the recipe allow {affordable:,} of these calls."


def ask_missing(
    warehouse: Warehouse, asker: Asker, config: LanguageModel, hashes: Sequence[str], table: str = QUALITY_ANSWERS
) -> Spent:
    """Ask about the texts that have no answer yet, chunk by chunk into the table of answers, until a cap is reached.

    A text whose question failed is not cached; it is asked about again next time. One to which the model said neither
    yes nor no has its answer, without a P(yes). Raises dagster's Failure if a whole chunk of more than a few texts fails,
    or if the model never said yes or no: then something is wrong with the model, not with the texts.
    """
    unknown, known = missing(warehouse, asker, hashes, table), answers(warehouse, asker, table)
    has_worked = bool((known["yes"] + known["no"] > 0).any())
    report, started = reporter("asking", "texts", len(unknown)), time.monotonic()
    spent = Spent(0, 0, 0, 0, 0.0, None, None)
    with warehouse.spooled(TEXTS, hashes=unknown) as spool:
        for of_chunk, texts in _chunks(spool, config):
            while texts and not spent.stopped_by:
                # Anew after every answer: only the first ones show how many requests a text takes.
                fitting, stopped_by = _fitting(asker, config, texts, spent)
                if not fitting:
                    spent = spent._replace(stopped_by=stopped_by)
                    break
                given, stopped = _ask(asker, texts[:fitting])
                mass = given.yes + given.no
                good, is_answered = mass > 0, np.isfinite(mass)
                has_worked = has_worked or bool(good.any())
                is_broken = fitting >= FEW and not (has_worked and is_answered.any())
                kept = good if stopped or is_broken else is_answered
                _put_away(warehouse, asker, of_chunk[:fitting], given, kept, table)
                spent = _with(spent, given, good)
                if stopped or is_broken:
                    raise dg.Failure(
                        f"{asker.model}: {stopped or f'it answered none of {fitting} texts. The first error: {spent.first_error}'} "
                        f"What it answered before is kept ({spent.calls - spent.failed:,} texts in this run)."
                    )
                report(spent.calls)
                of_chunk, texts = of_chunk[fitting:], texts[fitting:]
            if spent.stopped_by:
                break
    if spent.failed:
        failed, calls = f"{spent.failed:,}", f"{spent.calls:,}"
        logger.warning("asking: %s of %s texts got no answer, the first: %s", failed, calls, spent.first_error)
    return spent._replace(seconds=time.monotonic() - started)


def _chunks(spool: Spool, config: LanguageModel) -> Iterator[tuple[list[str], list[str]]]:
    """Text hashes and texts, as many as are asked about between two commits and no fewer than are asked at once."""
    for batch in spool.batches(max(config.chunk_texts, config.concurrency if config.server else 1)):
        yield batch["text_hash"].to_pylist(), batch["text"].to_pylist()


def _with(spent: Spent, given: Answers, good: np.ndarray) -> Spent:
    """What was asked, some more answers included."""
    return spent._replace(
        calls=spent.calls + len(good),
        failed=spent.failed + int((~good).sum()),
        prompt_tokens=spent.prompt_tokens + int(given.prompt_tokens.sum()),
        completion_tokens=spent.completion_tokens + int(given.completion_tokens.sum()),
        first_error=spent.first_error or next((error for error in given.error if error), None),
    )


def _ask(asker: Asker, texts: list[str]) -> tuple[Answers, str | None]:
    """The answers, and why no further text can be answered, if so."""
    try:
        return asker.ask(texts), None
    except AskStopped as stop:
        return stop.answers, str(stop)


def _fitting(asker: Asker, config: LanguageModel, texts: list[str], spent: Spent) -> tuple[int, str | None]:
    """How many of the next texts the caps still allow, and the cap that leaves some out."""
    if not (config.max_calls or config.max_tokens or config.max_cost):
        return len(texts), None
    requests = asker.calls_per_text
    tokens_in = spent.prompt_tokens + requests * np.cumsum(asker.count_tokens(texts))
    tokens_out = spent.completion_tokens + _generated(requests) * np.arange(1, len(texts) + 1)
    return _allowed(config, spent.calls, tokens_in, tokens_out)


def _allowed(
    config: LanguageModel, calls: int, tokens_in: np.ndarray, tokens_out: np.ndarray
) -> tuple[int, str | None]:
    """How many more questions the caps allow after so many calls, and the cap that leaves some out.

    The tokens are running totals: those spent once question 1, 2, … is answered.
    """
    allowed = {len(tokens_in): None}
    if config.max_calls:
        allowed[max(0, config.max_calls - calls)] = f"max_calls {config.max_calls:,}"
    if config.max_tokens:
        allowed[int(np.sum(tokens_in + tokens_out <= config.max_tokens))] = f"max_tokens {config.max_tokens:,}"
    if config.max_cost and config.price:
        cost = (tokens_in * config.price.prompt_per_million + tokens_out * config.price.completion_per_million) / 1e6
        allowed[int(np.sum(cost <= config.max_cost))] = f"max_cost {config.max_cost:g} {config.price.currency}"
    fewest = min(min(allowed), len(tokens_in))
    return fewest, allowed[fewest] if fewest < len(tokens_in) else None


def _generated(requests: int) -> int:
    """Tokens generated for a text at most."""
    return 1 if requests == 1 else requests * VOTE_TOKENS


def _put_away(
    warehouse: Warehouse, asker: Asker, hashes: list[str], given: Answers, kept: np.ndarray, table: str
) -> None:
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
    warehouse.append(table, rows.filter(pl.Series(kept)))


def missing(warehouse: Warehouse, asker: Asker, hashes: Sequence[str], table: str = QUALITY_ANSWERS) -> list[str]:
    """The hashes without an answer, each once, in an order that says nothing about the texts."""
    known = set(answers(warehouse, asker, table)["text_hash"])
    return sorted(set(hashes) - known)


def _cost(price: Price | None, prompt_tokens: int, completion_tokens: int) -> float | None:
    if price is None:
        return None
    return (prompt_tokens * price.prompt_per_million + completion_tokens * price.completion_per_million) / 1e6


def _time(
    warehouse: Warehouse,
    asker: Asker,
    config: LanguageModel,
    calls: int,
    tokens: int,
    sample: list[str],
    requests: int,
    table: str,
) -> tuple[float, str]:
    """Seconds that the calls take, and from what that is reckoned."""
    past = _past_seconds_per_call(warehouse, asker, stage=table.split(".")[0])
    if past:
        seconds, basis = calls * past, f"{past:.3g} s a call in the last run that asked this model"
    elif config.server:
        seconds = calls * requests * ASSUMED_SECONDS_PER_CALL / config.concurrency
        basis = f"assuming {ASSUMED_SECONDS_PER_CALL:g} s a call, {config.concurrency} at once: this server was not asked yet"
    else:
        few = sample[:4]
        started = time.monotonic()
        asker.ask(few)
        per_call = (time.monotonic() - started) / max(1, len(few))
        seconds, basis = calls * per_call, f"{per_call:.3g} s a text on {len(few)} texts tried here"
    limits = [60 * calls * requests / config.requests_per_minute if config.requests_per_minute else 0]
    limits.append(60 * tokens / config.tokens_per_minute if config.tokens_per_minute else 0)
    if config.server and max(limits) > seconds:
        return max(limits), "the rate limit in the config"
    return seconds, basis


def _past_seconds_per_call(warehouse: Warehouse, asker: Asker, stage: str) -> float | None:
    if not warehouse.has_table("ledger.runs"):
        return None
    return warehouse.value(
        "select max_by((notes ->> '$.asked.seconds_per_call')::double, finished_at) as seconds from ledger.runs "
        "where stage = $stage and (notes ->> '$.asked.model') = $model and (notes ->> '$.asked.revision') = $revision "
        "and (notes ->> '$.asked.calls')::bigint > 0",
        stage=stage,
        model=asker.model,
        revision=asker.revision,
    )
