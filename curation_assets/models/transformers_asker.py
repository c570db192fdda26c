"""Ask a model in this process: seq2seq (Flan-T5 class) or causal (Qwen and Llama class), from the hub or a folder."""

import copy
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from curation_assets.models.ask_llm import (
    Answer,
    Answers,
    Prompt,
    failed,
    fill,
    gathered,
    harmless,
    with_cue,
)
from curation_assets.models.model_files import revision_of_folder
from curation_assets.models.vocabulary import (
    MAX_TOKEN_CHARS,
    answer_ids,
    chat_text,
    context_of,
    control_tokens,
    token_spans,
)
from curation_assets.progress import logger

MIN_RECORD_TOKENS = 32
"""A model whose context leaves the record less than this beside the prompt is refused. Ours."""

LITTLE_MASS = 0.01
"""Median yes + no below which a warning says that the model hardly takes the prompt for a yes/no question. Ours."""


class TransformersAsker:
    """P(yes) from the logits of the first generated token, over the whole vocabulary.

    Weights load as safetensors only, and no remote code runs. A causal model with a chat template is asked in one user
    turn, thinking switched off where the template knows how; one without is given the prompt and `ask_llm.CUE`.
    ``precision``: fp32 or bf16, part of what a score depends on.
    """

    calls_per_text = 1

    def __init__(
        self,
        model: str,
        prompt: Prompt,
        *,
        max_tokens: int = 2048,
        batch_tokens: int = 8192,
        precision: str | None = None,
    ) -> None:
        """Load a model onto the GPU if there is one.

        ``max_tokens``: prompt and record together; less where the model's context is shorter. ``batch_tokens``: tokens,
        padding included, of one forward pass. ``precision``: None takes bf16 on a GPU that has it and fp32 elsewhere.

        Raises:
            OSError: the model is neither a folder nor on the hub, or has no safetensors.
            ValueError: its tokenizer cannot tell yes from no, or the prompt does not fit its context.

        """
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        on_gpu = torch.cuda.is_available()
        precision = precision or ("bf16" if on_gpu and torch.cuda.is_bf16_supported() else "fp32")
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(model, trust_remote_code=False)
        config = transformers.AutoConfig.from_pretrained(model, trust_remote_code=False)
        self._causal = not config.is_encoder_decoder
        family = transformers.AutoModelForCausalLM if self._causal else transformers.AutoModelForSeq2SeqLM
        dtype_argument = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
        self._model = family.from_pretrained(
            model,
            trust_remote_code=False,
            use_safetensors=True,
            **{dtype_argument: {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]},
        )
        self._model.to("cuda" if on_gpu else "cpu").eval()
        self._arguments = set(inspect.signature(self._model.forward).parameters)
        self.model = model
        weights = revision_of_folder(Path(model)) if Path(model).is_dir() else str(config._commit_hash)
        self.revision = f"{weights}-{precision}"
        self.prompt, self.precision, self._batch_tokens = prompt, precision, batch_tokens
        self._chat = self._causal and self._tokenizer.chat_template is not None
        self._yes, self._no = answer_ids(self._tokenizer)
        self._control_tokens, self._control_ids = control_tokens(self._tokenizer)
        self._decoder_start = self._model.generation_config.decoder_start_token_id
        self.limit = min(max_tokens, context_of(config, self._tokenizer))
        self._check_prompt()

    def ask(self, texts: Sequence[str]) -> Answers:
        """Ask about every text, in batches of similar length; see `Asker.ask`."""
        rows: list[Answer | None] = [None] * len(texts)
        prompts = self._encode(texts)
        for batch in _batches([len(prompt) for prompt in prompts], self._batch_tokens):
            masses = self._masses([prompts[row] for row in batch])
            for row, (yes, no) in zip(batch, masses.tolist(), strict=True):
                rows[row] = self._answer(prompts[row], yes, no)
        answers = gathered(rows)
        mass = answers.yes + answers.no
        if len(mass) and np.isfinite(mass).any() and np.nanmedian(mass) < LITTLE_MASS:
            logger.warning(
                "%s hardly answers yes or no to the prompt %s: the two have %.2g of the probability in the median. Does it follow "
                "instructions, and does it answer without thinking aloud first?",
                self.model,
                self.prompt.name,
                np.nanmedian(mass),
            )
        return answers

    def with_prompt(self, prompt: Prompt) -> "TransformersAsker":
        """Return an asker of the same loaded model with another prompt. Raises ValueError if that does not fit the context."""
        other = copy.copy(self)
        other.prompt = prompt
        other._check_prompt()
        return other

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of the prompt of each text, int64[texts], exactly as they would be asked."""
        return np.array([len(prompt) for prompt in self._encode(texts)], dtype=np.int64)

    def complete(self, prompt: str, max_tokens: int) -> str:
        """Answer a prompt in at most ``max_tokens`` tokens of text, the likeliest token each time."""
        import torch

        text = prompt if self._chat or not self._causal else with_cue(prompt)
        ids = torch.from_numpy(self._token_ids([text])[0][None, -self.limit :]).to(self._model.device)
        with torch.inference_mode():
            generated = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=max_tokens,
                do_sample=False,
                pad_token_id=self._pad,
            )
        new = generated[0, ids.shape[1] :] if self._causal else generated[0]
        return self._tokenizer.decode(new, skip_special_tokens=True).strip()

    @property
    def _pad(self) -> int:
        """Any id does: what is padded is masked."""
        return self._tokenizer.pad_token_id or 0

    def _check_prompt(self) -> None:
        empty = self._token_ids([self._text("")])[0]
        self._own_control = int(np.isin(empty, self._control_ids).sum())
        if len(empty) + MIN_RECORD_TOKENS > self.limit:
            raise ValueError(
                f"The prompt {self.prompt.name} takes {len(empty)} tokens of {self.model}, which reads {self.limit} at a time (its "
                f"context or max_tokens, whichever is less): no place is left for a record. Shorten the prompt or raise max_tokens."
            )

    def _text(self, record: str) -> str:
        text = fill(self.prompt, record, self._control_tokens)
        return text if self._chat or not self._causal else with_cue(text)

    def _token_ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Tokens as the model gets them: in the chat's user turn, which brings its own special tokens, or with the tokenizer's."""
        if self._chat:
            texts = [chat_text(self._tokenizer, text) for text in texts]
        encoded = self._tokenizer(list(texts), add_special_tokens=not self._chat, verbose=False)["input_ids"]
        return [np.array(ids, dtype=np.int64) for ids in encoded]

    def _encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Tokens of the prompt of each text; the record is cut where the whole is longer than the limit."""
        records = [harmless(text[: self.limit * MAX_TOKEN_CHARS].strip(), self._control_tokens) for text in texts]
        prompts = self._token_ids([self._text(record) for record in records]) if records else []
        for row, prompt in enumerate(prompts):
            if len(prompt) > self.limit:
                prompts[row] = self._cut(records[row], excess=len(prompt) - self.limit)
        return prompts

    def _cut(self, record: str, excess: int) -> np.ndarray:
        ends = [end for _, end in token_spans(self._tokenizer, record)]
        keep = len(ends)
        while excess > 0 and keep > 0:
            keep = max(keep - excess, 0)
            prompt = self._token_ids([self._text(record[: ends[keep - 1]] if keep else "")])[0]
            excess = len(prompt) - self.limit
        return prompt

    def _masses(self, batch: list[np.ndarray]) -> np.ndarray:
        """Probability of yes and of no as the first generated token, float64[batch, 2]."""
        import torch

        ids, mask = _padded(batch, self._pad, left=self._causal)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if not self._causal:
            inputs["decoder_input_ids"] = np.full((len(batch), 1), self._decoder_start)
        elif "position_ids" in self._arguments:
            inputs["position_ids"] = np.maximum(mask.cumsum(axis=1) - 1, 0)
        tensors = {name: torch.from_numpy(value).to(self._model.device) for name, value in inputs.items()}
        if "logits_to_keep" in self._arguments:  # without it the logits of every position are computed
            tensors["logits_to_keep"] = 1
        try:
            with torch.inference_mode():
                logits = self._model(**tensors, use_cache=False).logits[:, -1]
                probabilities = logits.double().softmax(dim=-1)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
            half = len(batch) // 2
            return np.vstack([self._masses(batch[:half]), self._masses(batch[half:])])
        return torch.stack(
            [probabilities[:, self._yes].sum(dim=1), probabilities[:, self._no].sum(dim=1)], dim=1
        ).numpy(force=True)

    def _answer(self, prompt: np.ndarray, yes: float, no: float) -> Answer:
        if np.isin(prompt, self._control_ids).sum() != self._own_control:
            return failed("The text holds a control token of the model that could not be broken up.")
        if not np.isfinite(yes + no):
            return failed(
                f"{self.model} returned no finite probabilities; try another precision than {self.precision}."
            )
        return Answer(yes, no, "logits", prompt_tokens=len(prompt), calls=1)


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Rows in order of length, in batches of at most ``batch_tokens`` tokens with padding; a longer row goes alone."""
    batch: list[int] = []
    for row in np.argsort(lengths, kind="stable").tolist():
        if batch and lengths[row] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _padded(rows: list[np.ndarray], pad: int, *, left: bool) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and their mask, int64[rows, longest]; on the left, so that the last position is every row's last token."""
    width = max(map(len, rows))
    ids, mask = np.full((len(rows), width), pad, dtype=np.int64), np.zeros((len(rows), width), dtype=np.int64)
    for number, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(len(row))
        ids[number, place], mask[number, place] = row, 1
    return ids, mask
