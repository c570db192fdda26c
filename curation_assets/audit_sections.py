"""The sections of the audit report, each from what `audit_report` gathered: paragraphs, and tables that answer a file of sql/audit."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from curation_assets.algorithms.pii import TYPES
from curation_assets.audit import LATEST_REJECTS, ask
from curation_assets.audit_chain import ledger_lines, verify_ledger
from curation_assets.audit_sets import Release
from curation_assets.tables import SQL
from curation_assets.warehouse import Warehouse

NO_ADVICE = (
    "The licences are held against a table of this program (curation_assets/licenses.py). That is a reading aid "
    "and no legal advice: it knows the "
    "licence that an owner states, not whether the owner may state it."
)

PII_LIMITS = (
    "Not recognised: postal addresses, dates of birth, ages, passports, driving licences, licence plates, health data and other special "
    "categories, names without a model, user names, numbers in words, phone numbers of countries that were not chosen, or without "
    "separators and not of a mobile phone, national ids but those of Korea, the US and the UK. What owners' ids and file names say is not "
    "counted; in a release e-mail addresses and secrets are masked in them. On 1,500 labelled sentences "
    "(benchmarks/pii.py) recall was 1 for e-mail, cards, IBAN, IP and US social security numbers, .89 for phones, precision 1."
)

NOT_THEN = "as the database is now, not when the release was made"
"""Said of whatever is not kept as it was: tables of stages that have run, or lost records to an erasure, since."""

WITHDRAWN = "Withdrawn sources and licences"

Section = dict[str, Any]


def is_as_then(found: dict[str, Any], *stages: str) -> bool:
    """Whether the tables of some stages are what they were when the release was made; for the curated set they always are."""
    then, now = found["run_ids"], found["run_ids_now"]
    return not found["is_release"] or all(then.get(stage) == now.get(stage) for stage in (*stages, "erasure"))


def sql_of(question: str) -> str:
    """The text of a file of sql/audit."""
    return (SQL / "audit" / f"{question}.sql").read_text(encoding="utf-8")


def table(title: str, rows: pl.DataFrame | list[dict[str, Any]], question: str | None = None) -> dict[str, Any]:
    """A table of the report, and the file of sql/audit that it answers."""
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, infer_schema_length=None)
    return {
        "title": title,
        "columns": frame.columns,
        "rows": [list(row) for row in frame.iter_rows()],
        "sql": f"sql/audit/{question}.sql" if question else None,
    }


# --- sections ---------------------------------------------------------------------------------------------------------


def sources(found: dict[str, Any]) -> Section:
    """Where the records come from, and in which splits, kinds and languages they are."""
    told = (
        [f"{found['erased']:,} of its records have been erased since; they are in no table below."]
        if found["erased"]
        else []
    )
    measured = "" if is_as_then(found, "filtered") else f", {NOT_THEN}"
    if not is_as_then(found, "curated_set"):
        told.append(f"Tokens of sources are those of records that are in the curated set still, {NOT_THEN}.")
    shown = [
        table("Sources", found["sources"], "report_sources"),
        table(f"Kinds and languages{measured}", found["kinds"], "report_kinds"),
    ]
    if len(found["splits"]):
        shown.insert(0, table("Splits", found["splits"], "report_members"))
    return {"title": "Sources", "paragraphs": told, "tables": shown}


def license_section(checked: list[dict[str, Any]], use: str) -> Section:
    """Which licences allow the declared use."""
    counts = {
        said: sum(row["records"] for row in checked if row["allows"] == said)
        for said in ("no", "unknown", "conditions", "yes")
    }
    told = [
        f"Declared use: {use}. Records whose licence allows it: {counts['yes']:,}; under a condition that has "
        f"to be looked at: {counts['conditions']:,}; "
        f"excludes it: {counts['no']:,}; unknown or not stated: {counts['unknown']:,}.",
        NO_ADVICE,
    ]
    return {
        "title": "Licences and the declared use",
        "paragraphs": told,
        "tables": [table("Licences", checked, "report_licenses")],
    }


def processing(found: dict[str, Any]) -> Section:
    """Each stage with its code, settings and notes."""
    runs, settings = found["runs"], ["config", "notes"]
    return {
        "title": "How it was made",
        "paragraphs": ["Each stage with its code, its settings and what it chose by itself, as in force for this set."],
        "tables": [
            table("Stages", runs.drop(settings), "report_runs"),
            table(
                "Settings, and what stages chose or measured by themselves",
                runs.select("stage", *settings),
                "report_runs",
            ),
        ],
    }


def exclusions(found: dict[str, Any], warehouse: Warehouse) -> Section:
    """What rules dropped."""
    rejects = warehouse.value(LATEST_REJECTS) if warehouse.has_table("raw.rejects") else 0
    when = "" if is_as_then(found, "raw") else f", {NOT_THEN}"
    told = [f"{rejects:,} rows of the files could not be read, or were refused (raw.rejects){when}."]
    return {
        "title": "Exclusions by rule",
        "paragraphs": told,
        "tables": [table("Rules", found["exclusions"], "report_exclusions")],
    }


def duplicates(found: dict[str, Any]) -> Section:
    """What was merged."""
    rows = found["duplicates"]
    merged = int(rows["records"].sum()) if len(rows) else 0
    return {
        "title": "Duplicates merged",
        "paragraphs": [f"{merged:,} records were merged into one that says the same."],
        "tables": [table("Duplicates", rows, "report_duplicates")],
    }


def personal_data(found: dict[str, Any], warehouse: Warehouse) -> Section:
    """By the settings of the run that cleaned this set's texts. What was found is counted in the tables of now."""
    sought = found["settings"].get("cleaned", {}).get("pii") or {}
    actions = {
        type: sought[type] for type in TYPES if type in sought and (type != "person" or sought.get("names_model"))
    }
    if not set(actions.values()) - {"ignore"}:
        told = "No stage had looked for personal data in this set, so none was found, masked or removed."
        return {"title": "Personal data", "paragraphs": [told], "tables": []}
    chosen = "; ".join(
        f"{action}: {', '.join(types)}"
        for action in ("mask", "pseudonymise", "drop", "keep", "ignore")
        if (types := [type for type, of in actions.items() if of == action])
    )
    unknown = [type for type in TYPES if type not in sought]
    told, tables = "Personal data and secrets were looked for in every record", []
    if warehouse.has_table("cleaned.pii"):
        counted = warehouse.query(sql_of("report_pii"))
        places = int(counted["findings"].sum())
        records = warehouse.value("select count(distinct record_id) from cleaned.pii")
        when = "" if is_as_then(found, "cleaned") else f", {NOT_THEN}"
        told += (
            f"; found{when}: {places:,} places in {records:,} records, among all that were read, not in this set alone"
        )
        tables.append(table(f"PII actions{when}", counted, "report_pii"))
    names = sought.get("names_model")
    return {
        "title": "Personal data",
        "paragraphs": [
            f"{told}. cleaned.pii says where and which type, never the value; the originals (raw.records) keep it.",
            f"What becomes of each type: {chosen}.",
            *([f"Not looked for by the version that cleaned this set: {', '.join(unknown)}."] if unknown else []),
            f"Names of people were looked for by {names}."
            if names
            else "Names of people were not looked for: no model was named.",
            PII_LIMITS,
        ],
        "tables": tables,
    }


