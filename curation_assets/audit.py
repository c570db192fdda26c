"""Questions to the ledger, answered in plain words: what happened to a record, and where records went.

The queries are the files of sql/audit, so that anyone can run them in any DuckDB shell; the README says how their parameters are given.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import polars as pl

from curation_assets.algorithms.cleaning import clean
from curation_assets.tables import SQL
from curation_assets.warehouse import OVERRIDES, Warehouse

# The stages that decide, in order, and what it means that a record passed one.
STAGE_DONE = {
    "cleaned": "its text was repaired where needed",
    "deduped": "no kept record duplicates it",
    "filtered": "no rule spoke against it",
    "curated_set": "it is in the curated set",
}


SHOWN_DUPLICATES = 5
FOUND_AT_MOST = 20  # the limit in sql/audit/find_records.sql

SEARCHED_WORDS = 12
FEWEST_WORDS = 3
NEAREST_FROM = 0.5
"""The longest words of a text that are searched for; texts of fewer have no nearest; share of words from which one is told. Ours."""

LATEST_REJECTS = (
    "select count(*) as rejects from raw.rejects where batch_id in "
    "(select max_by(batch_id, ingested_at) from raw.batches group by source, source_uri)"
)
"""Rows that the version of each file read last could not give."""


def ask(warehouse: Warehouse, question: str, **params: Any) -> pl.DataFrame:
    """Run one query of sql/audit."""
    return warehouse.query((SQL / "audit" / f"{question}.sql").read_text(encoding="utf-8"), **params)


def find_records(warehouse: Warehouse, id: str) -> pl.DataFrame:
    """The records an id means: ours, a prefix of ours of at least eight characters, or the owner's. At most 20."""
    if warehouse.path.exists() and not warehouse.has_table("raw.records"):
        return pl.DataFrame()
    return ask(warehouse, "find_records", id=id)


class Found(NamedTuple):
    """What someone may have meant by an id or a text."""

    records: list[str]
    """Our ids of the records; empty if there are none."""
    how: str
    """How they were found, in words; empty for an id."""
    rejects: Sequence[str] = ()
    """Rows of files that could not be read, in words."""


def find(warehouse: Warehouse, given: str, *, is_text: bool = False) -> Found:
    """What an id or a text means: records, and rows that could not be read or were refused.

    An id is looked for first, unless is_text; then the exact text, as it is or cleaned; then the nearest by words.
    """
    if warehouse.path.exists() and not warehouse.has_table("raw.records"):
        return Found([], "")
    if not is_text and len(by_id := find_records(warehouse, given)):
        return Found(by_id["record_id"].to_list(), "")
    rejects = tuple(_reject_lines(ask(warehouse, "find_rejects", given=given)))
    if exact := _exact_text(warehouse, given):
        return Found(exact, "its text is exactly this, but for what cleaning repairs", rejects)
    if told := _erased(warehouse, given):
        return Found([], told, rejects)
    nearest = _nearest_text(warehouse, given)
    return (
        Found([nearest[0]], f"no text is exactly this; the nearest by words has {nearest[1]:.0%} of them", rejects)
        if nearest
        else Found([], "", rejects)
    )


def _exact_text(warehouse: Warehouse, text: str) -> list[str]:
    if warehouse.has_table("cleaned.records"):
        hashes = [
            hashlib.sha256(form.encode("utf-8", "replace")).hexdigest()[:32]
            for form in (clean(text, "document").text, text)
        ]
        found = ask(warehouse, "find_cleaned_text", text_hash=hashes[0], raw_text_hash=hashes[1])
        if len(found):
            return found["record_id"].to_list()
    return ask(warehouse, "find_raw_text", text=text)["record_id"].to_list()


