"""Ask-LLM (arXiv 2402.09668): a language model is asked whether a text is good training material, P(yes) is its score.

Here: the prompts, how a record is placed in one without leaving its fence, what an answer is, and the `Asker` protocol.
`transformers_asker.py` asks a model in this process, `server_asker.py` any OpenAI-compatible server.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import yaml

PROMPTS = Path(__file__).with_name("prompts")

FENCE = "###"
"""The line before and after the record, as in the paper's prompt."""

CUE = "\n\nANSWER:"
"""Ends the prompt of a causal model without chat template, which continues text rather than answers it. Ours; without it
such a model goes on with the list of options. Not added to a prompt that ends with a colon of its own."""

VOTE_TOKENS = 4
"""Tokens of a sampled answer, where a server gives no probabilities: enough for yes or no after a list mark or a space. Ours."""

FENCED_RECORD = f"{FENCE}\n{{record}}\n{FENCE}"

# Three or more number signs anywhere are the delimiter or look like it, to a tokenizer that normalises (NFKC) also with
# full-width signs and with invisible characters in between.
_FENCE_LOOK_ALIKE = re.compile(r"[#＃﹟](?:[\u00ad\u200b-\u200f\u2060\ufeff]*[#＃﹟]){2,}")

# What opens a control token of the common chat formats: ChatML, Llama 2 and 3, Mistral, Gemma, DeepSeek, Phi, T5, BERT.
_CONTROL_OPENING = re.compile(
    r"<(?=[|｜])"
    r"|<(?=</?SYS>>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|IMG|gMASK|CLS|SEP|PAD|MASK|UNK|BOS|EOS)\])"
    r"|<(?=/?(?:s|bos|eos|pad|unk|mask|sep|cls|sop|eop|start_of_turn|end_of_turn|think|tool_call|tool_response|tools"
    r"|start_of_image|end_of_image|extra_id_\d+|unused_?\d+|reserved_\d+)>)",
    re.IGNORECASE,
)

_OPTIONS = re.compile(r"\s*OPTIONS:\s*-?\s*yes\s*[/\n]\s*-?\s*no\s*$", re.IGNORECASE)


class Prompt(NamedTuple):
    """A prompt from a file.

    ``name``: a shipped prompt's name or the stem of the user's file; ``version``: the header's version and a hash of the
    text, so that an edited prompt is another version; ``text``: with ``{record}`` alone on a line between two ### lines.
    """

    name: str
    version: str
    text: str


class Answer(NamedTuple):
    """What a model says about one text; see `Answers` for the fields."""

    yes: float
    no: float
    method: str
    error: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    calls: int = 0


class Answers(NamedTuple):
    """What a model says about n texts, in their order.

    ``yes``, ``no`` float64[n]: the probability that the first generated token is yes, or no, in any spelling that differs
    in case and surrounding space only; both 0 where the model was asked and neither was among the tokens seen; NaN where
    the asking failed. ``method``: how they were got: 'logits' (whole vocabulary), 'logprobs' (the likeliest tokens a server
    lists; what it does not list counts as 0), 'decisions' (a server's own yes/no endpoint: the two add up to 1), 'votes'
    (shares of sampled answers, smoothed), 'failed'. ``error``: why there is no P(yes), None where there is one.
    ``prompt_tokens``, ``completion_tokens`` int64[n]: as counted by the tokenizer or the server, over all calls for the
    text. ``calls`` int64[n]: requests that were answered, 1 for a text asked in this process.
    """

    yes: np.ndarray
    no: np.ndarray
    method: list[str]
    error: list[str | None]
    prompt_tokens: np.ndarray
    completion_tokens: np.ndarray
    calls: np.ndarray


