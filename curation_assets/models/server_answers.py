"""Read what an OpenAI-compatible server answers: the text, the likeliest first tokens, the count of tokens."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

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