def _nearest_text(warehouse: Warehouse, text: str) -> tuple[str, float] | None:
    """The record that has the largest share of a text's different words, and that share; None below NEAREST_FROM.

    Of several the one with the highest Jaccard similarity of words. Only records that have half of the text's longest words are compared.
    """
    words = set(_words(text))
    if len(words) < FEWEST_WORDS:
        return None
    longest = sorted(words, key=lambda word: (-len(word), word))[:SEARCHED_WORDS]
    best = (0.0, 0.0, "")
    for record_id, other, _ in ask(warehouse, "near_texts", words=longest).iter_rows():
        others = set(_words(other))
        shared = len(words & others)
        best = max(best, (shared / len(words), shared / len(words | others), record_id))
    return (best[2], best[0]) if best[0] >= NEAREST_FROM else None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _erased(warehouse: Warehouse, given: str) -> str:
    """That a text or an id was erased, where its tombstone says so and the key is there; else nothing."""
    from curation_assets import tombstones

    if not warehouse.has_table(tombstones.TABLE):
        return ""
    try:
        keyed = tombstones.key(warehouse)
    except tombstones.KeyMissingError as error:
        return f"Whether it was erased cannot be told: {error}"
    sources = warehouse.query("select distinct source from erasure.tombstones")["source"].to_list()
    asked = {
        ("record", given),
        ("owner_id", given),
        *tombstones.forms(given, given, "document"),
        *tombstones.forms(given, given, "html"),
    }
    hashes = [keyed.hash(kind, value, source) for kind, value in asked for source in {None, *sources}]
    rows = warehouse.query(
        "select erasure_id, erased_at, reason from erasure.tombstones where keyed_hash in (select unnest($hashes::varchar[])) limit 1",
        hashes=hashes,
    )
    told = [
        f"It was erased on {at:%Y-%m-%d %H:%M} by {erasure}{f' ({reason})' if reason else ''}."
        for erasure, at, reason in rows.iter_rows()
    ]
    return "".join(told)


def _reject_lines(rows: pl.DataFrame) -> Iterator[str]:
    for row in rows.iter_rows(named=True):
        place = f"{row['source']}, {row['source_uri']}" + (
            f" row {row['source_row']}" if row["source_row"] is not None else ""
        )
        yield f"Rejected: {place}: {row['reason']}"
        if row["excerpt"]:
            yield f"  {_excerpt(row['excerpt'], 100)}"


def trace(warehouse: Warehouse, record_id: str) -> Iterator[str]:
    """A record's whole path as lines of plain words. record_id is ours and exists."""
    record = ask(warehouse, "record", record_id=record_id).row(0, named=True)
    yield f"Record {record_id}"
    yield f"  {_excerpt(record['text'], 100)}"
    yield f"  source    {record['source']}, {record['source_uri']} row {record['source_row']}"
    yield f"  owner's id  {record['source_record_id']}" + (
        "" if record["has_owner_id"] else " (file:row; the owner gives no id)"
    )
    yield f"  licence   {record['license'] or 'not stated'}" + (f"; label {record['label']}" if record["label"] else "")
    read = f"{record['ingested_at']:%Y-%m-%d %H:%M} from {record['path']}"
    yield f"  read      {read} (SHA-256 {record['file_hash'][:16]}…), run {record['run_id'][:8]}"
    yield f"raw: kept verbatim, {record['chars']:,} characters"
    decisions = ask(warehouse, "decisions_on_record", record_id=record_id, at=None)
    for stage in STAGE_DONE:
        verdicts = decisions.filter(pl.col("stage") == stage)
        if not len(verdicts):
            yield f"{stage}: not decided yet; `curate run` goes on from here"
            break
        if stage == "curated_set":
            yield from _measures(warehouse, record_id)
        yield from _stage_lines(warehouse, stage, verdicts, record_id)
        if _dropped(verdicts):
            break
    yield from waiting_verdict(warehouse, record_id, decisions)


def waiting_verdict(warehouse: Warehouse, record_id: str, decisions: pl.DataFrame) -> Iterator[str]:
    """A person's last verdict on a record, if every decision on it is older and so none can have obeyed it; else nothing."""
    if not warehouse.has_table(OVERRIDES):
        return
    entries = ask(warehouse, "overrides_of_record", record_id=record_id)
    latest = decisions["finished_at"].max()
    if len(entries) and latest is not None and entries["decided_at"][-1] > latest:
        yield "A person's verdict on it waits for the next `curate run`:"
        yield list(_override_lines(warehouse, record_id))[-1]


def stage_reasons(warehouse: Warehouse, decisions: pl.DataFrame, record_id: str) -> Iterator[str]:
    """The lines on the stage that dropped a record, by decisions in force at some time; none if no stage did."""
    for stage in STAGE_DONE:
        verdicts = decisions.filter(pl.col("stage") == stage)
        if len(verdicts) and _dropped(verdicts):
            yield from _stage_lines(warehouse, stage, verdicts, record_id)
            return


