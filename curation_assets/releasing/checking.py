"""The checks a release must pass, run on the tables as they are when it is made.

Dagster's history tells which checks passed when an asset was built; it may lie elsewhere, or the tables may have been
edited since. So the same checks are run again here: what the manifest says was checked, was checked on what was released.
"""

from typing import Any, NamedTuple

from curation_assets.checks.expectations import SUITES, broken, missing_columns, scalar_columns
from curation_assets.checks.invariants import asset_of_check
from curation_assets.releasing.material import MADE_OF
from curation_assets.tables import MAIN_TABLES, SQL, read_table, tables
from curation_assets.warehouse import Warehouse


class Check(NamedTuple):
    """One check that was run, and what broke it."""

    name: str
    asset: str
    promise: str
    broken: list[str]


def run_checks(warehouse: Warehouse) -> list[Check]:
    """Run every invariant of sql/checks and every critical expectation about the stages a release is made of."""
    return [*_invariants(warehouse), *_expectations(warehouse)]


def as_rows(checks: list[Check]) -> list[dict[str, Any]]:
    """Checks as the manifest lists them."""
    return [
        {"check": check.name, "asset": check.asset, "promise": check.promise, "passed": not check.broken}
        for check in checks
    ]


def _invariants(warehouse: Warehouse) -> list[Check]:
    found = []
    for path in sorted((SQL / "checks").glob("*.sql")):
        asset, promise = asset_of_check(path), read_table(path)
        if asset in MADE_OF:
            bad = len(warehouse.query(promise.sql))
            found.append(Check(path.stem, asset, promise.row, [f"{bad:,} rows break it"] if bad else []))
    return found


def _expectations(warehouse: Warehouse) -> list[Check]:
    found = []
    for asset in MADE_OF:
        table = MAIN_TABLES[asset]
        suite = [expect for expect in SUITES[asset] if expect.severity == "critical"]
        problems = broken(scalar_columns(warehouse, table), suite)
        problems += missing_columns(warehouse, table, list(tables()[table].columns))
        promise = f"{len(suite)} expectations on {table}: schema, nulls, ranges, uniqueness."
        found.append(Check("expectations_critical", asset, promise, problems))
    return found
