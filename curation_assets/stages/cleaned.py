"""The `cleaned` stage: repaired and tidied texts, personal data and secrets masked."""

import hashlib
import hmac
import importlib.util
import json
import os
from enum import Enum
from importlib.metadata import version
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
from matplotlib.figure import Figure
from pydantic import Field, field_validator

from curation_assets.algorithms.cleaning import TIDYING
from curation_assets.algorithms.pii import LEAST_KEY_CHARS, TYPES
from curation_assets.pages import BLUE, GREY, figure, histogram, markdown_table, materialized
from curation_assets.progress import reporter
from curation_assets.readers import CONVERSATIONS
from curation_assets.record_cleaning import CleanedRecord, Rules, clean_records
from curation_assets.stages import OWNERS
from curation_assets.stages.raw import raw
from curation_assets.warehouse import Warehouse

SCHEMA = pa.schema(
    {
        "record_id": pa.large_string(),
        "text": pa.large_string(),
        "label": pa.large_string(),
        "steps": pa.list_(pa.string()),
        "cleaned_original": pa.large_string(),
        "dropped_for": pa.list_(pa.struct({"rule": pa.string(), "findings": pa.int64()})),
    }
)
FINDINGS = pa.schema(
    {
        "record_id": pa.string(),
        "part": pa.string(),
        "type": pa.string(),
        "start_char": pa.int64(),
        "end_char": pa.int64(),
        "action": pa.string(),
        "engine": pa.string(),
    }
)
RECORDS = (
    "select record_id, kind, text, label, case when list_contains($conversations::varchar[], kind) then original end as original "
    "from raw.records where not $is_as_before::boolean or record_id not in "
    "(select record_id from ledger.current_decisions where stage = 'cleaned' and verdict = 'keep' and rule is null) order by record_id"
)
"""What is to be cleaned: all, or what the last run did not keep by its rules alone. An id is a hash of the record: it has not changed."""

AS_BEFORE = (
    "select record_id, text, label, cleaning_steps as steps, cleaned_original, [] as dropped_for from cleaned.records "
    "semi join (from ledger.current_decisions where stage = 'cleaned' and verdict = 'keep' and rule is null) using (record_id)"
)
FOUND_BEFORE = (
    "select record_id, part, type, start_char, end_char, action, engine from cleaned.pii "
    "semi join (from ledger.current_decisions where stage = 'cleaned' and verdict = 'keep' and rule is null) using (record_id)"
)
LAST_CLEANED_BY = "select notes ->> 'cleaned_by' as cleaned_by from ledger.runs where stage = 'cleaned' order by finished_at desc limit 1"
CLEANERS = {
    "ftfy": "ftfy",
    "resiliparse": "resiliparse",
    "trafilatura": "trafilatura",
    "phonenumbers": "phonenumberslite",
}
"""Modules whose version says how a text comes out, and the packages they are of."""

CODE_VERSION = "5"


class WhenFileChanges(str, Enum):
    """What becomes of records that the latest version of their file no longer holds."""

    replace = "replace"
    keep_both = "keep_both"


class Extractor(str, Enum):
    """What finds the main content of HTML pages."""

    resiliparse = "resiliparse"
    trafilatura = "trafilatura"


class PiiAction(str, Enum):
    """What becomes of personal data of a type."""

    ignore = "ignore"
    keep = "keep"
    mask = "mask"
    pseudonymise = "pseudonymise"
    drop = "drop"


def _action(what: str, default: PiiAction = PiiAction.mask) -> Any:
    return Field(default=default, description=f"{what}.")


class PiiConfig(dg.Config):
    """What becomes of personal data and secrets, by type.

    ignore: it is not looked for. keep: it is found and stays. mask: `[EMAIL]` stands in its place. pseudonymise: `[EMAIL_3f9a1c20]`,
    the same for the same value in all runs with the same key. drop: the record goes, by the rule `pii_email`,
    and `curate override` does not bring it back.
    Numbers and addresses that identify a person, and all secrets, are masked by default, e-mail and public IP addresses too (as in
    published web corpora); names stay unless names_model finds them.
    """

    secret: PiiAction = _action("Keys, tokens and passwords")
    url_credentials: PiiAction = _action("User and password in a URL")
    email: PiiAction = _action("E-mail addresses")
    iban: PiiAction = _action("Bank accounts (IBAN)")
    credit_card: PiiAction = _action("Card numbers")
    kr_rrn: PiiAction = _action("Korean resident registration numbers")
    us_ssn: PiiAction = _action("US social security numbers")
    uk_nino: PiiAction = _action("UK national insurance numbers")
    ip_address: PiiAction = _action("Public IP addresses")
    phone: PiiAction = _action("Telephone numbers")
    person: PiiAction = _action("Names of people; only looked for with a names_model")
    phone_regions: list[str] = Field(
        default=["US", "KR", "GB", "DE", "FR"],
        description="Countries (ISO 3166) whose national phone numbers are looked for; international ones always are.",
    )
    names_model: str | None = Field(
        default=None,
        description="A transformers token-classification model with a label PER or PERSON, by id or path, that finds names. "
        "Default: names are not looked for.",
    )
    names_revision: str | None = Field(default=None, description="Revision of that model on the hub.")
    key_variable: str = Field(
        default="CURATION_PII_KEY",
        description=f"Environment variable with the secret key of pseudonyms, {LEAST_KEY_CHARS} characters or more. It is stored nowhere.",
    )

    @field_validator("phone_regions")
    @classmethod
    def _known(cls, regions: list[str]) -> list[str]:
        import phonenumbers

        if unknown := sorted(set(regions) - phonenumbers.SUPPORTED_REGIONS):
            raise ValueError(f"no such regions: {', '.join(unknown)}; they are ISO 3166 codes such as US, KR, GB")
        return regions

    @property
    def actions(self) -> dict[str, str]:
        """Type → what becomes of it, of those that are looked for."""
        chosen = {type: getattr(self, type).value for type in TYPES}
        if self.names_model is None:
            chosen.pop("person")
        return {type: action for type, action in chosen.items() if action != "ignore"}


