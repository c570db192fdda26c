"""The whole graph on one screen: assets, checks, jobs, what runs by itself, the database."""

import dagster as dg

from curation_assets.automation import SCHEDULES, SENSORS, jobs, with_freshness
from curation_assets.checks.drift import new_records_are_like_the_old
from curation_assets.checks.expectations import SUITES, expectation_checks
from curation_assets.checks.gates import experts_agree_enough
from curation_assets.checks.invariants import invariant_checks
from curation_assets.pages import ledger_spec
from curation_assets.resource import WarehouseResource
from curation_assets.stages.agreement import agreement
from curation_assets.stages.cleaned import cleaned
from curation_assets.stages.cluster_profiles import cluster_profiles
from curation_assets.stages.clusters import clusters
from curation_assets.stages.contamination import contamination
from curation_assets.stages.curated_set import curated_set
from curation_assets.stages.deduped import deduped
from curation_assets.stages.density import density
from curation_assets.stages.drift_report import drift_report
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.eval_report import eval_report
from curation_assets.stages.expert_labels import expert_labels
from curation_assets.stages.filtered import filtered
from curation_assets.stages.label_model import label_model
from curation_assets.stages.label_queue import label_queue
from curation_assets.stages.label_report import label_report
from curation_assets.stages.label_set import label_set
from curation_assets.stages.label_task import label_task
from curation_assets.stages.lexical_vectors import lexical_vectors
from curation_assets.stages.predicted_labels import predicted_labels
from curation_assets.stages.quality_scores import quality_scores
from curation_assets.stages.raw import raw
from curation_assets.stages.release import release

ASSETS = [
    raw,
    cleaned,
    deduped,
    contamination,
    filtered,
    embeddings,
    clusters,
    density,
    quality_scores,
    cluster_profiles,
    drift_report,
    curated_set,
    eval_report,
]

LABEL_ASSETS = [
    lexical_vectors,
    label_task,
    expert_labels,
    agreement,
    label_model,
    predicted_labels,
    label_queue,
    label_set,
    label_report,
]

RELEASE_ASSETS = [
    release,
]

JOBS = {"curate_everything": ASSETS, "label_round": LABEL_ASSETS, "publish_release": RELEASE_ASSETS}
"""The assets of each job; automation.py describes them, and adds the one that follows on drift."""

defs = dg.Definitions(
    assets=[*with_freshness(asset for assets in JOBS.values() for asset in assets), ledger_spec()],
    asset_checks=[
        *map(expectation_checks, SUITES),
        *invariant_checks(),
        new_records_are_like_the_old,
        experts_agree_enough,
    ],
    jobs=jobs(JOBS),
    sensors=SENSORS,
    schedules=SCHEDULES,
    resources={"warehouse": WarehouseResource()},
    # One process a run: DuckDB's file has one writer, and steps share loaded models.
    executor=dg.in_process_executor,
)
