"""The `release` stage: the curated set as an immutable folder that anyone can load and verify."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import orjson
import polars as pl
import pyarrow as pa
from matplotlib.figure import Figure
from pydantic import Field, ValidationInfo, field_validator

from curation_assets.audit_chain import chain_head
from curation_assets.owners_ids import hidden_types
from curation_assets.pages import BLUE, figure, markdown_table, materialized
from curation_assets.progress import logger, reporter
from curation_assets.releasing import card, chat_template, checking, croissant, folder, formats, material
from curation_assets.releasing import manifest as manifests
from curation_assets.releasing.chat_template import ChatTemplate, NoChatTemplate
from curation_assets.releasing.data_files import PROVENANCE, SPLITS, DataFile, Placed, Rows
from curation_assets.releasing.folder import FolderExists
from curation_assets.releasing.formats import Unfit
from curation_assets.releasing.verify import NoRelease, read_manifest, verify
from curation_assets.stages import OWNERS
from curation_assets.stages.cleaned import cleaned
from curation_assets.stages.curated_set import curated_set
from curation_assets.stages.deduped import deduped
from curation_assets.stages.eval_report import eval_report
from curation_assets.stages.filtered import filtered
from curation_assets.stages.quality_scores import quality_scores
from curation_assets.stages.raw import raw
from curation_assets.warehouse import Spool, Warehouse

CODE_VERSION = "1"

REASONS = ("manual", "new data", "drift", "schedule", "erasure")
"""Why a release was made; the run's tag `curation/reason` says it."""

NOT_REPRODUCED = {"name", "folder", "description"}
"""Settings that change where a release lies and what it is called, not what it holds."""

PLACES = pa.schema(
    {
        "record_id": pa.string(),
        "split": pa.string(),
        "format": pa.string(),
        "file": pa.string(),
        "position": pa.int64(),
    }
)


class Format(str, Enum):
    """A format of the data; releasing/formats.py says what a row of each is."""

    text = "text"
    alpaca = "alpaca"
    sharegpt = "sharegpt"
    messages = "messages"
    prompt_completion = "prompt_completion"
    preference = "preference"
    reward = "reward"
    classification = "classification"


class ReleaseConfig(dg.Config):
    """What goes out, in which formats and splits, and where to."""

    name: str | None = Field(
        default=None, min_length=1, description="Name of the data set on its card. Default: the database file's name."
    )
    description: str = Field(default="", description="What the set is for: the first words of its card, Markdown.")
    folder: str | None = Field(
        default=None,
        description="Folder to write, which must not exist. Default: releases/ID beside the database.",
    )
    formats: list[Format] = Field(
        default_factory=list,
        description="Formats to write. Default: those usual for the kinds of record there are (documents: text; instructions: "
        "alpaca, messages; chats: messages, sharegpt; preference; reward; classification where there are labels). A record goes "
        "into each of them that can hold it whole.",
    )
    validation_share: float = Field(default=0.05, ge=0, lt=1, description="Share of the records for validation.")
    test_share: float = Field(default=0.05, ge=0, lt=1, description="Share of the records for test.")
    split_jaccard: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Jaccard similarity of word 5-grams from which records stay in one split, beside the duplicates that "
        "were merged.",
    )
    group_field: str | None = Field(
        default=None,
        description="A field of the original records that names what they are parts of (url, doc_id, …): records that agree in "
        "it stay in one split, as do near-duplicates, records with the same prompt and parts of the same document.",
    )
    chat_template: str | None = Field(
        default=None,
        description="A tokenizer, by folder or hub id, whose chat template makes the column `text` of the format messages.",
    )
    chat_template_revision: str | None = Field(default=None, description="Revision of that tokenizer on the hub.")
    provenance: list[str] = Field(
        default=[
            "record_id",
            "source",
            "source_record_id",
            "license",
            "kind",
            "quality",
            "inclusion_probability",
            "position",
        ],
        description=f"Columns that go out beside the data, among: {', '.join(PROVENANCE)}.",
    )
    seed: int = Field(default=0, description="Seed of the splits.")

    @field_validator("provenance")
    @classmethod
    def _known(cls, provenance: list[str]) -> list[str]:
        if unknown := sorted(set(provenance) - set(PROVENANCE)):
            raise ValueError(f"no such columns: {', '.join(unknown)}; there are {', '.join(PROVENANCE)}")
        return provenance

    @field_validator("test_share")
    @classmethod
    def _leaves_train(cls, share: float, info: ValidationInfo) -> float:
        if share + info.data.get("validation_share", 0) >= 1:
            raise ValueError("validation_share and test_share sum to less than 1: the rest is train")
        return share

    @property
    def reproduced(self) -> dict[str, Any]:
        """The settings that decide what a release holds."""
        return self.model_dump(mode="json", exclude=NOT_REPRODUCED)


