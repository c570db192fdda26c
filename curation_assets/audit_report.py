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

from curation_assets import __version__, licenses
from curation_assets.algorithms.language import LIMITS as LANGUAGE_LIMITS
from curation_assets.algorithms.pii import TYPES
from curation_assets.audit import LATEST_REJECTS, ask
from curation_assets.audit_chain import ledger_lines, verify_ledger
from curation_assets.audit_sets import Release
from curation_assets.tables import SQL
from curation_assets.warehouse import Warehouse

MANIFEST = "select any_value(manifest)::varchar as manifest from release.releases where release_id = $id"

NO_ADVICE = (
    "The licences are held against a table of this program (curation_assets/licenses.py). That is a reading aid "
    "and no legal advice: it knows the "
    "licence that an owner states, not whether the owner may state it."
)

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

PII_LIMITS = (
    "Not recognised: postal addresses, dates of birth, ages, passports, driving licences, licence plates, health data and other special "
    "categories, names without a model, user names, what is spelled out (jane at example dot org), phone numbers of countries that "
    "were not chosen or without separators, national ids but those of Korea, the US and the UK. What owners' ids, file names and labels "
    "say is not counted; in a release e-mail addresses and secrets are masked in ids and file names. On 1,500 labelled sentences "
    "(benchmarks/pii.py) recall was 1 for e-mail, cards, IBAN, IP and US social security numbers, .89 for phones, precision 1."
)

NOT_THEN = "as the database is now, not when the release was made"
"""Said of whatever is not kept as it was: tables of stages that have run, or lost records to an erasure, since."""

TEMPLATE = (
    "Commission template for the public summary of training content, Art. 53(1)(d) of Regulation (EU) "
    "2024/1689; explanatory notice C(2025) 8311"
)

WITHDRAWN = "Withdrawn sources and licences"

Section = dict[str, Any]


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
        _sources(found),
        _license_section(checked, use),
        _processing(found),
        _exclusions(found, warehouse),
        _duplicates(found),
        _personal_data(found, warehouse),
        _synthetic(found),
        _labels(found, warehouse),
        _contamination(found, warehouse),
        _checks(warehouse, manifest, run_checks),
        _evaluation(found, warehouse, manifest),
        _erasures(warehouse, release),
        _ledger(warehouse),
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
        "training_content_summary": _summary(facts, found, checked, sections, provider, model),
    }


def to_json(report: Mapping[str, Any]) -> str:
    """The report as JSON, as it is written to a file."""
    return json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n"


# --- what the database says -----------------------------------------------------------------------------------------


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
                f"create or replace temp table members as {_sql('report_members')}", {"release_id": release.release_id}
            )
        else:
            connection.execute(f"create or replace temp table members as {_sql('report_curated_members')}")
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
                found[name] = connection.sql(_sql(f"report_{name}"), params={"at": at} if "at" in needs else None).pl()
            else:
                found[name] = pl.DataFrame()
        latest = connection.sql(_sql("report_runs"), params={"at": datetime.now(timezone.utc)}).pl()
    found["run_ids"], found["run_ids_now"] = (
        dict(runs.select("stage", "run_id").iter_rows()) for runs in (found["runs"], latest)
    )
    found["settings"] = {
        stage: json.loads(config) for stage, config in found["runs"].select("stage", "config").iter_rows()
    }
    found["tokens"] = int(found["sources"]["tokens"].sum() or 0) if len(found["sources"]) else 0
    return found


def _is_as_then(found: dict[str, Any], *stages: str) -> bool:
    """Whether the tables of some stages are what they were when the release was made; for the curated set they always are."""
    then, now = found["run_ids"], found["run_ids_now"]
    return not found["is_release"] or all(then.get(stage) == now.get(stage) for stage in (*stages, "erasure"))


def _sql(question: str) -> str:
    return (SQL / "audit" / f"{question}.sql").read_text(encoding="utf-8")


def _table(title: str, rows: pl.DataFrame | list[dict[str, Any]], question: str | None = None) -> dict[str, Any]:
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, infer_schema_length=None)
    return {
        "title": title,
        "columns": frame.columns,
        "rows": [list(row) for row in frame.iter_rows()],
        "sql": f"sql/audit/{question}.sql" if question else None,
    }


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


# --- sections -------------------------------------------------------------------------------------------------------


def _sources(found: dict[str, Any]) -> Section:
    told = (
        [f"{found['erased']:,} of its records have been erased since; they are in no table below."]
        if found["erased"]
        else []
    )
    measured = "" if _is_as_then(found, "filtered") else f", {NOT_THEN}"
    if not _is_as_then(found, "curated_set"):
        told.append(f"Tokens of sources are those of records that are in the curated set still, {NOT_THEN}.")
    shown = [
        _table("Sources", found["sources"], "report_sources"),
        _table(f"Kinds and languages{measured}", found["kinds"], "report_kinds"),
    ]
    if len(found["splits"]):
        shown.insert(0, _table("Splits", found["splits"], "report_members"))
    return {"title": "Sources", "paragraphs": told, "tables": shown}


