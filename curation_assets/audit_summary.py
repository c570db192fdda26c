"""The public summary of training content, in the three parts of the Commission's template, as far as the database can answer them."""

from typing import Any

import polars as pl

from curation_assets.audit_sections import WITHDRAWN, Section

TEMPLATE = (
    "Commission template for the public summary of training content, Art. 53(1)(d) of Regulation (EU) "
    "2024/1689; explanatory notice C(2025) 8311"
)


def training_content_summary(
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
