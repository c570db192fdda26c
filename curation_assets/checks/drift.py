"""The check that warns of drift: it fails, as a warning, where new records differ from the old beyond chance, and says how."""

import dagster as dg

from curation_assets.warehouse import Warehouse

VERDICT = (
    "select notes ->> 'verdict' as verdict, (select count(*) from drift_report.looks where is_drift) as looks, "
    "(select coalesce(max(size), 0) from drift_report.looks where is_drift and look = 'novelty') as novel_share "
    "from ledger.runs where stage = 'drift_report' order by finished_at desc limit 1"
)


@dg.asset_check(
    asset="drift_report",
    name="new_records_are_like_the_old",
    description="The records read since the last release, or since a curation took in the drift found last, have the distribution of "
    "those before. A warning: it blocks nothing, and sets off the re-curation where that is switched on.",
)
def new_records_are_like_the_old(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Pass unless a look of drift_report found drift."""
    found = warehouse.query(VERDICT).row(0, named=True)
    return dg.AssetCheckResult(
        passed=found["looks"] == 0,
        severity=dg.AssetCheckSeverity.WARN,
        description=found["verdict"],
        metadata={"looks_that_drift": found["looks"], "share_of_new_concepts": found["novel_share"]},
    )
