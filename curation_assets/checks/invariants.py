"""SQL invariants: every file of sql/checks is a query that returns the rows that break its promise.

The header names the asset (`-- asset: filtered`) and the first line is the promise in a sentence. A returned row blocks
what comes after the asset.
"""

from pathlib import Path

import dagster as dg

from curation_assets.pages import markdown_table
from curation_assets.tables import SQL, read_table
from curation_assets.warehouse import Warehouse


def invariant_checks() -> list[dg.AssetChecksDefinition]:
    """One blocking check per file of sql/checks."""
    return [invariant_check(path) for path in sorted((SQL / "checks").glob("*.sql"))]


def asset_of_check(path: Path) -> str:
    """The asset a file of sql/checks is about. Raises ValueError if its header names none."""
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.startswith("-- asset:"):
            return line.removeprefix("-- asset:").strip()
    raise ValueError(f"{path}: the header needs a line `-- asset: NAME`, the asset the check belongs to.")


def invariant_check(path: Path) -> dg.AssetChecksDefinition:
    """The blocking check of one file."""
    asset, promise = asset_of_check(path), read_table(path)

    @dg.asset_check(name=path.stem, asset=asset, blocking=True, description=promise.row)
    def check(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
        bad = warehouse.query(promise.sql)
        return dg.AssetCheckResult(
            passed=not len(bad),
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"bad_rows": len(bad), "examples": dg.MetadataValue.md(markdown_table(bad.head(10)))},
        )

    return check
