"""The warehouse as the resource of Dagster's graph: what a run config may say about it."""

import dagster as dg
from dagster_duckdb import DuckDBResource
from pydantic import Field

from curation_assets.home import default_database
from curation_assets.warehouse import MEMORY_LIMIT, Warehouse


class WarehouseResource(DuckDBResource):
    """Makes the Warehouse that assets, checks and sensors are handed: a DuckDBResource with a lock, a sure close and whole commits."""

    database: str = Field(
        default_factory=default_database,
        description="Path of the DuckDB file. Default: $CURATION_DATABASE, else data/curation.duckdb.",
    )
    memory_limit: str = Field(default=MEMORY_LIMIT, description="Memory DuckDB may use before it spills to disk.")

    def create_resource(self, context: dg.InitResourceContext) -> Warehouse:
        """The warehouse of this configuration."""
        return Warehouse(self.database, self.memory_limit, tuple((self.connection_config or {}).items()))
