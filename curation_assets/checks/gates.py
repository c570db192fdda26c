"""Checks that say in a sentence how things stand, and stop nothing: a person decides."""

import dagster as dg

from curation_assets.warehouse import Warehouse


@dg.asset_check(
    asset="agreement",
    description="The experts' mean pairwise kappa is not below the task's expert_gate. Warns, and says what to do; stops nothing.",
)
def experts_agree_enough(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Warn where the whole interval of the experts' kappa is below the gate; the verdict is told in any case."""
    row = warehouse.query("select verdict, kappa, low, high, gate, items, sentence from agreement.gate").row(
        0, named=True
    )
    return dg.AssetCheckResult(
        passed=row["verdict"] != "below",
        severity=dg.AssetCheckSeverity.WARN,
        description=row["sentence"],
        metadata={name: value for name, value in row.items() if value is not None},
    )
