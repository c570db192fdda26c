"""Names of people, found by a token-classification model that the user names."""

from collections.abc import Sequence
from pathlib import Path

from curation_assets.algorithms.pii import Finding
from curation_assets.models.model_files import revision_of_folder

PERSON_LABELS = ("PER", "PERSON")
"""What models call people, in CoNLL-2003's and OntoNotes' labels."""

BATCH_TOKENS = 4_096
"""Tokens of one forward pass, padding included. Ours."""

OVERLAP_TOKENS = 32
"""Tokens that two windows of a long text share, so that no name is cut at both. Ours."""


class NameRecogniser:
    """Finds names by any transformers token-classification model with a label for people and a fast tokenizer."""

    def __init__(self, model: str, revision: str | None = None) -> None:
        """Load a model by its folder or its id on the hub.

        Raises:
            OSError: it is neither a folder nor on the hub, or has no safetensors.
            ValueError: it has no label for people, or a tokenizer that does not tell where its tokens stand.

        """
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=False)
        self._model = transformers.AutoModelForTokenClassification.from_pretrained(
            model, revision=revision, trust_remote_code=False, use_safetensors=True
        )
        labels = self._model.config.id2label
        self._is_person = torch.tensor([_entity(labels[n]) in PERSON_LABELS for n in range(len(labels))])
        self._begins = torch.tensor([labels[n].upper().startswith("B-") for n in range(len(labels))])
        if not self._is_person.any():
            known = ", ".join(sorted(labels.values()))
            raise ValueError(f"{model} has no label for people (PER or PERSON); its labels are {known}.")
        if not self._tokenizer.is_fast:
            raise ValueError(f"{model} has a slow tokenizer, which does not tell where its tokens stand.")
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model.to(self._device).eval()
        self.model = model
        self.revision = (
            revision_of_folder(Path(model))
            if Path(model).is_dir()
            else str(self._model.config._commit_hash or revision)
        )
        limits = (self._tokenizer.model_max_length, getattr(self._model.config, "max_position_embeddings", 512))
        self.context = min(*limits, 512)

    def find(self, texts: Sequence[str]) -> list[list[Finding]]:
        """The names in every text, in order of place; whole words, though the model may have marked a part."""
        marked: list[list[tuple[int, int, bool]]] = [[] for _ in texts]
        windows = self._windows(texts)
        for batch in _batches(windows):
            for row, tokens in zip([row for row, _, _ in batch], self._person_tokens(batch), strict=True):
                marked[row] += tokens
        return [
            [Finding("person", start, end, self.model) for start, end in names(text, tokens)]
            for text, tokens in zip(texts, marked, strict=True)
        ]

    def _windows(self, texts: Sequence[str]) -> list[tuple[int, list[int], list[tuple[int, int]]]]:
        """Text, token ids and their places, of each window of each text."""
        if not texts:
            return []
        encoded = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self.context,
            stride=min(OVERLAP_TOKENS, self.context // 4),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        rows = zip(encoded["overflow_to_sample_mapping"], encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [(row, ids, places) for row, ids, places in rows]

    def _person_tokens(
        self, batch: Sequence[tuple[int, list[int], list[tuple[int, int]]]]
    ) -> list[list[tuple[int, int, bool]]]:
        """Of each window the tokens marked as a person's: start, end, and whether one begins there."""
        import torch

        width = max(len(ids) for _, ids, _ in batch)
        pad = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([[*ids, *[pad] * (width - len(ids))] for _, ids, _ in batch], device=self._device)
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for _, ids, _ in batch], device=self._device)
        with torch.inference_mode():
            best = self._model(input_ids=ids, attention_mask=mask).logits.argmax(dim=-1).cpu()
        person, begins = self._is_person[best].tolist(), self._begins[best].tolist()
        return [
            [(start, end, begins[n][at]) for at, (start, end) in enumerate(places) if person[n][at] and end > start]
            for n, (_, _, places) in enumerate(batch)
        ]


def names(text: str, tokens: Sequence[tuple[int, int, bool]]) -> list[tuple[int, int]]:
    """Join marked tokens (start, end, whether a name begins there) into names, each widened to whole words.

    >>> names("Ann Lee met Bo", [(0, 3, True), (4, 6, False), (12, 14, True)])
    [(0, 7), (12, 14)]
    """
    found: list[tuple[int, int]] = []
    for start, end, begins in sorted(tokens):
        while start < end and text[start].isspace():
            start += 1
        while start and _is_word(text[start]) and _is_word(text[start - 1]):
            start -= 1
        while end < len(text) and _is_word(text[end - 1]) and _is_word(text[end]):
            end += 1
        gap = text[found[-1][1] : start] if found else None
        if found and (start <= found[-1][1] or (not begins and len(gap) <= 2 and not gap.strip(" .-'"))):
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return found


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _entity(label: str) -> str:
    return label.upper().removeprefix("B-").removeprefix("I-").removeprefix("E-").removeprefix("S-").removeprefix("L-")


def _batches(
    windows: Sequence[tuple[int, list[int], list[tuple[int, int]]]],
) -> list[list[tuple[int, list[int], list[tuple[int, int]]]]]:
    """Windows of similar length together, at most BATCH_TOKENS of them with their padding."""
    batches: list[list] = []
    for window in sorted(windows, key=lambda window: len(window[1])):
        if batches and (len(batches[-1]) + 1) * len(window[1]) <= BATCH_TOKENS:
            batches[-1].append(window)
        else:
            batches.append([window])
    return batches
