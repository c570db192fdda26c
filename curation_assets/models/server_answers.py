"""Read what an OpenAI-compatible server answers: the text, the likeliest first tokens, the count of tokens."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from curation_assets.models.ask_llm import Answer, answer_word
from curation_assets.models.server_client import Unavailable


class Generated(NamedTuple):
    """One generated answer: its text, the log probabilities of the likeliest first tokens or None, and what it cost."""

    text: str
    first: list[tuple[str, float]] | None
    prompt_tokens: int
    completion_tokens: int


def generated_from(answer: Any) -> Generated:
    """Read the answer of /chat/completions or /completions. Raises Unavailable if it is neither."""
    try:
        choice = answer["choices"][0]
        used = answer.get("usage") or {}
        text = choice["message"].get("content") if "message" in choice else choice["text"]
        return Generated(
            text or "",
            first_logprobs(choice.get("logprobs")),
            int(used.get("prompt_tokens") or 0),
            int(used.get("completion_tokens") or 0),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise Unavailable(f"The server's answer is none of a chat or a completion: {str(answer)[:200]}") from error


def first_logprobs(logprobs: Mapping[str, Any] | None) -> list[tuple[str, float]] | None:
    """List the likeliest first tokens with their log probabilities, in the order given; None if the answer has none.

    Both forms are read: the chat's ``content[0].top_logprobs``, a list of tokens, and the completion's ``top_logprobs[0]``, a
    mapping. The token that was generated is added where the server does not list it.

    >>> first_logprobs({"top_logprobs": [{" yes": -0.1, " no": -2.5}]})
    [(' yes', -0.1), (' no', -2.5)]
    """
    if not logprobs:
        return None
    if content := logprobs.get("content"):
        entries = [*(content[0].get("top_logprobs") or []), content[0]]
        pairs = [(entry["token"], entry["logprob"]) for entry in entries]
    elif logprobs.get("top_logprobs"):
        pairs = list((logprobs["top_logprobs"][0] or {}).items())
        pairs += zip((logprobs.get("tokens") or [])[:1], (logprobs.get("token_logprobs") or [])[:1], strict=False)
    else:
        return None
    listed = len(pairs) - 1 if len(pairs) > 1 and pairs[-1] in pairs[:-1] else len(pairs)
    return [(str(token), float(logprob)) for token, logprob in pairs[:listed] if logprob is not None] or None


def first_word(text: str) -> str | None:
    """Tell whether an answer begins with yes or no: 'yes', 'no' or None. A list mark or quote before it does not matter.

    >>> first_word('- Yes, it'), first_word("**no**"), first_word("Not sure")
    ('yes', 'no', None)
    """
    match = re.match(r"[\W_]*(yes|no)\b", text, re.IGNORECASE)
    return match[1].lower() if match else None


def read_logprobs(generated: Generated) -> Answer:
    """Add up what the likeliest first tokens give yes and no; what the server does not list counts as 0.

    >>> round(read_logprobs(Generated("", [("Yes", -0.7), (" yes", -1.6), ("The", -2.0)], 90, 1)).yes, 3)
    0.698
    """
    masses = {"yes": 0.0, "no": 0.0}
    for token, logprob in generated.first:
        if word := answer_word(token):
            masses[word] += math.exp(min(logprob, 0.0))
    error = None
    if not any(masses.values()):
        seen = ", ".join(repr(token) for token, _ in generated.first[:5])
        error = f"Neither yes nor no is among the {len(generated.first)} likeliest first tokens ({seen}, …)."
    tokens = generated.prompt_tokens, generated.completion_tokens
    return Answer(masses["yes"], masses["no"], "logprobs", error, *tokens, calls=1)


def count_votes(answers: Sequence[Generated]) -> Answer:
    """Shares of yes and no among k sampled answers; an answer that begins with neither is no vote, but one of the k.

    Smoothed by half an answer each (Jeffreys' prior, Beta(1/2, 1/2)): yes / (yes + no) is the posterior mean, and no text
    gets 0 or 1 from a few votes. 0 and 0 where none was a vote.

    >>> count_votes([Generated("Yes", None, 90, 1), Generated("- no", None, 90, 2), Generated("yes.", None, 90, 2)])[:3]
    (0.625, 0.375, 'votes')
    """
    words = [first_word(answer.text) for answer in answers]
    yes, no, k = words.count("yes"), words.count("no"), len(words)
    used = sum(answer.prompt_tokens for answer in answers), sum(answer.completion_tokens for answer in answers)
    if not yes + no:
        error = f"None of {k} sampled answers begins with yes or no (the first: {answers[0].text[:40]!r})."
        return Answer(0.0, 0.0, "votes", error, *used, calls=k)
    return Answer((yes + 0.5) / (k + 1), (no + 0.5) / (k + 1), "votes", None, *used, calls=k)
