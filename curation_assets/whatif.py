"""What other thresholds would do: which records the rules of `filtered` would let in or put out, from the signals as they were stored.

Nothing is measured again and nothing is written: the rules that would be others are asked once more, by the stage's own SQL.
"""

import difflib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl
import yaml
from pydantic import ValidationError

from curation_assets import overrides
from curation_assets.filter_rules import RULE_SETS, RuleSettings, measurement
from curation_assets.tables import SQL, tables
from curation_assets.warehouse import StaleError, Warehouse

SHOWN_CHARS = 160
SHOWN_GROUPS = 12
"""Groups of a table told in words; --json has all."""

NO_CLUSTERS = {
    "clusters.assignments": pl.DataFrame(schema={"record_id": pl.String, "cluster_id": pl.Int32}),
    "clusters.profiles": pl.DataFrame(schema={"cluster_id": pl.Int32, "title": pl.String}),
}


class WhatIfError(ValueError):
    """A setting that cannot be supposed; the message is a sentence for whoever gave it."""


class Answer(NamedTuple):
    """What would change."""

    settings: list[tuple[str, Any, Any]]
    """(setting, as it is, as it is supposed)."""
    kept: int
    """Records that filtered.records holds now."""
    changes: pl.DataFrame
    """record_id, change ('enter' or 'leave'), source, language, cluster_id, cluster, rule, value, threshold; one row per record."""
    examples: pl.DataFrame
    """Some of `changes`, with the beginning of their texts: beginning, is_cut."""


def ask(warehouse: Warehouse, given: Sequence[str], examples: int = 3) -> Answer:
    """What would enter and leave filtered.records under settings given as 'name=value'.

    A name is a field of filtered's configuration, or a rule, which stands for the field that sets its bound. A value is read
    as YAML: null switches a rule off. Records that a person keeps or drops (`overrides`) are in neither list.

    Raises:
        WhatIfError: a name or a value that will not do.
        StaleError: filtered has not run, or its signals are an older version's or of records as they were before deduped last ran.

    """
    with warehouse.reading():
        now, then = _configs(warehouse, given)
        rules_now = warehouse.draft("filtered.rules", **now.rule_params())
        rules_then = warehouse.draft("filtered.rules", **then.rule_params())
        supposed = {name: rows for name, rows in NO_CLUSTERS.items() if not warehouse.has_table(name)}
        overridden = overrides.in_force(warehouse)["record_id"].to_list()
        kept = warehouse.rows("filtered.records")
    changed = _changed(now, then, rules_now, rules_then)
    supposed["filtered.rules"] = rules_then.filter(pl.col("rule").is_in(changed))
    params = {"short_text_median_words": then.short_text_median_words, "languages": then.languages}
    derived = {"whatif.decisions": (tables()["filtered.decisions"].sql, params)}
    with warehouse.supposing(supposed, derived) as query:
        changes = query(_sql("whatif_records"), changed=changed, overridden=overridden)
        chosen = _some(changes, examples)
        texts = query(_sql("whatif_examples"), record_ids=chosen["record_id"].to_list(), chars=SHOWN_CHARS)
    shown = chosen.join(texts.drop("source"), on="record_id", maintain_order="left")
    settings = [
        (name, getattr(now, name), getattr(then, name))
        for name in RuleSettings.model_fields
        if getattr(now, name) != getattr(then, name)
    ]
    return Answer(settings, kept, changes, shown)


def lines(answer: Answer) -> list[str]:
    """The answer in words."""
    if not answer.settings:
        return ["That is how filtered is set now: nothing would change."]
    said = [f"{name}: {_value(now)} now, {_value(then)} supposed" for name, now, then in answer.settings]
    entering, leaving = (answer.changes.filter(pl.col("change") == change) for change in ("enter", "leave"))
    then = answer.kept + len(entering) - len(leaving)
    said += [
        "",
        f"{len(entering):,} records would enter, {len(leaving):,} would leave: {answer.kept:,} kept now, {then:,} then.",
    ]
    for rows, verb in ((entering, "enter"), (leaving, "leave")):
        if not len(rows):
            continue
        for group in ("rule", "source", "language", *(["cluster"] if verb == "leave" else [])):
            counts = _counts(rows, group)
            told = ", ".join(f"{name} {n:,}" for name, n in list(counts.items())[:SHOWN_GROUPS])
            more = f", and {len(counts) - SHOWN_GROUPS:,} more" if len(counts) > SHOWN_GROUPS else ""
            said.append(f"  would {verb}, by {group}: {told}{more}")
    for row in answer.examples.iter_rows(named=True):
        does, bound = ("enters", "dropped now by") if row["change"] == "enter" else ("leaves", "would be dropped by")
        said += [
            "",
            f"{row['record_id'][:8]} ({row['source']}: {row['source_record_id']}) {does}; {bound} {row['rule']}: "
            f"{row['value']:.4g} against {row['threshold']:.4g}",
        ]
        said.append(f"  {' '.join(row['beginning'].split())}{'…' if row['is_cut'] else ''}")
    return said


