"""The stage filtered: what is measured once stays measured, and the tables are those of measuring all."""

import json

from conftest import materialize_unchecked

from curation_assets.warehouse import Warehouse

STAGES = ["raw", "cleaned", "deduped", "filtered"]
ASK = "Name a river of the north."


def page(n):
    return f"The mill of the village number {n} stands by the river, and its wheel has turned for {n + 90} years. " * 4


def test_only_new_and_changed_texts_are_measured(tmp_path):
    first = [{"text": page(1)}, {"text": page(2)}, {"instruction": ASK, "output": "The Torne is one."}]
    # The longer copy takes the place of the first page; the same request gets another response.
    second = [{"text": page(1) + "Nobody knows who built it."}, {"instruction": ASK, "output": "There is the Kemi."}]
    sources = []
    for name, rows in (("first", first), ("second", second)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        sources.append({"name": name, "path": str(path)})

    def curate(warehouse, read, cleaned=None, **filtered):
        ops = {
            "raw": {"sources": read},
            "filtered": {"rule_sets": ["self_instruct"]} | filtered,
            "cleaned": cleaned or {},
        }
        materialize_unchecked(warehouse, ops, STAGES)
        return warehouse.value(
            "select max_by((notes ->> 'signals_measured')::int, finished_at) as n from ledger.runs where stage = 'filtered'"
        )

    def tables(warehouse):
        return (
            warehouse.query("from filtered.signals order by all").rows(),
            warehouse.query("from filtered.records order by all").rows(),
            warehouse.query(
                "select record_id, verdict, rule, value from ledger.current_decisions where stage = 'filtered' order by all"
            ).rows(),
        )

    steps, once = (Warehouse(database=str(tmp_path / f"{name}.duckdb")) for name in ("steps", "once"))
    assert curate(steps, sources[:1]) == 3
    assert steps.rows("filtered.records") == 3
    assert curate(steps, sources) == 2
    assert curate(once, sources) == 4
    assert tables(steps) == tables(once)
    rules = steps.query(
        "select rule, value from ledger.current_decisions where stage = 'filtered' and verdict = 'drop'"
    )
    assert (
        rules.rows() == [("self_instruct_max_responses_to_request", 2.0)] * 2
    )  # the old one is dropped for the new one
    assert curate(steps, sources) == 0
    assert curate(steps, sources, cleaned={"pii": {"phone": "keep"}}) == 4
    assert tables(steps) == tables(once)
    for warehouse in (steps, once):
        warehouse.release_run()
