"""The first model of a task, before any expert label: by the classes' definitions, by examples, or by a language model.

Each function gives the probabilities of the classes for every record of the pool. They only have to find roughly where
the classes meet; what the experts say there makes the model.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl

from curation_assets import asking
from curation_assets.algorithms.prior_shift import prior_shift
from curation_assets.algorithms.prototypes import prototype_probabilities, prototypes
from curation_assets.asking import LanguageModel
from curation_assets.expert_models import Pool, embedder_of
from curation_assets.labelling.task import Task
from curation_assets.models.ask_llm import FENCED_RECORD, Asker, Prompt, harmless
from curation_assets.progress import logger
from curation_assets.warehouse import Warehouse

ANSWERS = "predicted_labels.answers"
EXAMPLE_CHARS = 400
"""Of a few-shot example in a question: with ten of them a question stays within some thousand tokens. Ours."""
EXAMPLES_PER_CLASS = 5
MAX_FAILED_SHARE = 0.05
"""Share of the records that may be left without an answer; above it the run stops."""

HASHES = "select record_id, text_hash from filtered.records order by record_id"


class FirstLabels(NamedTuple):
    """What a first model says of the pool."""

    probabilities: np.ndarray
    """float64[records, classes]."""
    revision: str
    notes: dict[str, Any]


def by_prototypes(
    warehouse: Warehouse, task: Task, pool: Pool, *, with_examples: bool, shares: np.ndarray | None
) -> FirstLabels:
    """Label by the nearest of the classes' definitions or, with examples, of the mean of definition and examples."""
    embedder = embedder_of(warehouse)
    definitions = [f"{one.name}: {one.definition}" if one.definition else one.name for one in task.classes]
    examples = task.examples if with_examples else ()
    vectors = embedder.embed([*definitions, *(text for text, _ in examples)])
    labels = np.array([task.class_names.index(label) for _, label in examples], dtype=np.int64)
    k = len(definitions)
    found = prototype_probabilities(pool.vectors, prototypes(vectors[:k], vectors[k:], labels), shares=shares)
    said = hashlib.sha256(repr((definitions, examples, None if shares is None else shares.tolist())).encode())
    revision = f"{embedder.model} {embedder.revision}-{embedder.precision} {said.hexdigest()[:8]}"
    return FirstLabels(found, revision, {"examples": len(examples)})


def by_language_model(
    warehouse: Warehouse,
    task: Task,
    pool: Pool,
    config: LanguageModel,
    *,
    shares: np.ndarray | None,
    instead: FirstLabels,
) -> FirstLabels:
    """Label by a language model's P(yes) to one question a class; of two classes, only whether a text is of the second.

    P(class) is its P(yes) over the sum of all classes'. A record without an answer gets what `instead` says. Raises
    dagster's Failure before anything is asked if the caps do not allow all of it, and after it if too many are without.
    """
    hashes = warehouse.query(HASHES)
    if hashes["record_id"].to_list() != pool.record_ids:
        raise dg.Failure("predicted_labels: the embeddings are of other records; materialize embeddings first.")
    askers = list(askers_of(task, config))
    wanted = hashes["text_hash"].to_list()
    planned = [asking.plan(warehouse, asker, config, wanted, ANSWERS) for asker in askers]
    require_affordable(planned, config, askers[0])
    spent, columns = [], []
    for asker in askers:
        spent.append(asking.ask_missing(warehouse, asker, what_is_left(config, spent), wanted, ANSWERS))
        known = asking.answers(warehouse, asker, ANSWERS)
        yes = known.select("text_hash", p_yes=pl.col("yes") / (pl.col("yes") + pl.col("no")))
        columns.append(hashes.join(yes, on="text_hash", how="left", maintain_order="left")["p_yes"].fill_null(np.nan))
    probabilities = normalised(np.column_stack([column.to_numpy() for column in columns]))
    failed = np.isnan(probabilities).any(axis=1)
    if failed.mean() > MAX_FAILED_SHARE:
        stopped = next((f"; {one.stopped_by} ended the run" for one in spent if one.stopped_by), "")
        first = next((one.first_error for one in spent if one.first_error), "none in this run")
        raise dg.Failure(
            f"predicted_labels: {failed.sum():,} of {len(failed):,} records have no answer by {askers[0].model}{stopped}. "
            f"The first error: {first}. What was answered is kept; run again to ask about the rest."
        )
    if shares is not None and not failed.all():
        logits = np.log(np.clip(probabilities, 1e-6, None))
        shifted = np.exp(logits + prior_shift(logits[~failed], shares))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    probabilities = np.where(failed[:, None], instead.probabilities, probabilities)
    versions = hashlib.sha256(" ".join(asker.prompt.version for asker in askers).encode()).hexdigest()[:8]
    revision = f"{askers[0].model} {askers[0].revision} {versions}"
    return FirstLabels(probabilities, revision, {"asked": in_all(askers[0], spent), "failed": int(failed.sum())})


def estimate_lines(warehouse: Warehouse, task: Task, config: LanguageModel) -> Iterator[str]:
    """What labelling the pool by a language model takes, before anything is asked, as lines of text."""
    hashes = warehouse.query(HASHES)["text_hash"].to_list()
    for asker in askers_of(task, config):
        planned = asking.plan(warehouse, asker, config, hashes, ANSWERS)
        yield f"Asking {asker.model} about {planned.texts:,} records, {asker.prompt.name}, question {asker.prompt.version}:"
        yield from asking.plan_lines(planned, config)