def _stage_lines(warehouse: Warehouse, stage: str, verdicts: pl.DataFrame, record_id: str) -> Iterator[str]:
    first = verdicts.row(0, named=True)
    run = f"run {first['run_id'][:8]}, code {first['code_version']}, config {first['config_hash'][:8]}"
    when = f"[{first['finished_at']:%Y-%m-%d %H:%M}, {run}]"
    if _dropped(verdicts):
        for verdict in verdicts.filter(pl.col("verdict") == "drop").iter_rows(named=True):
            yield f"{stage}: DROPPED by {verdict['rule']}{_reason(verdict)} {when}"
            if verdict["rule"] == "override":
                yield from _override_lines(warehouse, record_id)
            if verdict["rule"] in ("cluster_dropped", "cluster_review"):
                said = warehouse.value("select reason from curated_set.scores where record_id = $id", id=record_id)
                yield f"  the reason given: {_excerpt(said or 'none', 200)}"
            if verdict["rule"] == "contaminated":
                yield from _benchmark_lines(warehouse, record_id)
        return
    if first["rule"] == "override":
        yield f"{stage}: kept by a person's verdict {when}"
        yield from _override_lines(warehouse, record_id)
        return
    draw = f" (draw {first['value']:.4g} ≤ {first['threshold']:.4g})" if first["rule"] == "selected" else ""
    yield f"{stage}: kept, {STAGE_DONE[stage]}{draw} {when}"
    if stage == "cleaned":
        steps = warehouse.query("select cleaning_steps from cleaned.records where record_id = $id", id=record_id)
        names = steps["cleaning_steps"].explode().drop_nulls().to_list()
        yield f"  steps: {', '.join(names) or 'none; the text was in order'}"
        if "pii" in names:
            found = ask(warehouse, "pii_of_record", record_id=record_id)
            yield f"  personal data: {'; '.join(f'{n:,} × {type}, {action}' for type, action, n in found.iter_rows())}"
    if stage == "deduped":
        copies = ask(warehouse, "duplicates_of_record", record_id=record_id)
        for copy in copies.head(SHOWN_DUPLICATES).iter_rows(named=True):
            evidence = f"{copy['record_id'][:12]}, similarity {copy['similarity']:.3f}"
            yield f"  stands for {copy['kind']} duplicate {copy['source_record_id']} ({evidence})"
        if len(copies) > SHOWN_DUPLICATES:
            yield f"  … and for {len(copies) - SHOWN_DUPLICATES:,} more"


def _override_lines(warehouse: Warehouse, record_id: str) -> Iterator[str]:
    """Who decided on a record by hand, when and why; all entries, for a decision may be older than the last."""
    for entry in ask(warehouse, "overrides_of_record", record_id=record_id).iter_rows(named=True):
        what = {"keep": "keep", "drop": "drop", "none": "let the rules decide"}[entry["verdict"]]
        yield f"  {entry['decided_at']:%Y-%m-%d %H:%M} {entry['decided_by']}: {what}, {_excerpt(entry['reason'], 200)}"


def _benchmark_lines(warehouse: Warehouse, record_id: str) -> Iterator[str]:
    """The items of benchmarks that a record holds, with the evidence."""
    items = ask(warehouse, "benchmark_items_of_record", record_id=record_id)
    for item in items.head(SHOWN_DUPLICATES).iter_rows(named=True):
        share = f"{item['coverage']:.0%} of its n-grams ({item['shared_ngrams']} of {item['ngrams']})"
        yield f"  holds {item['benchmark']} {item['item_id']}, {item['field']}: {share}, {_excerpt(item['longest_run'], 100)}"


