"""`curate release` and `curate verify`: make a release, and hold a folder to what its manifest says."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from curation_assets.command_line import FAILED, USAGE, Database, messages_for_the_reader, warehouse_at


def release(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder to write; it must not exist. Default: releases/ID beside the database.",
            file_okay=False,
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set on its card.")] = None,
    format: Annotated[
        list[str] | None,
        typer.Option(
            help="text, alpaca, sharegpt, messages, prompt_completion, preference, reward or classification; may be given several "
            "times. Default: those usual for the kinds of record there are."
        ),
    ] = None,
    chat_template: Annotated[
        str | None,
        typer.Option(
            help="A tokenizer (folder or hub id) whose chat template makes the column text of the format messages."
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="A run config in YAML with `release` among its ops: splits, columns, …", dir_okay=False),
    ] = None,
    database: Database = None,
) -> None:
    """Write the curated set as an immutable folder: data for trainers, dataset card, metadata, manifest.

    The same inputs, code and config give the same release hash; a release that is there already is not written again.
    """
    from curation_assets.cli import execute, read_recipe

    config = read_recipe(recipe)
    settings = dict((config["ops"].get("release") or {}).get("config") or {})
    given = {
        "folder": str(out.expanduser().absolute()) if out else None,
        "name": name,
        "formats": format or None,
        "chat_template": chat_template,
    }
    settings |= {field: value for field, value in given.items() if value is not None}
    config["ops"]["release"] = {"config": settings}
    with messages_for_the_reader():
        execute(config, database, "release")
        tell_of_the_last(database)


def tell_of_the_last(database: Path | None) -> None:
    """Print what the last run of `release` did."""
    import json

    warehouse = warehouse_at(database)
    notes = warehouse.value("select notes from ledger.runs where stage = 'release' order by finished_at desc limit 1")
    said = json.loads(notes)
    row = warehouse.query(
        "select records, tokens, release_hash from release.releases where release_id = $id", id=said["release_id"]
    ).row(0, named=True)
    wrote = "Released" if said["is_new"] else "This very release is there already, and nothing was written:"
    print(f"{wrote} {row['records']:,} records, about {row['tokens']:,} tokens: {said['folder']}")
    print(f"Release hash {row['release_hash']}; `curate verify {said['folder']}` holds the folder to it.")


def verify(
    folder: Annotated[Path | None, typer.Argument(help="A release's folder.", file_okay=False)] = None,
    hash: Annotated[
        str | None,
        typer.Option("--hash", help="The release hash as it was published elsewhere; at least its first 16 digits."),
    ] = None,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Check the database's ledger instead: no row edited, removed or moved.")
    ] = False,
    head: Annotated[
        str | None, typer.Option("--head", help="With --ledger: a last hash of its chain that was noted earlier.")
    ] = None,
    database: Database = None,
) -> None:
    """Check a release, by its folder alone: every file, its hash and rows, the manifest, and no file besides. Or --ledger.

    Exit code 1 where anything differs. Without --hash it tells whether the folder agrees with itself.
    """
    if ledger == (folder is not None) or (head and not ledger):
        raise typer.BadParameter("give a release's FOLDER, or --ledger (with --head if you like).")
    if ledger:
        verify_ledger(database, head)
        return
    from curation_assets.releasing.verify import NoRelease, read_manifest
    from curation_assets.releasing.verify import verify as find_differences

    if hash is not None and len(hash) < 16:
        raise typer.BadParameter("--hash takes at least the first 16 digits of the release hash.")
    try:
        manifest = read_manifest(folder)
        differences = list(find_differences(folder))
    except NoRelease as error:
        print(error, file=sys.stderr)
        raise typer.Exit(USAGE) from error
    stated = str(manifest.get("release_hash"))
    if hash is not None and not stated.startswith(hash.lower()):
        differences.append(f"The release hash is {stated}, not {hash}: this is another release.")
    if differences:
        print("\n".join(differences), file=sys.stderr)
        print(f"{folder} is NOT as its manifest says ({len(differences)} differences).", file=sys.stderr)
        raise typer.Exit(FAILED)
    print(
        f"{folder}: {len(manifest['files'])} files are, byte for byte, what the manifest says. Release hash {stated}."
    )


def verify_ledger(database: Path | None, head: str | None) -> None:
    """Hold the ledger to its chain of hashes. Exits with FAILED where it does not fit."""
    from curation_assets import audit_chain

    with messages_for_the_reader():
        warehouse = warehouse_at(database)
        with warehouse.reading():
            problems = audit_chain.verify_ledger(warehouse, head)
            print("\n".join(audit_chain.ledger_lines(warehouse)))
    if problems:
        print("\n".join(problems), file=sys.stderr)
        print(f"The ledger is NOT as it was written ({len(problems)} findings).", file=sys.stderr)
        raise typer.Exit(FAILED)
    print("Every chained row is as it was written.")