def as_json(answer: Answer) -> dict[str, Any]:
    """The answer for a program."""
    sides = {}
    for change in ("enter", "leave"):
        rows = answer.changes.filter(pl.col("change") == change)
        sides[change] = {
            "records": len(rows),
            **{f"by_{group}": _counts(rows, group) for group in ("rule", "source", "language", "cluster")},
        }
    return {
        "stage": "filtered",
        "settings": [{"setting": name, "now": now, "then": then} for name, now, then in answer.settings],
        "kept_now": answer.kept,
        "kept_then": answer.kept + sides["enter"]["records"] - sides["leave"]["records"],
        **sides,
        "examples": answer.examples.to_dicts(),
    }


def _configs(warehouse: Warehouse, given: Sequence[str]) -> tuple[RuleSettings, RuleSettings]:
    """How filtered was set when it last ran, and how it is supposed to be set."""
    if warehouse.path.exists() and not warehouse.has_table("filtered.signals"):
        raise StaleError(
            "filtered has not run on this database: `curate run --select filtered` measures the signals first."
        )
    [last] = warehouse.query(
        "select config::varchar as config, notes ->> 'signals_of' as signals_of from ledger.runs where stage = 'filtered' "
        "order by finished_at desc limit 1"
    ).iter_rows(named=True)
    measured = (last["signals_of"] or "").split(", toxicity by")[0]
    if measured != measurement(warehouse):
        raise StaleError(
            "filtered.signals is of records as they were before deduped last ran, or was measured by another version: "
            "`curate run --select filtered` measures them again first."
        )
    kept = {name: value for name, value in json.loads(last["config"]).items() if name in RuleSettings.model_fields}
    now = RuleSettings(**kept)
    rules = _every_rule(warehouse, now)
    supposed = dict(_setting(rules, one) for one in given)
    try:
        then = RuleSettings(**{**kept, **supposed})
    except ValidationError as error:
        problem = error.errors()[0]
        raise WhatIfError(f"{problem['loc'][0] if problem['loc'] else 'filtered'}: {problem['msg']}.") from error
    for name in supposed:
        _is_heard(rules, then, name)
    return now, then


def _setting(rules: pl.DataFrame, given: str) -> tuple[str, Any]:
    """(field, value) of 'name=value'."""
    name, equals, value = given.partition("=")
    name = name.strip()
    if not equals:
        raise WhatIfError(
            f"--set {given!r} has no value; write it as {name}=0.5, or {name}=null to switch the rule off."
        )
    of_rules = dict(rules.select("rule", "setting").iter_rows())
    field = {**{field: field for field in RuleSettings.model_fields}, **of_rules}.get(name)
    if name == "toxicity_examples":
        raise WhatIfError(
            "toxicity_examples cannot be supposed: another classifier must measure the records again; run filtered."
        )
    if field is None:
        near = difflib.get_close_matches(name, [*RuleSettings.model_fields, *of_rules], n=3, cutoff=0.5)
        raise WhatIfError(
            f"filtered has no rule and no setting {name!r}"
            + (f"; near it are {', '.join(near)}." if near else "; `curate sql 'from filtered.rules'` lists the rules.")
        )
    try:
        return field, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise WhatIfError(f"--set {given!r}: the value is no number, list or null.") from error


def _every_rule(warehouse: Warehouse, config: RuleSettings) -> pl.DataFrame:
    """All rules there are, whatever is switched on: every bound that is null is taken to be 0."""
    params = {name: 0 if value is None else value for name, value in config.rule_params().items()}
    return warehouse.draft("filtered.rules", **(params | {"rule_sets": list(RULE_SETS), "languages": ["und"]}))


def _is_heard(rules: pl.DataFrame, then: RuleSettings, setting: str) -> None:
    """Refuse a bound of a rule that would not be asked."""
    if setting == "min_language_score" and then.languages is None:
        raise WhatIfError("no languages are named, so no score is asked for; add --set 'languages=[en]'.")
    of = rules.filter(pl.col("setting") == setting)
    for rule, rule_set in of.select("rule", "rule_set").iter_rows():
        if rule_set in RULE_SETS and rule_set not in then.rule_sets:  # decontamination is always in force
            wanted = ", ".join([*then.rule_sets, rule_set])
            raise WhatIfError(
                f"{rule} is of the rule set {rule_set}, which is not in force, so its bound says nothing; add --set 'rule_sets=[{wanted}]'."
            )


def _changed(now: RuleSettings, then: RuleSettings, rules_now: pl.DataFrame, rules_then: pl.DataFrame) -> list[str]:
    """Names of the rules that decide otherwise, come or go."""
    if now.short_text_median_words != then.short_text_median_words:
        return sorted({*rules_now["rule"], *rules_then["rule"]})
    bounds = ["rule", "at_least", "at_most"]
    before, after = set(rules_now.select(bounds).rows()), set(rules_then.select(bounds).rows())
    changed = {rule for rule, *_ in before ^ after}
    if now.languages != then.languages:
        changed.add("language_min_score")
    return sorted(changed)


def _some(changes: pl.DataFrame, examples: int) -> pl.DataFrame:
    """The first `examples` records each that enter and leave, in the order of their ids, which say nothing of the records."""
    return changes.group_by("change", maintain_order=True).head(examples)


def _counts(rows: pl.DataFrame, group: str) -> dict[str, int]:
    counted = rows.group_by(pl.col(group).fill_null("none")).len().sort("len", group, descending=[True, False])
    return dict(counted.iter_rows())


def _value(value: Any) -> str:
    return "off" if value is None else str(value)


def _sql(question: str) -> str:
    return (SQL / "audit" / f"{question}.sql").read_text(encoding="utf-8")