def _license_section(checked: list[dict[str, Any]], use: str) -> Section:
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
        "tables": [_table("Licences", checked, "report_licenses")],
    }


def _processing(found: dict[str, Any]) -> Section:
    runs, settings = found["runs"], ["config", "notes"]
    return {
        "title": "How it was made",
        "paragraphs": ["Each stage with its code, its settings and what it chose by itself, as in force for this set."],
        "tables": [
            _table("Stages", runs.drop(settings), "report_runs"),
            _table(
                "Settings, and what stages chose or measured by themselves",
                runs.select("stage", *settings),
                "report_runs",
            ),
        ],
    }


def _exclusions(found: dict[str, Any], warehouse: Warehouse) -> Section:
    rejects = warehouse.value(LATEST_REJECTS) if warehouse.has_table("raw.rejects") else 0
    when = "" if _is_as_then(found, "raw") else f", {NOT_THEN}"
    told = [f"{rejects:,} rows of the files could not be read, or were refused (raw.rejects){when}."]
    return {
        "title": "Exclusions by rule",
        "paragraphs": told,
        "tables": [_table("Rules", found["exclusions"], "report_exclusions")],
    }


def _duplicates(found: dict[str, Any]) -> Section:
    rows = found["duplicates"]
    merged = int(rows["records"].sum()) if len(rows) else 0
    return {
        "title": "Duplicates merged",
        "paragraphs": [f"{merged:,} records were merged into one that says the same."],
        "tables": [_table("Duplicates", rows, "report_duplicates")],
    }


def _personal_data(found: dict[str, Any], warehouse: Warehouse) -> Section:
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
        counted = warehouse.query(_sql("report_pii"))
        places = int(counted["findings"].sum())
        records = warehouse.value("select count(distinct record_id) from cleaned.pii")
        when = "" if _is_as_then(found, "cleaned") else f", {NOT_THEN}"
        told += (
            f"; found{when}: {places:,} places in {records:,} records, among all that were read, not in this set alone"
        )
        tables.append(_table(f"PII actions{when}", counted, "report_pii"))
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


def _synthetic(found: dict[str, Any]) -> Section:
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
        "tables": [_table("Generating models", rows, "report_synthetic")] if records else [],
    }


def _labels(found: dict[str, Any], warehouse: Warehouse) -> Section:
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
    section["tables"] = [_table("Acts of labelling", counted)] if len(counted) else []
    if "agreement" not in found["run_ids"] or not warehouse.has_table("agreement.summary"):
        section["paragraphs"].append("The raters' agreement had not been measured.")
    else:
        when = "" if _is_as_then(found, "agreement") else f", {NOT_THEN}"
        section["tables"].append(_table(f"Agreement{when}", warehouse.query("select * from agreement.summary")))
    return section


def _contamination(found: dict[str, Any], warehouse: Warehouse) -> Section:
    """By the settings of the run in force for this set; what was dropped then is under the rule contaminated."""
    benchmarks = [one["name"] for one in found["settings"].get("contamination", {}).get("benchmarks", [])]
    when = "" if _is_as_then(found, "contamination", "filtered") else f", {NOT_THEN}"
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
        tables.append(_table(f"Benchmarks{when}", ask(warehouse, "report_contamination"), "report_contamination"))
    return {"title": "Contamination by benchmarks", "paragraphs": [told], "tables": tables}


def _checks(warehouse: Warehouse, manifest: Mapping[str, Any] | None, run_them: bool) -> Section:
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
        "tables": [_table("Checks", rows)],
        "failed": failed,
    }


def _evaluation(found: dict[str, Any], warehouse: Warehouse, manifest: Mapping[str, Any] | None) -> Section:
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
        "tables": [_table("Comparison", rows.drop("verdict"))],
    }


def _erasures(warehouse: Warehouse, release: Release | None) -> Section:
    tables, told = [], []
    if warehouse.has_table("release.withdrawals"):
        withdrawn = warehouse.query("select * from release.withdrawals order by withdrawn_at")
        mine = withdrawn.filter(release_id=release.release_id) if release else withdrawn
        if release and len(mine):
            told.append("THIS RELEASE IS WITHDRAWN: records of it were erased since. It is not to be used any more.")
        tables.append(_table("Withdrawn releases", mine))
    if warehouse.has_table("erasure.receipts"):
        rows = warehouse.query(
            "select erasure_id, issued_at, (receipt ->> 'records')::int as records, receipt ->> 'asked' as "
            "asked, receipt ->> 'reason' as reason, "
            "receipt_hash from erasure.receipts order by issued_at"
        )
        tables.append(_table("Erasures", rows))
    if warehouse.has_table("erasure.lifted") and len(withdrawn := ask(warehouse, "withdrawals")):
        tables.append(_table(WITHDRAWN, withdrawn, "withdrawals"))
    return {
        "title": "Erasures and withdrawals",
        "paragraphs": told or ["" if tables else "Nothing was erased."],
        "tables": tables,
    }


