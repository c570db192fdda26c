"""The `curate` command: run the graph without a UI, and ask the database what it did and why."""

import difflib
import itertools
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer
import yaml

from curation_assets import __version__
from curation_assets.audit_commands import audit, diff, trace, whatif, why_not
from curation_assets.blame_command import blame
from curation_assets.command_line import FAILED, USAGE, Database, messages_for_the_reader, warehouse_at
from curation_assets.erase_command import erase
from curation_assets.home import dagster_home, lasting_path
from curation_assets.labelling.commands import label_app
from curation_assets.openlineage_command import openlineage
from curation_assets.override_command import override
from curation_assets.release_commands import release, verify

if TYPE_CHECKING:
    import dagster as dg
    from pydantic import BaseModel

    from curation_assets.warehouse import Warehouse

RECIPES = Path(__file__).parent / "recipes"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turn a heap of text into a small, defensible training set, and ask of every record why it is or is not in it.",
    epilog="Exit codes: 0 done, 1 the run or the query failed, 2 wrong usage, 3 no such record or database.",
)


@app.callback(invoke_without_command=True)
def prepare(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Set up what all commands share."""
    if version:
        print(f"curation-assets {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("curation_assets")
    for earlier in [one for one in logger.handlers if isinstance(one, logging.StreamHandler)]:
        logger.removeHandler(earlier)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


@app.command()
def run(
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            help="A file, folder or glob (JSONL, JSON, CSV, TSV, Parquet, text, HTML, WARC, WET; .gz, .zst), or python_environment. "
            "May be given several times. Without it, the sources the database knows are read once more.",
        ),
    ] = None,
    id_field: Annotated[str | None, typer.Option(help="Field with the owner's id. Default: id, uuid, …")] = None,
    text_field: Annotated[
        str | None, typer.Option(help="Field with the text. Default: text, else what the records suggest.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="Licence of records that state none.")] = None,
    format: Annotated[
        str | None, typer.Option(help="jsonl, json, csv, tsv, parquet, text, lines, html or warc. Default: by suffix.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="A run config in YAML, as in the UI's launchpad; curation_assets/recipes has some.", dir_okay=False
        ),
    ] = None,
    database: Database = None,
    select: Annotated[
        str | None,
        typer.Option(
            help="Assets or jobs to build, e.g. 'filtered', 'deduped,filtered', 'filtered+' or 'label_round'. Default: curate_everything."
        ),
    ] = None,
) -> None:
    """Curate: read the sources and build every asset up to the evaluation, with its checks.

    What has not changed since the last run is not read or embedded again. The run shows in the UI's history.
    """
    config = read_recipe(recipe)
    given = {"id_field": id_field, "text_field": text_field, "license": license, "format": format}
    options = {name: value for name, value in given.items() if value is not None}
    if options and not source:
        raise typer.BadParameter("--id-field, --text-field, --license and --format describe a --source; give one.")
    with messages_for_the_reader():
        if source:
            if "raw" not in {key.to_user_string() for key in selected_assets(select)}:
                raise typer.BadParameter(
                    f"--select {select} leaves out raw, which would read the source you give; add it: --select raw,{select}."
                )
            known = known_paths(warehouse_at(database))
            sources = sources_of(source, options, known)
            config["ops"]["raw"] = {"config": {"sources": sources}}
            if others := sorted(set(known.values()) - {one["name"] for one in sources}):
                told = f"The database already holds {', '.join(others)}; what you give is added. --database names another file."
                print(told, file=sys.stderr)
        elif "raw" not in config["ops"] and not warehouse_at(database).has_table("raw.batches"):
            message = f"{warehouse_at(database).path} knows no source yet; give one with --source PATH (or try `curate demo`)."
            raise typer.BadParameter(message)
        from curation_assets.definitions import JOBS

        tell_what_is_not_repeated(config, warehouse_at(database), selected_assets(select))
        built = execute(config, database, select)
        if "label_report" in built:
            tell_the_round(warehouse_at(database))
        if built & {asset.key.to_user_string() for asset in JOBS["curate_everything"]}:
            show_results(warehouse_at(database), is_evaluated="eval_report" in built)


@app.command()
def demo(database: Database = None) -> None:
    """Curate real text that is on this machine: the documentation and licences of this Python environment."""
    started = time.monotonic()
    with messages_for_the_reader():
        execute(read_recipe(RECIPES / "python_environment.yaml"), database, None)
        tell_the_story(warehouse_at(database), time.monotonic() - started)


@app.command()
def funnel(database: Database = None) -> None:
    """Show how many records came into each stage, which rule dropped how many, and how many are left."""
    from curation_assets import audit

    with messages_for_the_reader():
        print("\n".join(audit.funnel_lines(warehouse_at(database))))


@app.command()
def estimate(
    recipe: Annotated[Path, typer.Option(help="The run config whose asset names a language model.", dir_okay=False)],
    asset: Annotated[
        str, typer.Argument(help="The asset that asks: quality_scores or predicted_labels.")
    ] = "quality_scores",
    database: Database = None,
) -> None:
    """Tell what asking a language model would take: calls, tokens, money, hours. No text is sent anywhere."""
    import dagster as dg
    from pydantic import ValidationError

    from curation_assets.stages import predicted_labels, quality_scores

    asking = {
        "quality_scores": (quality_scores.QualityScoresConfig, quality_scores.estimate_lines),
        "predicted_labels": (predicted_labels.PredictedLabelsConfig, predicted_labels.estimate_lines),
    }
    if asset not in asking:
        raise typer.BadParameter(f"{asset} asks no language model about records; {' and '.join(asking)} do.")
    config_of, lines_of = asking[asset]
    config = read_recipe(recipe)["ops"].get(asset, {}).get("config") or {}
    if unknown := list(unknown_settings(config, config_of, asset)):
        raise typer.BadParameter("\n".join(unknown))
    with messages_for_the_reader():
        try:
            print("\n".join(lines_of(warehouse_at(database), config_of(**config))))
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
            raise typer.BadParameter(f"{asset} in {recipe}: {said}") from error
        except dg.Failure as failure:
            print(failure.description, file=sys.stderr)
            raise typer.Exit(FAILED) from failure


@app.command()
def sql(
    query: Annotated[
        str, typer.Argument(help="A query, e.g. 'select stage, count(*) from ledger.decisions group by stage'.")
    ],
    database: Database = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, all rows of it.")] = False,
) -> None:
    """Run one query on the database, read-only."""
    with messages_for_the_reader():
        warehouse_at(database).print_rows(query, csv=csv)


# Registered below the others, so that --help begins with `run`.
for command in (trace, why_not, whatif, override, release, verify, diff, audit, erase, blame, openlineage):
    app.command()(command)
app.add_typer(label_app, name="label")


def read_recipe(recipe: Path | None) -> dict[str, Any]:
    """A recipe's run config, with `ops` in it. Raises typer.BadParameter if it cannot be read or has another shape."""
    if recipe is None:
        return {"ops": {}}
    try:
        config = yaml.safe_load(recipe.read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        own = ", ".join(sorted(path.name for path in RECIPES.glob("*.yaml")))
        raise typer.BadParameter(
            f"there is no recipe {recipe}; relative paths count from {Path.cwd()}. Recipes to copy from are in {RECIPES}: {own}."
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{recipe} cannot be read as a recipe: {error}") from error
    ops = config.get("ops") if isinstance(config, dict) else None
    if not isinstance(ops, dict) or not all(isinstance(op, dict) for op in ops.values()):
        raise typer.BadParameter(f"{recipe} should hold `ops:`, below it an asset's name, and below that `config:`.")
    return config


def sources_of(paths: list[str], options: dict[str, str], known: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Source configs for --source.

    A source is named by the file or folder it comes from, with a number where that name is taken, here or in the database;
    `known` maps the paths the database has read before to their names, which they keep.
    """
    names = dict(known or {})
    configs: list[dict[str, Any]] = []
    for path in dict.fromkeys(paths):
        lasting = lasting_path(path)
        if lasting not in names:
            fixed = [part for part in Path(path).parts if not any(mark in part for mark in "*?[")]
            name = (Path(fixed[-1]).name.split(".")[0] if fixed else "").strip("/") or "source"
            candidates = (name if number == 1 else f"{name}_{number}" for number in itertools.count(1))
            names[lasting] = next(candidate for candidate in candidates if candidate not in names.values())
        configs.append({"name": names[lasting], "path": path, **options})
    return configs


def known_paths(warehouse: "Warehouse") -> dict[str, str]:
    """Path → name of every source the database has read."""
    if not warehouse.has_table("raw.batches"):
        return {}
    return dict(
        warehouse.query("select distinct source_config ->> 'path' as path, source from raw.batches").iter_rows()
    )


def execute(config: dict[str, Any], database: Path | None, select: str | None, reason: str = "manual") -> set[str]:
    """Run the job on Dagster's shared instance, printing progress; return the names of the assets it built.

    reason: why, for the run's tag curation/reason.

    Exits with FAILED if the run does not succeed.
    """
    home = dagster_home()
    home.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(home)
    import dagster as dg
    from filelock import FileLock

    from curation_assets.definitions import JOBS

    warehouse = warehouse_at(database)
    check_config(config)
    keys = selected_assets(select)
    if "raw" in config["ops"] and dg.AssetKey("raw") not in keys and not warehouse.has_table("raw.batches"):
        raise typer.BadParameter(
            f"--select {select} leaves out raw, which would read the sources you give; run once without --select, or with "
            f"--select raw,{select}."
        )
    assets = {asset.key.to_user_string() for assets in JOBS.values() for asset in assets}
    run_config = run_config_for(config, warehouse, keys, assets)
    tags = {"curation/reason": reason, "curation/database": str(warehouse.path)}
    try:
        with FileLock(home / ".curate.lock"):  # two first runs at once would both create the history's tables
            instance = dg.DagsterInstance.get()
        with instance:
            warehouse.hold_for_run()
            bury_killed_runs(instance, warehouse)
            result = job_of(keys).execute_in_process(
                run_config=run_config, instance=instance, asset_selection=list(keys), tags=tags, raise_on_error=False
            )
            if not result.success:
                print(why_it_failed(result), file=sys.stderr)
                raise typer.Exit(FAILED)
    except dg.DagsterInvalidConfigError as error:
        print("\n".join(f"The config is wrong: {problem.message}" for problem in error.errors), file=sys.stderr)
        raise typer.Exit(USAGE) from error
    finally:
        warehouse.release_run()
    return {key.to_user_string() for key in keys}


def run_config_for(
    config: dict[str, Any], warehouse: "Warehouse", keys: "set[dg.AssetKey]", assets: set[str]
) -> dict[str, Any]:
    """Dagster's run config: the recipe's, for the selected assets, on this database. Refuses names of no asset."""
    if unknown := sorted(set(config["ops"]) - assets):
        near = sorted({one for name in unknown for one in difflib.get_close_matches(name, assets, n=2)})
        told = f"; near it: {', '.join(near)}" if near else ""
        raise typer.BadParameter(
            f"the recipe configures {', '.join(unknown)}{told}. The assets are {', '.join(sorted(assets))}."
        )
    selected = {key.to_user_string() for key in keys}
    resource = (config.get("resources") or {}).get("warehouse", {}).get("config", {})
    return config | {
        "ops": {name: op for name, op in config["ops"].items() if name in selected},
        "resources": {"warehouse": {"config": {**resource, "database": str(warehouse.path)}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }


def bury_killed_runs(instance: "dg.DagsterInstance", warehouse: "Warehouse") -> None:
    """Mark runs of ours that were killed as failed: we hold the lock of their database, so they cannot be alive.

    Left as started they would stay so in the UI and count against its queue for ever.
    """
    import dagster as dg

    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={"curation/database": str(warehouse.path)})
    for run in instance.get_runs(filters=started):
        instance.report_run_failed(
            run, "The process of this run was killed. What it had committed is whole; a new run goes on from there."
        )


def config_classes() -> dict[str, "type[BaseModel]"]:
    """The config class of every asset, by the asset's name."""
    from curation_assets.definitions import JOBS

    functions = {asset.key.to_user_string(): asset.op.compute_fn for assets in JOBS.values() for asset in assets}
    return {name: get_type_hints(function.decorated_fn)["config"] for name, function in functions.items()}


def check_config(config: dict[str, Any]) -> None:
    """Refuse at the door what would stop the run later on: a setting there is not, a value out of range, a file not there.

    Raises typer.BadParameter with a line a mistake, SourceError for sources that are not there.
    """
    from pydantic import ValidationError

    from curation_assets import readers

    problems: list[str] = []
    for asset, config_class in config_classes().items():
        op = config["ops"].get(asset, {})
        if beside := sorted(map(str, op.keys() & config_class.model_fields.keys())):
            problems.append(f"{asset}: {', '.join(beside)} should stand below `config:`, not beside it.")
        given = op.get("config") or {}
        if not isinstance(given, dict):
            problems.append(f"{asset}: `config:` should hold settings and their values, not {json.dumps(given)}.")
            continue
        unknown = list(unknown_settings(given, config_class, asset))
        problems += unknown
        try:
            settings = config_class(
                **{name: value for name, value in given.items() if name in config_class.model_fields}
            )
        except ValidationError as error:
            problems += [
                f"{'.'.join(map(str, (asset, *problem['loc'])))}: {in_words(problem)}; it is {str(problem['input'])[:100]}."
                for problem in error.errors()
                if not (unknown and problem["type"] == "missing") and not is_from_environment(problem["input"])
            ]
        else:
            if asset == "raw" and given and not problems:
                for source in settings.sources:
                    readers.files(source.as_source())
            if asset == "contamination" and not problems:
                for benchmark in settings.benchmarks:
                    if not is_from_environment(benchmark.path):
                        readers.files(readers.Source(name=benchmark.name, path=benchmark.path))
    if problems:
        raise typer.BadParameter("the config is wrong:\n" + "\n".join(problems))


def in_words(problem: Mapping[str, Any]) -> str:
    """What pydantic says of a wrong value, without its own words around what ours say, and how a list is written."""
    said = problem["msg"].removeprefix("Value error, ").rstrip(".")
    one = problem["input"]
    return f"{said}, such as [{one}]" if problem["type"] == "list_type" and isinstance(one, (str, int, float)) else said


def is_from_environment(value: Any) -> bool:
    """Whether a value is Dagster's {env: NAME}, which is known only when the run starts."""
    return isinstance(value, dict) and set(value) == {"env"}


def unknown_settings(given: Any, kind: Any, place: str) -> Iterator[str]:
    """A line for each setting that `kind`, a config class or a type made of some, does not have; pydantic would pass it over."""
    from pydantic import BaseModel

    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if not isinstance(given, dict) or is_from_environment(given):
            return
        for name, value in given.items():
            if name in kind.model_fields:
                yield from unknown_settings(value, kind.model_fields[name].annotation, f"{place}.{name}")
                continue
            near = difflib.get_close_matches(str(name), kind.model_fields, n=3)
            told = f"near it: {', '.join(near)}" if near else f"there are {', '.join(sorted(kind.model_fields))}"
            yield f"{place} has no setting '{name}'; {told}."
    elif isinstance(given, list):
        for position, value in enumerate(given):
            for inner in get_args(kind):
                yield from unknown_settings(value, inner, f"{place}.{position}")
    else:
        for inner in get_args(kind):
            yield from unknown_settings(given, inner, place)


def tell_what_is_not_repeated(config: dict[str, Any], warehouse: "Warehouse", keys: "set[dg.AssetKey]") -> None:
    """Warn of settings an asset last ran with here that this run, whose recipe does not name it, leaves at their defaults."""
    from pydantic import ValidationError

    from curation_assets.automation import last_settings

    if not warehouse.has_table("ledger.runs"):
        return
    classes = config_classes()
    kept = {"raw", "label_task"}  # these know themselves what they were told before
    names = [name for name in classes if name not in {*kept, *config["ops"]} and name in {key.path[-1] for key in keys}]
    forgotten = []
    for name, last in last_settings(warehouse, names).items():
        try:
            before, now = classes[name](**last["config"]).model_dump(), classes[name]().model_dump()
        except ValidationError:  # settings of an older version
            continue
        if changed := [setting for setting in now if before[setting] != now[setting]]:
            forgotten.append(f"{name} ({', '.join(changed)})")
    if forgotten:
        print(
            f"No recipe here speaks of what ran last with settings of its own and runs with the defaults now: {'; '.join(forgotten)}. "
            "Give --recipe again to keep them.",
            file=sys.stderr,
        )


def selected_assets(select: str | None) -> "set[dg.AssetKey]":
    """The asset keys of --select: names of assets or jobs, Dagster's selection syntax, or several of them with commas.

    Without it those of curate_everything: labelling needs people, a release a decision; each is a job of its own.
    """
    import dagster as dg

    from curation_assets.definitions import JOBS

    assets, chosen = [asset for assets in JOBS.values() for asset in assets], set()
    try:
        for part in map(str.strip, (select or "curate_everything").split(",")):
            if part in JOBS:
                chosen |= {asset.key for asset in JOBS[part]}
            elif part:
                chosen |= dg.AssetSelection.from_string(part).resolve(assets)
    except (dg.DagsterError, ValueError) as error:
        known = [asset.key.to_user_string() for asset in assets]
        near = difflib.get_close_matches(part.strip("+*"), [*known, *JOBS], n=2)
        raise typer.BadParameter(
            f"--select {select}: '{part}' is no selection of assets{'; near it: ' + ', '.join(near) if near else ''}. "
            f"The assets are {', '.join(known)}; the jobs {', '.join(JOBS)}."
        ) from error
    return chosen


def job_of(keys: "set[dg.AssetKey]") -> "dg.JobDefinition":
    """The job that has all of these assets, under whose name the run shows in the UI; else Dagster's job of all assets."""
    from curation_assets.definitions import JOBS, defs

    for name, assets in JOBS.items():
        if keys <= {asset.key for asset in assets}:
            return defs.resolve_job_def(name)
    return defs.resolve_implicit_global_asset_job_def()


def why_it_failed(result: "dg.ExecuteInProcessResult") -> str:
    """What stopped a run, for the reader: the failed checks and the errors at the root."""
    lines = []
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.severity.value == "ERROR":
            said = [str(value.value) for name, value in check.metadata.items() if name in ("broken", "examples")]
            lines.append(
                f"{check.asset_key.to_user_string()}: the check {check.check_name} failed and stopped the run.\n"
                + "\n".join(said)
            )
    for event in result.get_step_failure_events() if hasattr(result, "get_step_failure_events") else []:
        error = event.step_failure_data.error
        while error.cause is not None:
            error = error.cause
        if error.cls_name == "DagsterExecutionInterruptedError":
            lines.append("Interrupted. What was committed is whole; run again to go on.")
        elif error.cls_name != "DagsterAssetCheckFailedError":
            lines.append(f"{event.step_key} failed: {error.cls_name}: {error.message.split(':', 1)[-1].strip()}")
    return "\n".join(lines) or "The run failed; `make ui` shows its events."


def show_results(warehouse: "Warehouse", *, is_evaluated: bool) -> None:
    """Print where the records went and, if this run asked, whether that helped."""
    from curation_assets import audit

    print("\nWhere the records went (a record may break several rules):\n")
    print("\n".join(audit.funnel_lines(warehouse)))
    if is_evaluated:
        print("\nDid it help? The same small language model, trained on each set for the same number of tokens:\n")
        verdicts = warehouse.query("select slice, verdict from eval_report.summary order by slice")
        print("\n".join(f"  held-out {slice_name}: {verdict}" for slice_name, verdict in verdicts.iter_rows()))
    print(f"\nThe database is {warehouse.path}; `curate trace RECORD` and `curate sql QUERY` ask it.")


def tell_the_round(warehouse: "Warehouse") -> None:
    """Print the report on the labels, and what to do next."""
    from curation_assets.labelling.report import report_lines

    print("\n" + "\n".join(report_lines(warehouse)))
    print(
        "\nNext: `curate label` serves the page the experts label on; `curate run --select label_round` takes their labels in."
    )


def tell_the_story(warehouse: "Warehouse", seconds: float) -> None:
    """Print what the demo did: the funnel, the evaluation's verdict, and where to look next."""
    print(f"\nCurated in {seconds:.0f} s.")
    show_results(warehouse, is_evaluated=True)
    example = warehouse.query(
        "select source_record_id from deduped.pairs where kind = 'near' order by similarity, source_record_id limit 1"
    )
    shown = example["source_record_id"].item() if len(example) else "RECORD"
    print("\nNext:\n  make ui   the graph, its numbers and plots, on http://127.0.0.1:3000")
    print(f"  .venv/bin/curate trace {json.dumps(shown)}   why that record is out, and which copy was kept")
    print(
        "  .venv/bin/curate sql 'select words[:5], records, mean_quality from clusters.profiles order by records desc limit 5'"
    )


def main() -> None:
    """Run the command line, and leave at once when it is done.

    Torch and Dagster together keep objects alive to the very end, over which DuckDB's bindings would print a page of leak
    warnings at exit; there is nothing left to clean up by then.
    """
    try:
        app()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    else:
        code = 0
    with suppress(BrokenPipeError):  # `curate sql … | head`
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
