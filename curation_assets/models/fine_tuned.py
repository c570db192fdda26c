"""Classifiers fine-tuned on expert labels: a sentence-transformers backbone with a linear head, or LoRA on any transformer.

For tasks that the fixed embeddings do not tell apart. Both need only the texts and their labels, are saved as
safetensors, whole or not at all, and are loaded again without running any code of theirs.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from curation_assets.algorithms import label_classifier
from curation_assets.algorithms.text_chunks import length_batches
from curation_assets.models.chunked_inputs import Frame, frame_of, token_ids
from curation_assets.models.embedders import DEFAULT_MODEL, load_sentence_transformer
from curation_assets.models.model_files import packaged_default, revision_of_folder
from curation_assets.progress import reporter

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

SETTINGS = "classifier.json"
HEAD = "head.safetensors"
BATCH_TOKENS = 4_096  # read together when predicting, padding included
LABEL_SMOOTHING = 0.05
"""Ours: a few hundred labels are learned by heart, and smoothing keeps the probabilities off 0 and 1 (Szegedy et al. 2016,
arXiv 1512.00567, section 7, has .1)."""
WARM_UP = 0.1  # share of the steps in which the learning rate rises, then it falls in a line to 0
HEAD_LEARNING_RATE = 1e-2
WEIGHT_DECAY = 0.01
MAX_NORM = 1.0  # of the gradient
LORA_RANK, LORA_ALPHA, LORA_DROPOUT = (
    8,
    16,
    0.05,
)  # Hu et al. 2021 (arXiv 2106.09685), table 11, has rank 8 for classification


class TextClassifier(Protocol):
    """Gives texts the classes it was fitted on."""

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """One row a text, one column a class: float32[n, k], softmax of which is the probabilities."""


class MissingPeftError(ImportError):
    """LoRA was asked for and the package peft is not installed."""


def fit_fine_tuned(
    texts: Sequence[str],
    labels: np.ndarray,
    *,
    classes: int,
    folder: Path,
    backbone: str = DEFAULT_MODEL,
    epochs: int = 4,
    learning_rate: float = 2e-5,
    batch_texts: int = 16,
    seed: int = 0,
) -> str:
    """Fine-tune a sentence-transformers model and a linear head on it, save both to `folder`, and return their revision.

    ``labels`` int[n] of 0 … ``classes`` - 1. The head begins as the logistic regression on the backbone's vectors as they are
    (linear probing then fine-tuning, Kumar et al. 2022, arXiv 2202.10054: less is unlearned in the first steps); then all
    weights are trained by AdamW on cross entropy. Of a long text the model reads as much as it takes at once.

    Raises OSError if the backbone is not there, ValueError if it is no transformer or fewer than two classes occur.
    """
    from safetensors.torch import save_file

    labels = np.asarray(labels)
    with _seeded(seed):
        transformer = load_sentence_transformer(_place(backbone))
        frame = _frame(transformer, backbone)
        inputs = _inputs(transformer, frame, texts)
        head = _first_head(transformer, frame, inputs, labels, classes)
        modules = [*transformer, head]
        groups = [
            {"params": list(transformer.parameters()), "lr": learning_rate},
            {"params": list(head.parameters()), "lr": HEAD_LEARNING_RATE},
        ]

        def forward(rows: np.ndarray) -> "torch.Tensor":
            return head(_vectors(transformer, frame, [inputs[row] for row in rows]))

        _train(modules, groups, forward, labels, epochs, batch_texts, seed, "fine-tuning")
    with _whole(folder) as unfinished:
        transformer.save_pretrained(str(unfinished / "backbone"), create_model_card=False, safe_serialization=True)
        save_file({name: value.contiguous() for name, value in head.state_dict().items()}, unfinished / HEAD)
        _write_settings(unfinished, kind="fine_tune", backbone=backbone, classes=classes)
    return revision_of_folder(folder)


def fit_lora(
    texts: Sequence[str],
    labels: np.ndarray,
    *,
    classes: int,
    folder: Path,
    backbone: str = DEFAULT_MODEL,
    epochs: int = 8,
    learning_rate: float = 5e-4,
    batch_texts: int = 16,
    max_tokens: int = 512,
    seed: int = 0,
) -> str:
    """Train low-rank adapters and a classification head on a causal or an encoder model; save them; return their revision.

    LoRA (Hu et al. 2021, arXiv 2106.09685) through peft, on the layers peft names for the architecture, else on all linear
    ones. The backbone itself is neither changed nor saved: predicting needs it where it was. A text is read up to
    ``max_tokens``, or the model's context where that is shorter.

    Raises MissingPeftError without peft, OSError if the backbone is not there or has no safetensors.
    """
    peft = _peft()
    with _seeded(seed):
        tokenizer, base = _sequence_classifier(backbone, classes)
        config = peft.LoraConfig(
            task_type=peft.TaskType.SEQ_CLS,
            r=LORA_RANK,
            lora_alpha=LORA_ALPHA,
            lora_dropout=LORA_DROPOUT,
            target_modules=None if _is_known_to(peft, base) else "all-linear",
        )
        model = peft.get_peft_model(base, config)
        limit = _context(base, tokenizer, max_tokens)
        inputs = _tokens(tokenizer, texts, limit)
        trained = [value for value in model.parameters() if value.requires_grad]

        def forward(rows: np.ndarray) -> "torch.Tensor":
            return model(**_padded(tokenizer, [inputs[row] for row in rows], model.device)).logits

        _train(
            [model], [{"params": trained, "lr": learning_rate}], forward, labels, epochs, batch_texts, seed, "training"
        )
    with _whole(folder) as unfinished:
        model.save_pretrained(str(unfinished / "adapter"), safe_serialization=True)
        _write_settings(unfinished, kind="lora", backbone=backbone, classes=classes, max_tokens=limit)
    return revision_of_folder(folder)


def load_classifier(folder: Path) -> TextClassifier:
    """Load a fine-tuned classifier. Raises FileNotFoundError saying what to do if it is gone, MissingPeftError without peft."""
    if not (folder / SETTINGS).is_file():
        raise FileNotFoundError(
            f"The fine-tuned model {folder} is gone. Put the folder back beside the database, or label an item more and run "
            "label_round: a new one is fitted."
        )
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    return _LoraClassifier(folder, settings) if settings["kind"] == "lora" else _FineTunedClassifier(folder, settings)


class _FineTunedClassifier:
    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        import torch
        from safetensors.torch import load_file

        self._transformer = load_sentence_transformer(str(folder / "backbone"))
        self._frame = _frame(self._transformer, settings["backbone"])
        state = load_file(folder / HEAD)
        self._head = torch.nn.Linear(state["weight"].shape[1], settings["classes"])
        self._head.load_state_dict(state)
        self._head.to(self._transformer.device).eval()
        self._classes = settings["classes"]

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        inputs = _inputs(self._transformer, self._frame, texts)
        found = np.empty((len(texts), self._classes), dtype=np.float32)
        with torch.inference_mode():
            for rows in length_batches(np.array([len(one) for one in inputs]), BATCH_TOKENS):
                vectors = _vectors(self._transformer, self._frame, [inputs[row] for row in rows])
                found[rows] = self._head(vectors).float().numpy(force=True)
        return found


class _LoraClassifier:
    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        peft = _peft()
        self._tokenizer, base = _sequence_classifier(settings["backbone"], settings["classes"])
        self._model = peft.PeftModel.from_pretrained(base, str(folder / "adapter"), use_safetensors=True).eval()
        self._limit, self._classes = settings["max_tokens"], settings["classes"]

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        inputs = _tokens(self._tokenizer, texts, self._limit)
        found = np.empty((len(texts), self._classes), dtype=np.float32)
        with torch.inference_mode():
            for rows in length_batches(np.array([len(one) for one in inputs]), BATCH_TOKENS):
                batch = _padded(self._tokenizer, [inputs[row] for row in rows], self._model.device)
                found[rows] = self._model(**batch).logits.float().numpy(force=True)
        return found


def _train(
    modules: Sequence["torch.nn.Module"],
    groups: list[dict[str, Any]],
    forward: Any,
    labels: np.ndarray,
    epochs: int,
    batch_texts: int,
    seed: int,
    doing: str,
) -> None:
    """AdamW on the cross entropy of shuffled batches, every item once an epoch."""
    import torch

    parameters = [value for group in groups for value in group["params"]]
    optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    batches = -(-len(labels) // batch_texts)
    steps = epochs * batches
    rise = max(1, round(WARM_UP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rise, (steps - step) / max(1, steps - rise))
    )
    rng, report = np.random.default_rng(seed), reporter(doing, "steps", steps)
    for module in modules:
        module.train()
    for epoch in range(epochs):
        for number, rows in enumerate(np.array_split(rng.permutation(len(labels)), batches), start=1):
            logits = forward(rows)
            targets = torch.as_tensor(np.asarray(labels)[rows], device=logits.device)
            loss = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
            optimizer.step()
            schedule.step()
            report(epoch * batches + number)
    for module in modules:
        module.eval()


def _first_head(
    transformer: "SentenceTransformer", frame: Frame, inputs: list[np.ndarray], labels: np.ndarray, classes: int
) -> "torch.nn.Linear":
    """A linear head that is the logistic regression on the backbone's vectors as they are."""
    import torch

    with torch.inference_mode():
        parts = [
            _vectors(transformer, frame, [inputs[row] for row in rows]).float().numpy(force=True)
            for rows in np.array_split(np.arange(len(inputs)), -(-len(inputs) // 64))
        ]
    fitted = label_classifier.fit(np.concatenate(parts), labels, classes=classes)
    weight, bias = fitted.coefficients, fitted.intercepts
    if len(weight) < classes:  # two classes: the logit of the first is 0
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.concatenate([np.zeros_like(bias), bias])
    head = torch.nn.Linear(weight.shape[1], classes)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))
    return head.to(transformer.device)


