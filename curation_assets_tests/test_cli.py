"""The command line as a user meets it: help, exit codes, and words for the mistakes one makes."""

import re
import shutil

import pytest
import typer
import yaml
from conftest import materialize_unchecked
from typer.testing import CliRunner

from curation_assets.audit import printable
from curation_assets.cli import RECIPES, app, check_config, selected_assets, sources_of, tell_what_is_not_repeated
from curation_assets.command_line import FAILED, NOT_FOUND, USAGE
from curation_assets.home import lasting_path
from curation_assets.readers import SourceError

runner = CliRunner()


@pytest.fixture
def database(curated, tmp_path):
    copy = tmp_path / "c.duckdb"
    shutil.copy(curated.path, copy)
    return ["--database", str(copy)]


def invoke(*arguments, code=0):
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return re.sub(r"\s*│\n│\s*", " ", result.output)  # what typer boxes and wraps


def test_help_names_every_command_and_exit_code():
    text = invoke("--help")
    for command in ("run", "demo", "trace", "funnel", "sql", "release", "verify"):
        assert command in text
    assert "Exit codes" in text


def test_funnel_trace_and_sql_answer(database, curated):
    assert "curated_set" in invoke("funnel", *database)
    owner_id = curated.value("select source_record_id from curated_set.records order by record_id limit 1")
    assert "curated_set: kept" in invoke("trace", owner_id, *database)
    assert "60" in invoke("sql", "select count(*) from curated_set.records", *database)
    assert invoke("sql", "--csv", "select 1 as a, 'x' as b", *database) == "a,b\n1,x\n"


def test_mistakes_have_their_own_exit_code_and_a_sentence(database, tmp_path):
    assert "No record has the id" in invoke("trace", "nobody", *database, code=NOT_FOUND)
    assert "no database" in invoke("funnel", "--database", str(tmp_path / "no.duckdb"), code=NOT_FOUND)
    assert "read-only" in invoke("sql", "drop table raw.records", *database, code=FAILED)
    assert "matches no file" in invoke("run", "--source", str(tmp_path / "*.jsonl"), *database, code=USAGE)
    assert "there is no file" in invoke("run", "--source", str(tmp_path / "none.jsonl"), *database, code=USAGE)
    assert "The assets are" in invoke("run", "--select", "nonsense", *database, code=USAGE)
    assert "give one" in invoke("run", "--text-field", "body", *database, code=USAGE)
    (tmp_path / "t.txt").write_text("text")
    source = ["run", "--source", str(tmp_path / "t.txt")]
    assert "leaves out raw" in invoke(*source, "--select", "cleaned", *database, code=USAGE)
    assert "name of a schema" in invoke(*source, "--database", str(tmp_path / "filtered.duckdb"), code=USAGE)
    assert "format" in invoke(*source, "--format", "foo", *database, code=USAGE)


def test_a_wrong_config_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    recipe = tmp_path / "r.yaml"
    recipe.write_text("ops: {deduped: {config: {min_jacard: 0.8}}}", encoding="utf-8")
    (tmp_path / "t.txt").write_text("text")
    source = ["--source", str(tmp_path / "t.txt"), "--database", str(tmp_path / "c.duckdb")]
    said = invoke("run", "--recipe", str(recipe), *source, code=USAGE)
    assert "min_jacard" in said and "near it: min_jaccard" in said
    assert not (tmp_path / "c.duckdb").exists()
    recipe.write_text("ops: {filterd: {config: {min_words: 5}}}", encoding="utf-8")
    said = invoke("run", "--recipe", str(recipe), *source, code=USAGE)
    assert "filterd" in said
    assert "filtered" in said
    recipe.write_text("ops: {deduped: {config: {min_jaccard: 8}}}", encoding="utf-8")  # told before raw reads a byte
    assert "deduped.min_jaccard" in invoke("run", "--recipe", str(recipe), *source, code=USAGE)
    assert not (tmp_path / "c.duckdb").exists()
    recipe.write_text("ops: {raw: {config: {sources: [{name: a, path: b, licence: MIT}]}}}", encoding="utf-8")
    assert "'licence'; near it: license" in invoke("run", "--recipe", str(recipe), *source[2:], code=USAGE)
    recipe.write_text("ops: {quality_scores: {config: {judg: ask_llm}}}", encoding="utf-8")
    assert "near it: judge" in invoke("estimate", "--recipe", str(recipe), *source[2:], code=USAGE)
    assert "web_corpus.yaml" in invoke("run", "--recipe", str(tmp_path / "none.yaml"), *source, code=USAGE)
    recipe.write_text("ops:", encoding="utf-8")
    assert "hold `ops:`" in invoke("run", "--recipe", str(recipe), code=USAGE)