def _reason(decision: dict[str, Any]) -> str:
    """Value, threshold and matched record of a dropping decision, in words."""
    value, threshold = decision["value"] or 0, decision["threshold"] or 0
    words = {
        "superseded": ": the latest reading of its file no longer holds it as it is here",
        "empty_text": ": nothing is left of it after cleaning",
        "not_selected": f": its draw {value:.4g} is above the last selected, {threshold:.4g}"
        if decision["value"] is not None
        else ": the budget was spent before its turn",
        "over_quota": f": its draw {value:.4g} is above the last selected of its group, {threshold:.4g}; without quotas it would be in"
        if threshold
        else ": its group's quota is nothing",
        "longer_than_budget": f": its {value:,.0f} tokens are more than the {threshold:,.0f} there were",
        "duplicate_group": f": it is the best of a group of duplicates, none of which was to stay; the most similar "
        f"({value:.3f} ≥ {threshold:.3g}) is {decision['matched_source_record_id']}",
        "same_instruction": f": {decision['matched_source_record_id']} asks the same, answers otherwise, and was kept",
        "same_answer": f": {decision['matched_source_record_id']} answers the same to another instruction, and was kept",
        "same_after_removal": f": without repeated and shared passages it is {decision['matched_source_record_id']}, which was kept",
        "nothing_after_removal": ": all it says is in passages that many records share",
        "cluster_dropped": f": a person dropped cluster {value:.0f}",
        "cluster_review": f": cluster {value:.0f} waits for a person to look at it; see curated_set.review",
        "outlier": f": its outlier score {value:.4g} is above {threshold:.4g}",
        "contaminated": f": it holds {value:.0%} of a benchmark's item, more than {threshold:.0%}",
        "override": ": a person keeps it out",
        "cluster_capped": ": it is not among the records of its cluster that its cap lets into the draw",
    }
    if decision["rule"] in words:
        return words[decision["rule"]]
    if decision["matched_record_id"]:
        is_semantic = decision["rule"] == "semantic_duplicate"
        sign, stays = (">", "which stays among the candidates") if is_semantic else ("≥", "which was kept")
        return (
            f": similarity {value:.3f} {sign} {threshold:.3g} with {decision['matched_source_record_id']} "
            f"({decision['matched_record_id'][:12]}, source {decision['matched_source']}), {stays}"
        )
    side = "below" if value < threshold else "above"
    return f": {value:.4g} is {side} {threshold:.4g}"


def _measures(warehouse: Warehouse, record_id: str) -> Iterator[str]:
    if not warehouse.has_table("quality_scores.scores") or not warehouse.has_table("curated_set.scores"):
        return
    for row in ask(warehouse, "measures_of_record", record_id=record_id).iter_rows(named=True):
        cluster = _cluster(warehouse, row["cluster_id"])
        yield f"measured: {cluster}, density {row['density']:.3g}, quality {row['quality']:.3f} by the {row['judge']} judge"
        if row["inclusion_probability"] is not None:
            yield f"  chance of selection {row['inclusion_probability']:.1%}"


def _cluster(warehouse: Warehouse, cluster_id: int) -> str:
    """A cluster with its words and size, where it has been profiled: `curated_set` does not need that."""
    profile = "select words, records from clusters.profiles where cluster_id = $id"
    rows = warehouse.query(profile, id=cluster_id) if warehouse.has_table("clusters.profiles") else pl.DataFrame()
    told = [f" ({', '.join((words or [])[:5])}; {records:,} records)" for words, records in rows.iter_rows()]
    return f"cluster {cluster_id}{''.join(told)}"


def _dropped(decisions: pl.DataFrame) -> bool:
    return bool((decisions["verdict"] == "drop").any())


def printable(text: str) -> str:
    """A line for a terminal: control characters of a record's text or id are shown, never acted on."""
    return "".join(mark if mark.isprintable() else f"\\x{ord(mark):02x}" for mark in text)


def _excerpt(text: str, chars: int) -> str:
    line = " ".join(text.split())
    return f"“{line[:chars]}{'…' if len(line) > chars else ''}”"


def funnel(warehouse: Warehouse) -> pl.DataFrame:
    """One row per stage and rule of the latest runs: records in, dropped, out."""
    return ask(warehouse, "funnel")


def funnel_lines(warehouse: Warehouse) -> Iterator[str]:
    """The funnel as lines of text: each stage, and below it the rules that dropped records."""
    rows = funnel(warehouse)
    rejected = warehouse.value(LATEST_REJECTS)
    for stage in rows["stage"].unique(maintain_order=True):
        part = rows.filter(pl.col("stage") == stage)
        head = part.row(0, named=True)
        counted = "1 row" if rejected == 1 else f"{rejected:,} rows"
        note = f"  ({counted} could not be read: see raw.rejects)" if stage == "raw" and rejected else ""
        note = (
            "  (out of date: a stage before it has run, or records were erased, since)"
            if head["is_out_of_date"]
            else note
        )
        yield f"{stage:<12} {head['rows_in']:>11,} in {head['rows_dropped']:>11,} dropped {head['rows_out']:>11,} kept{note}"
        for rule, records in part.select("rule", "dropped_by_rule").iter_rows():
            if rule:
                yield f"    {records:>9,}  {rule}"
