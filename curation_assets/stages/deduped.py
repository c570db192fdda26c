"""The `deduped` stage: exact and near-duplicates, repeated and shared passages, instructions in conflict, with evidence."""

from enum import Enum

import dagster as dg
import polars as pl
from pydantic import Field, model_validator

from curation_assets.duplicate_search import Settings, compare
from curation_assets.pages import histogram, markdown_table, materialized
from curation_assets.progress import logger
from curation_assets.stages import OWNERS
from curation_assets.stages.cleaned import cleaned
from curation_assets.stages.raw import raw
from curation_assets.warehouse import Warehouse


class Survivor(str, Enum):
    """Which copy of a record is kept."""

    longest = "longest"
    first = "first"
    newest = "newest"
    highest_quality = "highest_quality"
    source_priority = "source_priority"
    drop_all = "drop_all"


class DedupedConfig(dg.Config):
    """What counts as a duplicate, which copy survives, and what else is looked for. Every kind has its switch."""

    exact: bool = Field(
        default=True,
        description="Drop records of the same normalised words. Off, they count as near-duplicates of similarity 1.",
    )
    near: bool = Field(default=True, description="Drop records whose shingles are as similar as min_jaccard says.")
    min_jaccard: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="Jaccard similarity of shingles from which two records are near-duplicates.",
    )
    shingle_words: int = Field(
        default=5, ge=1, description="Words in a shingle (characters, in scripts without spaces)."
    )
    bands: int = Field(
        default=16,
        ge=1,
        description="Bands of the MinHash sketch. 16 × 7 finds 97.7 % of pairs at Jaccard .8, 75 % at .7 (FineWeb's 14 × 8: 92 and 56 %).",
    )
    rows: int = Field(default=7, ge=1, description="Rows a band. More rows look at fewer, more similar pairs.")
    max_comparisons: int = Field(
        default=10_000,
        ge=1,
        description="Kept records a record is compared with at most, which bounds the time where very many are made from one "
        "template. What was skipped is in the run's notes, on the page and in deduped.compared.",
    )
    survivor: Survivor = Field(
        default=Survivor.longest,
        description="Which copy is kept: the longest text; the first one by source, file and row; the newest by its owner's time "
        "(a timestamp, of UTC where it names no zone, or a number; without one it comes last); "
        "highest_quality by quality_field, else by the score that the last "
        "run's quality_scores gave the same text (texts without one come last, the longest first; on a first run that is all of them); "
        "source_priority by the place of its source in that list, then the longest; or drop_all, which keeps none of a group. "
        "Ties go to the first one by source, file and row, so the result does not depend on the order of the input.",
    )
    source_priority: list[str] = Field(
        default=[],
        description="Names of sources, the best first, for survivor source_priority. Sources not named come last.",
    )
    quality_field: str | None = Field(
        default=None,
        description="Field of the original record that holds its owner's score as a number, for survivor highest_quality.",
    )
    passages: bool = Field(
        default=True,
        description="Look for lines and paragraphs that a record repeats (deduped.repeated_passages) and that many records "
        "share (deduped.shared_paragraphs).",
    )
    shared_paragraph_records: int = Field(
        default=20,
        ge=1,
        description="A line or paragraph in more records than that, duplicates not counted, is shared: boilerplate.",
    )
    remove_repeated_passages: bool = Field(
        default=False,
        description="Take all but the first occurrence of repeated passages out of the texts of documents. Records with turns stay "
        "as they are.",
    )
    remove_shared_paragraphs: bool = Field(
        default=False,
        description="Take shared paragraphs out of the texts of documents, but for the first record that has them. Records with "
        "turns stay as they are.",
    )
    instruction_conflicts: bool = Field(
        default=True,
        description="Look for instructions with several answers and answers to several instructions "
        "(deduped.instruction_conflicts).",
    )
    min_answer_words: int = Field(
        default=10,
        ge=1,
        description="Shorter answers (yes, a class, a number) may be the same without conflict.",
    )
    drop_same_instruction: bool = Field(
        default=False,
        description="Of records with one instruction and several answers keep the one that survivor puts first.",
    )
    drop_same_answer: bool = Field(
        default=False,
        description="Of records with one answer to several instructions keep the one that survivor puts first.",
    )
    seed: int = Field(default=0, description="Seed of the MinHash permutations.")

    @model_validator(mode="after")
    def _removes_only_what_it_looks_for(self) -> "DedupedConfig":
        if (self.remove_repeated_passages or self.remove_shared_paragraphs) and not self.passages:
            raise ValueError("remove_repeated_passages and remove_shared_paragraphs need passages: true.")
        if (self.drop_same_instruction or self.drop_same_answer) and not self.instruction_conflicts:
            raise ValueError("drop_same_instruction and drop_same_answer need instruction_conflicts: true.")
        if (self.survivor is Survivor.source_priority) != bool(self.source_priority):
            raise ValueError("survivor source_priority and the list source_priority go together; give both or neither.")
        return self

    def settings(self) -> Settings:
        """What comparing depends on."""
        given = {**self.model_dump(mode="json"), "words": self.shingle_words}
        given["source_priority"] = tuple(self.source_priority)
        return Settings(**{name: given[name] for name in Settings._fields})