def _ledger(warehouse: Warehouse) -> Section:
    problems = verify_ledger(warehouse)
    told = [*ledger_lines(warehouse), *(problems or ["Every row that is chained is as it was written."])]
    return {"title": "The ledger", "paragraphs": told, "tables": [], "problems": len(problems)}


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


# --- the public summary of training content -------------------------------------------------------------------------


def _summary(
    facts: dict[str, Any],
    found: dict[str, Any],
    checked: list[dict[str, Any]],
    sections: list[Section],
    provider: str,
    model: str,
) -> list[Section]:
    """The three parts of the Commission's template, as far as this database can answer them."""
    by_title = {section["title"]: section for section in sections}
    mine = "To be stated by the provider of the model."
    times = (
        [row["latest"] for row in found["sources"].iter_rows(named=True) if row["latest"]]
        if len(found["sources"])
        else []
    )
    languages = (
        found["kinds"].group_by("language").agg(pl.col("records").sum()).sort("records", descending=True)
        if len(found["kinds"])
        else pl.DataFrame()
    )
    spread = "; ".join(f"{language} {records:,}" for language, records in languages.iter_rows()) or "not measured"
    general = {
        "title": "1. General information",
        "paragraphs": [
            f"1.1 Provider: {provider or mine}",
            f"1.2 Model: {model or mine}",
            f"1.3 Modality: text. Size of this set: {facts['records']:,} records, about {facts['tokens']:,} tokens (four bytes each).",
            (
                f"Latest time an owner gives for a record: {max(times) if times else 'none is recorded'}. "
                f"Languages, as guessed, in records: {spread}."
            ),
            f"Kinds of content: {'; '.join(f'{kind} {records:,}' for kind, records in _by_kind(found)) or 'not measured'}.",
        ],
        "tables": [],
    }
    named = [
        (
            f"{row['source']} ({row['records']:,} records, {row['files']:,} files; licences: "
            f"{', '.join(row['licenses'][:5])}{' …' if len(row['licenses']) > 5 else ''})"
        )
        for row in found["sources"].iter_rows(named=True)
    ]
    sources = {
        "title": "2. List of data sources",
        "paragraphs": [
            "The database records where each file was read from and which licence its owner states, not how it "
            "was come by: whether a source is a publicly "
            f"available data set (2.1), licensed or got from a third party (2.2), crawled (2.3) or from users (2.4) is {mine.lower()}",
            *(f"Source: {line}" for line in named),
            f"2.5 Synthetic data: {by_title['Synthetic text']['paragraphs'][0]}",
            "2.6 Other sources: none besides those above.",
        ],
        "tables": [],
    }
    unclear = sum(row["records"] for row in checked if row["allows"] in ("no", "unknown"))
    processing = {
        "title": "3. Data processing aspects",
        "paragraphs": [
            "3.1 Reservations of rights (text and data mining): reservations are not recorded; the stated "
            "licences were compared with the declared use "
            f"({facts['declared_use']}), and for {unclear:,} records they exclude it or are unknown. When a source or a "
            "licence is withdrawn (`curate erase`), its records are erased, and new ones of it are refused until that is "
            f"taken back. {_withdrawn(by_title['Erasures and withdrawals'])}",
            (
                "3.2 Removal of illegal content: no stage looks for it. What rules removed is under “Exclusions by "
                f"rule”. {by_title['Personal data']['paragraphs'][0]}"
            ),
            f"3.3 Other: {by_title['Duplicates merged']['paragraphs'][0]} Every decision on every record is in a ledger.",
        ],
        "tables": [],
    }
    return [
        {
            "title": "Basis",
            "paragraphs": [TEMPLATE + ". This is material for the summary, not the summary itself."],
            "tables": [],
        },
        general,
        sources,
        processing,
    ]


def _withdrawn(section: Section) -> str:
    """Which sources and licences are withdrawn, by the section on erasures."""
    told: dict[bool, list[str]] = {True: [], False: []}
    for table in section["tables"]:
        if table["title"] == WITHDRAWN:
            for values in table["rows"]:
                row = dict(zip(table["columns"], values, strict=True))
                names = [
                    f"{what} {row[field]}"
                    for what, field in (("source", "source"), ("licence", "license"))
                    if row[field]
                ]
                told[row["lifted_at"] is None].append(" under ".join(names))
    in_force = f"Withdrawn now: {'; '.join(told[True])}." if told[True] else "None is withdrawn now."
    return in_force + (f" Taken back: {'; '.join(told[False])}." if told[False] else "")


def _by_kind(found: dict[str, Any]) -> list[tuple[str, int]]:
    return (
        found["kinds"].group_by("kind").agg(pl.col("records").sum()).sort("records", descending=True).rows()
        if len(found["kinds"])
        else []
    )