class Asker(Protocol):
    """Asks one language model, with one prompt, about texts."""

    model: str
    revision: str
    prompt: Prompt
    calls_per_text: int
    """Requests a text takes at most, as far as is known: more than 1 where the model's answers are sampled as votes."""

    def ask(self, texts: Sequence[str]) -> Answers:
        """Ask about every text. A text that cannot be answered is 'failed' with its error, and no other suffers by it.

        Raises AskStopped if no further text can be answered; what was answered before is in its ``answers``.
        """

    def with_prompt(self, prompt: Prompt) -> "Asker":
        """An asker of the same model with another prompt. Raises ValueError if that leaves no place for a record."""

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of the prompt of each text, int64[texts], record and question, after truncation."""

    def complete(self, prompt: str, max_tokens: int) -> str:
        """Answer a prompt in at most ``max_tokens`` tokens of text, without sampling.

        The prompt is sent as it is: whoever puts a record into it passes the record through `harmless` first.
        """


class AskStopped(RuntimeError):
    """No further text can be answered, and why; ``answers`` has one row per text, 'failed' where it was not answered."""

    def __init__(self, message: str, answers: Answers) -> None:
        """Keep what was answered, which may have cost money."""
        super().__init__(message)
        self.answers = answers


def load_prompt(name_or_path: str) -> Prompt:
    """Load a shipped prompt by name (pretraining, multilingual, medical, legal, code, instruction) or a user's by path.

    A file is the prompt's text, after an optional header of ``version:`` and ``source:`` between two lines of ``---``.

    Raises:
        FileNotFoundError: neither a shipped prompt nor a file.
        ValueError: the text does not have the record's place between its fence once, or never asks for yes or no.

    """
    shipped = {path.stem: path for path in PROMPTS.glob("*.md")}
    path = shipped.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no prompt {name_or_path!r}: neither a file nor one of the shipped {', '.join(sorted(shipped))}."
        )
    header, text = _split_header(path)
    problem = _problem_of(text)
    if problem:
        raise ValueError(f"The prompt {path} {problem}")
    digest = hashlib.sha256((text + CUE).encode()).hexdigest()[:8]
    return Prompt(path.stem, f"{header.get('version', 0)}-{digest}", text)


def _split_header(path: Path) -> tuple[dict[str, object], str]:
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n").lstrip("\ufeff")
    if not text.startswith("---\n"):
        return {}, text.strip()
    head, separator, body = text[4:].partition("\n---\n")
    try:
        header = yaml.safe_load(head)
    except yaml.YAMLError:
        header = None
    if not separator or not isinstance(header, dict):
        raise ValueError(f"The prompt {path} has a broken header: write 'version: 1' between two lines of ---.")
    return header, body.strip()


def _problem_of(text: str) -> str | None:
    place = "Put {record} alone on a line, once, with a line ### before it and one after it."
    if text.count("{record}") != 1:
        return f"has {text.count('{record}')} places for the record. {place}"
    if f"\n{FENCED_RECORD}\n" not in f"\n{text}\n" or len(fence_lines(text)) != 2:
        return f"does not fence the record. {place} No other line may begin with ###."
    around = text.replace(FENCED_RECORD, " ").lower()
    if not re.search(r"\byes\b", around) or not re.search(r"\bno\b", around):
        return "never asks for yes or no. End it with the lines 'OPTIONS:', '- yes', '- no'."
    return None


def fence_lines(text: str) -> list[int]:
    r"""Tell which lines are fences or could be taken for one: those that begin with ###, spaces aside.

    >>> fence_lines("###\nSee ### here\n  ### 1\n###")
    [0, 2, 3]
    """
    return [number for number, line in enumerate(text.splitlines()) if line.lstrip().startswith(FENCE)]


def harmless(record: str, control_tokens: Iterable[str] = ()) -> str:
    r"""Return the record with everything broken up that could end its fence or open another turn of a chat.

    Runs of three or more number signs become two, so a Markdown heading stays one; control tokens of the common chat
    formats, and ``control_tokens``, those of the model's own tokenizer, get a space after their first character.

    >>> harmless("### Usage\n<|im_end|> a < b, <b>bold</b> [INST]", ["<user>"])
    '## Usage\n< |im_end|> a < b, <b>bold</b> [ INST]'
    """
    record = _CONTROL_OPENING.sub(lambda match: f"{match[0]} ", _FENCE_LOOK_ALIKE.sub("##", record))
    longest_first = sorted({token for token in control_tokens if len(token) > 1}, key=len, reverse=True)
    if longest_first:
        pattern = re.compile("|".join(map(re.escape, longest_first)))
        record = pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", record)
    return record


def fill(prompt: Prompt, record: str, control_tokens: Iterable[str] = ()) -> str:
    """Place a record in a prompt, made `harmless` and without the space around it: the text to ask with."""
    before, _, after = prompt.text.partition("{record}")
    return f"{before}{harmless(record, control_tokens).strip()}{after}"


def question(prompt: Prompt) -> str:
    """Return what a prompt asks, without the fenced record and the list of options.

    >>> question(load_prompt("code"))[:53]
    'Is the text between the two ### lines good material f'
    """
    before, _, after = prompt.text.partition(FENCED_RECORD)
    return "\n\n".join(part.strip() for part in (before, _OPTIONS.sub("", after)) if part.strip())


def with_cue(text: str) -> str:
    """Return a filled prompt as a model without chat template needs it, ending with the word the answer follows."""
    return text if text.rstrip().endswith(":") else text.rstrip() + CUE


def answer_word(token: str) -> str | None:
    r"""Tell whether a token says yes or no, in any case and with any space around it: 'yes', 'no' or None.

    The space may be written as the vocabularies write it, ▁ or Ġ.

    >>> answer_word("▁Yes"), answer_word("NO\n"), answer_word("Yesterday")
    ('yes', 'no', None)
    """
    word = token.strip(" \t\r\n▁ĠĊ").lower()
    return word if word in ("yes", "no") else None


def p_yes(answers: Answers) -> np.ndarray:
    """P(yes), float64[n]: yes / (yes + no), NaN where the asking failed or the model said neither.

    The paper's score is the mass of yes alone; normalising is ours, and both masses are stored. A low yes + no says that
    the model does not understand the question as one.
    """
    total = answers.yes + answers.no
    return np.divide(answers.yes, total, out=np.full(len(total), np.nan), where=total > 0)


def failed(error: str, prompt_tokens: int = 0, calls: int = 0) -> Answer:
    """Return the answer for a text whose asking failed."""
    return Answer(np.nan, np.nan, "failed", error, prompt_tokens, calls=calls)


def gathered(rows: Sequence[Answer]) -> Answers:
    """Put the answers for single texts together."""
    columns = list(zip(*rows, strict=True)) or [()] * len(Answer._fields)
    yes, no, method, error, *counts = columns
    return Answers(
        np.array(yes, dtype=np.float64),
        np.array(no, dtype=np.float64),
        list(method),
        list(error),
        *(np.array(count, dtype=np.int64) for count in counts),
    )
