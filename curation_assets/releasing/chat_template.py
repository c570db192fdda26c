"""A named tokenizer's chat template, applied to whole conversations."""

from collections.abc import Callable
from typing import Any

import orjson

from curation_assets.releasing.formats import Row, Unfit

ChatTemplate = Callable[[list[Row], Any], str]
"""Messages and tools (or None) → the one text a model is trained on. Raises Unfit where the template refuses them."""


class NoChatTemplate(ValueError):
    """The tokenizer cannot be loaded, or it has no chat template; the message says what to do."""


def load(tokenizer: str, revision: str | None) -> tuple[ChatTemplate, str]:
    """The chat template of a tokenizer (a folder or a hub id; no code of theirs is run), and the template's source.

    Raises NoChatTemplate if there is none.
    """
    import transformers
    from jinja2.exceptions import TemplateError

    try:
        loaded = transformers.AutoTokenizer.from_pretrained(tokenizer, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise NoChatTemplate(
            f"The tokenizer {tokenizer} cannot be loaded ({str(error).splitlines()[0]}); give a folder with tokenizer.json, "
            "or a hub id that can be reached from here."
        ) from error
    if not loaded.chat_template:
        raise NoChatTemplate(f"The tokenizer {tokenizer} has no chat template; name an instruction-tuned model's.")

    def apply(messages: list[Row], tools: Any) -> str:
        try:
            return loaded.apply_chat_template(
                [_with_parsed_arguments(message) for message in messages], tools=tools, tokenize=False
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise Unfit(f"the chat template refuses it: {' '.join(str(error).split())[:200]}") from error

    return apply, orjson.dumps(loaded.chat_template).decode()


def _with_parsed_arguments(message: Row) -> Row:
    """A message as templates want it: arguments of calls as objects."""
    if "tool_calls" not in message:
        return message
    made = []
    for call in message["tool_calls"]:
        function = call["function"]
        try:
            arguments = orjson.loads(function["arguments"])
        except orjson.JSONDecodeError:
            arguments = function["arguments"]
        made.append(call | {"function": function | {"arguments": arguments}})
    return message | {"tool_calls": made}
