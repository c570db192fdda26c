"""The audit report as one HTML file: no asset from elsewhere, no script, everything escaped, fit to print."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from typing import Any

SHOWN_CHARS = 600
SHOWN_ROWS = 500

_HASH = re.compile(r"[0-9a-f]{32,64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Hashes and run ids: their first digits are shown, the JSON has the rest."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; } h3 { font-size: 1rem; }
table { border-collapse: collapse; margin: .6rem 0 1rem; font-size: .86rem; width: 100%; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; } caption code { font-weight: 400; color: #555; }
th, td { border: 1px solid #ccc; padding: .25rem .5rem; text-align: left; vertical-align: top; overflow-wrap: break-word; min-width: 3rem; }
th { background: #f2f2f2; white-space: nowrap; }
td code { overflow-wrap: anywhere; font-size: .8rem; } td.number { text-align: right; white-space: nowrap; }
.findings { border-left: 4px solid #b55; background: #faf3f3; padding: .5rem 1rem; }
.facts td:first-child { width: 12rem; color: #555; }
nav { columns: 2; font-size: .9rem; }
@media print {
  @page { margin: 18mm; } body { font-size: 10pt; max-width: none; margin: 0; padding: 0; } nav { display: none; }
  h2, h3, caption { break-after: avoid; } tr { break-inside: avoid; } thead { display: table-header-group; }
  a { color: inherit; text-decoration: none; }
}
"""


def page(report: Mapping[str, Any]) -> str:
    """The report of `audit_report.report` as an HTML document. Whatever comes from records, files or settings is escaped."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Mapping[str, Any]) -> Iterator[str]:
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta '
        f'http-equiv="Content-Security-Policy" content="{policy}">'
    )
    yield (
        '<meta name="viewport" '
        f'content="width=device-width">\n<title>{escape(report["title"])}</title>\n<style>{STYLE}</style>\n</head>\n<body>'
    )
    yield f"<h1>{escape(report['title'])}</h1>"
    yield '<table class="facts"><tbody>'
    yield from (
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{_shown(value)}</td></tr>"
        for name, value in report["facts"].items()
    )
    yield "</tbody></table>"
    yield '<div class="findings"><h2>What to know first</h2><ul>'
    yield from (f"<li>{escape(line)}</li>" for line in report["findings"])
    yield "</ul></div>"
    summary = "Training content summary"
    yield "<nav><ol>"
    yield from (
        f'<li><a href="#s{number}">{escape(section["title"])}</a></li>'
        for number, section in enumerate(report["sections"])
    )
    yield f'<li><a href="#summary">{summary}</a></li></ol></nav>'
    for number, section in enumerate(report["sections"]):
        yield f'<h2 id="s{number}">{escape(section["title"])}</h2>'
        yield from _section(section)
    yield f'<h2 id="summary">{summary}</h2>'
    for section in report["training_content_summary"]:
        yield f"<h3>{escape(section['title'])}</h3>"
        yield from _section(section)
    yield "</body>\n</html>"


def _section(section: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"<p>{escape(paragraph)}</p>" for paragraph in section["paragraphs"] if paragraph)
    for table in section["tables"]:
        yield from _table(table)


def _table(table: Mapping[str, Any]) -> Iterator[str]:
    if not table["rows"]:
        yield f"<p>{escape(table['title'])}: none.</p>"
        return
    asked = f" <code>{escape(table['sql'])}</code>" if table["sql"] else ""
    yield f"<table><caption>{escape(table['title'])}{asked}</caption>"
    heads = "".join(f"<th>{escape(column.replace('_', ' '))}</th>" for column in table["columns"])
    yield f"<thead><tr>{heads}</tr></thead><tbody>"
    for row in table["rows"][:SHOWN_ROWS]:
        cells = "".join(
            f"<td class=number>{_shown(value)}</td>" if _is_number(value) else f"<td>{_shown(value)}</td>"
            for value in row
        )
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table>"
    if len(table["rows"]) > SHOWN_ROWS:
        yield f"<p>{len(table['rows']) - SHOWN_ROWS:,} more rows are in the JSON file.</p>"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value as escaped text: numbers grouped, times cut to minutes, long texts cut."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if _HASH.fullmatch(text):
        return f"<code>{text[:16]}…</code>"
    if text.startswith(("{", "/")):
        return f"<code>{escape(_cut(text))}</code>"
    return escape(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"
