"""Great Expectations suites: what every row of a stage's main table must look like.

A suite is data: (expectation, its arguments, severity). Only scalar columns are handed over, texts as their length:
pandas would copy texts and turn embeddings into objects.
"""

import os
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import dagster as dg

from curation_assets.pages import markdown_cell
from curation_assets.tables import MAIN_TABLES, asset_of, tables
from curation_assets.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


class Expect(NamedTuple):
    """One expectation: its Great Expectations name, its arguments, and whether breaking it blocks what comes after."""

    name: str
    arguments: dict[str, Any]
    severity: Literal["critical", "warning"] = "critical"


def _record_columns(*, text: bool = True) -> list[Expect]:
    required = [
        Expect("ExpectColumnValuesToNotBeNull", {"column": column}) for column in ("source", "source_record_id")
    ]
    length = [Expect("ExpectColumnValuesToBeBetween", {"column": "text_chars", "min_value": 1})] if text else []
    return [*_key("record_id"), *required, *length]


def _key(column: str) -> list[Expect]:
    return [
        Expect("ExpectColumnValuesToNotBeNull", {"column": column}),
        Expect("ExpectColumnValuesToBeUnique", {"column": column}),
    ]


def _between(column: str, low: float | None, high: float | None, **more: Any) -> Expect:
    return Expect("ExpectColumnValuesToBeBetween", {"column": column, "min_value": low, "max_value": high, **more})


SUITES: dict[str, list[Expect]] = {
    "raw": [
        *_record_columns(),
        _between("source_row", 1, None),
        Expect(
            "ExpectColumnValuesToBeInSet",
            {"column": "kind", "value_set": ["document", "html", "instruction", "preference", "reward", "chat"]},
        ),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "license"}, "warning"),
    ],
    "cleaned": [*_record_columns(), Expect("ExpectColumnValueLengthsToEqual", {"column": "text_hash", "value": 32})],
    "deduped": [*_record_columns(), *_key("text_hash")],
    "contamination": [
        *(
            Expect("ExpectColumnValuesToNotBeNull", {"column": column})
            for column in ("record_id", "benchmark", "item_id", "longest_run")
        ),
        _between("coverage", 0, 1),
        _between("shared_ngrams", 1, None),
    ],
    "filtered": _record_columns(),
    "embeddings": _key("record_id"),
    "clusters": [*_key("record_id"), _between("cluster_id", 0, None), _between("distance", 0, 2)],
    "density": [*_key("record_id"), _between("density", 1, None)],
    "quality_scores": [*_key("record_id"), _between("quality", 0, 1)],
    "cluster_profiles": [*_key("cluster_id"), _between("records", 1, None), _between("mean_quality", 0, 1)],
    "curated_set": [
        *_record_columns(),
        _between("inclusion_probability", 0, 1, strict_min=True),
        _between("quality", 0, 1),
        _between("density", 1, None),
    ],
    "drift_report": [
        _between("p_value", 0, 1),
        _between("adjusted_p", 0, 1),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "is_drift"}),
    ],
    "lexical_vectors": _key("text_hash"),
    "label_task": [*_key("task_version"), Expect("ExpectColumnValuesToNotBeNull", {"column": "task"})],
    "expert_labels": [
        *_key("label_id"),
        *(
            Expect("ExpectColumnValuesToNotBeNull", {"column": column})
            for column in ("task", "record_id", "rater", "labelled_at")
        ),
        Expect(
            "ExpectColumnValuesToBeInSet", {"column": "role", "value_set": ["expert", "adjudicator", "crowd", "llm"]}
        ),
        Expect("ExpectColumnValuesToBeInSet", {"column": "answer", "value_set": ["label", "unsure", "skip", "undo"]}),
        _between("seconds", 0, None),
    ],
    "agreement": [
        Expect("ExpectColumnValuesToNotBeNull", {"column": "measure"}),
        _between("value", -1, 1),
        _between("low", -1, 1),
        _between("high", -1, 1),
    ],
    "label_set": [
        *_record_columns(),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "label"}),
        Expect("ExpectColumnValuesToBeInSet", {"column": "half", "value_set": ["train", "evaluate"]}),
        _between("agreement_share", 0, 1),
        _between("weight", 0, None),
    ],
    "label_report": [
        *(Expect("ExpectColumnValuesToNotBeNull", {"column": column}) for column in ("section", "figure", "sentence")),
    ],
    "label_model": [
        Expect("ExpectColumnValuesToNotBeNull", {"column": "task"}),
        Expect("ExpectColumnValuesToBeInSet", {"column": "model", "value_set": ["embedded", "fine_tune", "lora"]}),
        *(_between(f"{name}_kappa", -1, 1) for name in ("model", "expert")),
        _between("labels_train", 2, None),
        Expect("ExpectColumnValuesToBeBetween", {"column": "labels_evaluate", "min_value": 1}, "warning"),
    ],
    "predicted_labels": [
        *_key("record_id"),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "label"}),
        _between("probability", 0, 1),
        _between("margin", 0, 1),
        Expect(
            "ExpectColumnValuesToBeInSet",
            {"column": "labeller", "value_set": ["zero_shot", "few_shot", "language_model", "label_model"]},
        ),
    ],
    "label_queue": [
        Expect("ExpectColumnValuesToNotBeNull", {"column": "record_id"}),
        *_key("item_id"),
        Expect(
            "ExpectColumnValuesToBeInSet",
            {"column": "reason", "value_set": ["boundary_pair", "uncertain", "random", "top_of_score", "new_concept"]},
        ),
        _between("predicted_probability", 0, 1),
        _between("sampling_probability", 0, 1, strict_min=True),
        _between("distance", 0, 2),
    ],
    "release": [
        *_key("release_id"),
        Expect("ExpectColumnValueLengthsToEqual", {"column": "release_hash", "value": 64}),
        _between("records", 1, None),
        Expect(
            "ExpectColumnValuesToBeInSet",
            {"column": "reason", "value_set": ["manual", "new data", "drift", "schedule", "erasure"]},
        ),
    ],
    "eval_report": [
        Expect(
            "ExpectColumnValuesToBeInSet",
            {"column": "arm", "value_set": ["curated", "random", "everything", "random_of_filtered"]},
        ),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "metric"}),
        Expect("ExpectColumnValuesToNotBeNull", {"column": "value"}),
    ],
}