def test_a_new_database_needs_a_source_and_another_file_is_no_database(tmp_path):
    assert "knows no source" in invoke("run", "--database", str(tmp_path / "c.duckdb"), code=USAGE)
    (tmp_path / "data.csv").write_text("id,text\n1,a text\n")
    assert "no DuckDB database" in invoke("funnel", "--database", str(tmp_path / "data.csv"), code=USAGE)


def test_control_characters_of_a_record_do_not_reach_the_terminal():
    assert printable("a\x1b[31mred\u202e") == "a\\x1b[31mred\\x202e"


def test_sources_are_named_after_their_files():
    names = [
        config["name"] for config in sources_of(["a/reviews.jsonl.gz", "b/reviews.csv", "crawl/**/*.json", "*.txt"], {})
    ]
    assert names == ["reviews", "reviews_2", "crawl", "source"]
    known = {lasting_path("a/reviews.csv"): "reviews"}
    names = [config["name"] for config in sources_of(["b/reviews.csv", "a/reviews.csv"], {}, known)]
    assert names == ["reviews_2", "reviews"]


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_a_valid_run_config(recipe):
    import dagster as dg

    from curation_assets.definitions import JOBS, defs

    config, known = yaml.safe_load(recipe.read_text(encoding="utf-8")), set()
    for job, assets in JOBS.items():
        names = {asset.key.to_user_string() for asset in assets}
        ops = {name: op for name, op in config["ops"].items() if name in names}
        check_config({"ops": {name: op for name, op in ops.items() if name != "raw"}})
        assert dg.validate_run_config(defs.resolve_job_def(job), config | {"ops": ops})
        known |= names
    assert set(config["ops"]) <= known


@pytest.mark.parametrize(
    ("ops", "told"),
    [
        ({"filtered": {"min_words": 3}}, "filtered: min_words should stand below `config:`, not beside it."),
        (
            {"filtered": {"config": {"languages": "en"}}},
            "filtered.languages: Input should be a valid list, such as [en]; it is en.",
        ),
        (
            {"deduped": {"config": {"survivor": "source_priority"}}},
            "deduped: survivor source_priority and the list source_priority go together; give both or neither; it is",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_told_with_how_it_is_written(ops, told):
    with pytest.raises(typer.BadParameter) as refused:
        check_config({"ops": ops})
    assert told in refused.value.message


def test_a_benchmark_that_is_not_there_is_refused_before_the_run(tmp_path):
    ops = {"contamination": {"config": {"benchmarks": [{"name": "g", "path": str(tmp_path / "none.jsonl")}]}}}
    with pytest.raises(SourceError, match="Source 'g': there is no file"):
        check_config({"ops": ops})


def test_the_readme_shows_only_commands_that_exist():
    from curation_assets.tables import SQL

    readme = (SQL.resolve().parent / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^(?:\.venv/bin/)?curate ([\w-]+)", readme, flags=re.MULTILINE))
    assert commands
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert commands <= known
    targets = set(re.findall(r"^make (\w+)", readme, flags=re.MULTILINE))
    makefile = (SQL.resolve().parent / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_a_recipe_in_the_readme_is_one_as_it_stands():
    from curation_assets.tables import SQL

    recipes = re.findall(
        r"```yaml\n(.*?)```", (SQL.resolve().parent / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert recipes
    for recipe in recipes:
        config = yaml.safe_load(recipe)
        assert list(config) == ["ops"]
        check_config(config)


def test_a_run_says_which_settings_of_the_last_run_it_leaves_at_their_defaults(warehouse, tmp_path, capsys):
    source = tmp_path / "t.txt"
    source.write_text("A text that is read and cleaned.")
    ops = {"raw": {"sources": [{"name": "t", "path": str(source)}]}, "cleaned": {"boilerplate_lines": False}}
    materialize_unchecked(warehouse, ops, ["raw", "cleaned", "deduped"])
    keys = selected_assets(None)
    tell_what_is_not_repeated({"ops": {}}, warehouse, keys)
    assert "with the defaults now: cleaned (boilerplate_lines). Give --recipe" in capsys.readouterr().err
    tell_what_is_not_repeated({"ops": {"cleaned": {}}}, warehouse, keys)
    assert capsys.readouterr().err == ""
    # A recipe that names every asset it selects leaves nothing at its defaults, whatever ran here that is not selected.
    tell_what_is_not_repeated({"ops": {"deduped": {}}}, warehouse, selected_assets("deduped"))
    assert capsys.readouterr().err == ""
