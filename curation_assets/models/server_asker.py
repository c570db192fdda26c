"""Ask a model behind an OpenAI-compatible server (vLLM, SGLang, Ollama, llama.cpp, `transformers serve`, a paid service).

Three ways, the first that the server offers: the log probabilities of the likeliest first tokens; a yes/no endpoint of its
own that answers with a probability (/v1/systemone of `transformers serve`); votes, several sampled answers.
"""

import copy
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cached_property
from typing import Any

import numpy as np

from curation_assets.models.ask_llm import (
    FENCE,
    VOTE_TOKENS,
    Answer,
    Answers,
    AskStopped,
    Prompt,
    failed,
    fill,
    gathered,
    harmless,
    question,
    with_cue,
)
from curation_assets.models.server_answers import Generated, count_votes, generated_from, read_logprobs
from curation_assets.models.server_client import Client, Refused, Stop, Unavailable
from curation_assets.models.vocabulary import MAX_TOKEN_CHARS, chat_text, control_tokens, token_spans
from curation_assets.progress import logger

TOP_LOGPROBS = (20, 5)
"""How many of the likeliest tokens are asked for, and what is tried next: 20 is the most OpenAI and vLLM allow (their API
references, 2025), 5 what older servers and /v1/completions allow."""

BYTES_PER_TOKEN = 3.0
"""Where there is no tokenizer. Ours: English prose takes 4 to 4.5 UTF-8 bytes a token, code about 3, a Korean syllable is 3
bytes and about a token. So bills are over- rather than underestimated, and records cut early rather than too late."""

CHAT_TOKENS = 32
"""What a chat template adds to a prompt, where there is no tokenizer: 12 with Qwen3, about 30 with Llama 3.1. Ours."""

ABSENT = (404, 405, 501)
"""HTTP statuses of an address that is not there."""

MOST_SILENT, MOST_REFUSED = 5, 3
"""Texts in a row without any answer, and refused ones before the first success, after which no more are asked. Ours."""


class NotOffered(RuntimeError):
    """The server does not answer in this way; ``generated`` is what it answered, and was paid for, instead."""

    def __init__(self, message: str, generated: Generated | None = None) -> None:
        """Keep what was answered."""
        super().__init__(message)
        self.generated = generated


