"""Benchmark items in the heap: found with evidence, dropped by their share, and what was not looked for is said."""

import json

import polars as pl
import pytest
from conftest import materialize_unchecked
from typer.testing import CliRunner

from curation_assets import whatif
from curation_assets.cli import app
from curation_assets.stages import contamination
from curation_assets.warehouse import Warehouse

CHINESE = "小红有十二个苹果她吃了几个"
STAGES = ["raw", "cleaned", "deduped", "contamination", "filtered"]
QUESTIONS = [
    "Mara packs 14 boxes with 6 jars of plum jam each and gives 9 jars to her neighbour. How many jars does she keep?",
    "A tram leaves the depot every 12 minutes from 5 in the morning until midnight. How many trams leave on one day?",
    "Olek reads 30 pages on Monday and twice as many on Tuesday, then rests. How many pages has he read by Wednesday?",
]


@pytest.fixture
def corpus(tmp_path):
    benchmark = tmp_path / "sums.jsonl"
    items = [{"id": f"q{i}", "question": question, "answer": "See."} for i, question in enumerate(QUESTIONS)]
    benchmark.write_text(
        "".join(json.dumps(item) + "\n" for item in [*items, {"id": "q9", "question": "Why?", "answer": "No."}])
    )
    texts = {
        "renumbered": QUESTIONS[0].replace("14", "20").replace("9", "3"),
        "embedded": f"Here is what our teacher asked us on Friday, and nobody knew. {QUESTIONS[1].upper()} We went home after that.",
        "clean": "A tram leaves when it is full, said Olek, who had read many pages about trams on that Monday in the depot.",
    }
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()))
    return {
        "raw": {"sources": [{"name": "texts", "path": str(source)}]},
        "contamination": {"benchmarks": [{"name": "sums", "path": str(benchmark)}]},
        "filtered": {"rule_sets": []},
    }


def dropped(warehouse):
    return dict(
        warehouse.query(
            "select r.source_record_id, d.value from ledger.current_decisions as d join raw.records as r using (record_id) "
            "where d.rule = 'contaminated'"
        ).iter_rows()
    )


def test_items_are_dropped_with_evidence_and_another_threshold_measures_nothing_again(warehouse, corpus):
    materialize_unchecked(warehouse, corpus, STAGES)
    assert dropped(warehouse) == {"renumbered": 1.0, "embedded": 1.0}
    found = warehouse.query(
        "select * from contamination.matches join raw.records as r using (record_id) order by r.source_record_id"
    )
    assert found["item_id"].to_list() == ["q1", "q0"]
    assert found["longest_run"][1].startswith("mara packs 0 boxes with 0 jars of plum jam")
    assert contamination.joined_if_short(  # a question in a script without spaces is long enough by itself
        pl.DataFrame(
            {
                "benchmark": "b",
                "item_id": "1",
                "field": ["q", "a"],
                "file": "f",
                "row": 1,
                "text": [CHINESE, "三"],
            }
        ),
        6,
    )["field"].to_list() == ["q", "a"]
    untestable = warehouse.query("select item_id, field, ngrams from contamination.parts where ngrams = 0")
    assert ("q9", "question+answer", 0) in untestable.rows()

    supposed = whatif.ask(warehouse, ["max_benchmark_coverage=null"]).changes
    assert supposed.select("change", "rule").rows() == [("enter", "contaminated")] * 2

    looser = corpus | {"filtered": {"rule_sets": [], "max_benchmark_coverage": None}}
    materialize_unchecked(warehouse, looser, ["filtered"])
    assert dropped(warehouse) == {}

    materialize_unchecked(warehouse, corpus, ["deduped"])
    with pytest.raises(Exception, match="Materialize contamination first"):
        materialize_unchecked(warehouse, corpus, ["filtered"])


def test_what_is_no_part_of_a_records_text_is_looked_through_too(warehouse, corpus, tmp_path):
    rows = {
        "system": {
            "messages": [
                {"role": "developer", "content": f"Answer as in this example. {QUESTIONS[0]} She keeps 75."},
                {"role": "user", "content": "Which river runs through the town?"},
                {"role": "assistant", "content": "The Torne does."},
            ]
        },
        "rejected": {"prompt": "Ask me something.", "chosen": "Where do you live?", "rejected": QUESTIONS[1]},
        "neither": {"prompt": "Ask me anything.", "chosen": "How do you do?", "rejected": "The system is down."},
    }
    path = tmp_path / "turns.jsonl"
    path.write_text("".join(json.dumps({"id": name} | row) + "\n" for name, row in rows.items()))
    corpus["raw"]["sources"] = [{"name": "turns", "path": str(path)}]
    materialize_unchecked(warehouse, corpus, STAGES)
    assert dropped(warehouse) == {"system": 1.0, "rejected": 1.0}
    runs = warehouse.query("select longest_run from contamination.matches order by item_id")["longest_run"]
    assert [run.split()[0] for run in runs] == ["mara", "a"]