def expectation_checks(asset: str) -> dg.AssetChecksDefinition:
    """The two checks of an asset's suite: critical expectations block what comes after, the others warn."""

    @dg.multi_asset_check(
        name=f"{asset}_expectations",
        specs=[
            dg.AssetCheckSpec(
                "expectations_critical",
                asset=asset,
                blocking=True,
                description=f"Great Expectations on {MAIN_TABLES[asset]}: schema, nulls, ranges, uniqueness. Blocks.",
            ),
            dg.AssetCheckSpec(
                "expectations_warning",
                asset=asset,
                description=f"Great Expectations on {MAIN_TABLES[asset]} that are worth knowing but stop nothing.",
            ),
        ],
    )
    def check(warehouse: dg.ResourceParam[Warehouse]):  # noqa: ANN202 - a generator of check results, which dagster reads itself
        columns = list(tables()[MAIN_TABLES[asset]].columns)
        with warehouse.reading():
            frame = scalar_columns(warehouse, MAIN_TABLES[asset])
            missing = missing_columns(warehouse, MAIN_TABLES[asset], columns)
        for severity, level in (("critical", dg.AssetCheckSeverity.ERROR), ("warning", dg.AssetCheckSeverity.WARN)):
            suite = [expect for expect in SUITES[asset] if expect.severity == severity]
            failures = broken(frame, suite)
            if severity == "critical":
                failures += missing
            yield dg.AssetCheckResult(
                check_name=f"expectations_{severity}",
                asset_key=dg.AssetKey(asset),
                passed=not failures,
                severity=level,
                metadata={
                    "rows": len(frame),
                    "expectations": len(suite),
                    "broken": dg.MetadataValue.md("\n".join(f"- {failure}" for failure in failures) or "none"),
                },
            )

    return check


def scalar_columns(warehouse: Warehouse, table: str) -> "pd.DataFrame":
    """The scalar columns that the suite of a table asks about, as pandas, `text` as text_chars; nothing else is read."""
    types = dict(
        warehouse.query(
            "select column_name, data_type from information_schema.columns where table_schema || '.' || table_name = $table",
            table=table,
        ).iter_rows()
    )
    used = {expect.arguments["column"] for expect in SUITES[asset_of(table)]}
    wanted = [name for name, kind in types.items() if name in used and not kind.endswith("]")]
    return warehouse.scalars(table, wanted, with_text_chars="text_chars" in used).to_pandas()


def missing_columns(warehouse: Warehouse, table: str, columns: list[str]) -> list[str]:
    """A sentence for every column the SQL file promises and the table lacks."""
    present = warehouse.query(
        "select column_name from information_schema.columns where table_schema || '.' || table_name = $table",
        table=table,
    )["column_name"]
    return [f"{table} lacks the column {column}" for column in columns if column not in set(present)]


def broken(frame: "pd.DataFrame", suite: list[Expect]) -> list[str]:
    """A sentence for every expectation of the suite that the frame breaks; an expectation that crashes is broken too."""
    if not suite:
        return []
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("whole")
        .get_batch(batch_parameters={"dataframe": frame})
    )
    expectations = [getattr(gx.expectations, expect.name)(**expect.arguments) for expect in suite]
    outcome = batch.validate(gx.ExpectationSuite(name="suite", expectations=expectations))
    return [_sentence(result) for result in outcome.results if not result.success]


def _sentence(result: Any) -> str:
    config = result.expectation_config
    column = config.kwargs.get("column", "")
    if result.exception_info.get("raised_exception"):
        return f"{config.type} on {column} could not be evaluated: {result.exception_info.get('exception_message')}"
    found = result.result
    count = found.get("unexpected_count")
    examples = ", ".join(markdown_cell(value) for value in (found.get("partial_unexpected_list") or [])[:3])
    return f"{config.type} on {column}: {count} of {found.get('element_count')} rows break it" + (
        f" ({examples})" if examples else ""
    )