class Written(NamedTuple):
    """The data of a release as they were written to its folder."""

    files: list[DataFile]
    splits: dict[str, int]
    """Split → records in it, each counted once."""
    groups: int
    records: int
    tokens: int
    left_out: list[dict[str, Any]]
    """Format (null for all of them), kind, reason, records."""
    message_fields_left_out: list[str]
    differing_from_measured_text: int


@dg.asset(
    deps=[raw, cleaned, deduped, filtered, quality_scores, curated_set, eval_report],
    group_name="product",
    kinds={"duckdb", "parquet"},
    owners=OWNERS,
    code_version=CODE_VERSION,
)
def release(
    context: dg.AssetExecutionContext, config: ReleaseConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per release: an immutable folder with the curated set in the formats trainers read, its card and its manifest.

    The folder appears whole or not at all and is never written again. The same inputs, code and config have the same release
    hash; where that release is there already, this one says so and writes nothing.
    """
    started = warehouse.begin()
    place = Path(config.folder).expanduser().absolute() if config.folder else None
    refuse_taken(place)
    template, source = load_template(config)
    found = material.facts(warehouse)
    checks = passed_checks(warehouse)
    releases = place.parent if place else folder.usual_place(warehouse.path)
    with folder.draft(releases, warehouse.path) as draft, warehouse.spool() as places:
        written = write_data(
            warehouse, config, template, draft, places, hidden=hidden_types(found.stages["cleaned"]["config"])
        )
        manifest = describe(warehouse, config, found, checks, written, source, draft) | because(context, warehouse)
        manifest = finish(manifest, config, found, written, draft)
        known = known_release(warehouse, manifest["release_hash"])
        places_to_look = [place] if place else [*([Path(known)] if known else []), releases / manifest["release_id"]]
        lies_at, is_new = put(draft, places_to_look, manifest["release_hash"])
        with warehouse.commit(context, config, main="release.releases", started=started) as commit:
            if known is None:
                commit.append("release.records", places.file(), release_id=manifest["release_id"])
                commit.append("release.releases", row_of(manifest, lies_at))
            commit.notes = {"release_id": manifest["release_id"], "folder": str(lies_at), "is_new": is_new}
    return materialized(
        warehouse,
        "release.releases",
        plots={"splits": splits_chart(written)},
        release_hash=manifest["release_hash"],
        folder=dg.MetadataValue.path(str(lies_at)),
        is_new=is_new,
        records_released=manifest["records"],
        files=dg.MetadataValue.md(markdown_table(file_table(manifest))),
        left_out=dg.MetadataValue.md(
            markdown_table(pl.DataFrame(manifest["left_out"])) if manifest["left_out"] else "none"
        ),
        card=dg.MetadataValue.md(body_of_card(lies_at)),
    )


# --- what stands in the way -----------------------------------------------------------------------------------------


def refuse_taken(place: Path | None) -> None:
    """Raise dagster's Failure where something other than a release lies at the place the config names."""
    if place is None or not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    try:
        read_manifest(place)
    except NoRelease:
        raise dg.Failure(
            f"release: {place} exists and is no release, and nothing is ever overwritten. Name another folder."
        ) from None


def passed_checks(warehouse: Warehouse) -> list[checking.Check]:
    """Every check a release must pass. Raises dagster's Failure naming those that fail."""
    checks = checking.run_checks(warehouse)
    if failed := [check for check in checks if check.broken]:
        told = "\n".join(f"{check.asset}: {check.promise} {'; '.join(check.broken)}" for check in failed)
        raise dg.Failure(f"release: what is to be released breaks checks; run the assets again.\n{told}")
    return checks


# --- data -----------------------------------------------------------------------------------------------------------


def write_data(
    warehouse: Warehouse,
    config: ReleaseConfig,
    template: ChatTemplate | None,
    draft: Path,
    places: Spool,
    *,
    hidden: Sequence[str] = (),
) -> Written:
    """Write the data files below the draft, and where each record stands to `places`. hidden: types masked in owners' ids.

    Raises dagster's Failure if the config asks for what cannot be, or no record fits any format.
    """
    settled = material.settled_labels(warehouse)
    labels = settled.labels if settled else None
    shares = {"test": config.test_share, "validation": config.validation_share}
    with material.material(warehouse) as spool:
        try:
            split = material.split_records(
                warehouse,
                spool,
                shares,
                min_jaccard=config.split_jaccard,
                field=config.group_field,
                seed=config.seed,
                held_out=settled.evaluates if settled else (),
            )
        except ValueError as error:
            raise dg.Failure(f"release: {error}") from None
        kinds, has_labels = kinds_of(spool, labels)
        chosen = formats.chosen_formats([one.value for one in config.formats], kinds, has_labels=has_labels)
        rows = Rows(draft / ".rows")
        counted = gather(spool, split, labels, chosen, template, config.provenance, rows, hidden)
    if not rows.counts:
        why = "; ".join(f"{one['records']:,} {one['kind']}: {one['reason']}" for one in counted["left_out"])
        raise dg.Failure(f"release: no record fits the formats {', '.join(chosen)} ({why}).")
    files = []
    places.write(PLACES.empty_table())
    for made in rows.write(draft, config.provenance):
        if isinstance(made, Placed):
            places.write(place_rows(made))
        else:
            files.append(made)
    rows.folder.rmdir()
    return Written(files=files, groups=split["group"].n_unique(), **counted)


def load_template(config: ReleaseConfig) -> tuple[ChatTemplate | None, str | None]:
    """The chat template of the config, if it names a tokenizer, and its source."""
    if config.chat_template is None:
        return None, None
    try:
        return chat_template.load(config.chat_template, config.chat_template_revision)
    except NoChatTemplate as error:
        raise dg.Failure(f"release: {error}") from None


def kinds_of(spool: Spool, labels: dict[str, str] | None) -> tuple[set[str], bool]:
    """The kinds of record there are, and whether any has a label."""
    kinds, has_labels = set(), False
    for batch in spool.batches(columns=["record_id", "kind", "owner_label"]):
        kinds |= set(batch["kind"].unique().to_pylist())
        has_labels |= (
            batch["owner_label"].null_count < len(batch)
            if labels is None
            else any(record in labels for record in batch["record_id"].to_pylist())
        )
    return kinds, has_labels


def gather(
    spool: Spool,
    split: pl.DataFrame,
    labels: dict[str, str] | None,
    chosen: list[str],
    template: ChatTemplate | None,
    provenance: list[str],
    rows: Rows,
    hidden: Sequence[str],
) -> dict[str, Any]:
    """Hand every record to `rows` in each format that can hold it; return the counts of Written."""
    place_of = {
        record: (name, place) for record, name, place in split.select("record_id", "split", "place").iter_rows()
    }
    left_out: Counter[tuple[str | None, str, str]] = Counter()
    further: set[str] = set()
    splits: Counter[str] = Counter()
    differing = tokens = done = 0
    report = reporter("release", "records", len(place_of))
    for row, record, alike in material.records(spool, labels, hidden):
        name, place = place_of[row["record_id"]]
        meant = formats.formats_for(record.kind, chosen)
        is_in = False
        for format in meant:
            try:
                data = formats.FORMATS[format](record)
                if format == "messages" and template:
                    data["text"] = template(data["messages"], data.get("tools"))
            except Unfit as error:
                left_out[format, record.kind, str(error)] += 1
                continue
            rows.add(
                format,
                name,
                place,
                row["record_id"],
                data | {column: row[column] for column in provenance if column not in data},
            )
            is_in = True
        if is_in:
            splits[name] += 1
            tokens += row["tokens"]
            differing += not alike
            further |= formats.further_fields(record.found) if record.found else set()
        elif not meant:
            left_out[None, record.kind, "none of the formats asked for is meant for it"] += 1
        report(done := done + 1)
    for (format, kind, reason), count in left_out.items():
        logger.warning("release: %s %s records are not in %s: %s", f"{count:,}", kind, format or "any format", reason)
    return {
        "splits": {name: splits[name] for name in SPLITS if splits[name]},
        "records": splits.total(),
        "tokens": tokens,
        "left_out": [
            {"format": format, "kind": kind, "reason": reason, "records": count}
            for (format, kind, reason), count in sorted(left_out.items(), key=lambda item: (str(item[0]), item[1]))
        ],
        "message_fields_left_out": sorted(further),
        "differing_from_measured_text": differing,
    }


def place_rows(made: Placed) -> pa.Table:
    """Where some records stand: rows of release.records."""
    n = len(made.record_ids)
    return pa.table(
        {
            "record_id": made.record_ids,
            **{name: [getattr(made, name)] * n for name in ("split", "format", "file")},
            "position": range(made.first, made.first + n),
        },
        schema=PLACES,
    )


# --- description ----------------------------------------------------------------------------------------------------


def describe(
    warehouse: Warehouse,
    config: ReleaseConfig,
    found: material.Facts,
    checks: list[checking.Check],
    written: Written,
    template_source: str | None,
    draft: Path,
) -> manifests.Manifest:
    """The manifest but for the card, the metadata and its own hash."""
    reproducible = material.reproducible(warehouse, found, CODE_VERSION, config.reproduced)
    if template_source:
        reproducible["chat_template"] = manifests.digest(template_source)
    reproducible["seeds"] = manifests.seeds(reproducible["config"])
    reproducible["data_files"] = {
        file.path: manifests.file_entry(draft / file.path, file.rows) for file in written.files
    }
    release_hash = manifests.digest(reproducible)
    asked = {"validation": config.validation_share, "test": config.test_share}
    return {
        "manifest_version": manifests.VERSION,
        "name": config.name or warehouse.path.stem,
        "release_hash": release_hash,
        "release_id": release_hash[: manifests.ID_CHARS],
        "released_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "reproducible": reproducible,
        "records": written.records,
        "tokens": written.tokens,
        "splits": written.splits,
        "groups": written.groups,
        "empty_splits": [name for name, share in asked.items() if share and name not in written.splits],
        "left_out": written.left_out,
        "message_fields_left_out": written.message_fields_left_out,
        "differing_from_measured_text": written.differing_from_measured_text,
        "composition": found.composition.to_dicts(),
        "checks": checking.as_rows(checks),
        "evaluation": found.evaluation.to_dicts(),
        "packages": manifests.package_versions(),
        "ledger": {"chain_hash": chain_head(warehouse)},
    }


def because(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dict[str, Any]:
    """Why this release was made, by which run, what drift_report had said when its set was curated, and which one it follows."""
    made = warehouse.value("select max_by(run_id, finished_at) as run_id from ledger.runs where stage = 'curated_set'")
    run = context.instance.get_run_by_id(made) if made else None
    curated = run.tags if run else {}
    reason = context.run.tags.get("curation/reason", "manual")
    if reason == "manual":  # a person releases what another run, with a reason of its own, has curated
        reason = curated.get("curation/reason", reason)
    last = (
        warehouse.query("select release_id from release.releases order by released_at desc limit 1")[
            "release_id"
        ].to_list()
        if warehouse.has_table("release.releases")
        else []
    )
    return {
        "run_id": context.run_id,
        "reason": reason if reason in REASONS else "manual",
        "curated_by_run": made,
        "found_by_run": curated.get("curation/found_by_run"),
        "comparisons": material.ask(warehouse, "comparisons").to_dicts(),
        "supersedes": last[0] if last else None,
    }


def finish(
    manifest: manifests.Manifest, config: ReleaseConfig, found: material.Facts, written: Written, draft: Path
) -> manifests.Manifest:
    """Write the card, the metadata and the manifest to the draft; return the manifest, complete."""
    said = config.description or f"{manifest['records']:,} records selected for training language models."
    licenses = sorted(set(found.composition["license"]))
    metadata = croissant.croissant(
        manifest, written.files, description=said, licenses=licenses, languages=card.languages(found.composition)
    )
    (draft / croissant.FILE).write_bytes(orjson.dumps(metadata, option=orjson.OPT_INDENT_2) + b"\n")
    (draft / card.FILE).write_text(
        card.card(manifest, written.files, found, description=config.description), encoding="utf-8", newline="\n"
    )
    beside = {name: manifests.file_entry(draft / name, None) for name in (card.FILE, croissant.FILE)}
    manifest = manifests.seal(manifest | {"files": manifest["reproducible"]["data_files"] | beside})
    (draft / manifests.FILE).write_text(manifests.to_json(manifest), encoding="utf-8", newline="\n")
    return manifest


# --- in place -------------------------------------------------------------------------------------------------------


def known_release(warehouse: Warehouse, release_hash: str) -> str | None:
    """The folder of the release that has this hash, if the database knows it."""
    if not warehouse.has_table("release.releases"):
        return None
    rows = warehouse.query("select folder from release.releases where release_hash = $hash", hash=release_hash)
    return rows["folder"].item() if len(rows) else None


def put(draft: Path, places: list[Path], release_hash: str) -> tuple[Path, bool]:
    """Put the draft in the last of some places, unless the same release lies in one of them.

    Returns where it lies, and whether it was written. Raises dagster's Failure where another one lies in the way.
    """
    for place in places:
        if holds(place, release_hash):
            logger.info("release: %s is this very release already; nothing was written.", place)
            return place, False
    try:
        folder.place(draft, places[-1])
    except FolderExists as error:
        raise dg.Failure(f"release: {error}") from None
    return places[-1], True


def holds(place: Path, release_hash: str) -> bool:
    """Whether a folder is this release, whole."""
    try:
        return read_manifest(place)["release_hash"] == release_hash and not any(verify(place))
    except (NoRelease, KeyError):
        return False


def row_of(manifest: manifests.Manifest, target: Path) -> pl.DataFrame:
    """The row of release.releases."""
    columns = ("release_id", "release_hash", "name", "records", "tokens", "run_id", "reason", "supersedes")
    return pl.DataFrame(
        [
            {name: manifest[name] for name in columns}
            | {
                "folder": str(target),
                "released_at": datetime.fromisoformat(manifest["released_at"]),
                "manifest": manifests.to_json(manifest),
            }
        ],
        schema_overrides={"supersedes": pl.String},
    )


# --- page -----------------------------------------------------------------------------------------------------------


def file_table(manifest: manifests.Manifest) -> pl.DataFrame:
    """The files of a release, as its page shows them."""
    rows = [{"file": name, "rows": None, **entry} for name, entry in sorted(manifest["files"].items())]
    return pl.DataFrame(rows).select("file", "rows", "bytes", pl.col("sha256").str.head(16))


def body_of_card(place: Path) -> str:
    """The card without its header."""
    path = place / card.FILE
    return path.read_text(encoding="utf-8").split("---\n", 2)[-1] if path.is_file() else ""


def splits_chart(written: Written) -> Figure:
    """Records in each split."""
    drawing, axes = figure(6.5, 1.6)
    names = list(written.splits)
    bars = axes.barh(range(len(names)), list(written.splits.values()), color=BLUE)
    axes.bar_label(bars, [f"{count:,}" for count in written.splits.values()], padding=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("records")
    return drawing
