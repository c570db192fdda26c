"""The `cleaned` stage: repaired texts."""

from enum import Enum

import dagster as dg
import polars as pl
import pyarrow as pa
from pydantic import Field

from curation_assets.algorithms.cleaning import clean
from curation_assets.pages import histogram, markdown_table, materialized
from curation_assets.progress import reporter
from curation_assets.stages import OWNERS
from curation_assets.stages.raw import raw
from curation_assets.warehouse import Warehouse

SCHEMA = pa.schema({"record_id": pa.large_string(), "text": pa.large_string(), "steps": pa.list_(pa.string())})


class WhenFileChanges(str, Enum):
    """What becomes of records that the latest version of their file no longer holds."""

    replace = "replace"
    keep_both = "keep_both"


class CleanedConfig(dg.Config):
    """How texts are repaired, and what becomes of records that a newer version of their file no longer holds."""

    when_file_changes: WhenFileChanges = Field(
        default=WhenFileChanges.replace,
        description="When a file changed since it was first read: 'replace' drops records its latest version no longer "
        "holds (rule `superseded`), 'keep_both' keeps the records of every version.",
    )


@dg.asset(deps=[raw], group_name="records", kinds={"duckdb", "python"}, owners=OWNERS, code_version="1")
def cleaned(context: dg.AssetExecutionContext, config: CleanedConfig, warehouse: Warehouse) -> dg.MaterializeResult:
    """One row per record with its text repaired: encoding, Unicode form, control characters, HTML to text.

    The original stays in `raw.records`; the steps that changed a text are listed beside it.
    """
    started = warehouse.begin()
    rows_in = warehouse.rows("raw.records")
    report, done = reporter("cleaned", "records", rows_in), 0
    with warehouse.spool() as spool:
        spool.write(SCHEMA.empty_table())
        for batch in warehouse.batches("select record_id, kind, text from raw.records order by record_id"):
            results = [
                clean(text, kind)
                for text, kind in zip(batch["text"].to_pylist(), batch["kind"].to_pylist(), strict=True)
            ]
            texts, steps = [result.text for result in results], [result.steps for result in results]
            spool.write(pa.table([batch["record_id"].cast(pa.large_string()), texts, steps], schema=SCHEMA))
            report(done := done + len(batch))
        with warehouse.commit(context, config, rows_in=rows_in, main="cleaned.records", started=started) as commit:
            commit.decide(spool.file(), when_file_changes=config.when_file_changes.value)
            commit.build("cleaned.records", spool.file())
            commit.keep_the_rest()
    return materialized(
        warehouse,
        "cleaned.records",
        plots={"length_histogram": histogram(_lengths(warehouse), "characters a record", log=True)},
        records_by_cleaning_step=dg.MetadataValue.md(markdown_table(_steps(warehouse))),
    )


def _lengths(warehouse: Warehouse) -> pl.Series:
    return warehouse.query("select len(text) as chars from cleaned.records")["chars"]


def _steps(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query(
        "select step, count(*) as records from (select unnest(cleaning_steps) as step from cleaned.records) "
        "group by step order by records desc, step"
    )
