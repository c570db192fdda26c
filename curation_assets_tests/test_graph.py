"""The graph's shape: what belongs to whom, what reads what, and that the words on the pages are there."""

import ast
import re
from pathlib import Path

import dagster as dg
import pytest

from curation_assets import stages
from curation_assets.definitions import JOBS, defs
from curation_assets.tables import DECIDED, MAIN_TABLES, SQL, asset_of, column_lineage, read_table, tables

GRAPH = {asset.key.to_user_string(): asset for assets in JOBS.values() for asset in assets}
FROM_THE_LAST_ROUND = {
    "expert_labels": {"label_queue"},
    "drift_report": {"expert_labels", "label_model"},
    "deduped": {"quality_scores"},
}
"""What a stage reads of the round before: labelling's loop is cut open at the people, who label new records after they are compared,
and which copy is best may be said by the last scores."""
BESIDE_THE_GRAPH = {"ledger", "erasure", "overrides"}
STAGES = Path(stages.__file__).parent
BESIDE = {"deduped": [STAGES.parent / "duplicate_search.py"]}
"""Modules that a stage's work is in, besides its own."""
TABLE_NAME = re.compile(r"\b([a-z_]+)\.([a-z_]+)\b")


def declared_deps(asset: str) -> set[str]:
    return {key.to_user_string() for key in GRAPH[asset].dependency_keys}


def read_in_python(asset: str) -> set[str]:
    """Tables that a stage's modules name in their SQL literals and warehouse calls."""
    literals = [
        node.value
        for path in (STAGES / f"{asset}.py", *BESIDE.get(asset, ()))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "`" not in node.value
    ]
    return {
        f"{schema}.{name}"
        for text in literals
        for schema, name in TABLE_NAME.findall(text)
        if f"{schema}.{name}" in tables()
    }


def test_definitions_load_and_every_asset_is_in_a_job():
    dg.Definitions.validate_loadable(defs)
    jobs = [defs.resolve_job_def(name) for name in JOBS]
    assert {key.to_user_string() for job in jobs for key in job.asset_layer.selected_asset_keys} == set(GRAPH)


def test_every_sql_file_of_a_stage_belongs_to_exactly_one_asset():
    assert {asset_of(name) for name in tables()} - BESIDE_THE_GRAPH == set(GRAPH)
    assert set(MAIN_TABLES) == set(GRAPH)
    built = {name: asset_of(name) for name in tables() if not name.endswith(".decisions")}
    for name, asset in built.items():
        if asset not in BESIDE_THE_GRAPH and name != "release.withdrawals":  # what `curate erase` writes
            assert name in read_in_python(asset), f"{asset} never builds {name}"


@pytest.mark.parametrize("asset", GRAPH)
def test_declared_deps_are_the_assets_whose_tables_the_stage_reads(asset):
    in_sql = {table for name in tables() if asset_of(name) == asset for table in tables()[name].reads}
    in_headers = {table for name in tables() if asset_of(name) == asset for table, _ in tables()[name].incoming_from}
    read = {asset_of(table) for table in in_sql | in_headers | read_in_python(asset)}
    if asset in ("clusters", "density", "drift_report", "quality_scores"):
        read.add("embeddings")  # Warehouse.vectors
    assert read - {asset, "ledger", "overrides"} - FROM_THE_LAST_ROUND.get(asset, set()) == declared_deps(asset)


def test_the_database_and_sqlglot_agree_on_what_every_file_reads():
    import json

    import duckdb

    connection = duckdb.connect()
    for table in [
        *tables().values(),
        *map(read_table, (SQL / "checks").glob("*.sql")),
        *map(read_table, (SQL / "audit").glob("*.sql")),
        *map(read_table, (SQL / "release").glob("*.sql")),
    ]:
        statement = connection.execute("select json_serialize_sql($sql)", {"sql": table.sql}).fetchall()[0][0]
        assert json.loads(statement)["error"] is False, table.path
        found = set(re.findall(r'"schema_name":"(\w+)","table_name":"(\w+)"', statement))
        assert {f"{schema}.{name}" for schema, name in found} == set(table.reads), table.path


def test_every_question_of_an_auditor_can_be_asked_in_a_shell_of_duckdb():
    """Prepared and executed with named parameters, as the README says, on a database with every table and no row."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"create temp table decided as select {', '.join(f'null as {column}' for column in DECIDED)}")
    left = [table for name, table in tables().items() if not name.endswith(".decisions") or name == "ledger.decisions"]
    while left:  # a table may read one that comes after it
        waiting = []
        for table in left:
            connection.execute(f"create schema if not exists {table.name.split('.')[0]}")
            incoming = ", ".join(f"null as {column}" for column in table.incoming) or "null as nothing"
            connection.execute(f"create or replace temp view incoming as select {incoming}")
            parameters = dict.fromkeys(table.params) or None
            try:
                connection.execute(f"create table {table.name} as select * from ({table.sql}) limit 0", parameters)
            except duckdb.CatalogException:
                waiting.append(table)
        assert len(waiting) < len(left), [table.name for table in waiting]
        left = waiting
    connection.execute("create temp table members (record_id varchar, split varchar)")
    connection.execute("create schema whatif; create table whatif.decisions as from ledger.decisions")
    for path in sorted((SQL / "audit").glob("*.sql")):
        connection.execute(f"prepare q as {path.read_text()}")
        named = ", ".join(f"{name} := null" for name in read_table(path).params)
        rows = connection.execute(f"execute q({named})" if named else "execute q").fetchall()
        assert len(rows) <= 1, path.name  # of an aggregate, one


@pytest.mark.parametrize("name", tables())
def test_every_column_is_described_and_every_parameter_explained(name):
    table = tables()[name]
    assert all(table.columns.values()), [column for column, text in table.columns.items() if not text]
    assert set(re.findall(r"\$([a-z_0-9]+)", re.sub(r"--.*", "", table.sql))) == set(table.params)
    assert table.row.startswith("One row")


def test_lineage_reaches_back_to_raw():
    assert column_lineage("cleaned.records")["text"] == (("raw.records", "text"),)
    assert column_lineage("embeddings.vectors")["embedding"] == (("embeddings.cache", "embedding"),)
    assert ("cleaned.records", "text") in column_lineage("deduped.pairs")["similarity"]


def test_every_asset_says_what_one_row_is_and_documents_its_config():
    for name, asset in GRAPH.items():
        spec = asset.get_asset_spec()
        assert spec.description.startswith("One row"), name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.code_version, name
        fields = asset.op.config_schema.config_type.fields
        assert fields or name == "raw", name
        for field, config in fields.items():
            assert config.description, f"{name}.{field} has no description"


def test_every_stage_has_blocking_checks():
    checks = [spec for check in defs.asset_checks for spec in check.check_specs]
    for name in GRAPH:
        assert any(spec.blocking for spec in checks if spec.asset_key == dg.AssetKey(name)), name