class CleanedConfig(dg.Config):
    """How texts are repaired, what is taken out of them, and what becomes of records that a newer version of their file lacks."""

    when_file_changes: WhenFileChanges = Field(
        default=WhenFileChanges.replace,
        description="When a file changed since it was first read: 'replace' drops records its latest version no longer "
        "holds (rule `superseded`), 'keep_both' keeps the records of every version.",
    )
    html_extractor: Extractor = Field(
        default=Extractor.resiliparse,
        description="What finds the main content of HTML pages: 'resiliparse', or 'trafilatura', which brings less of what stands around "
        "an article and takes ten times as long (install it: pip install 'curation-assets[trafilatura]').",
    )
    template_residue: bool = Field(
        default=True,
        description="Take out what templates leave behind: special tokens (<|endoftext|>, </s>, …) at the ends of texts and turns; in "
        "documents also lines that are nothing but an unrendered {{ tag }}, links without words, images in base64.",
    )
    boilerplate_lines: bool = Field(
        default=True,
        description="Take whole lines of page furniture out of documents: share buttons, 'Read more', cookie and copyright notices.",
    )
    whitespace: bool = Field(
        default=True,
        description="In documents: take spaces off the ends of lines and keep at most two blank lines together; code stays as it is, "
        "and so do line breaks of Markdown (two spaces) and empty last cells of tables in tabs.",
    )
    pii: PiiConfig = Field(default=PiiConfig(), description="What becomes of personal data and secrets, by type.")

    @property
    def tidy(self) -> tuple[str, ...]:
        """The steps of cleaning.TIDYING that are on."""
        return tuple(name for name, _ in TIDYING if getattr(self, name))