def test_trace_names_the_item(warehouse, corpus):
    materialize_unchecked(warehouse, corpus, STAGES)
    warehouse.release_run()
    told = CliRunner().invoke(app, ["trace", "renumbered", "--database", str(warehouse.path)])
    assert "filtered: DROPPED by contaminated: it holds 100% of a benchmark's item, more than 50%" in told.stdout
    assert "holds sums q0, question: 100% of its n-grams" in told.stdout


def test_without_benchmarks_nothing_is_looked_for_and_filtered_runs_also_without_the_stage(warehouse, corpus):
    del corpus["contamination"]
    materialize_unchecked(warehouse, corpus, STAGES)
    assert warehouse.rows("contamination.matches") == warehouse.rows("contamination.parts") == 0
    assert dropped(warehouse) == {}


def test_filtered_runs_where_contamination_never_did(warehouse, corpus):
    materialize_unchecked(warehouse, corpus, ["raw", "cleaned", "deduped", "filtered"])
    assert warehouse.rows("filtered.records") == 3


@pytest.mark.parametrize(
    ("benchmark", "told"),
    [
        ({"path": "nowhere.jsonl"}, "there is no file"),
        ({"fields": ["qestion"]}, "none of its 4 items has text in qestion"),
    ],
)
def test_a_benchmark_that_cannot_be_read_stops_the_stage_and_says_so(warehouse, corpus, benchmark, told):
    corpus["contamination"]["benchmarks"][0] |= benchmark
    with pytest.raises(Exception, match=told):
        materialize_unchecked(warehouse, corpus, STAGES)


def test_a_broken_line_of_a_benchmark_is_named(warehouse, corpus, tmp_path):
    (tmp_path / "sums.jsonl").write_text('{"question": "fine"}\n{"question": \n')
    with pytest.raises(Exception, match=r"Source 'sums': sums\.jsonl, line 2"):
        materialize_unchecked(warehouse, corpus, STAGES)


def test_only_what_is_new_is_compared_and_the_tables_are_those_of_comparing_all(warehouse, corpus, tmp_path):
    tables = ["contamination.matches", "contamination.parts", "contamination.hits"]

    def compared(warehouse, **settings):
        materialize_unchecked(warehouse, corpus | {"contamination": corpus["contamination"] | settings}, STAGES)
        return warehouse.value(
            "select max_by((notes ->> 'records_looked_at')::int, finished_at) as n from ledger.runs where stage = 'contamination'"
        )

    source, benchmark = tmp_path / "texts.jsonl", tmp_path / "sums.jsonl"
    twice = {"id": "q1", "question": QUESTIONS[1].replace("A tram", "The tram")}  # an id that is no id
    benchmark.write_text(benchmark.read_text() + json.dumps(twice) + "\n")
    assert compared(warehouse) == 3
    more = [
        {"id": "again", "text": QUESTIONS[2].replace("30", "31")},
        {"id": "other", "text": "Trams and boxes of jam for all."},
    ]
    rows = [json.loads(line) for line in source.read_text().splitlines() if "renumbered" not in line]
    rows[-1]["text"] += " And that was all."
    source.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *more]))
    for settings, n in (({}, 3), ({}, 0), ({"common_in_parts": 9}, 0), ({"ngram_words": 7}, 4)):
        assert compared(warehouse, **settings) == n
        afresh = Warehouse(database=str(tmp_path / f"{len(settings)}{n}.duckdb"))
        assert compared(afresh, **settings) == 4
        assert warehouse.content_hashes(tables) == afresh.content_hashes(tables)
    assert {"embedded", "again"} <= dropped(warehouse).keys() and "renumbered" not in dropped(warehouse)


@pytest.mark.parametrize(("ids", "looked_at"), [(["q7", "q7"], 0), (["q8", "q7"], 3)])
def test_the_evidence_of_one_item_is_not_taken_for_that_of_another_with_its_id(
    warehouse, corpus, tmp_path, ids, looked_at
):
    questions = [QUESTIONS[1], "A tram leaves the depot every 12 minutes from 5 in the morning, on Sundays from 6."]

    def found(ids):
        items = [{"id": one, "question": question} for one, question in zip(ids, questions, strict=True)]
        (tmp_path / "sums.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        materialize_unchecked(warehouse, corpus, STAGES)
        return warehouse.query("select item_id, longest_run from contamination.matches order by all").rows()

    before = found(sorted(ids))
    assert len(before) == len({run for _, run in before}) == 2
    expected = (
        before
        if ids == sorted(ids)
        else [(item_id, run) for (item_id, _), (_, run) in zip(before, before[::-1], strict=True)]
    )
    assert found(ids) == expected
    looked = "select max_by((notes ->> 'records_looked_at')::int, finished_at) as n from ledger.runs where stage = 'contamination'"
    assert warehouse.value(looked) == looked_at
