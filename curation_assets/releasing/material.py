"""What a release is made of, read from the database: records, groups, hashes of tables, and what the card tells."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from curation_assets import __version__, audit, overrides
from curation_assets.algorithms import splits
from curation_assets.owners_ids import hide
from curation_assets.readers.files import SUFFIXES
from curation_assets.readers.kinds import CONVERSATIONS, Conversation, canonical_text, conversation
from curation_assets.releasing.formats import Releasable, repaired
from curation_assets.tables import SQL, tables
from curation_assets.warehouse import Spool, StaleError, Warehouse

MADE_OF = (
    "raw",
    "cleaned",
    "deduped",
    "filtered",
    "embeddings",
    "clusters",
    "density",
    "quality_scores",
    "curated_set",
)
"""The stages a release is made of, in the order of the graph."""

TABLES = (
    *("raw.batches", "raw.records", "cleaned.records", "deduped.pairs", "deduped.records", "filtered.records"),
    *("filtered.signals", "embeddings.vectors", "clusters.assignments", "clusters.centroids", "density.scores"),
    *("quality_scores.scores", "curated_set.scores", "curated_set.records", "ledger.current_decisions"),
)
"""The tables whose hashes are in the release hash: all that the data were made from, caches apart."""

LABELS = "label_set.records"
"""The table of settled labels, where a labelling task has been worked on."""

MANY_RECORDS = ("jsonl", "json", "csv", "tsv", "parquet", "lines", "warc")
"""Formats of files that hold many records of no common origin; a file of another format is a document."""


BANDS, ROWS = 50, 5
"""MinHash of near-duplicates across splits: finds 80 % of the pairs at Jaccard .5 and all but 0.01 % at .7 (section 3.4.2 of
Mining of Massive Datasets), more than deduplication does, because here a false alarm costs nothing. Ours."""

SHINGLE_WORDS = 5


class Facts(NamedTuple):
    """What the card, the metadata and the manifest tell of the database."""

    stages: dict[str, dict[str, Any]]
    """Stage → code_version, config, config_hash, notes, is_out_of_date, of the latest runs."""
    composition: pl.DataFrame
    """Records and tokens by source, licence, kind and language."""
    funnel: pl.DataFrame
    judges: pl.DataFrame
    evaluation: pl.DataFrame
    """Rows of eval_report.summary; none where nothing was evaluated."""
    sources: list[dict[str, Any]]
    """The files that were read."""
    rejects: int
    """Rows that could not be read."""
    in_review: int
    """Records held back for a person to look at."""


def ask(warehouse: Warehouse, question: str, **params: Any) -> pl.DataFrame:
    """Run one query of sql/release."""
    return warehouse.query(_sql(question), **params)


def facts(warehouse: Warehouse) -> Facts:
    """All that is told of a release.

    Raises StaleError where the curated set is missing, or a stage before it or before one of those has run since, records were erased,
    or the set holds a record that a person has dropped.
    """
    if not warehouse.has_table("curated_set.records"):
        raise StaleError("There is no curated set to release yet. `curate run` makes one.")
    verdicts = overrides.in_force(warehouse)
    dropped = verdicts.filter(verdicts["verdict"] == "drop")["record_id"].to_list()
    if len(refused := ask(warehouse, "members_dropped_by_hand", dropped=dropped)):
        raise StaleError(
            f"The curated set still holds {len(refused):,} records that a person has dropped since it was built, such as "
            f"{refused['source_record_id'][0]} of {refused['source'][0]}. `curate run` (with your --recipe) takes them out; then release."
        )
    stages = {row.pop("stage"): row for row in ask(warehouse, "stages").iter_rows(named=True)}
    for name, row in stages.items():
        if row["is_out_of_date"] and name in MADE_OF:
            raise StaleError(
                f"{name} is out of date: a stage before it has run, or records were erased, since, so what would be released is not "
                "what the database holds. `curate run` brings all up to date."
            )
        row["config"], row["notes"] = json.loads(row["config"]), json.loads(row["notes"])
    sources = ask(warehouse, "sources").to_dicts()
    evaluated = warehouse.has_table("eval_report.summary") and "eval_report" in stages
    return Facts(
        stages=stages,
        composition=ask(warehouse, "composition"),
        funnel=audit.funnel(warehouse),
        judges=ask(warehouse, "judges"),
        evaluation=warehouse.query("select * from eval_report.summary order by slice") if evaluated else pl.DataFrame(),
        sources=[source | {"settings": json.loads(source["settings"])} for source in sources],
        rejects=warehouse.value(audit.LATEST_REJECTS),
        in_review=warehouse.rows("curated_set.review") if warehouse.has_table("curated_set.review") else 0,
    )


def reproducible(
    warehouse: Warehouse, found: Facts, release_code: str, release_config: Mapping[str, Any]
) -> dict[str, Any]:
    """The manifest's reproducible part but for the files: hashes of tables, code versions, configurations, sources.

    What `raw` was told is in the sources' settings, so that reading the same files again under no new config is the same.
    """
    names = [name for name in (*TABLES, LABELS) if name != LABELS or (name in tables() and warehouse.has_table(name))]
    hashes = warehouse.content_hashes(names)
    stages = {name: found.stages[name] for name in MADE_OF if name in found.stages}
    return {
        "tables": {name: {"rows": rows, "hash": content} for name, (rows, content) in hashes.items()},
        "code": {
            "curation-assets": __version__,
            "stages": {name: row["code_version"] for name, row in stages.items()} | {"release": release_code},
        },
        "config": {name: row["config"] for name, row in stages.items() if name != "raw"}
        | {"release": dict(release_config)},
        "sources": found.sources,
    }


# --- records --------------------------------------------------------------------------------------------------------


def records(
    spool: Spool, labels: Mapping[str, str] | None, hidden: Sequence[str] = ()
) -> Iterator[tuple[dict[str, Any], Releasable, bool]]:
    """The records of sql/release/material.sql: the row, what formats are written from, and whether repairs read alike.

    hidden: types of personal data to mask in the owner's id and file name.
    labels: class by record id from the settled labels; None where there is no such table, then the owner's labels count.
    The last value is false where a conversation, repaired turn by turn, differs from the text that was measured.
    """
    for batch in spool.batches():
        for row in batch.to_pylist():
            original, text = row.pop("original"), row.pop("text")
            for name in ("source_record_id", "source_uri"):
                row[name] = hide(row[name], hidden)
            found = read(row["kind"], original) if original is not None else None
            label = row["owner_label"] if labels is None else labels.get(row["record_id"])
            alike = found is None or canonical_text(found).strip() == text
            yield row, Releasable(row["kind"], text, found, label), alike


def read(kind: str, original: str) -> Conversation:
    """A stored conversation with its turns repaired."""
    return repaired(conversation(kind, original))


class Settled(NamedTuple):
    """What the experts settled, where a labelling task has been worked on."""

    labels: dict[str, str]
    """Class by record id."""
    evaluates: set[str]
    """Records on which models are evaluated: never to be trained on."""


def settled_labels(warehouse: Warehouse) -> Settled | None:
    """The settled labels; None where there is no such table."""
    if not warehouse.has_table(LABELS):
        return None
    rows = warehouse.query("select record_id, label, half from label_set.records where label is not null")
    evaluates = set(rows.filter(pl.col("half") == "evaluate")["record_id"])
    return Settled(dict(rows.select("record_id", "label").iter_rows()), evaluates)


# --- splits ---------------------------------------------------------------------------------------------------------


def split_records(
    warehouse: Warehouse,
    spool: Spool,
    shares: Mapping[str, float],
    *,
    min_jaccard: float,
    field: str | None,
    seed: int,
    held_out: Collection[str] = (),
) -> pl.DataFrame:
    """One row per record of the curated set: record_id, group, split, and its place in the split by the curated order.

    A group is what duplicates, a shared prompt, a shared source document or an equal field connects. Duplicates are those
    that were merged before and, among the records themselves, those from min_jaccard on. held_out: ids of records that are
    to be in the test split.
    """
    suffixes = [suffix for suffix, format in SUFFIXES.items() if format in MANY_RECORDS]
    members = ask(warehouse, "belongs_to", tables=list(MANY_RECORDS), table_suffixes=suffixes, field=field)
    members = members.sort("record_id")
    if field and members["field"].is_null().all():
        raise ValueError(f"group_field: no record of the curated set has a field {field!r}.")
    prompts = pl.DataFrame(_prompts(spool), schema={"record_id": pl.String, "prompt": pl.String}, orient="row")
    members = members.join(prompts, on="record_id", how="left", maintain_order="left")
    keys = [members[name] for name in ("file", "owner_id", "field", "prompt")]
    links = pl.concat([ask(warehouse, "links"), near_duplicates(spool, min_jaccard)])
    group = splits.groups(members["record_id"], links, keys)
    held = members["record_id"].is_in(list(held_out))
    split = splits.assign(group, shares, seed=seed, held_out=held)
    return members.select("record_id", group, split, "position").with_columns(
        place=pl.col("position").rank("ordinal").over("split").cast(pl.Int64) - 1
    )


def near_duplicates(spool: Spool, min_jaccard: float) -> pl.DataFrame:
    """Pairs that connect all records to be released whose words agree that far: record_id, matched_record_id."""
    from curation_assets.algorithms.duplicates import linked  # compiles its kernels on import

    ids = pl.concat([pl.from_arrow(batch)["record_id"] for batch in spool.batches(columns=["record_id"])])
    found = linked(
        (batch["text"] for batch in spool.batches(columns=["text"])),
        words=SHINGLE_WORDS,
        bands=BANDS,
        rows=ROWS,
        min_jaccard=min_jaccard,
    )
    return found.select(
        ids.gather(found["record"]).rename("record_id"), ids.gather(found["matched"]).rename("matched_record_id")
    )


def _prompts(spool: Spool) -> Iterator[tuple[str, str]]:
    """Record id and a hash of what is asked first, case and spaces aside, of every record that asks for something."""
    for batch in spool.batches(columns=["record_id", "kind", "original"]):
        for row in batch.to_pylist():
            if row["original"] is None:
                continue
            asked = next(
                (turn for turn in conversation(row["kind"], row["original"]).prompt if turn.role == "user"), None
            )
            if asked is not None and asked.content.strip():
                words = " ".join(asked.content.casefold().split())
                yield row["record_id"], hashlib.md5(words.encode(), usedforsecurity=False).hexdigest()


def material(warehouse: Warehouse) -> Any:
    """The records to be released, spooled so that they can be gone through twice with the database free for others."""
    return warehouse.spooled(_sql("material"), conversations=list(CONVERSATIONS))


def _sql(question: str) -> str:
    return (SQL / "release" / f"{question}.sql").read_text(encoding="utf-8")