@dg.asset(deps=[raw], group_name="records", kinds={"duckdb", "python"}, owners=OWNERS, code_version=CODE_VERSION)
def cleaned(
    context: dg.AssetExecutionContext, config: CleanedConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """One row per record with its text repaired: encoding, Unicode form, HTML to text, template residue, personal data.

    The original stays in `raw.records`; the steps that changed a text are listed beside it, and `cleaned.pii` has where personal data
    and secrets were found and what became of them, without what they were. What the last run kept and this one would clean in the same
    way is taken over as it is.
    """
    started = warehouse.begin()
    rules = rules_of(config)
    notes = _notes(rules)
    notes |= {"cleaned_by": cleaned_by(config, notes)}
    rows_in = warehouse.rows("raw.records")
    with warehouse.spool() as records, warehouse.spool() as findings:
        records.write(SCHEMA.empty_table())
        findings.write(FINDINGS.empty_table())
        is_as_before = last_cleaned_by(warehouse) == notes["cleaned_by"]
        if is_as_before:
            for sql, spool in ((AS_BEFORE, records), (FOUND_BEFORE, findings)):
                for batch in warehouse.batches(sql):
                    spool.write(pa.Table.from_batches([batch]).cast(spool.schema))
        report, done = reporter("cleaned", "records", rows_in), records.rows
        notes |= {"records_taken_over": done}
        for batch in warehouse.batches(RECORDS, conversations=list(CONVERSATIONS), is_as_before=is_as_before):
            ids = batch["record_id"].to_pylist()
            results = list(
                clean_records(*(batch[name].to_pylist() for name in ("kind", "text", "original", "label")), rules)
            )
            records.write(_rows(ids, results, rules))
            findings.write(_findings(ids, results, rules))
            report(done := done + len(batch))
        with warehouse.commit(context, config, rows_in=rows_in, main="cleaned.records", started=started) as commit:
            commit.decide(records.file(), when_file_changes=config.when_file_changes.value)
            commit.build("cleaned.records", records.file())
            commit.build("cleaned.pii", findings.file())
            commit.keep_the_rest()
            commit.notes = notes
    with warehouse.reading():
        counted = warehouse.query(PII_BY_TYPE)
        return materialized(
            warehouse,
            "cleaned.records",
            plots={"length_histogram": histogram(_lengths(warehouse), "characters a record", log=True)}
            | ({"personal_data": pii_chart(counted)} if len(counted) else {}),
            records_by_cleaning_step=dg.MetadataValue.md(markdown_table(_steps(warehouse))),
            personal_data_by_type=dg.MetadataValue.md(markdown_table(counted)),
            personal_data_found=int(counted["findings"].sum()),
        )


def rules_of(config: CleanedConfig) -> Rules:
    """What is done to the records, with the key and the model ready. Raises dagster's Failure where one of them is missing."""
    actions = config.pii.actions
    key = os.environ.get(config.pii.key_variable, "")
    if "pseudonymise" in actions.values() and len(key) < LEAST_KEY_CHARS:
        raise dg.Failure(
            f"cleaned: pseudonyms need a key of at least {LEAST_KEY_CHARS} characters in the environment variable "
            f"{config.pii.key_variable}, which has {len(key)}. Set it to a secret of your own and keep it: the same key gives the same "
            "pseudonyms in later runs."
        )
    names = None
    if "person" in actions:
        from curation_assets.models.names import NameRecogniser

        try:
            names = NameRecogniser(config.pii.names_model, config.pii.names_revision)
        except (OSError, ValueError) as error:
            raise dg.Failure(f"cleaned: names_model: {error}") from None
    if config.html_extractor is Extractor.trafilatura and importlib.util.find_spec("trafilatura") is None:
        raise dg.Failure(
            "cleaned: trafilatura is not installed: pip install 'curation-assets[trafilatura]', or take resiliparse."
        )
    return Rules(
        config.tidy, config.html_extractor.value, actions, tuple(config.pii.phone_regions), key.encode(), names
    )


def cleaned_by(config: CleanedConfig, notes: dict[str, Any]) -> str:
    """A hash of all that how a record comes out depends on but itself: code, settings, key, model, and the packages that clean."""
    versions = {module: version(package) for module, package in CLEANERS.items() if importlib.util.find_spec(module)}
    settings = config.model_dump(mode="json", exclude={"when_file_changes"})
    said = json.dumps([CODE_VERSION, settings, notes, versions], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def last_cleaned_by(warehouse: Warehouse) -> str | None:
    """What the records in cleaned.records were cleaned by; None where there are none, or an older version made them."""
    if not (warehouse.has_table("cleaned.records") and warehouse.has_table("cleaned.pii")):
        return None
    return next(iter(warehouse.query(LAST_CLEANED_BY)["cleaned_by"]), None)


def _notes(rules: Rules) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    if rules.names is not None:
        notes |= {"names_model": rules.names.model, "names_revision": rules.names.revision}
    if "pseudonymise" in rules.actions.values():  # tells whether two runs had the same key, and not which
        notes["pseudonym_key_id"] = hmac.new(rules.key, b"which key", "sha256").hexdigest()[:16]
    return notes


def _rows(ids: list[str], results: list[CleanedRecord], rules: Rules) -> pa.Table:
    dropped = [
        [{"rule": f"pii_{type}", "findings": found} for type, found in one.dropped_for(rules.actions).items()]
        + ([{"rule": one.lost, "findings": None}] if one.lost else [])
        for one in results
    ]
    columns = [ids, [one.text for one in results], [one.label for one in results], [one.steps for one in results]]
    return pa.table([*columns, [one.original for one in results], dropped], schema=SCHEMA)


def _findings(ids: list[str], results: list[CleanedRecord], rules: Rules) -> pa.Table:
    rows = [
        (record, part, one.type, one.start, one.end, rules.actions[one.type], one.engine)
        for record, result in zip(ids, results, strict=True)
        for part, one in result.findings
    ]
    columns = list(zip(*rows, strict=True)) or [[] for _ in FINDINGS.names]
    return pa.table(
        [pa.array(column, type) for column, type in zip(columns, FINDINGS.types, strict=True)], schema=FINDINGS
    )


PII_BY_TYPE = (
    "select type, action, count(*) as findings, count(distinct record_id) as records from cleaned.pii "
    "group by type, action order by findings desc, type"
)


def pii_chart(counted: pl.DataFrame) -> Figure:
    """How often each type was found; grey where it stays in the text."""
    drawing, axes = figure(6.5, 0.9 + 0.28 * len(counted))
    colours = [GREY if action == "keep" else BLUE for action in counted["action"]]
    bars = axes.barh(range(len(counted)), counted["findings"].to_list(), color=colours)
    axes.bar_label(bars, [f"{count:,}" for count in counted["findings"]], padding=3)
    axes.set_yticks(
        range(len(counted)), [f"{type}: {action}" for type, action in counted.select("type", "action").iter_rows()]
    )
    axes.invert_yaxis()
    axes.set_xlabel("findings")
    return drawing


def _lengths(warehouse: Warehouse) -> pl.Series:
    return warehouse.query("select len(text) as chars from cleaned.records")["chars"]


def _steps(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query(
        "select step, count(*) as records from (select unnest(cleaning_steps) as step from cleaned.records) "
        "group by step order by records desc, step"
    )
