"""README.md of a release: the dataset card, with the header that the Hugging Face hub and `datasets` read.

What the prose says comes from the database; texts of records are not in it, but for the words that tell what drifted, and names
from outside are escaped.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import yaml

from curation_assets.algorithms.pii import TYPES
from curation_assets.pages import markdown_cell, markdown_table
from curation_assets.releasing.data_files import DataFile
from curation_assets.releasing.manifest import Manifest
from curation_assets.releasing.material import Facts

FILE = "README.md"

_NAMES = """
apache-2.0 mit openrail bigscience-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause
bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0
cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl
gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc mpl-2.0 ms-pl ncsa odc-by odbl ofl-1.1 osl-3.0 pddl postgresql
unlicense zlib
"""
LICENSES = frozenset(_NAMES.split())
"""Identifiers the hub knows (hub documentation, "Licenses"); any other licence is `other` there."""

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
LARGER_SIZES = (
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (100_000_000_000, "10B<n<100B"),
    (1_000_000_000_000, "100B<n<1T"),
)
"""The hub's size categories (hub documentation, dataset card metadata)."""

WHY = {
    "manual": "on request",
    "new data": "because new data had come",
    "drift": "because new data had drifted from the old",
    "schedule": "on schedule",
    "erasure": "because records were erased",
}

LANGUAGE_SHARE = 0.01
"""A language is in the header from this share of the records on. Ours."""

SHOWN = 20
"""Rows of a table on the card; the manifest has all."""


