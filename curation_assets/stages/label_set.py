"""The `label_set` stage: the curated label set, where crowds and models differ from the experts, and labels likely wrong."""

from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field
from scipy.stats import binom, false_discovery_control, hypergeom

from curation_assets.algorithms.agreement import cohen_kappa
from curation_assets.algorithms.label_errors import FOLDS, TRAIN_RECORDS, likely_errors, out_of_sample_probabilities
from curation_assets.algorithms.label_rounds import pool_weights
from curation_assets.labelling.task import Task, current_task
from curation_assets.pages import BLUE, GREY, figure, markdown_table, materialized
from curation_assets.progress import logger, reporter
from curation_assets.stages import OWNERS
from curation_assets.stages.cluster_profiles import cluster_profiles
from curation_assets.stages.clusters import clusters
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.expert_labels import expert_labels
from curation_assets.stages.filtered import filtered
from curation_assets.stages.label_task import label_task
from curation_assets.warehouse import Warehouse

EXAMPLE_CHARS = 300
SHOWN_ROWS = 20
NEAREST_ROWS = 4_096  # records compared with the settled ones at once
LEAST_LABELS = 20  # ours: of an expert's labels cross-validation needs so many, or its probabilities say nothing

RATERS = {
    "role": pl.String,
    "rater": pl.String,
    "items": pl.Int64,
    "same_share": pl.Float64,
    "kappa": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}
DISAGREEMENTS = {
    "role": pl.String,
    "given_label": pl.String,
    "expert_label": pl.String,
    "cluster_id": pl.Int32,
    "words": pl.List(pl.String),
    "items": pl.Int64,
    "compared": pl.Int64,
    "share": pl.Float64,
    "overall_share": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "is_systematic": pl.Boolean,
    "likely_errors": pl.Int64,
    "example_record_id": pl.String,
    "example": pl.String,
}
ERRORS = {
    "role": pl.String,
    "rank": pl.Int32,
    "record_id": pl.String,
    "raters": pl.List(pl.String),
    "given_label": pl.String,
    "given_probability": pl.Float64,
    "expected_label": pl.String,
    "expected_probability": pl.Float64,
    "method": pl.String,
    "nearest_record_id": pl.String,
    "nearest_label": pl.String,
    "nearest_cosine": pl.Float64,
    "reason": pl.String,
}


class LabelSetConfig(dg.Config):
    """How disagreement and likely errors are looked for."""

    least_compared: int = Field(
        default=5,
        ge=2,
        description="Records with both labels that a cluster needs for disagreement in it to be tested.",
    )
    false_discovery_rate: float = Field(
        default=0.05, gt=0, lt=1, description="Share of the clusters called systematic that may be so by chance."
    )
    folds: int = Field(default=FOLDS, ge=2, description="Parts of the cross-validation.")
    train_records: int = Field(
        default=TRAIN_RECORDS, ge=10, description="Records each of its fits learns from at most."
    )
    replicates: int = Field(default=1_000, ge=100, description="Resamples of the bootstrap intervals.")
    seed: int = Field(default=0, description="Seed of the cross-validation and of the resamples.")


class Pool(NamedTuple):
    """What the labels are about: the records with embeddings."""

    record_ids: list[str]
    vectors: np.ndarray
    """float32[records, dimensions]."""
    place: dict[str, int]
    """Record → its row."""