def _place(backbone: str) -> str:
    packaged = packaged_default() if backbone in (DEFAULT_MODEL, "all-MiniLM-L6-v2") else None
    return str(packaged or backbone)


def _frame(transformer: "SentenceTransformer", backbone: str) -> Frame:
    frame = frame_of(transformer)
    if frame is None:
        raise ValueError(f"{backbone} is no transformer that reads tokens, so it cannot be fine-tuned here.")
    return frame


def _inputs(transformer: "SentenceTransformer", frame: Frame, texts: Sequence[str]) -> list[np.ndarray]:
    """The tokens of each text's beginning, as the model takes them."""
    return [frame.chunk(ids, 0, frame.capacity) for ids in token_ids(transformer, frame, texts)]


def _vectors(transformer: "SentenceTransformer", frame: Frame, chunks: list[np.ndarray]) -> "torch.Tensor":
    features = {name: values.to(transformer.device) for name, values in frame.padded(chunks).items()}
    if frame.prompt:
        features["prompt_length"] = frame.pooled_from
    for module in transformer:
        features = module(features)
    return features["sentence_embedding"]


def _sequence_classifier(backbone: str, classes: int) -> tuple[Any, "torch.nn.Module"]:
    """Tokenizer and model with a classification head: float32, safetensors only, on the GPU if there is one."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    name = _place(backbone)
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    dtype = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    told = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()  # the head is new, which it would warn of
    try:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            name, num_labels=classes, trust_remote_code=False, use_safetensors=True, **{dtype: torch.float32}
        )
    finally:
        transformers.utils.logging.set_verbosity(told)
    model.config.pad_token_id = tokenizer.pad_token_id  # by it a causal model finds a text's last token
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu")


def _context(model: "torch.nn.Module", tokenizer: Any, max_tokens: int) -> int:
    from curation_assets.models.vocabulary import context_of

    return min(max_tokens, context_of(model.config, tokenizer))


def _tokens(tokenizer: Any, texts: Sequence[str], limit: int) -> list[list[int]]:
    if not len(texts):
        return []
    ids = tokenizer(list(texts), truncation=True, max_length=limit, verbose=False)["input_ids"]
    return [one or [tokenizer.pad_token_id] for one in ids]


def _padded(tokenizer: Any, rows: list[list[int]], device: Any) -> dict[str, "torch.Tensor"]:
    import torch

    width = max(map(len, rows))
    ids = torch.full((len(rows), width), tokenizer.pad_token_id or 0, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingPeftError(
            "LoRA needs the package peft: pip install 'curation-assets[peft]'. Without it take label_model.model: fine_tune."
        ) from error
    return peft


def _is_known_to(peft: Any, model: "torch.nn.Module") -> bool:
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    return model.config.model_type in KNOWN


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from a seed of our own, and leave the process's draws as they were."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A place to write to that becomes `folder` when all is written, and is gone if it was not."""
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_settings(folder: Path, **settings: Any) -> None:
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1), encoding="utf-8")