def card(manifest: Manifest, files: Sequence[DataFile], facts: Facts, *, description: str) -> str:
    """The whole README.md. manifest: all but the entries of this file and of croissant.json, and its own hash."""
    head = yaml.safe_dump(header(manifest, files, facts), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n" + "\n".join(prose(manifest, files, facts, description)) + "\n"


# --- the header -----------------------------------------------------------------------------------------------------


def header(manifest: Manifest, files: Sequence[DataFile], facts: Facts) -> dict[str, Any]:
    """The YAML header: one config a format, one Parquet file a split; JSONL lies beside and is not loaded twice."""
    tables = [file for file in files if file.path.endswith(".parquet")]
    formats = list(dict.fromkeys(file.format for file in tables))
    return {
        "pretty_name": manifest["name"],
        "license": card_licenses(facts.composition),
        "language": languages(facts.composition),
        "size_categories": [size_category(manifest["records"])],
        "task_categories": [
            *(["text-generation"] if set(formats) - {"classification"} else []),
            *(["text-classification"] if "classification" in formats else []),
        ],
        "tags": ["curated", "curation-assets"],
        "configs": [
            {
                "config_name": format,
                **({"default": True} if at == 0 else {}),
                "data_files": [{"split": file.split, "path": file.path} for file in tables if file.format == format],
            }
            for at, format in enumerate(formats)
        ],
    }


def card_licenses(composition: pl.DataFrame) -> str | list[str]:
    """The records' licences as the hub names them: one, or a list; `other` for those it does not know, `unknown` for none.

    >>> card_licenses(pl.DataFrame({"license": ["MIT", "CC BY-SA 4.0", "not stated"]}))
    ['cc-by-sa-4.0', 'mit', 'unknown']
    """
    found = sorted({hub_license(name) for name in composition["license"]})
    return found[0] if len(found) == 1 else found


def hub_license(name: str) -> str:
    """A licence's identifier on the hub: `other` where it has none, `unknown` where none is stated.

    >>> [hub_license(name) for name in ("Apache-2.0", "CC BY-NC 4.0", "GPL-3.0-or-later", "Our own", "not stated")]
    ['apache-2.0', 'cc-by-nc-4.0', 'gpl-3.0', 'other', 'unknown']
    """
    if name == "not stated":
        return "unknown"
    plain = name.strip().lower().replace(" ", "-")
    plain = plain.removesuffix("-only").removesuffix("-or-later")
    return plain if plain in LICENSES else "other"


def languages(composition: pl.DataFrame) -> list[str]:
    """Languages of at least LANGUAGE_SHARE of the records, most frequent first; what cannot be told is none."""
    shares = composition.group_by("language").agg(pl.col("records").sum() / composition["records"].sum())
    shares = shares.filter((pl.col("records") >= LANGUAGE_SHARE) & (pl.col("language") != "und"))
    return shares.sort("records", "language", descending=[True, False])["language"].to_list()


def size_category(records: int) -> str:
    """The hub's category of a number of records.

    >>> size_category(999), size_category(1_000), size_category(10**13)
    ('n<1K', '1K<n<10K', 'n>1T')
    """
    return next((name for limit, name in (*SIZES, *LARGER_SIZES) if records < limit), "n>1T")


# --- the prose ------------------------------------------------------------------------------------------------------


def prose(manifest: Manifest, files: Sequence[DataFile], facts: Facts, description: str) -> Iterator[str]:
    """The card's text, line by line."""
    yield f"# {markdown_cell(manifest['name'])}\n"
    if description:
        yield f"{description}\n"
    counted = ", ".join(f"{records:,} {split}" for split, records in manifest["splits"].items())
    yield f"{manifest['records']:,} records ({counted}), about {manifest['tokens']:,} tokens."
    after = f"; it follows release `{manifest['supersedes']}`" if manifest["supersedes"] else ""
    yield f"\nRelease `{manifest['release_id']}`, made {WHY[manifest['reason']]}{after}."
    yield from _what_triggered_it(manifest)
    yield from _files(files)
    yield from _how_it_was_made(manifest, facts)
    yield from _sources(facts)
    yield from _evaluation(facts)
    yield from _limits(manifest, facts)
    yield from _verification(manifest)


def _what_triggered_it(manifest: Manifest) -> Iterator[str]:
    """The run that curated the set, the run that set it off, and what drift_report said: now, and of drift since the release before."""
    yield "\n## What triggered it\n"
    found = f", set off by the drift that run `{manifest['found_by_run']}` found" if manifest["found_by_run"] else ""
    yield f"Its set was curated by run `{manifest['curated_by_run']}`{found}."
    if not manifest["comparisons"]:
        yield "New records had not been compared with old ones for drift."
    for one in manifest["comparisons"][:SHOWN]:
        when = (
            "When it was curated, the last comparison of new records with old"
            if one["is_in_force"]
            else "The comparison"
        )
        yield f"\n{when} ({one['compared_at']} UTC, run `{one['run_id']}`) said:\n\n> {_escaped(one['verdict'])}"


def _files(files: Sequence[DataFile]) -> Iterator[str]:
    yield "\n## Files\n"
    yield "Each format is a folder, each split a Parquet file; the JSONL beside it has the same rows.\n"
    tables = [file for file in files if file.path.endswith(".parquet")]
    yield "| format | rows | columns |\n|---|---|---|"
    for format in dict.fromkeys(file.format for file in tables):
        splits = [file for file in tables if file.format == format]
        rows = ", ".join(f"{file.rows:,} {file.split}" for file in splits)
        yield f"| {format} | {rows} | {', '.join(splits[0].schema.names)} |"
    first = tables[0].format
    yield f'\n```python\nimport datasets\n\nset_ = datasets.load_dataset("FOLDER", "{first}")\n```\n'
    yield (
        "Rows of `train` stand in the order of training. `inclusion_probability` is the chance with which a record was selected: "
        "weighted by its inverse, the set speaks for all that it was drawn from. The other columns of origin and measures are "
        "those of the database; `record_id` finds a record there."
    )


def _how_it_was_made(manifest: Manifest, facts: Facts) -> Iterator[str]:
    yield "\n## How it was made\n"
    yield "Every record passed these stages; a record may break several rules.\n"
    yield "| stage | in | dropped | kept | dropped by rule |\n|---|---:|---:|---:|---|"
    for stage in facts.funnel["stage"].unique(maintain_order=True):
        part = facts.funnel.filter(pl.col("stage") == stage)
        first = part.row(0, named=True)
        rules = "; ".join(
            f"{rule} {count:,}" for rule, count in part.select("rule", "dropped_by_rule").iter_rows() if rule
        )
        numbers = " | ".join(f"{first[name]:,}" for name in ("rows_in", "rows_dropped", "rows_out"))
        yield f"| {stage} | {numbers} | {_escaped(rules)} |"
    judges = "; ".join(
        f"{row['judge']} (revision {row['revision']}, {row['records']:,} records)" for row in facts.judges.to_dicts()
    )
    yield f"\nQuality was judged by: {_escaped(judges)}."
    yield f"\nSelection: {_escaped(_settings(facts.stages['curated_set']['config']))}."
    split = manifest["reproducible"]["config"]["release"]
    yield (
        f"\nSplits: {split['validation_share']:.3g} of the records for validation and {split['test_share']:.3g} for test, by group: "
        f"{manifest['groups']:,} groups of records that are connected by near-duplication (Jaccard similarity of "
        f"{split['split_jaccard']:.3g} or more, or a duplicate of both), the same prompt, the same source document or the same "
        "owner's id; a group is in one split as a whole. A group's split is a hash of its name and the "
        "seed, so it is the same in a later release; records on which a model of expert labels is evaluated "
        "are in test."
    )
    if split.get("chat_template"):
        yield f"\nThe column `text` of the format messages is the chat template of `{_escaped(split['chat_template'])}`."
    checks = manifest["checks"]
    yield f"\n{len(checks)} checks were run on the tables this release was made of, and all passed:\n"
    yield from (f"- {_escaped(check['asset'])}: {_escaped(check['promise'])}" for check in checks)


def _settings(config: dict[str, Any]) -> str:
    """A stage's settings in a line: those that say something."""
    told = {name: value for name, value in config.items() if value not in (None, [], {})}
    return ", ".join(f"{name} {_value(value)}" for name, value in told.items())


def _value(value: Any) -> str:
    return f"({_settings(value)})" if isinstance(value, dict) else str(value)


def _sources(facts: Facts) -> Iterator[str]:
    yield "\n## Sources and licences\n"
    table = facts.composition.group_by("source", "license", "kind").agg(pl.col("records", "tokens").sum())
    table = table.sort("records", "source", "license", "kind", descending=[True, False, False, False])
    yield markdown_table(table.head(SHOWN))
    if len(table) > SHOWN:
        yield f"\n… and {len(table) - SHOWN:,} more combinations; MANIFEST.json lists them all (`composition`)."
    yield "\nA licence is what the owner of a record or the person who gave the source stated; nobody has examined it."


def _evaluation(facts: Facts) -> Iterator[str]:
    yield "\n## Does it help?\n"
    if not len(facts.evaluation):
        yield "It has not been evaluated."
        return
    if facts.stages["eval_report"]["is_out_of_date"]:
        yield "**The evaluation is of an earlier version of the set**; it has not been run on this one.\n"
    yield "The same small language model was trained on the set, on random records, on everything, for as many tokens:\n"
    yield from (f"- {_escaped(verdict)}" for verdict in facts.evaluation["verdict"])


def limits(manifest: Manifest, facts: Facts) -> Iterator[str]:
    """What a user of the release should know that is not good, as sentences."""
    composition, records = facts.composition, facts.composition["records"].sum()
    unstated = composition.filter(license="not stated")["records"].sum()
    if unstated:
        yield f"{unstated:,} of {records:,} records have no stated licence."
    unknown = composition.filter(language="und")["records"].sum()
    if unknown:
        yield f"The language of {unknown:,} records could not be told."
    for left in manifest["left_out"]:
        where = f"in the format {left['format']}" if left["format"] else "released at all"
        yield f"{left['records']:,} records of kind {left['kind']} are not {where}: {left['reason']}."
    if manifest["differing_from_measured_text"]:
        yield (
            f"{manifest['differing_from_measured_text']:,} conversations, repaired turn by turn, differ in form from the one text "
            "that was judged and compared."
        )
    if manifest["message_fields_left_out"]:
        yield f"Fields of messages that no format carries were left out: {', '.join(manifest['message_fields_left_out'])}."
    for split in manifest["empty_splits"]:
        yield f"The split {split} is empty: every group is too large for it."
    if facts.rejects:
        yield f"{facts.rejects:,} rows of the sources could not be read."
    if facts.in_review:
        yield f"{facts.in_review:,} records were held back for a person to look at, and are not in it."
    if "embedded" in facts.judges["judge"].to_list():
        yield "The embedded judge knows well-formed English prose from poor text; it judges no facts and no other language."
    yield "Duplicates were sought by words (and by meaning only where the selection says so): paraphrases may cross splits."
    yield from _personal_data(facts.stages["cleaned"]["config"].get("pii"))


def _personal_data(chosen: Mapping[str, Any] | None) -> Iterator[str]:
    """What was done about personal data, from the settings of the run that cleaned the texts."""
    actions = (
        {type: chosen.get(type) for type in TYPES if type != "person" or chosen.get("names_model")} if chosen else {}
    )
    done = {
        told: [type for type, action in actions.items() if action == of]
        for of, told in (
            ("mask", "masked"),
            ("pseudonymise", "replaced by pseudonyms"),
            ("drop", "a reason to drop the record"),
        )
    }
    if not any(done.values()):
        yield "Personal data in the texts were not searched for, or were left in them."
        return
    told = "; ".join(f"{words}: {', '.join(types)}" for words, types in done.items() if types)
    left = [type for type in TYPES if actions.get(type) in (None, "ignore", "keep")]
    yield (
        f"Personal data and secrets were looked for by patterns and check digits{' and a model' if 'person' in actions else ''} ({told})."
        f"{' Left in the texts: ' + ', '.join(left) + '.' if left else ''} Postal addresses, dates of birth and what is spelled out are "
        "not recognised, so some personal data may be left."
    )


def _limits(manifest: Manifest, facts: Facts) -> Iterator[str]:
    yield "\n## Known limits\n"
    yield from (f"- {_escaped(limit)}" for limit in limits(manifest, facts))


def _verification(manifest: Manifest) -> Iterator[str]:
    yield "\n## Verify it\n"
    yield (
        f"Release hash `{manifest['release_hash']}`: SHA-256 over the hashes of the data files and of every table they were made "
        "of, code versions, configurations and seeds (`reproducible` in MANIFEST.json). `curate verify FOLDER` needs only this "
        "folder; `sha256sum` and the manifest do as well."
    )


def _escaped(text: str) -> str:
    """A line of any length that says only itself in Markdown."""
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "\\`*_[]|~#!":
        line = line.replace(mark, "\\" + mark)
    return line