@dg.asset(
    deps=[label_task, expert_labels, filtered, embeddings, clusters, cluster_profiles, "predicted_labels"],
    group_name="labels",
    kinds={"duckdb", "python"},
    owners=OWNERS,
    code_version="1",
)
def label_set(
    context: dg.AssetExecutionContext, config: LabelSetConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record with a settled expert label: the curated label set, with raters, why it was chosen, and its weight.

    Beside it: where crowd or language model differ from the experts systematically, cluster by cluster, and the labels that
    are likely wrong, ranked, each with its reason.
    """
    started = warehouse.begin()
    task = current_task(warehouse)
    settled = warehouse.query("select record_id, label, half, raters from expert_labels.items where label is not null")
    others = others_labels(warehouse, task)
    errors = find_errors(warehouse, task, settled, others, config)
    compared = others.join(settled.select("record_id", expert_label="label"), on="record_id")
    raters = rater_rows(warehouse, task, settled, compared, config)
    disagreements = disagreement_rows(warehouse, compared, errors, config)
    weighed = weights(warehouse)
    with warehouse.commit(context, config, main="label_set.records", started=started, rows_in=len(settled)) as commit:
        commit.build("label_set.records", weighed)
        commit.build("label_set.raters", raters)
        commit.build("label_set.disagreements", disagreements.drop("example_record_id"))
        commit.build("label_set.errors", errors)
        commit.notes = {
            "settled_but_in_the_pool_no_more": len(settled) - commit.count("label_set.records"),
            "systematic_disagreements": int(disagreements["is_systematic"].sum()),
            "likely_errors": dict(errors.group_by("role").len().sort("role").iter_rows()),
        }
    return materialized(
        warehouse,
        "label_set.records",
        plots={"why_chosen": reasons_chart(warehouse)},
        beside_the_experts=dg.MetadataValue.md(markdown_table(raters.head(SHOWN_ROWS))),
        disagreements=dg.MetadataValue.md(markdown_table(disagreements.drop("example_record_id").head(SHOWN_ROWS))),
        likely_errors=dg.MetadataValue.md(markdown_table(warehouse.query(SHOWN_ERRORS, rows=SHOWN_ROWS))),
    )


SHOWN_ERRORS = (
    "select e.role, e.rank, r.text, e.reason, e.nearest_label, n.text as nearest from label_set.errors as e "
    "left join filtered.records as r using (record_id) left join filtered.records as n on n.record_id = e.nearest_record_id "
    "order by e.rank, e.role limit $rows"
)

LABELS_OF_OTHERS = (
    "select role, record_id, label, list_sort(list(rater)) as raters from expert_labels.current "
    "where task = $task and role in ('crowd', 'llm') and answer = 'label' and list_contains($classes::varchar[], label) "
    "group by role, record_id, label"
)

LABELS_OF_EACH = (
    "select role, rater, record_id, label from expert_labels.current where task = $task and role in ('crowd', 'llm') "
    "and answer = 'label' and list_contains($classes::varchar[], label) "
    "and record_id in (select record_id from expert_labels.items where label is not null)"
)


def others_labels(warehouse: Warehouse, task: Task) -> pl.DataFrame:
    """The label of each role but the experts' for each record: role, record_id, label (its majority's), raters who gave it.

    Records on which a role is tied have none.
    """
    given = warehouse.query(LABELS_OF_OTHERS, task=task.name, classes=task.class_names)
    most = given.filter(pl.col("raters").list.len() == pl.col("raters").list.len().max().over("role", "record_id"))
    return most.filter(pl.len().over("role", "record_id") == 1).sort("role", "record_id")


def weights(warehouse: Warehouse) -> pl.DataFrame:
    """What each settled record stands for in an estimate over the pool; null where that cannot be said."""
    items = warehouse.query(
        "select record_id, round, sampling_probability from expert_labels.items where label is not null order by record_id"
    )
    queued = items.drop_nulls("round")
    if queued["sampling_probability"].count():
        found = pool_weights(queued["round"].to_numpy(), queued["sampling_probability"].fill_null(np.nan).to_numpy())
        queued = queued.with_columns(weight=pl.Series(found))
    else:
        queued = queued.with_columns(weight=pl.lit(None, dtype=pl.Float64))
    return items.select("record_id").join(queued.select("record_id", "weight"), on="record_id", how="left")


def rater_rows(
    warehouse: Warehouse, task: Task, settled: pl.DataFrame, compared: pl.DataFrame, config: LabelSetConfig
) -> pl.DataFrame:
    """The rows of label_set.raters: each role's majority, then each of its raters, against the settled expert labels."""
    each = warehouse.query(LABELS_OF_EACH, task=task.name, classes=task.class_names).join(
        settled.select("record_id", expert_label="label"), on="record_id"
    )
    everyone = compared.select(
        "role", pl.lit(None, dtype=pl.String).alias("rater"), "record_id", "label", "expert_label"
    )
    rows = []
    for (role, rater), part in (
        pl.concat([everyone, each.select(everyone.columns)])
        .sort("role", "rater", nulls_last=False)
        .group_by("role", "rater", maintain_order=True)
    ):
        found = cohen_kappa(
            part["label"],
            part["expert_label"],
            classes=task.class_names,
            replicates=config.replicates,
            seed=config.seed,
        )
        same = (part["label"] == part["expert_label"]).mean()
        rows.append((role, rater, len(part), same, found.value, found.low, found.high))
    return pl.DataFrame(rows, schema=RATERS, orient="row")


