"""Owners' ids and file names where others than the database's keeper see them: pages, releases, files of items to be labelled.

An id can be an e-mail address, a file name can hold a token. In the tables they stay, for they lead back to the owner's system.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from curation_assets.algorithms import pii
from curation_assets.warehouse import Warehouse

HIDEABLE = ("secret", "url_credentials", "email")
"""Types of personal data that are masked in ids and file names: not those that are numbers, which ids can be."""

COLUMNS = ("source_record_id", "matched_source_record_id", "source_uri")
"""Columns, of whatever table, that hold owners' ids and file names."""

LAST_CONFIG = "select max_by(config::varchar, finished_at) as config from ledger.runs where stage = 'cleaned'"


def hidden_types(config: Mapping[str, Any]) -> list[str]:
    """The types that are masked in ids too under a configuration of `cleaned`: those it hides in texts."""
    chosen = config.get("pii", {})
    return [type for type in HIDEABLE if chosen.get(type) in ("mask", "pseudonymise", "drop")]


def hidden_now(warehouse: Warehouse) -> list[str]:
    """The types that are masked in ids under the last configuration of `cleaned`; all of them where it has not run."""
    config = warehouse.value(LAST_CONFIG) if warehouse.has_table("ledger.runs") else None
    return hidden_types(json.loads(config)) if config else list(HIDEABLE)


def hide(value: str, types: Sequence[str] = HIDEABLE) -> str:
    """An id or a file name with what is of these types masked.

    >>> hide("jane@example.org/1"), hide("4111111111111111")
    ('[EMAIL]/1', '4111111111111111')
    """
    return pii.redact(value, pii.find(value, types)) if types else value


def hide_columns(rows: pl.DataFrame, types: Sequence[str] = HIDEABLE) -> pl.DataFrame:
    """Rows with `hide` applied to the columns of owners' ids and file names among theirs."""
    columns = [name for name in COLUMNS if name in rows.columns and rows.schema[name] == pl.String]
    return rows.with_columns(pl.col(columns).map_elements(lambda value: hide(value, types), pl.String))
