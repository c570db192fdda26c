r"""What kind a record is, what it holds (turns, answers, scores), and the one text that stands for it.

A conversation is recognised by its fields, record by record, and read into one structure, `Conversation`. From that
come both its canonical text (what is embedded, judged and compared for duplicates) and, later, every format it can be
released in. `conversation(kind, original)` gives the structure back from a stored record alone.

kind         recognised by                                         canonical text
-----------  ----------------------------------------------------  ---------------------------------------------------
document     a text: `text`, a usual name, or the longest string   the text
html         a document that begins as a page does                 the page (cleaning makes text of it)
instruction  instruction/output, prompt/completion, question/      request, its input, answer: a line each
             answer, … with an input or context or without
reward       the same with a score: score, rating, helpfulness, …  as an instruction; the scores are not in it
preference   chosen and rejected, with a prompt or as whole chats  prompt and chosen answer; not the rejected one
chat         messages or conversations: a list of objects with     all turns; a name before each (`User: …`) where more
             role/content or from/value, or its JSON               than one question is asked or a tool is called

- One exchange has the same text in whichever format it came, so its copies in Alpaca, ShareGPT and messages form are
  duplicates of one another.
- System prompts and lists of tools are no part of the text: the same words stand before thousands of records, and
  would make short chats near-duplicates of one another. Calls of tools are: their arguments are what is said.
- Preferences with the same prompt and chosen answer are duplicates, whatever they reject: one stays, and
  `deduped.pairs` names the others. A pair and its reverse (the same two answers, chosen and rejected exchanged) are
  not: their texts differ.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson

from curation_assets.readers.records import Unusable, json_type
from curation_assets.readers.turns import Message, calls, read_turns, words

KINDS = ("document", "html", "instruction", "preference", "reward", "chat")
CONVERSATIONS = ("instruction", "preference", "reward", "chat")
"""The kinds that have turns: those `conversation` reads."""


NOT, IN_PART, WHOLE = range(3)


class Conversation(NamedTuple):
    """What a record of a kind with turns holds, whichever format it came in. `prompt + response` is the whole of it."""

    prompt: list[Message]
    """All turns before the answer."""
    response: list[Message]
    """The answer: of a preference the chosen one, of a chat its last assistant turn and what follows."""
    rejected: Sequence[Message] = ()
    """Preference: the worse answer to the same prompt."""
    scores: Mapping[str, float] = {}
    """Reward: each score by the name of its field. Preference: the two answers' scores, if stated."""
    tools: Any = None
    """The tools the assistant may call, as they stood: a list of descriptions, or their JSON in a string."""
    instruction: str | None = None
    """The request without its input; null where they are not told apart."""
    input: str | None = None
    """What the instruction is to be applied to; the user's turn is both, a line each."""


class Shape(NamedTuple):
    """One way records of a kind are laid out."""

    kind: str
    mark: str
    """The field that every record laid out like this has."""
    fields: tuple[str, ...]
    """The fields it is read from."""
    fits: Callable[[Mapping[str, Any]], int]
    """How well a record is laid out like this: WHOLE, IN_PART (a field is empty, so it is broken) or NOT."""
    read: Callable[[Mapping[str, Any]], Conversation]
    """Read a record. Raises Unusable if it is broken."""


# --- shapes ---------------------------------------------------------------------------------------------------------

_PAIRS = (  # the request, what it may come with, the names its answer goes by
    ("instruction", ("input", "context"), ("output", "response", "answer", "completion")),
    ("prompt", (), ("completion", "response", "answer")),
    ("question", (), ("answer", "response")),
    ("query", (), ("response", "answer")),
    ("problem", (), ("solution",)),
    ("Q", (), ("A",)),
)
_SYSTEMS = ("system", "system_prompt")
CHATS = ("messages", "conversations", "conversation")
_PROMPTS = ("prompt", "instruction", "question", "query", "input")
_SCORES = ("score", "rating", "reward", "overall_score", "helpfulness")
_ASPECTS = (
    "correctness",
    "coherence",
    "complexity",
    "verbosity",
)  # beside a score; HelpSteer (arXiv 2311.09528, sec. 3)
_PAIR_SCORES = ("score_chosen", "score_rejected", "chosen_score", "rejected_score", "chosen_rating", "rejected_rating")


