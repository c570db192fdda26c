"""Label Studio's formats: tasks and labelling interface out, exported annotations in. Pure functions.

Formats: https://labelstud.io/guide/tasks (Basic Label Studio JSON format), https://labelstud.io/guide/export (JSON, JSON_MIN).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from curation_assets.labelling.task import Task

DATA = (
    "item_id",
    "record_id",
    "source_record_id",
    "text",
    "partner_record_id",
    "partner_text",
    "round",
    "guideline_version",
)
"""Fields of a task's data. Neither the model's guess nor the reason for queueing an item is among them: they would anchor the rater."""

ROW_COLUMNS = ("item_id", "record_id", "source_record_id", "text", "guideline_version")
"""What of a task's data is read back."""

LABEL, COMMENT = "label", "comment"
"""Names of the controls of our interface, which the annotations refer to."""

AWAY_SECONDS = 900
"""A lead time above it was not spent on the item, as on our page, so the seconds are unknown (ours)."""


def tasks(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Label Studio's tasks for rows of items with their texts; data that is null becomes empty, as its interface wants a value."""
    return [{"data": {name: "" if row.get(name) is None else row[name] for name in DATA}} for row in rows]


def config_xml(task: Task) -> str:
    """The labelling interface: guideline, text, the text of its pair, one choice of the classes, a comment."""
    guideline = [
        f'      <Header size="5" value={_literal(line)}/>' for line in task.guideline.splitlines() if line.strip()
    ]
    choices = [
        f"    <Choice value={_literal(one.name)} alias={quoteattr(one.name)}"
        + (f" hint={_literal(one.definition)}" if one.definition else "")
        + "/>"
        for one in task.classes
    ]
    return "\n".join(
        [
            "<View>",
            "  <Collapse>",
            '    <Panel value="Guideline">',
            *guideline,
            "    </Panel>",
            "  </Collapse>",
            '  <Text name="text" value="$text"/>',
            f'  <Choices name="{LABEL}" toName="text" choice="single" showInline="true">',
            *choices,
            "  </Choices>",
            f'  <TextArea name="{COMMENT}" toName="text" placeholder="Comment" maxSubmissions="1"/>',
            '  <Header size="5" value="To compare, where an item has a neighbour:"/>',
            '  <Text name="partner" value="$partner_text"/>',
            "</View>",
            "",
        ]
    )


def _literal(text: str) -> str:
    """An attribute with the text as it is: a word joiner after each $ keeps Label Studio from taking what follows for a field."""
    return quoteattr(text.replace("$", "$\N{WORD JOINER}"))


def is_export(found: Sequence[Any]) -> bool:
    """Whether a list from a JSON file is an export of annotations: JSON or JSON_MIN."""
    return bool(found) and all(
        isinstance(one, dict) and (isinstance(one.get("annotations"), list) or "annotation_id" in one) for one in found
    )


def labels_of(found: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The annotations of an export as rows of a file of labels, and how many more were cancelled by their raters.

    An annotation without a choice has no label; one with several has a `problem`.
    """
    rows: list[dict[str, Any]] = []
    cancelled = 0
    for task in found:
        if "annotations" not in task:  # JSON_MIN: data and annotation on one level
            rows.append(_row(task, task, *_min_choices(task)))
            continue
        for annotation in task["annotations"]:
            if annotation.get("was_cancelled"):
                cancelled += 1
                continue
            rows.append(_row(task.get("data") or {}, annotation, *_choices(annotation)))
    return rows, cancelled


def _row(
    data: Mapping[str, Any], annotation: Mapping[str, Any], choices: list[str], notes: list[str]
) -> dict[str, Any]:
    seconds = annotation.get("lead_time")
    comments = [
        *notes,
        *(str(one.get("text", "")) for one in annotation.get("comments") or [] if isinstance(one, dict)),
    ]
    several = f"it has {len(choices)} choices and a label is one: {', '.join(choices)}" if len(choices) > 1 else None
    return {name: data.get(name) for name in ROW_COLUMNS} | {
        "label": choices[0] if choices else None,
        "rater": _rater(annotation.get("completed_by", annotation.get("annotator"))),
        "comment": "\n".join(one for one in comments if one.strip()) or None,
        "seconds": seconds if isinstance(seconds, int | float) and 0 <= seconds <= AWAY_SECONDS else None,
        # An annotation that was changed keeps its created_at.
        "labelled_at": annotation.get("updated_at") or annotation.get("created_at"),
        "is_ground_truth": True if annotation.get("ground_truth") else None,
        "problem": several,
    }


def _choices(annotation: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The classes chosen and the notes made: by the controls of our interface, else by the only ones of their types."""
    results = [one for one in annotation.get("result") or [] if isinstance(one.get("value"), dict)]
    chosen = [one for one in results if "choices" in one["value"]]
    ours = [one for one in chosen if one.get("from_name") == LABEL]
    choices = [name for one in ours or chosen for name in one["value"]["choices"]]
    notes = [one["value"]["text"] for one in results if one.get("type") == "textarea" and "text" in one["value"]]
    return choices, [line for note in notes for line in ([note] if isinstance(note, str) else note)]


def _min_choices(row: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The same in JSON_MIN: one choice is a string, several are {"choices": […]}; texts are a string or a list."""
    chosen, noted = row.get(LABEL), row.get(COMMENT)
    if isinstance(chosen, dict):
        chosen = chosen.get("choices")
    choices = [chosen] if isinstance(chosen, str) else list(chosen or [])
    return choices, [noted] if isinstance(noted, str) else list(noted or [])


def _rater(who: Any) -> str | None:
    """The rater's address, else Label Studio's number of them."""
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return f"label-studio-{who}" if isinstance(who, int) else who