def synthetic(found: dict[str, Any]) -> Section:
    """Records that say a model made them."""
    rows = found["synthetic"]
    records = int(rows["records"].sum()) if len(rows) else 0
    if records:
        told = f"{records:,} records ({records / max(1, found['records']):.1%}) say in their original that a model made them."
    else:
        told = (
            "None recorded: no record's original names a generating model or says that it is synthetic. That "
            "does not show that there is none."
        )
    return {
        "title": "Synthetic text",
        "paragraphs": [told],
        "tables": [table("Generating models", rows, "report_synthetic")] if records else [],
    }


def labels(found: dict[str, Any], warehouse: Warehouse) -> Section:
    """What people labelled, and how far they agreed."""
    section: Section = {"title": "Human labels", "paragraphs": [], "tables": []}
    if not warehouse.has_table("expert_labels.labels") or not warehouse.rows("expert_labels.labels"):
        return section | {"paragraphs": ["No labels by people are in this database."]}
    counted = warehouse.query(
        "select task, role, answer, count(*) as acts, count(distinct record_id) as records, count(distinct rater) as raters "
        "from expert_labels.labels where labelled_at <= $at group by all order by task, role, answer",
        at=found["at"],
    )
    if found["is_release"]:
        told = (
            "Counted are the acts dated until the release was made, as the database holds them now; when it got them is not kept."
            if len(counted)
            else "No label by a person is dated before the release was made."
        )
        section["paragraphs"].append(told)
    section["tables"] = [table("Acts of labelling", counted)] if len(counted) else []
    if "agreement" not in found["run_ids"] or not warehouse.has_table("agreement.summary"):
        section["paragraphs"].append("The raters' agreement had not been measured.")
    else:
        when = "" if is_as_then(found, "agreement") else f", {NOT_THEN}"
        section["tables"].append(table(f"Agreement{when}", warehouse.query("select * from agreement.summary")))
    return section


