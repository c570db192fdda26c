"""The `label_task` stage: what the experts are asked, kept version by version."""

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import Field

from curation_assets.labelling.task import current_task
from curation_assets.pages import materialized
from curation_assets.stages import OWNERS
from curation_assets.warehouse import Warehouse

VERSION_CHARS = 12


class ClassConfig(dg.Config):
    """A class of the task."""

    name: str = Field(min_length=1, description="Name of the class, as it stands in the labels.")
    definition: str = Field(default="", description="What belongs to the class: raters and models read it.")
    renamed_from: list[str] = Field(
        default_factory=list,
        description="Earlier names of the class, or of classes merged into it: labels given under them count as labels of this one.",
    )


class ExampleConfig(dg.Config):
    """An example with its class."""

    text: str = Field(min_length=1, description="The text.")
    label: str = Field(description="Name of its class.")


class LabelTaskConfig(dg.Config):
    """The labelling task. Left out, the task the database knows stays as it is."""

    name: str | None = Field(
        default=None,
        description="Name of the task. Labels belong to it: another name starts afresh, the old name brings the old labels back.",
    )
    classes: list[ClassConfig] = Field(
        default_factory=list, description="Two classes or more, in order; the first is the ordinary one where one is."
    )
    guideline: str = Field(
        default="",
        description="The annotation guideline: Markdown, or the path of a .md file. Raters see it beside each item.",
    )
    examples: list[ExampleConfig] = Field(
        default_factory=list, description="Few-shot examples: the first model learns from them, raters see them."
    )
    raters_per_item: int = Field(
        default=3, ge=1, description="Experts who label each item; below 2 no agreement is known."
    )
    items_per_round: int = Field(default=100, ge=2, description="Items queued in a round.")
    budget_items: int = Field(
        default=500, ge=2, description="Items the experts label in all, those the model is evaluated on included."
    )
    evaluation_share: float = Field(
        default=0.4,
        gt=0,
        lt=1,
        description="Share of the labelled items on which the model is evaluated; the rest train it. That of the task's first version "
        "counts: an item never changes sides.",
    )
    expert_gate: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Mean pairwise kappa of the experts below which the guideline has to be sharpened first: there, more crowd "
        "labels serve better.",
    )
    plateau_rounds: int = Field(
        default=2, ge=1, description="Stop when the model's kappa has not risen for so many rounds."
    )
    crowd_labels: bool = Field(
        default=True,
        description="Take the label a record came with from its source, where it names a class, as a crowd label.",
    )


@dg.asset(group_name="labels", kinds={"duckdb"}, owners=OWNERS, code_version="1")
def label_task(
    context: dg.AssetExecutionContext, config: LabelTaskConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per version of the labelling task: classes with definitions, guideline, examples, settings."""
    started = warehouse.begin()
    if config.name is not None:
        version = task_version(config)
        known = warehouse.has_table("label_task.tasks") and warehouse.rows("label_task.tasks")
        is_new = not known or current_task(warehouse).task_version != version["task_version"].item()
    else:
        current_task(warehouse)  # says what to do where there is none
        version, is_new = None, False
    with warehouse.commit(context, config, main="label_task.tasks", started=started) as commit:
        if is_new:
            commit.append("label_task.tasks", version)
    task = current_task(warehouse)
    return materialized(
        warehouse,
        "label_task.tasks",
        guideline=dg.MetadataValue.md(task.guideline),
        guideline_version=task.guideline_version,
    )


def task_version(config: LabelTaskConfig) -> pl.DataFrame:
    """The row of label_task.tasks that a config stands for.

    Raises dagster's Failure where the config contradicts itself or its guideline cannot be read.
    """
    names = [one.name for one in config.classes]
    if len(names) < 2 or len(set(names)) < len(names):
        raise dg.Failure(f"label_task: two classes or more are needed, each with a name of its own; got {names}.")
    if strange := sorted({one.label for one in config.examples} - set(names)):
        raise dg.Failure(f"label_task: examples have labels that are no classes: {strange}. The classes are {names}.")
    earlier = [name for one in config.classes for name in one.renamed_from]
    if unclear := sorted({name for name in earlier if name in names or earlier.count(name) > 1}):
        raise dg.Failure(f"label_task: renamed_from names what is a class now, or the same class twice: {unclear}.")
    guideline = guideline_text(config.guideline)
    classes = [one.model_dump(exclude=None if one.renamed_from else {"renamed_from"}) for one in config.classes]
    settings = config.model_dump(mode="json", exclude={"name", "classes", "guideline", "examples"})
    row = {
        "task": config.name,
        "guideline_version": digest(guideline, [one.model_dump(exclude={"renamed_from"}) for one in config.classes]),
        "guideline": guideline,
        "classes": json.dumps(classes, ensure_ascii=False),
        "examples": json.dumps([one.model_dump() for one in config.examples], ensure_ascii=False),
        "settings": json.dumps(settings, sort_keys=True),
        "written_at": datetime.now(timezone.utc),
    }
    row["task_version"] = digest(*(row[name] for name in ("task", "guideline", "classes", "examples", "settings")))
    return pl.DataFrame([row])


def guideline_text(guideline: str) -> str:
    """The guideline's Markdown: the file's where a path to a .md file is given. Raises dagster's Failure if it cannot be read."""
    if "\n" in guideline or not guideline.strip().endswith(".md"):
        return guideline
    path = Path(guideline.strip()).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise dg.Failure(f"label_task: the guideline {path} cannot be read: {error}") from error


def digest(*parts: object) -> str:
    """The first characters of the SHA-256 of some values as JSON."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:VERSION_CHARS]