@dg.asset(deps=[raw, cleaned], group_name="records", kinds={"duckdb", "python"}, owners=OWNERS, code_version="2")
def deduped(
    context: dg.AssetExecutionContext, config: DedupedConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record that is no exact and no near-duplicate of a kept record.

    Candidates come from MinHash; every one is verified by its true Jaccard similarity, and a record is only dropped
    for a record that is itself kept. `deduped.pairs` holds the evidence. Only what is new, and what that is connected with, is
    compared; passages and instructions in conflict are reported and, on demand, taken out.
    """
    started = warehouse.begin()
    compared = compare(warehouse, config.settings())
    rows_in = len(compared.records)
    with warehouse.commit(context, config, rows_in=rows_in, main="deduped.records", started=started) as commit:
        commit.build("deduped.compared", compared.records)
        commit.build("deduped.pairs", compared.pairs)
        commit.build("deduped.repeated_passages", **_of(config, "passages"))
        commit.build("deduped.shared_paragraphs", **_of(config, "passages", "shared_paragraph_records", "survivor"))
        commit.build("deduped.instruction_conflicts", **_of(config, "instruction_conflicts", "min_answer_words"))
        commit.build("deduped.shortened", **_of(config, "remove_repeated_passages", "remove_shared_paragraphs"))
        commit.decide(**_of(config, "min_jaccard", "survivor", "drop_same_instruction", "drop_same_answer"))
        commit.build("deduped.records")
        commit.keep_the_rest()
        commit.notes = compared.notes
    tell_what_was_skipped(compared.notes, config.max_comparisons)
    near = compared.pairs.filter(pl.col("kind") == "near")
    with warehouse.reading():
        return materialized(
            warehouse,
            "deduped.records",
            plots={"similarity_of_near_pairs": histogram(near["similarity"], "Jaccard similarity")},
            duplicates_by_kind=dg.MetadataValue.md(markdown_table(_by_kind(warehouse))),
            largest_groups=dg.MetadataValue.md(markdown_table(_largest_groups(warehouse))),
            weakest_pairs=dg.MetadataValue.md(markdown_table(_weakest(warehouse))),
            most_shared_paragraphs=dg.MetadataValue.md(markdown_table(_most_shared(warehouse))),
            comparisons_skipped=dg.MetadataValue.text(_skipped(compared.notes, config.max_comparisons)),
        )


def _of(config: DedupedConfig, *names: str) -> dict:
    return {name: value for name, value in config.model_dump(mode="json").items() if name in names}


def tell_what_was_skipped(notes: dict, max_comparisons: int) -> None:
    """Warn where comparisons were skipped."""
    if notes["comparisons_skipped"]:
        logger.warning("deduped: %s", _skipped(notes, max_comparisons))


def _skipped(notes: dict, max_comparisons: int) -> str:
    if not notes["comparisons_skipped"]:
        return "none: every record was compared with every kept record that shares a band with it"
    return (
        f"{notes['comparisons_skipped']:,} comparisons of {notes['records_with_comparisons_skipped']:,} records were skipped, for "
        f"{max_comparisons:,} kept records had been compared with them before (max_comparisons). Duplicates among those may have stayed; "
        "records made from one template are the usual cause, and a higher min_jaccard with more rows a band tells them apart."
    )


def _by_kind(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query(
        "select kind, count(distinct record_id) as records, count(distinct matched_record_id) as for_so_many, "
        "min(similarity) as least_similarity from deduped.pairs group by kind union all "
        "select kind, count(*), count(distinct shared_hash), null from deduped.instruction_conflicts group by kind union all "
        "select 'repeats a ' || unit, count(distinct record_id), count(*), null from deduped.repeated_passages group by unit union all "
        "select 'shares a ' || unit, sum(records), count(*), null from deduped.shared_paragraphs group by unit union all "
        "select 'shortened', count(*), sum(removed_passages), null from deduped.shortened having count(*) > 0 order by all"
    )


def _largest_groups(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query(
        "select count(distinct p.record_id) + 1 as records, p.matched_source_record_id, r.source, left(r.text, 120) as text "
        "from deduped.pairs as p join cleaned.records as r on r.record_id = p.matched_record_id "
        "where p.matched_record_id not in (select record_id from deduped.pairs) group by all "
        "order by records desc, p.matched_source_record_id limit 5"
    )


def _weakest(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query(
        "select p.similarity, p.source_record_id, left(a.text, 120) as dropped, p.matched_source_record_id, left(b.text, 120) as kept "
        "from deduped.pairs as p join cleaned.records as a on a.record_id = p.record_id "
        "join cleaned.records as b on b.record_id = p.matched_record_id where p.kind = 'near' "
        "order by p.similarity, p.source_record_id limit 5"
    )


def _most_shared(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query(
        "select records, unit, source_record_id, excerpt from deduped.shared_paragraphs "
        "order by records desc, excerpt limit 5"
    )