def _first(record: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of some fields that is there and not empty; if none is, the first that is there."""
    present = [name for name in names if name in record]
    return next((name for name in present if record[name] not in (None, "", [])), present[0] if present else None)


def _is_there(record: Mapping[str, Any], *names: str) -> int:
    """How many of some fields hold something: all is WHOLE. Tables have every column in every row, mostly empty."""
    filled = [record[name] not in (None, "", []) for name in names if name in record]
    return (WHOLE if all(filled) else IN_PART) if len(filled) == len(names) and any(filled) else NOT


def _system(record: Mapping[str, Any]) -> list[Message]:
    words = next(
        (record[name] for name in _SYSTEMS if isinstance(record.get(name), str) and record[name].strip()), None
    )
    return [Message("system", words)] if words else []


def _numbers(record: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    """The scores a record states. Raises Unusable for one that is no finite number."""
    scores = {}
    for name in names:
        value = record.get(name)
        if value is None or value == "":
            continue
        try:
            scores[name] = float(value)
        except (TypeError, ValueError, OverflowError):
            scores[name] = math.nan
        if not math.isfinite(scores[name]):
            shown = f"{value!r:.60}" if isinstance(value, str | int | float) else json_type(value)
            raise Unusable(f"its score '{name}' is {shown}, which is not a number")
    return scores


def _scored(record: Mapping[str, Any]) -> bool:
    return any(record.get(name) not in (None, "") for name in _SCORES) or isinstance(record.get("label"), bool)


def _read_pair(request: str, inputs: Sequence[str], answers: Sequence[str], record: Mapping[str, Any]) -> Conversation:
    answer = _first(record, answers) or answers[0]
    asked, instruction, applied_to = _read_request(record, request, inputs)
    answered = read_turns(record.get(answer), answer, "assistant")
    return Conversation(
        [*_system(record), *asked], answered, tools=record.get("tools"), instruction=instruction, input=applied_to
    )


def _read_request(
    record: Mapping[str, Any], request: str, inputs: Sequence[str]
) -> tuple[list[Message], str | None, str | None]:
    """What is asked, after the exchanges before it, if stated; the request and its input where they are told apart."""
    asked = read_turns(record.get(request), request, "user")
    given = _first(record, inputs)
    value = record[given] if given else None
    if value is not None and not isinstance(value, str):
        raise Unusable(f"the field '{given}' is {json_type(value)}, not a string")
    if value and len(asked) > 1:
        raise Unusable(f"the field '{request}' has {len(asked)} turns, so it is not clear what '{given}' belongs to")
    before = _history(record)
    if value is None or len(asked) > 1:
        return [*before, *asked], None, None
    instruction = asked[0].content
    return [*before, Message("user", f"{instruction}\n{value}") if value else asked[0]], instruction, value


def _history(record: Mapping[str, Any]) -> list[Message]:
    """Earlier exchanges, as pairs of what was asked and answered (LLaMA-Factory's Alpaca format, ChatGLM's)."""
    pairs = record.get("history")
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return []
    return [
        turn
        for pair in pairs
        for role, said in zip(("user", "assistant"), pair, strict=True)
        for turn in read_turns(said, "history", role)
    ]


def _read_reward(
    request: str, inputs: Sequence[str], answers: Sequence[str], record: Mapping[str, Any]
) -> Conversation:
    scores = _numbers(record, _SCORES)
    if scores:  # an aspect in words ("complexity": "high") is a remark, and no broken score
        aspects = {name: record[name] for name in _ASPECTS if isinstance(record.get(name), int | float)}
        scores |= _numbers(aspects, tuple(aspects))
    else:  # an answer that was liked or not (TRL's unpaired preference: prompt, completion, label)
        scores = {"label": float(record["label"])}
    return _read_pair(request, inputs, answers, record)._replace(scores=scores)


def _pair(kind: str, pair: tuple[str, tuple[str, ...], tuple[str, ...]]) -> Shape:
    request, inputs, answers = pair

    def fits(record: Mapping[str, Any]) -> int:
        if kind == "reward" and not _scored(record):
            return NOT
        answer = _first(record, answers)
        return _is_there(record, request, answer) if answer else NOT

    read = _read_pair if kind == "instruction" else _read_reward
    more = (*_SCORES, *_ASPECTS) if kind == "reward" else ()
    fields = ("history", request, *inputs, *answers, *more)
    return Shape(kind, request, fields, fits, partial(read, request, inputs, answers))


def _read_chat(name: str, record: Mapping[str, Any]) -> Conversation:
    messages = _messages(record, name)
    if not isinstance(messages, list):
        raise Unusable(f"the field '{name}' is {json_type(messages)}, not a list of messages")
    turns = read_turns(messages, name, "")
    last = max((at for at, turn in enumerate(turns) if turn.role == "assistant"), default=None)
    if last is None:
        raise Unusable(f"none of the {len(turns)} messages of '{name}' is an assistant's: there is no answer in it")
    system = [] if turns[0].role == "system" else _system(record)
    return Conversation(system + turns[:last], turns[last:], tools=record.get("tools") or record.get("functions"))


def _messages(record: Mapping[str, Any], name: str) -> Any:
    """A field of messages; in CSV, and in many tables, their JSON in a string."""
    value = record.get(name)
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _chat(name: str) -> Shape:
    def fits(record: Mapping[str, Any]) -> int:
        messages = _messages(record, name)
        return WHOLE if isinstance(messages, list) and any(isinstance(message, dict) for message in messages) else NOT

    return Shape("chat", name, (name,), fits, partial(_read_chat, name))


def _read_preference(record: Mapping[str, Any]) -> Conversation:
    chosen = read_turns(record.get("chosen"), "chosen", "assistant")
    rejected = read_turns(record.get("rejected"), "rejected", "assistant")
    instruction = applied_to = None
    if chosen[0].role != "assistant" or rejected[0].role != "assistant":
        prompt, chosen, rejected = _split_prompt(chosen, rejected)
    else:
        prompt, instruction, applied_to = _read_prompt(record)
    if chosen == rejected:
        raise Unusable("its chosen and rejected answers are the same, so nothing is preferred")
    for field, turns in (("chosen", chosen), ("rejected", rejected)):
        if not turns or turns[0].role != "assistant":
            raise Unusable(f"'{field}' has no answer by the assistant after what the two have in common")
    system = [] if prompt and prompt[0].role == "system" else _system(record)
    scores = _numbers(record, _PAIR_SCORES)
    return Conversation(system + prompt, chosen, rejected, scores, record.get("tools"), instruction, applied_to)


def _read_prompt(record: Mapping[str, Any]) -> tuple[list[Message], str | None, str | None]:
    """The prompt that two answers answer, in a field of its own: words, or a chat that ends before them."""
    name = _first(record, (*_PROMPTS, *CHATS))
    if name is None or record[name] in (None, "", []):
        return [], None, None
    if name in CHATS:
        return read_turns(_messages(record, name), name, "user"), None, None
    return _read_request(record, name, ("input", "context") if name == "instruction" else ())


def _split_prompt(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], list[Message], list[Message]]:
    """Two whole chats as the prompt they begin with and the two answers, which begin with an assistant's turn."""
    pairs = zip(chosen, rejected, strict=False)
    common = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(chosen), len(rejected)))
    while common and chosen[common - 1].role == "assistant":
        common -= 1
    return chosen[:common], chosen[common:], rejected[common:]


