"""The whole graph on one screen: assets, checks, jobs, the database."""

import dagster as dg

from curation_assets.checks.drift import new_records_are_like_the_old
from curation_assets.checks.expectations import SUITES, expectation_checks
from curation_assets.checks.invariants import invariant_checks
from curation_assets.pages import ledger_spec
from curation_assets.stages.cleaned import cleaned
from curation_assets.stages.cluster_profiles import cluster_profiles
from curation_assets.stages.clusters import clusters
from curation_assets.stages.curated_set import curated_set
from curation_assets.stages.deduped import deduped
from curation_assets.stages.density import density
from curation_assets.stages.drift_report import drift_report
from curation_assets.stages.embeddings import embeddings
from curation_assets.stages.eval_report import eval_report
from curation_assets.stages.filtered import filtered
from curation_assets.stages.label_task import label_task
from curation_assets.stages.quality_scores import quality_scores
from curation_assets.stages.raw import raw
from curation_assets.stages.release import release
from curation_assets.warehouse import Warehouse

ASSETS = [
    raw,
    cleaned,
    deduped,
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
    label_task,
]

RELEASE_ASSETS = [
    release,
]

curate_everything = dg.define_asset_job(
    "curate_everything",
    selection=dg.AssetSelection.assets(*ASSETS),
    description="From the sources to the evaluation: every asset, in order, with its checks.",
)

label_round = dg.define_asset_job(
    "label_round",
    selection=dg.AssetSelection.assets(*LABEL_ASSETS),
    description="One round of labelling: takes in what the experts have labelled, measures their agreement, fits the model, "
    "and queues the next items. Needs the assets up to clusters.",
)

publish_release = dg.define_asset_job(
    "publish_release",
    selection=dg.AssetSelection.assets(*RELEASE_ASSETS),
    description="Writes the curated set as an immutable folder of training data with its card and its manifest. "
    "Needs curate_everything; a step of its own, because a release is a decision.",
)

JOBS = {"curate_everything": ASSETS, "label_round": LABEL_ASSETS, "publish_release": RELEASE_ASSETS}
"""The assets of each job."""

defs = dg.Definitions(
    assets=[*(asset for assets in JOBS.values() for asset in assets), ledger_spec()],
    asset_checks=[*map(expectation_checks, SUITES), *invariant_checks(), new_records_are_like_the_old],
    jobs=[curate_everything, label_round, publish_release],
    resources={"warehouse": Warehouse()},
    # One process a run: DuckDB's file has one writer, and steps share loaded models.
    executor=dg.in_process_executor,
)
