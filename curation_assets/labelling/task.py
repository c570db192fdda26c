"""The labelling task as the database has it: classes, guideline, and how labels are asked for."""

import json
from typing import Any, NamedTuple

import dagster as dg

from curation_assets.warehouse import Warehouse


class LabelClass(NamedTuple):
    """A class of the task."""

    name: str
    definition: str
    renamed_from: tuple[str, ...] = ()
    """Names under which labels of this class were given before."""


class Task(NamedTuple):
    """The version of the task in force: the newest row of label_task.tasks."""

    name: str
    task_version: str
    guideline_version: str
    guideline: str
    """Markdown."""
    classes: tuple[LabelClass, ...]
    """In their order: class 0 is the first."""
    examples: tuple[tuple[str, str], ...]
    """(text, class name)."""
    settings: dict[str, Any]
    """raters_per_item, budget_items, expert_gate, … (stages/label_task.py has what each means)."""

    @property
    def class_names(self) -> list[str]:
        """Names of the classes in their order."""
        return [one.name for one in self.classes]

    @property
    def renamed(self) -> dict[str, str]:
        """Earlier name of a class → its name now."""
        return {earlier: one.name for one in self.classes for earlier in one.renamed_from}


def current_task(warehouse: Warehouse) -> Task:
    """The task in force. Raises dagster's Failure if no task was ever configured."""
    newest = None
    if warehouse.has_table("label_task.tasks"):
        newest = warehouse.query("from label_task.tasks order by written_at desc limit 1")
    if newest is None or newest.is_empty():
        raise dg.Failure(
            "There is no labelling task yet. Describe one in a recipe (curation_assets/recipes/classifier_labels.yaml is a pattern) "
            "and run `curate run --select label_round --recipe FILE`."
        )
    row = newest.row(0, named=True)
    return Task(
        name=row["task"],
        task_version=row["task_version"],
        guideline_version=row["guideline_version"],
        guideline=row["guideline"],
        classes=tuple(
            LabelClass(one["name"], one["definition"], tuple(one.get("renamed_from", ())))
            for one in json.loads(row["classes"])
        ),
        examples=tuple((one["text"], one["label"]) for one in json.loads(row["examples"])),
        settings=json.loads(row["settings"]),
    )