def _read_several(record: Mapping[str, Any]) -> Conversation:
    raise Unusable("it holds several answers in one list ('completions'); make a row of each, with its own score")


_SHAPES = (
    Shape(
        "preference",
        "chosen",
        (*_PROMPTS, "history", "chosen", "rejected"),
        lambda record: _is_there(record, "chosen", "rejected"),
        _read_preference,
    ),
    Shape(  # UltraFeedback (arXiv 2310.01377): neither one answer nor a pair
        "reward",
        "completions",
        ("instruction", "completions"),
        lambda record: _chat("completions").fits(record) if "instruction" in record else NOT,
        _read_several,
    ),
    *(_chat(name) for name in CHATS),
    *(_pair("reward", pair) for pair in _PAIRS),
    *(_pair("instruction", pair) for pair in _PAIRS),
)
"""The shapes in the order they are tried: the first that fits whole is the record's, else the first that does in part."""

_MARKS = frozenset(shape.mark for shape in _SHAPES)
"""A record without any of these fields has no turns."""


def shape_of(record: Mapping[str, Any], kind: str | None = None) -> Shape | None:
    """Recognise a record by its fields, among the shapes of one kind if one is given; None if it has no turns.

    >>> shape_of({"instruction": "Add.", "input": "1 2", "output": "3"}).kind
    'instruction'
    >>> shape_of({"question": "Why?", "answer": "So.", "score": 4}).kind
    'reward'
    >>> shape_of({"instruction": None, "output": None, "text": "A row of a table with columns for both."})
    """
    if _MARKS.isdisjoint(record):
        return None
    in_part = None
    for shape in _SHAPES:
        if shape.mark in record and kind in (None, shape.kind):
            fits = shape.fits(record)
            if fits == WHOLE:
                return shape
            in_part = in_part or (shape if fits == IN_PART else None)
    return in_part