def disagreement_rows(
    warehouse: Warehouse, compared: pl.DataFrame, errors: pl.DataFrame, config: LabelSetConfig
) -> pl.DataFrame:
    """The rows of label_set.disagreements, the systematic ones first. `compared`: records with a role's label and the experts'."""
    rows = []
    for (role,), part in compared.sort("role").group_by("role", maintain_order=True):
        placed = part.join(cluster_of(warehouse, part["record_id"].to_list()), on="record_id", how="left")
        of_role = errors.filter(pl.col("role") == role).select("record_id", "given_label", "expected_label")
        likely = of_role.join(cluster_of(warehouse, of_role["record_id"].to_list()), on="record_id", how="left")
        rows += directions(placed, likely, config)
    examples = dict(
        warehouse.query(
            "select record_id, left(text, $chars::integer) from filtered.records where record_id in (select unnest($ids::varchar[]))",
            chars=EXAMPLE_CHARS,
            ids=[row["example_record_id"] for row in rows],
        ).iter_rows()
    )
    words = words_of_clusters(warehouse)
    for row in rows:
        row |= {"example": examples.get(row["example_record_id"]), "words": words.get(row["cluster_id"])}
    found = pl.DataFrame(rows, schema=DISAGREEMENTS)
    return found.sort(
        pl.col("cluster_id").is_not_null(),
        ~pl.col("is_systematic"),
        "q_value",
        "items",
        descending=[False, False, False, True],
    )


def directions(placed: pl.DataFrame, likely: pl.DataFrame, config: LabelSetConfig) -> list[dict[str, Any]]:
    """One role's disagreement: a row a direction, and a row a direction and cluster where there is any.

    `placed`: role, record_id, label, expert_label, cluster_id; `likely`: the role's likely errors over the whole pool. Every
    cluster large enough to test counts in the adjustment for many tests, those without disagreement too.
    """
    n, role = len(placed), placed["role"][0]
    in_cluster = dict(placed.drop_nulls("cluster_id").group_by("cluster_id").len().iter_rows())
    names = sorted({*placed["label"], *placed["expert_label"]})
    overall, by_cluster = [], []
    for given, expert in ((one, other) for one in names for other in names if one != other):
        part = placed.filter((pl.col("label") == given) & (pl.col("expert_label") == expert)).sort("record_id")
        other_way = placed.filter((pl.col("label") == expert) & (pl.col("expert_label") == given))
        errors_so = likely.filter((pl.col("given_label") == given) & (pl.col("expected_label") == expert))
        common = {"role": role, "given_label": given, "expert_label": expert, "overall_share": len(part) / n}
        both = len(part) + len(other_way)
        overall.append(
            common
            | {
                "cluster_id": None,
                "items": len(part),
                "compared": n,
                "share": len(part) / n,
                "p_value": float(binom.sf(len(part) - 1, both, 0.5)) if both else 1.0,
                "likely_errors": len(errors_so),
                "example_record_id": part["record_id"].first(),
            }
        )
        likely_in = dict(errors_so.drop_nulls("cluster_id").group_by("cluster_id").len().iter_rows())
        inside = {cluster: rows for (cluster,), rows in part.drop_nulls("cluster_id").group_by("cluster_id")}
        for cluster in sorted({*in_cluster, *likely_in}):
            size, rows = in_cluster.get(cluster, 0), inside.get(cluster, part.clear())
            is_tested = size >= config.least_compared
            by_cluster.append(
                common
                | {
                    "cluster_id": cluster,
                    "items": len(rows),
                    "compared": size,
                    "share": len(rows) / size if size else None,
                    "p_value": float(hypergeom.sf(len(rows) - 1, n, len(part), size)) if is_tested else None,
                    "likely_errors": likely_in.get(cluster, 0),
                    "example_record_id": rows["record_id"].first(),
                }
            )
    for family in (overall, by_cluster):
        tested = [row for row in family if row["p_value"] is not None]
        adjusted = false_discovery_control([min(1.0, row["p_value"]) for row in tested]) if tested else []
        for row, q in zip(tested, adjusted, strict=True):
            row["q_value"] = float(q)
        for row in family:
            row["is_systematic"] = (
                row.setdefault("q_value", None) is not None and row["q_value"] < config.false_discovery_rate
            )
    return [row for row in overall + by_cluster if row["items"] or row["likely_errors"]]