def askers_of(task: Task, config: LanguageModel) -> Iterator[Asker]:
    """One asker for each question of the task, all of one loaded model. Raises dagster's Failure if it cannot be asked."""
    prompts = [class_prompt(task, number) for number in range(len(task.classes))]
    if len(prompts) == 2:
        prompts = prompts[1:]
    first = asking.asker_of(config, prompts[0])
    yield first
    for prompt in prompts[1:]:
        try:
            yield first.with_prompt(asking.versioned(config, prompt))
        except ValueError as error:
            raise dg.Failure(f"language_model: {error}") from error


def class_prompt(task: Task, number: int) -> Prompt:
    """The question whether a text is of a class: definition, the other classes, guideline and examples, the record fenced.

    Whatever of it people wrote is made `harmless`, so that nothing in a guideline can be taken for the record's fence.
    """
    asked = task.classes[number]
    others = [one for one in task.classes if one is not asked]
    parts = [
        FENCED_RECORD,
        f"Is the text between the two ### lines of the class {_said(asked.name)}? "
        + (f"To it belongs: {_said(asked.definition)}" if asked.definition else ""),
        "The other classes:\n"
        + "\n".join(f"- {_said(one.name)}: {_said(one.definition)}".rstrip(" :") for one in others),
    ]
    if task.guideline.strip():
        parts.append(f"The guideline of those who label:\n{_said(task.guideline)}")
    for name, is_asked in ((f"of the class {_said(asked.name)}", True), ("of other classes", False)):
        texts = [text for text, label in task.examples if (label == asked.name) == is_asked]
        if texts := texts[: EXAMPLES_PER_CLASS * (1 if is_asked else len(others))]:
            quoted = "\n".join(f'- "{" ".join(_said(text).split())[:EXAMPLE_CHARS]}"' for text in texts)
            parts.append(f"Texts {name}:\n{quoted}")
    parts.append(f"Is the text between the two ### lines of the class {_said(asked.name)}?")
    text = "\n\n".join(part.strip() for part in parts) + "\n\nOPTIONS:\n- yes\n- no"
    return Prompt(f"is it {asked.name}", hashlib.sha256(text.encode()).hexdigest()[:8], text)


def _said(text: str) -> str:
    return harmless(text).replace("{record}", "{ record }").strip()


def normalised(p_yes: np.ndarray) -> np.ndarray:
    """P(class) from the P(yes) of each question, float64[n, classes]; one question stands for the second of two classes.

    >>> normalised(np.array([[0.25], [1.0]])).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    >>> normalised(np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 0.0]])).round(2).tolist()
    [[0.5, 0.25, 0.25], [0.33, 0.33, 0.33]]
    """
    if p_yes.shape[1] == 1:
        return np.hstack([1 - p_yes, p_yes])
    floored = np.maximum(p_yes, 1e-6)  # no to every question says nothing about which it is
    return floored / floored.sum(axis=1, keepdims=True)


def require_affordable(planned: list[asking.Plan], config: LanguageModel, asker: Asker) -> None:
    """Make sure that the caps allow all questions together. Raises dagster's Failure saying what they take."""
    together = planned[0]._replace(
        texts=sum(one.texts for one in planned),
        answered=sum(one.answered for one in planned),
        prompt_tokens=sum(one.prompt_tokens for one in planned),
        completion_tokens=sum(one.completion_tokens for one in planned),
        cost=sum(one.cost for one in planned) if config.price else None,
    )
    if (affordable := asking.affordable_calls(together, config)) < together.calls:
        raise dg.Failure(
            f"predicted_labels: asking {asker.model} about every record takes {together.calls:,} calls and {together.prompt_tokens:,} "
            f"tokens; the caps in the config allow {affordable:,} calls. Raise them, or take the labeller few_shot or zero_shot."
        )


def what_is_left(config: LanguageModel, spent: list[asking.Spent]) -> LanguageModel:
    """The config with its caps less what the questions about earlier classes took."""
    calls = sum(one.calls for one in spent)
    tokens_in, tokens_out = sum(one.prompt_tokens for one in spent), sum(one.completion_tokens for one in spent)
    left: dict[str, Any] = {}
    if config.max_calls:
        left["max_calls"] = max(1, config.max_calls - calls)
    if config.max_tokens:
        left["max_tokens"] = max(1, config.max_tokens - tokens_in - tokens_out)
    if config.max_cost and config.price:
        price = config.price
        cost = (tokens_in * price.prompt_per_million + tokens_out * price.completion_per_million) / 1e6
        left["max_cost"] = max(1e-9, config.max_cost - cost)
    return LanguageModel(**(config.model_dump() | left))


def in_all(asker: Asker, spent: list[asking.Spent]) -> dict[str, Any]:
    """What was asked in this run, all questions together, for the run's notes."""
    calls, seconds = sum(one.calls for one in spent), sum(one.seconds for one in spent)
    tokens = {name: sum(getattr(one, name) for one in spent) for name in ("prompt_tokens", "completion_tokens")}
    if unanswered := sum(one.failed for one in spent):
        logger.warning("predicted_labels: %s of %s questions got no answer", f"{unanswered:,}", f"{calls:,}")
    return (
        asking.identity(asker)
        | {"calls": calls, "failed": unanswered, "seconds": round(seconds, 1)}
        | tokens
        | {"seconds_per_call": round(seconds / calls, 4) if calls else None}
    )
