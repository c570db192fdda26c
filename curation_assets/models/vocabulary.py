"""What a model's tokenizer tells of it: which tokens say yes or no, which control the model, where tokens begin."""

import re

import numpy as np

from curation_assets.models.ask_llm import answer_word

MAX_TOKEN_CHARS = 32
"""Longer records are cut to this many characters per token of the context before they are tokenized: the longest runs of
space in the usual vocabularies aside, no token is longer. Ours."""


def answer_ids(tokenizer: object) -> tuple[list[int], list[int]]:
    """Token ids that say yes and that say no: every entry of the vocabulary that is the word, in any case, with or without space.

    Where the vocabulary has no such entry, the first tokens of its spellings.

    Raises ValueError if the two share their first tokens, as they do if both words are unknown.

    """
    words: dict[str, set[int]] = {"yes": set(), "no": set()}
    for token, number in tokenizer.get_vocab().items():
        if word := answer_word(token):
            words[word].add(number)
    for word, ids in words.items():
        if not ids:
            spellings = [space + cased for space in ("", " ") for cased in (word, word.title(), word.upper())]
            firsts = {tokenizer(spelling, add_special_tokens=False)["input_ids"][0] for spelling in spellings}
            ids |= {first for first in firsts if tokenizer.decode([first]).strip()} - {tokenizer.unk_token_id}
    yes, no = words["yes"] - words["no"], words["no"] - words["yes"]
    if not yes or not no:
        raise ValueError(
            "The model's tokenizer begins yes and no with the same token, so the first generated token cannot tell them apart. "
            "Choose a model that knows these words."
        )
    return sorted(yes), sorted(no)


def control_tokens(tokenizer: object) -> tuple[list[str], np.ndarray]:
    """Control tokens of a tokenizer: all the texts it reads as one, and the ids no record may contain.

    Special tokens, and added ones that look like them (Qwen's <think>); the token for unknown characters is no control.
    """
    added = {
        number: str(token)
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special or re.fullmatch(r"[<\[].+[>\]]", str(token))
    }
    special = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    tokens = added | special
    texts = list(tokens.values())
    if tokenizer.unk_token not in (tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token):  # as GPT-2's is
        tokens.pop(tokenizer.unk_token_id, None)
    return texts, np.array(sorted(tokens), dtype=np.int64)


def context_of(config: object, tokenizer: object) -> int:
    """Tokens a model reads at a time: the least of what its tokenizer and its configuration say."""
    named = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
    said = [getattr(config.get_text_config(), name, None) for name in named]
    return min(value for value in (*said, tokenizer.model_max_length, 1 << 30) if isinstance(value, int) and value > 0)


def chat_text(tokenizer: object, text: str) -> str:
    """Return a text as one user turn of the tokenizer's chat template, up to where the answer begins; thinking off if it can be."""
    turn = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, enable_thinking=False)


def token_spans(tokenizer: object, text: str) -> list[tuple[int, int]]:
    """Where each token of a text begins and ends, in characters. Raises ValueError for a tokenizer that does not know."""
    if not tokenizer.is_fast:
        raise ValueError("The model's tokenizer does not say where its tokens begin; save it with a tokenizer.json.")
    return tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
