"""The audit report: what a release, or the curated set, is made of, under which licences, by which rules, and what is not known.

`report` gathers it from the database as plain data, the same for the JSON file and for `audit_page`. Every table in it is the
answer to a file of sql/audit, so that an auditor can ask again in any DuckDB shell. Nothing in it is a guess: what the database does not
record is said not to be recorded.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import polars as pl

from curation_assets import __version__, audit_sections, licenses
from curation_assets.algorithms.language import LIMITS as LANGUAGE_LIMITS
from curation_assets.audit_sections import Section, sql_of
from curation_assets.audit_sets import Release
from curation_assets.audit_summary import training_content_summary
from curation_assets.warehouse import Warehouse

MANIFEST = "select any_value(manifest)::varchar as manifest from release.releases where release_id = $id"

KNOWN_LIMITS = (
    "Licences, times, labels and authorship are as the sources state them; nobody has checked them.",
    LANGUAGE_LIMITS,
    "Near-duplicates are found by MinHash with 16 bands of 7 unless set otherwise: some pairs below a Jaccard similarity of .8 are "
    "missed (2.3 % at .8), and copies that "
    "were reworded or translated are none.",
    "Rules about quality measure form, not truth. The embedded judge knows English prose and checks no facts.",
    "Synthetic text is counted where its record says so; text that does not say it was generated is not recognised.",
    "Tokens are estimated at four bytes each.",
    "The ledger's chain shows edits by whoever does not rewrite the whole of it; against that its last hash has to be noted elsewhere.",
)


def report(
    warehouse: Warehouse,
    release: Release | None,
    *,
    use: str,
    provider: str = "",
    model: str = "",
    run_checks: bool = False,
) -> dict[str, Any]:
    """The report as plain data: title, facts, findings, sections of paragraphs and tables.

    use: one of licenses.USES. run_checks: whether to run the checks now, where no release lists them.
    Raises NoSuchDatabaseError where there is no database.
    """
    found = _gather(warehouse, release)
    manifest = json.loads(warehouse.value(MANIFEST, id=release.release_id)) if release else None
    checked = _licenses(found["licenses"], use)
    sections = [
        audit_sections.sources(found),
        audit_sections.license_section(checked, use),
        audit_sections.processing(found),
        audit_sections.exclusions(found, warehouse),
        audit_sections.duplicates(found),
        audit_sections.personal_data(found, warehouse),
        audit_sections.synthetic(found),
        audit_sections.labels(found, warehouse),
        audit_sections.contamination(found, warehouse),
        audit_sections.checks(warehouse, manifest, run_checks),
        audit_sections.evaluation(found, warehouse, manifest),
        audit_sections.erasures(warehouse, release),
        audit_sections.ledger(warehouse),
        {"title": "Known limits", "paragraphs": list(KNOWN_LIMITS), "tables": []},
    ]
    facts = {
        "database": warehouse.path.name,
        "what": f"release {release.release_id} ({release.name})" if release else "the curated set as it is now",
        "made": release.released_at.isoformat() if release else None,
        "records": found["records"],
        "tokens": release.tokens if release else found["tokens"],
        "declared_use": use,
        "written_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "software": f"curation-assets {__version__}",
    }
    return {
        "title": f"Audit of {facts['what']}",
        "facts": facts,
        "findings": _findings(found, checked, sections, use),
        "sections": sections,
        "training_content_summary": training_content_summary(facts, found, checked, sections, provider, model),
    }


def to_json(report: Mapping[str, Any]) -> str:
    """The report as JSON, as it is written to a file."""
    return json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n"


def _gather(warehouse: Warehouse, release: Release | None) -> dict[str, Any]:
    """The answers to sql/audit/report_*.sql about the members of a release or of the curated set, asked in one connection."""
    at = release.released_at if release else datetime.now(timezone.utc)
    has = {name: warehouse.has_table(name) for name in ("curated_set.records", "filtered.signals")}
    found: dict[str, Any] = {"at": at, "is_release": release is not None}
    with warehouse.get_connection(read_only=True) as connection:
        if not has["curated_set.records"]:
            connection.execute("create or replace temp table members (record_id varchar, split varchar)")
        elif release:
            connection.execute(
                f"create or replace temp table members as {sql_of('report_members')}",
                {"release_id": release.release_id},
            )
        else:
            connection.execute(f"create or replace temp table members as {sql_of('report_curated_members')}")
        found["records"] = connection.sql("select count(distinct record_id) from members").fetchall()[0][0]
        found["erased"] = connection.sql(
            "select count(distinct record_id) from members where starts_with(record_id, 'erased-')"
        ).fetchall()[0][0]
        found["splits"] = connection.sql(
            "select split, count(*) as records from members where split is not null group by split order by split"
        ).pl()
        questions = {
            "sources": ["curated_set.records"],
            "licenses": [],
            "kinds": ["filtered.signals"],
            "synthetic": [],
            "duplicates": ["at"],
            "exclusions": ["at"],
            "runs": ["at"],
        }
        for name, needs in questions.items():
            if all(has.get(table, True) for table in needs):
                found[name] = connection.sql(
                    sql_of(f"report_{name}"), params={"at": at} if "at" in needs else None
                ).pl()
            else:
                found[name] = pl.DataFrame()
        latest = connection.sql(sql_of("report_runs"), params={"at": datetime.now(timezone.utc)}).pl()
    found["run_ids"], found["run_ids_now"] = (
        dict(runs.select("stage", "run_id").iter_rows()) for runs in (found["runs"], latest)
    )
    found["settings"] = {
        stage: json.loads(config) for stage, config in found["runs"].select("stage", "config").iter_rows()
    }
    found["tokens"] = int(found["sources"]["tokens"].sum() or 0) if len(found["sources"]) else 0
    return found


def _licenses(rows: pl.DataFrame, use: str) -> list[dict[str, Any]]:
    checked = []
    for row in rows.iter_rows(named=True):
        said, note = licenses.compatibility(row["license"], use)
        checked.append(
            {
                "license": row["license"] or "not stated",
                "records": row["records"],
                "share": row["share"],
                "sources": row["sources"],
                "allows": said,
                "note": note,
            }
        )
    return checked


def _findings(found: dict[str, Any], checked: list[dict[str, Any]], sections: list[Section], use: str) -> list[str]:
    """What a reader should know first."""
    told = []
    for said, words in (
        ("no", "are under licences that exclude"),
        ("unknown", "are under licences that are unknown or not stated, for"),
        ("conditions", "are under licences with conditions on"),
    ):
        if records := sum(row["records"] for row in checked if row["allows"] == said):
            told.append(f"{records:,} of {found['records']:,} records {words} {use}.")
    told += [f"{section['failed']:,} checks fail." for section in sections if section.get("failed")]
    told += [
        f"The ledger was tampered with: {section['problems']:,} places."
        for section in sections
        if section.get("problems")
    ]
    told += [line for section in sections for line in section["paragraphs"] if line.startswith("THIS RELEASE")]
    return told or ["Nothing stands out."]