_READ_BESIDE = ("label", "tools", "functions", *_SYSTEMS, *CHATS, *_SCORES, *_PAIR_SCORES)


def read_fields(kind: str, record: Mapping[str, Any]) -> list[str]:
    """The fields of a record that `conversation` reads: whatever else it has is shown nowhere. None if it has no turns.

    >>> read_fields("instruction", {"instruction": "Add.", "input": "1 2", "output": "3", "author": "Jo"})
    ['instruction', 'input', 'output']
    """
    shape = shape_of(record, kind)
    return [name for name in record if name in shape.fields or name in _READ_BESIDE] if shape else []


def conversation(kind: str, original: str | bytes) -> Conversation:
    """Read a stored record, as `raw.records` has it, into its turns.

    >>> found = conversation("chat", '{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}')
    >>> found.prompt, found.response[0].content
    ([Message(role='user', content='Hi', more={})], 'Ho')

    Raises:
        ValueError: the kind has no turns, or the original is no good record of the kind (a record that was read is).

    """
    if kind not in CONVERSATIONS:
        raise ValueError(f"A record of kind {kind!r} has no turns; those of kind {', '.join(CONVERSATIONS)} have.")
    record = orjson.loads(original)
    shape = shape_of(record, kind) if isinstance(record, dict) else None
    if shape is None:
        raise ValueError(f"The record is not laid out as any {kind} we know: {str(original)[:200]}")
    return shape.read(record)


def request(found: Conversation) -> str | None:
    r"""What is asked: the instruction without its input where they are told apart, else the first user turn.

    >>> request(Conversation([Message("user", "Add.\n1 2")], [Message("assistant", "3")], instruction="Add.", input="1 2"))
    'Add.'
    """
    return found.instruction or next((turn.content for turn in found.prompt if turn.role == "user"), None)


def exchange(found: Conversation) -> tuple[str, str]:
    r"""What is asked and what is answered, with the turns that led there and the calls of tools; no system prompt.

    >>> exchange(Conversation([Message("system", "Be brief."), Message("user", "Hi")], [Message("assistant", "Ho")]))
    ('Hi', 'Ho')
    """
    asked, answered = (
        "\n".join(said for turn in turns if turn.role != "system" for said in words(turn))
        for turns in (found.prompt, found.response)
    )
    return asked, answered


def whole_request(found: Conversation) -> str:
    r"""What is asked with the turns that led there and the system prompt: the same words under another one ask for something else.

    Empty where nothing is asked: a chat that begins with its answer, whatever the system prompt.

    >>> whole_request(Conversation([Message("system", "In French."), Message("user", "Hi")], [Message("assistant", "Salut")]))
    'In French.\nHi'
    """
    system = (said for turn in found.prompt if turn.role == "system" for said in words(turn))
    asked = exchange(found)[0]
    return "\n".join([*system, asked]) if asked.strip() else ""


# --- the canonical text ---------------------------------------------------------------------------------------------


def canonical_text(found: Conversation) -> str:
    r"""The one text that stands for a conversation; the table at the top of this module says what is in it.

    >>> canonical_text(Conversation([Message("system", "Be brief."), Message("user", "Hi")], [Message("assistant", "Ho")]))
    'Hi\nHo'
    >>> turns = [Message("user", "Hi"), Message("assistant", "Ho"), Message("user", "What?")]
    >>> canonical_text(Conversation(turns, [Message("assistant", "Nothing.")]))
    'User: Hi\nAssistant: Ho\nUser: What?\nAssistant: Nothing.'
    """
    turns = [turn for turn in [*found.prompt, *found.response] if turn.role != "system"]
    named = sum(turn.role == "user" for turn in turns) > 1 or any(
        turn.role == "tool" or calls(turn.more) for turn in turns
    )
    said = ((turn.role, "\n".join(words(turn))) for turn in turns)
    return "\n".join(f"{role.capitalize()}: {what}" if named else what for role, what in said if what)
