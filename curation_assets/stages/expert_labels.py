"""The `expert_labels` stage: what raters have answered since the last round, and what stands of all they answered."""

from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from curation_assets.algorithms.label_rounds import is_evaluation
from curation_assets.labelling import journal
from curation_assets.labelling.task import Task, current_task
from curation_assets.pages import BLUE, GREY, figure, markdown_table, materialized
from curation_assets.progress import logger
from curation_assets.stages import OWNERS
from curation_assets.stages.filtered import filtered
from curation_assets.stages.label_task import label_task
from curation_assets.tables import tables
from curation_assets.warehouse import Commit, Warehouse

SHOWN_NAMES = 5


class ExpertLabelsConfig(dg.Config):
    """Whose labels count."""

    ignored_raters: list[str] = Field(
        default_factory=list,
        description="Raters whose answers do not count. They stay in expert_labels.labels, and count again once the name is taken off.",
    )


@dg.asset(deps=[label_task, filtered], group_name="labels", kinds={"duckdb"}, owners=OWNERS, code_version="1")
def expert_labels(
    context: dg.AssetExecutionContext, config: ExpertLabelsConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per act of labelling: a rater gave a record a class, was unsure, skipped it, or took the last answer back.

    Append-only. `expert_labels.current` has the answers in force, `expert_labels.items` what follows for each record: the
    adjudicated class, else the one most experts gave, and the half it belongs to, fixed for good: train or evaluate.
    """
    started = warehouse.begin()
    task = current_task(warehouse)
    arrived = journal.fold(warehouse)
    uses_source = task.settings["crowd_labels"]
    with warehouse.commit(context, config, main="expert_labels.labels", started=started) as commit:
        commit.append("label_queue.items", nothing("label_queue.items"))  # in the first round nothing was queued yet
        commit.append("expert_labels.labels", nothing("expert_labels.labels"))
        from_source = source_labels(commit, task) if uses_source else nothing("expert_labels.labels")
        commit.append("expert_labels.labels", from_source)
        commit.build(
            "expert_labels.current",
            task=task.name,
            earlier_names=list(task.renamed),
            names=list(task.renamed.values()),
            crowd_labels=uses_source,
            ignored_raters=config.ignored_raters,
        )
        commit.build(
            "expert_labels.items",
            halves(commit, task),
            task=task.name,
            classes=task.class_names,
            guideline_version=task.guideline_version,
        )
        commit.notes = {"arrived": arrived, "from_source": len(from_source)} | standing(commit, task)
    items = warehouse.query("select half, label, round from expert_labels.items")
    return materialized(
        warehouse,
        "expert_labels.labels",
        plots={"labelled_records": labelled_chart(items, task.class_names)},
        by_rater=dg.MetadataValue.md(markdown_table(warehouse.query(BY_RATER, task=task.name))),
    )


FIRST_SHARE = (
    "select (settings ->> 'evaluation_share')::double as share from label_task.tasks "
    "where task = $task order by written_at limit 1"
)
"""Of the task's first version: with another share, items that trained earlier models would measure them."""

BY_RATER = (
    "select rater, role, count(*) filter (answer = 'label') as labels, count(*) filter (answer = 'unsure') as unsure, "
    "count(*) filter (answer = 'skip') as skips, median(seconds) as median_seconds, max(labelled_at) as last_answer "
    "from expert_labels.current where task = $task group by rater, role order by role desc, labels desc, rater limit 100"
)

SOURCE_LABELS = (
    "select s.* from (select left(sha256(concat_ws(chr(31), 'source', $task, r.record_id)), 32) as label_id, $task::varchar as task, "
    "null::varchar as item_id, r.record_id, 'source' as rater, 'crowd' as role, 'label' as answer, r.label, null::varchar as comment, "
    "null::varchar as guideline_version, null::double as seconds, now() as labelled_at, 'source' as origin "
    "from filtered.records as r where list_contains($classes::varchar[], r.label)) as s anti join expert_labels.labels using (label_id)"
)


def nothing(table: str) -> pl.DataFrame:
    """No rows of a table that Python hands in."""
    return pl.DataFrame(schema=dict.fromkeys(tables()[table].incoming, pl.Null))


def source_labels(commit: Commit, task: Task) -> pl.DataFrame:
    """The labels that records came with, where they name a class of the task and were not taken in before: acts of labelling."""
    named = {"task": task.name, "classes": [*task.class_names, *task.renamed]}
    found = commit.connection.sql(SOURCE_LABELS, params=named).pl()
    others = commit.connection.sql(
        "select label, count(*) as records from filtered.records where label is not null and not list_contains($classes::varchar[], label) "
        "group by label order by records desc, label",
        params={"classes": named["classes"]},
    ).pl()
    if len(others):
        logger.warning(
            "expert_labels: %s records have labels of their source that name no class of the task %s (%s) and are not taken for crowd "
            "labels: %s. Classes are compared letter by letter; crowd_labels: false in the recipe says that they mean something else.",
            f"{others['records'].sum():,}",
            task.name,
            ", ".join(task.class_names),
            ", ".join(repr(label) for label in others["label"].head(SHOWN_NAMES))
            + (", …" if len(others) > SHOWN_NAMES else ""),
        )
    return found


def halves(commit: Commit, task: Task) -> pl.DataFrame:
    """Every record with labels of the task (record_id) and its half: train or evaluate."""
    labelled = commit.connection.sql(
        "select distinct record_id from expert_labels.labels where task = $task and role in ('expert', 'adjudicator')",
        params={"task": task.name},
    ).pl()
    share = commit.connection.sql(FIRST_SHARE, params={"task": task.name}).pl().item()
    evaluates = is_evaluation(labelled["record_id"].to_list(), share)
    return labelled.with_columns(
        half=pl.Series(["evaluate" if one else "train" for one in evaluates.tolist()], dtype=pl.String)
    )


def standing(commit: Commit, task: Task) -> dict[str, Any]:
    """What the run's notes say of the labels in force."""
    row = (
        commit.connection.sql(
            "select count(*) as labelled_records, count(label) as settled, count(*) filter (is_disputed) as disputed, "
            "count(label) filter (half = 'train') as settled_in_train, count(label) filter (half = 'evaluate') as settled_in_evaluate, "
            "count(*) filter (is_stale_guideline) as under_an_earlier_guideline from expert_labels.items"
        )
        .pl()
        .row(0, named=True)
    )
    of_no_class = commit.connection.sql(
        "select label, count(*) as n from expert_labels.current where task = $task and answer = 'label' "
        "and not list_contains($classes::varchar[], label) group by label order by n desc, label",
        params={"task": task.name, "classes": task.class_names},
    ).pl()
    if len(of_no_class):
        logger.warning("expert_labels: %s", lost_labels(of_no_class, task))
    return row | {"labels_of_classes_the_task_no_longer_has": int(of_no_class["n"].sum())}


def lost_labels(of_no_class: pl.DataFrame, task: Task) -> str:
    """A sentence on the labels of classes that the task no longer has; of_no_class: label, n, the commonest first."""
    each = [f"{n:,} of {label!r}" for label, n in of_no_class.head(SHOWN_NAMES).iter_rows()]
    more = len(of_no_class) - len(each)
    named = ", ".join(each) + (f" and of {more:,} more" if more else "")
    return (
        f"{of_no_class['n'].sum():,} labels do not count, since the task {task.name} has no such class now ({named}). Was a class "
        f"renamed? `renamed_from: [{of_no_class['label'][0]}]` beside its new name in the recipe lets them count under that."
    )


def labelled_chart(items: pl.DataFrame, classes: list[str]) -> Any:
    """Settled records by class, a bar a half."""
    drawing, axes = figure(6.5, 0.5 * len(classes) + 1.2)
    for offset, (half, color) in enumerate({"train": BLUE, "evaluate": GREY}.items()):
        of_half = items.filter(pl.col("half") == half)["label"].to_list()
        places = [place + 0.4 * offset for place in range(len(classes))]
        axes.barh(places, [of_half.count(name) for name in classes], height=0.38, color=color, label=half)
    axes.set_yticks([place + 0.2 for place in range(len(classes))], [name.replace("$", r"\$") for name in classes])
    axes.invert_yaxis()
    axes.set_xlabel("records with a settled label")
    axes.legend(frameon=False)
    return drawing