def cluster_of(warehouse: Warehouse, record_ids: list[str]) -> pl.DataFrame:
    """The clusters of some records (record_id, cluster_id)."""
    return warehouse.query(
        "select record_id, cluster_id from clusters.assignments where record_id in (select unnest($ids::varchar[]))",
        ids=record_ids,
    )


def words_of_clusters(warehouse: Warehouse) -> dict[int, list[str]]:
    """The words of each cluster; none where clusters were not profiled."""
    if not warehouse.has_table("clusters.profiles"):
        return {}
    return dict(warehouse.query("select cluster_id, words from clusters.profiles").iter_rows())


def find_errors(
    warehouse: Warehouse, task: Task, settled: pl.DataFrame, others: pl.DataFrame, config: LabelSetConfig
) -> pl.DataFrame:
    """The rows of label_set.errors.

    Labels of crowds and language models are held against the model fitted on the experts' labels where there is one, else
    against cross-validation over themselves; records that experts have settled are left out, they are known. The experts'
    own labels of the train half are held against cross-validation; the other half is never fitted on. Of few labels chosen at
    the boundary most so flagged are hard rather than wrong (one in ten was wrong, benchmarks/label_errors.py): look twice.
    """
    record_ids, vectors = warehouse.vectors()
    pool = Pool(record_ids, vectors, {record: row for row, record in enumerate(record_ids)})
    known = settled.filter(pl.col("record_id").is_in(record_ids))
    predicted = predictions(warehouse, task, pool)
    report = reporter("label_set: likely errors", "groups of labels")
    found = []
    for done, ((role,), part) in enumerate(others.group_by("role", maintain_order=True)):
        open_labels = part.join(settled, on="record_id", how="anti").filter(pl.col("record_id").is_in(record_ids))
        found.append(errors_of(role, open_labels, pool, known, task, predicted, config))
        report(done + 1)
    own = known.filter(pl.col("half") == "train").join(
        warehouse.query(
            "select record_id, label, list_sort(list(rater)) as raters from expert_labels.current "
            "where task = $task and role in ('expert', 'adjudicator') and answer = 'label' group by record_id, label",
            task=task.name,
        ).rename({"raters": "who"}),
        on=["record_id", "label"],
    )
    found.append(errors_of("expert", own.select("record_id", "label", raters="who"), pool, known, task, None, config))
    return pl.concat(found)


def predictions(warehouse: Warehouse, task: Task, pool: Pool) -> np.ndarray | None:
    """The probabilities of the model that the experts' labels fitted, float[records, k]; None where there is none yet."""
    if not warehouse.has_table("predicted_labels.predictions"):
        return None
    rows = warehouse.query(
        "select record_id, probabilities from predicted_labels.predictions "
        "where labeller = 'label_model' and len(probabilities) = $classes",
        classes=len(task.classes),
    )
    rows = rows.filter(pl.col("record_id").is_in(pool.record_ids))
    if len(rows) < len(pool.record_ids):
        return None
    found = np.empty((len(pool.record_ids), len(task.classes)))
    found[[pool.place[record] for record in rows["record_id"]]] = (
        rows["probabilities"].list.to_array(len(task.classes)).to_numpy()
    )
    return found