class ServerAsker:
    """P(yes) from a server. ``revision``: the model's id and a hash of what the server reports about it."""

    def __init__(
        self,
        base_url: str,
        model: str,
        prompt: Prompt,
        *,
        api_key_variable: str | None = None,
        max_tokens: int = 2048,
        concurrency: int = 8,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout_seconds: float = 120,
        attempts: int = 8,
        votes: int = 8,
        tokenizer: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the settings; the server is not asked anything yet.

        ``base_url``: as OpenAI's clients take it, mostly ending in /v1. ``api_key_variable``: name of the environment variable
        that holds the key. ``max_tokens``: prompt and record together, the record is cut. ``votes``: sampled answers per
        text where nothing better is offered. ``tokenizer``: id or folder, to count and cut exactly. ``extra``: fields added
        to every request, such as {"chat_template_kwargs": {"enable_thinking": false}} for a model that would think aloud first;
        a field that is null is left out of it instead.

        Raises ValueError for an address, a key variable or a number that cannot be used.
        """
        if min(concurrency, votes, attempts) < 1:
            raise ValueError("concurrency, votes and attempts must be at least 1.")
        self._client = Client(
            base_url,
            api_key_variable=api_key_variable,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            timeout_seconds=timeout_seconds,
            connections=concurrency,
            attempts=attempts,
        )
        self.model, self.prompt = model, prompt
        self._concurrency, self._votes, self._extra = concurrency, votes, dict(extra or {})
        self._tokenizer = _loaded(tokenizer)
        self._control_tokens = control_tokens(self._tokenizer)[0] if tokenizer else []
        self._chat_tokens = self._tokens_around_a_chat()
        self._record_tokens = max_tokens - self._chat_tokens - self._tokens_of(fill(prompt, ""))
        if self._record_tokens < 1:
            raise ValueError(f"The prompt {prompt.name} leaves no place for a record within max_tokens={max_tokens}.")
        self._ways: list[Callable[[str], Answer]] = [self._by_logprobs, self._by_decision, self._by_votes]
        self._path, self._top, self._limit_field = "/chat/completions", TOP_LOGPROBS[0], "max_tokens"
        self._is_settled = False
        self._bytes_per_token = BYTES_PER_TOKEN

    def with_prompt(self, prompt: Prompt) -> "ServerAsker":
        """Return an asker of the same server with another prompt. Raises ValueError if that leaves no place for a record."""
        other = copy.copy(self)
        other.prompt = prompt
        other._record_tokens += self._tokens_of(fill(self.prompt, "")) - self._tokens_of(fill(prompt, ""))
        if other._record_tokens < 1:
            raise ValueError(f"The prompt {prompt.name} leaves no place for a record within max_prompt_tokens.")
        other._ways = [getattr(other, way.__name__) for way in self._ways]
        return other

    @cached_property
    def revision(self) -> str:
        """The model's id and a hash of what /v1/models says about it, the times aside; asks the server once."""
        try:
            answer = self._client.get("/models", attempts=3)
        except Refused:
            answer = None  # it has no such list
        except Unavailable as error:
            if error.status != 500:  # `transformers serve` answers so for a model in a folder
                raise  # it is busy or gone: with another revision all its answers would be asked for again
            answer = None
        listed = (answer.get("data") or []) if isinstance(answer, dict) else []
        told = next((entry for entry in listed if isinstance(entry, dict) and entry.get("id") == self.model), None)
        if told is None:
            return f"{self.model}, not described by its server"
        lasting = {
            name: told[name] for name in sorted(told) if name in ("id", "root", "parent", "meta", "max_model_len")
        }
        return f"{self.model} {hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:8]}"

    def ask(self, texts: Sequence[str]) -> Answers:
        """Ask about every text, several at a time; see `Asker.ask`.

        The first texts are asked one by one until one is answered: that shows which way the server offers.
        """
        rows: list[Answer | None] = [None] * len(texts)
        self._client.stopped.clear()
        try:
            self._settle(texts, rows)
            self._ask_the_rest(texts, rows)
        except (Stop, Unavailable) as error:
            missing = failed(f"Not answered before the run stopped: {error}")
            raise AskStopped(str(error), gathered([row or missing for row in rows])) from error
        answers = gathered(rows)
        if self._tokenizer is None:
            self._learn_size(texts, answers)
        return answers

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of the prompt of each text, int64[texts]: counted if there is a tokenizer, else estimated.

        Estimated from the UTF-8 bytes, at `BYTES_PER_TOKEN` before the first answers, then at what the server's counts gave.
        """
        prompts = [self._filled(self._record(text)) for text in texts]
        if self._tokenizer is not None:
            return np.array([self._tokens_of(prompt) + self._chat_tokens for prompt in prompts], dtype=np.int64)
        sizes = np.array([len(prompt.encode()) for prompt in prompts], dtype=np.float64)
        return np.ceil(sizes / self._bytes_per_token).astype(np.int64) + self._chat_tokens

    def complete(self, prompt: str, max_tokens: int) -> str:
        """Answer a prompt in at most ``max_tokens`` tokens of text, the likeliest token each time; see `Asker.complete`.

        Raises RuntimeError if the server does not answer, with its reason.
        """
        self._client.stopped.clear()
        return self._generate(prompt, max_tokens=max_tokens).text.strip()

    @property
    def calls_per_text(self) -> int:
        """Requests each text takes at most: the number of votes, or 1 once the first answer shows that more is offered."""
        return self._votes if self._by_votes in self._ways else 1

    def _settle(self, texts: Sequence[str], rows: list[Answer | None]) -> None:
        for row, text in enumerate(texts):
            if self._is_settled:
                return
            rows[row] = self._row(text, is_first=True)
            self._is_settled = rows[row].method != "failed"
            if self._is_settled:
                del self._ways[1:]  # one way for all texts: scores of two ways do not compare, nor do their prices
            if not self._is_settled and row + 1 == MOST_REFUSED:
                raise Stop(
                    f"{self._client.base_url} refused the first {MOST_REFUSED} texts: {rows[row].error} Is the model {self.model!r} "
                    "served there, and are the texts within its context (max_tokens)?"
                )

    def _ask_the_rest(self, texts: Sequence[str], rows: list[Answer | None]) -> None:
        silent = 0
        with ThreadPoolExecutor(self._concurrency) as pool:
            futures = {pool.submit(self._row, text): row for row, text in enumerate(texts) if rows[row] is None}
            try:
                for future in as_completed(futures):
                    rows[futures[future]] = answer = future.result()
                    silent = silent + 1 if answer.method == "failed" and not answer.calls else 0
                    if silent == MOST_SILENT:
                        raise Unavailable(f"{MOST_SILENT} texts in a row were not answered. {answer.error}")
            except BaseException:
                self._client.stopped.set()  # ends the pauses of the requests under way
                pool.shutdown(cancel_futures=True)
                for future, row in futures.items():
                    if rows[row] is None and future.done() and not future.cancelled() and not future.exception():
                        rows[row] = future.result()
                raise

    def _row(self, text: str, *, is_first: bool = False) -> Answer:
        """Answer for one text, in the first way that the server offers. Raises Stop, and Unavailable for the first text."""
        record = self._record(text)
        unused = Generated("", None, 0, 0)
        for way in list(self._ways):
            try:
                answer = way(record)
                return answer._replace(
                    prompt_tokens=answer.prompt_tokens + unused.prompt_tokens,
                    completion_tokens=answer.completion_tokens + unused.completion_tokens,
                    calls=answer.calls + bool(unused.prompt_tokens),
                )
            except NotOffered as error:
                if not is_first:
                    return failed(f"{self._client.base_url} {error}", self._tokens_of(self._filled(record)), calls=1)
                unused = error.generated or unused
                logger.warning("%s %s It is asked in another way.", self._client.base_url, error)
                self._ways.remove(way)
            except Refused as error:
                if error.status in ABSENT:
                    raise Stop(
                        f"{self._client.base_url}{self._path} is not there for {self.model!r}: {error}"
                    ) from error
                # Of several votes, those before this one may have been billed.
                billed = self._tokens_of(self._filled(record)) * (len(self._ways) == 1) * (self.calls_per_text - 1)
                return failed(f"The server refused this text: {error}", billed, calls=1)
            except Unavailable as error:
                if is_first:
                    raise
                # An answer that was lost on its way may have been billed: it counts against the caps.
                return failed(str(error), self._tokens_of(self._filled(record)) * self.calls_per_text)
        return failed(f"{self._client.base_url} offers no way to ask for yes or no.", calls=1)

    def _by_logprobs(self, record: str) -> Answer:
        try:
            generated = self._generate(self._filled(record), max_tokens=1, top_logprobs=self._top)
        except Refused as error:
            if "logprob" not in str(error):
                raise
            if self._top == TOP_LOGPROBS[0]:
                self._top = TOP_LOGPROBS[1]
                return self._by_logprobs(record)
            raise NotOffered(f"gives no log probabilities ({error}).") from error
        if generated.first is None:
            raise NotOffered("answers without log probabilities.", generated)
        return read_logprobs(generated)

    def _by_decision(self, record: str) -> Answer:
        """Ask the System One endpoint (`transformers serve`, transformers.decision): the record is its state, the rest its question."""
        body = {
            "model": self.model,
            "state": f"{FENCE}\n{record}\n{FENCE}",
            "questions": {"answer": {"type": "noul", "instructions": question(self.prompt)}},
        }
        size = self._tokens_of(body["state"] + question(self.prompt))
        try:
            answer = self._client.post("/systemone", body, tokens=size, attempts=None if self._is_settled else 1)
            yes = float(answer["answers"]["answer"]["noul"])
            if not 0 <= yes <= 1:
                raise ValueError(f"{yes} is no probability")
        except (Refused, Unavailable, KeyError, TypeError, ValueError) as error:
            if self._is_settled and (isinstance(error, Unavailable) or getattr(error, "status", 404) not in ABSENT):
                raise
            raise NotOffered(f"has no yes/no endpoint that works ({error}).") from error
        tokens = int((answer.get("usage") or {}).get("input_tokens") or 0) or size
        return Answer(yes, 1 - yes, "decisions", prompt_tokens=tokens, calls=1)

    def _by_votes(self, record: str) -> Answer:
        prompt = self._filled(record)
        return count_votes(
            [self._generate(prompt, max_tokens=VOTE_TOKENS, temperature=1, seed=seed) for seed in range(self._votes)]
        )

    def _generate(
        self,
        prompt: str,
        *,
        max_tokens: int,
        temperature: float = 0,
        seed: int | None = None,
        top_logprobs: int | None = None,
    ) -> Generated:
        """Generate an answer to a prompt, as a chat where the server has one, else as the prompt's continuation."""
        while True:
            is_chat = self._path == "/chat/completions"
            body: dict[str, Any] = {"model": self.model, self._limit_field: max_tokens}
            body |= {"temperature": temperature, "seed": seed}
            if is_chat:
                body["messages"] = [{"role": "user", "content": prompt}]
            else:
                body["prompt"] = with_cue(prompt)
            if top_logprobs is not None:
                body |= {"logprobs": True, "top_logprobs": top_logprobs} if is_chat else {"logprobs": top_logprobs}
            body = {name: value for name, value in (body | self._extra).items() if value is not None}
            try:
                size = self._tokens_of(prompt)
                generated = generated_from(self._client.post(self._path, body, tokens=size + max_tokens))
                if generated.prompt_tokens:
                    return generated
                return generated._replace(
                    prompt_tokens=size + self._chat_tokens, completion_tokens=max_tokens
                )  # it does not count
            except Refused as error:
                if "max_completion_tokens" in str(error) and self._limit_field == "max_tokens":
                    self._limit_field = "max_completion_tokens"  # what OpenAI's newer models call it
                elif is_chat and not self._is_settled and error.status in ABSENT and "model" not in str(error).lower():
                    logger.warning("%s has no chat; asking its /completions.", self._client.base_url)
                    self._path = "/completions"
                else:
                    raise

    def _record(self, text: str) -> str:
        """Make a record harmless and cut it to its tokens, or to their estimate in UTF-8 bytes; the prompt is never cut."""
        if self._tokenizer is not None:
            record = harmless(text[: self._record_tokens * MAX_TOKEN_CHARS].strip(), self._control_tokens)
            spans = token_spans(self._tokenizer, record)
            return record if len(spans) <= self._record_tokens else record[: spans[self._record_tokens - 1][1]]
        most = int(self._record_tokens * BYTES_PER_TOKEN)
        return harmless(text[:most].strip()).encode()[:most].decode(errors="ignore")

    def _filled(self, record: str) -> str:
        return fill(self.prompt, record, self._control_tokens)

    def _tokens_of(self, text: str) -> int:
        if self._tokenizer is not None:
            return len(self._tokenizer(text, verbose=False)["input_ids"])
        return math.ceil(len(text.encode()) / BYTES_PER_TOKEN)

    def _tokens_around_a_chat(self) -> int:
        if self._tokenizer is None or self._tokenizer.chat_template is None:
            return CHAT_TOKENS
        return self._tokens_of(chat_text(self._tokenizer, "yes")) - self._tokens_of("yes")

    def _learn_size(self, texts: Sequence[str], answers: Answers) -> None:
        counted = np.flatnonzero((answers.prompt_tokens > self._chat_tokens) & (answers.calls > 0))
        tokens = (answers.prompt_tokens[counted] / answers.calls[counted] - self._chat_tokens).sum()
        if tokens > 0:
            sizes = [len(self._filled(self._record(texts[row])).encode()) for row in counted]
            self._bytes_per_token = sum(sizes) / tokens


def _loaded(tokenizer: str | None) -> Any:
    if tokenizer is None:
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