def contamination(found: dict[str, Any], warehouse: Warehouse) -> Section:
    """By the settings of the run in force for this set; what was dropped then is under the rule contaminated."""
    benchmarks = [one["name"] for one in found["settings"].get("contamination", {}).get("benchmarks", [])]
    when = "" if is_as_then(found, "contamination", "filtered") else f", {NOT_THEN}"
    told = (
        f"Word n-grams of these benchmarks were looked for, common ones aside: {', '.join(benchmarks)}. A record that holds more "
        "of an item than filtered.max_benchmark_coverage allows is dropped (rule contaminated). Paraphrases and translations are not found "
        "this way."
        if benchmarks
        else "No benchmark was named, so none was looked for (config of `contamination`)."
    )
    if "eval_report" in found["run_ids"]:
        told += (
            " The evaluation's own held-out texts and their duplicates are in no training arm of it (a blocking check)."
        )
    tables = []
    if benchmarks and warehouse.has_table("contamination.parts"):
        tables.append(table(f"Benchmarks{when}", ask(warehouse, "report_contamination"), "report_contamination"))
    return {"title": "Contamination by benchmarks", "paragraphs": [told], "tables": tables}


def checks(warehouse: Warehouse, manifest: Mapping[str, Any] | None, run_them: bool) -> Section:
    """The checks of the release, or as they are now."""
    if manifest is not None:
        rows, told = manifest.get("checks", []), "Run when the release was made; its manifest lists them."
    elif not run_them:
        told = (
            "Not run for this report (--checks runs them); a failing critical check stops a run, and a "
            "release runs them again and lists them."
        )
        return {"title": "Checks", "paragraphs": [told], "tables": []}
    else:
        from curation_assets.releasing.checking import as_rows, run_checks

        if not warehouse.has_table("curated_set.records"):
            return {"title": "Checks", "paragraphs": ["There is no curated set to check."], "tables": []}
        rows, told = as_rows(run_checks(warehouse)), "Run now, for this report."
    failed = sum(not row["passed"] for row in rows)
    return {
        "title": "Checks",
        "paragraphs": [f"{told} {len(rows) - failed:,} passed, {failed:,} failed."],
        "tables": [table("Checks", rows)],
        "failed": failed,
    }


def evaluation(found: dict[str, Any], warehouse: Warehouse, manifest: Mapping[str, Any] | None) -> Section:
    """As the release's manifest has it; of the curated set as the database has it."""
    if manifest is not None:
        rows = pl.DataFrame(manifest.get("evaluation", []), infer_schema_length=None)
    else:
        rows = (
            warehouse.query("select * from eval_report.summary order by slice")
            if warehouse.has_table("eval_report.summary")
            else pl.DataFrame()
        )
    if not len(rows):
        return {"title": "Evaluation", "paragraphs": ["The set was not evaluated."], "tables": []}
    ended = dict(found["runs"].select("stage", "finished_at").iter_rows())
    is_older = "curated_set" in ended and "eval_report" in ended and ended["eval_report"] < ended["curated_set"]
    return {
        "title": "Evaluation",
        "paragraphs": [
            *(["The evaluation is of an earlier version of the set."] if is_older else []),
            *rows["verdict"],
        ],
        "tables": [table("Comparison", rows.drop("verdict"))],
    }


def erasures(warehouse: Warehouse, release: Release | None) -> Section:
    """Releases withdrawn, records erased, sources and licences withdrawn."""
    tables, told = [], []
    if warehouse.has_table("release.withdrawals"):
        withdrawn = warehouse.query("select * from release.withdrawals order by withdrawn_at")
        mine = withdrawn.filter(release_id=release.release_id) if release else withdrawn
        if release and len(mine):
            told.append("THIS RELEASE IS WITHDRAWN: records of it were erased since. It is not to be used any more.")
        tables.append(table("Withdrawn releases", mine))
    if warehouse.has_table("erasure.receipts"):
        rows = warehouse.query(
            "select erasure_id, issued_at, (receipt ->> 'records')::int as records, receipt ->> 'asked' as "
            "asked, receipt ->> 'reason' as reason, "
            "receipt_hash from erasure.receipts order by issued_at"
        )
        tables.append(table("Erasures", rows))
    if warehouse.has_table("erasure.lifted") and len(withdrawn := ask(warehouse, "withdrawals")):
        tables.append(table(WITHDRAWN, withdrawn, "withdrawals"))
    return {
        "title": "Erasures and withdrawals",
        "paragraphs": told or ["" if tables else "Nothing was erased."],
        "tables": tables,
    }


def ledger(warehouse: Warehouse) -> Section:
    """Whether the ledger's chain holds."""
    problems = verify_ledger(warehouse)
    told = [*ledger_lines(warehouse), *(problems or ["Every row that is chained is as it was written."])]
    return {"title": "The ledger", "paragraphs": told, "tables": [], "problems": len(problems)}