def errors_of(
    role: str,
    labels: pl.DataFrame,
    pool: Pool,
    known: pl.DataFrame,
    task: Task,
    predicted: np.ndarray | None,
    config: LabelSetConfig,
) -> pl.DataFrame:
    """The likely errors among some labels of a role (record_id, label, raters): rows of label_set.errors."""
    classes = task.class_names
    codes = labels["label"].replace_strict(classes, range(len(classes)), return_dtype=pl.Int64).to_numpy()
    rows = np.array([pool.place[record] for record in labels["record_id"]], dtype=np.int64)
    sizes = np.bincount(codes, minlength=len(classes))
    if predicted is not None:
        method, found = "expert_model", predicted[rows]
    elif len(codes) >= LEAST_LABELS and (sizes > 1).sum() > 1:
        method = "cross_validation"
        found = out_of_sample_probabilities(
            pool.vectors[rows],
            codes,
            classes=len(classes),
            folds=config.folds,
            train_records=config.train_records,
            seed=config.seed,
        )
    else:
        if len(codes):
            logger.info("label_set: too few labels by %s (%s) to look for errors among them", role, f"{len(codes):,}")
        return pl.DataFrame(schema=ERRORS)
    wrong = likely_errors(codes, found)
    others = found[wrong].copy()
    others[np.arange(len(wrong)), codes[wrong]] = -1
    expected = others.argmax(axis=1) if len(wrong) else np.empty(0, np.int64)
    nearest, cosine = nearest_settled(pool, rows[wrong], known)
    known_ids, known_labels = known["record_id"].to_list(), known["label"].to_list()
    table = []
    for rank, (at, expect, near, like) in enumerate(zip(wrong, expected, nearest, cosine, strict=True), start=1):
        row = {
            "role": role,
            "rank": rank,
            "record_id": labels["record_id"][int(at)],
            "raters": labels["raters"][int(at)].to_list(),
            "given_label": classes[codes[at]],
            "given_probability": float(found[at, codes[at]]),
            "expected_label": classes[expect],
            "expected_probability": float(found[at, expect]),
            "method": method,
            "nearest_record_id": known_ids[near] if near >= 0 else None,
            "nearest_label": known_labels[near] if near >= 0 else None,
            "nearest_cosine": float(like) if near >= 0 else None,
        }
        table.append(row | {"reason": reason_of(row)})
    return pl.DataFrame(table, schema=ERRORS)


def nearest_settled(pool: Pool, rows: np.ndarray, known: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """For each record the nearest other settled one: its place in `known`, int[m], -1 where there is none, and the cosine."""
    nearest, cosine = np.full(len(rows), -1), np.zeros(len(rows))
    settled = np.array([pool.place[record] for record in known["record_id"]], dtype=np.int64)
    if not len(settled):
        return nearest, cosine
    for start in range(0, len(rows), NEAREST_ROWS):
        part = slice(start, start + NEAREST_ROWS)
        likeness = pool.vectors[rows[part]] @ pool.vectors[settled].T
        likeness[rows[part][:, None] == settled[None, :]] = -2  # not the record itself
        nearest[part], cosine[part] = likeness.argmax(axis=1), likeness.max(axis=1)
    nearest[cosine < -1.5] = -1
    return nearest, cosine


def reason_of(row: dict[str, Any]) -> str:
    """Why a label is likely wrong, in words."""
    who = ", ".join(row["raters"][:3]) + (", …" if len(row["raters"]) > 3 else "")
    model = "the model of the experts' labels" if row["method"] == "expert_model" else "a model of the other labels"
    said = (
        f"{who} gave {row['given_label']}; {model} gives {row['expected_label']} {row['expected_probability']:.2f} "
        f"and {row['given_label']} {row['given_probability']:.2f}"
    )
    if row["nearest_label"] is None:
        return said
    return f"{said}; the nearest record that experts settled (cosine {row['nearest_cosine']:.2f}) is {row['nearest_label']}"


def reasons_chart(warehouse: Warehouse) -> Figure:
    """Records of the set by why they were chosen, a bar a half."""
    rows = warehouse.query(
        "select coalesce(reason, 'not queued') as reason, half, count(*) as records from label_set.records group by all order by reason"
    )
    reasons = rows["reason"].unique(maintain_order=True).to_list()
    drawing, axes = figure(6.5, 0.4 * len(reasons) + 1.2)
    for offset, (half, color) in enumerate({"train": BLUE, "evaluate": GREY}.items()):
        of_half = dict(rows.filter(pl.col("half") == half).select("reason", "records").iter_rows())
        places = [place + 0.4 * offset for place in range(len(reasons))]
        axes.barh(places, [of_half.get(reason, 0) for reason in reasons], height=0.38, color=color, label=half)
    axes.set_yticks([place + 0.2 for place in range(len(reasons))], reasons)
    axes.invert_yaxis()
    axes.set_xlabel("records")
    axes.legend(frameon=False)
    return drawing
