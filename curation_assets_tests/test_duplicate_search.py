"""That comparing what is new gives what comparing everything gives, whatever comes, goes or is ranked otherwise."""

import random
from datetime import datetime, timezone
from types import SimpleNamespace

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation_assets import duplicate_search
from curation_assets.algorithms.duplicates import duplicates
from curation_assets.duplicate_search import RECORDS, Settings, compare, ranked, sketch_missing
from curation_assets.warehouse import Warehouse

DEFAULT = Settings(
    exact=True, near=True, min_jaccard=0.6, words=2, bands=20, rows=3, seed=0, max_comparisons=10_000, survivor="longest",
    source_priority=(), quality_field=None, passages=True, instruction_conflicts=True,
)  # fmt: skip

VOCABULARY = [f"w{k}" for k in range(300)]


def texts(n: int) -> list[str]:
    """n texts, most of them edits of an earlier one, so that chains and groups form."""
    draw = random.Random(3)
    made: list[str] = []
    for _ in range(n):
        if made and draw.random() < 0.75:
            words = draw.choice(made).lower().split()
            for _ in range(draw.choice((0, 1, 1, 2, 4))):
                words[draw.randrange(len(words))] = draw.choice(VOCABULARY)
            made.append(" ".join(words + draw.choices(VOCABULARY, k=draw.choice((0, 0, 1)))))
        else:
            made.append(" ".join(draw.choices(VOCABULARY, k=draw.randint(12, 30))))
    return [text.upper() if draw.random() < 0.3 else text for text in made]


TEXTS = texts(40)


def hold(warehouse: Warehouse, rows: list[tuple[int, str]]) -> None:
    """Make raw.records and cleaned.records of (number, text), as if they had been read and cleaned."""
    with warehouse.get_connection() as connection:
        frame = pl.DataFrame(rows, schema={"number": pl.Int64, "text": pl.String}, orient="row")
        connection.register("frame", frame.to_arrow())
        connection.execute("create schema if not exists cleaned; create schema if not exists raw")
        connection.execute(
            "create or replace table cleaned.records as select 'r' || number as record_id, 'source' || number % 3 as source, "
            "'o' || number as source_record_id, 'file' as source_uri, number as source_row, 'document' as kind, "
            "(2000 + number * 7 % 11)::varchar as record_time, text, left(sha256(text), 32) as text_hash from frame"
        )
        connection.execute(
            "create or replace table raw.records as select record_id, source, source_record_id, true as has_owner_id, kind, text, "
            "json_object('score', source_row * 5 % 7) as original from cleaned.records"
        )


def run(warehouse: Warehouse, given: Settings) -> dict:
    """Compare and commit as the stage does; return the notes."""
    found = compare(warehouse, given)
    with warehouse.transaction("deduped", "run") as commit:
        commit.build("deduped.compared", found.records)
        commit.build("deduped.pairs", found.pairs)
        commit.notes = found.notes
        account = {"run_id": "run", "stage": "deduped", "code_version": "1", "config": "{}", "config_hash": ""}
        commit.write_run_row(account, "deduped.compared", datetime.now(timezone.utc), None)
    return found.notes


def tables_of(warehouse: Warehouse) -> tuple[list, list]:
    return tuple(warehouse.query(f"select * from deduped.{name} order by all").rows() for name in ("pairs", "compared"))


def rebuilt(folder, rows: list[tuple[int, str]], given: Settings) -> tuple[list, list]:
    """The tables of a database that has seen nothing but these rows."""
    fresh = Warehouse(database=str(folder / f"fresh{len(list(folder.iterdir()))}.duckdb"))
    hold(fresh, rows)
    run(fresh, given)
    return tables_of(fresh)


steps = st.lists(st.sets(st.integers(0, 39), max_size=12), min_size=1, max_size=2)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sets(st.integers(0, 39), min_size=5), steps, st.sampled_from(["longest", "newest", "first", "highest_quality"])
)
def test_batch_by_batch_is_as_all_at_once(tmp_path_factory, first, changes, survivor):
    """Each step brings some records and takes those away that were there: new texts, superseded ones, better ranked ones."""
    folder = tmp_path_factory.mktemp("batches")
    chosen = DEFAULT._replace(survivor=survivor, quality_field="score" if survivor == "highest_quality" else None)
    warehouse = Warehouse(database=str(folder / "batches.duckdb"))
    held = set(first)
    for step in [set(), *changes]:
        held ^= step
        rows = [(number, TEXTS[number]) for number in sorted(held)]
        hold(warehouse, rows)
        run(warehouse, chosen)
    assert tables_of(warehouse) == rebuilt(folder, rows, chosen)


def test_only_what_is_new_and_what_it_touches_is_read_again(tmp_path):
    warehouse = Warehouse(database=str(tmp_path / "batches.duckdb"))
    lone = [(100 + k, " ".join(f"only{k}x{word}" for word in range(15))) for k in range(50)]
    hold(warehouse, [*enumerate(TEXTS), *lone])
    first = run(warehouse, DEFAULT)
    assert (first["texts_sketched"], first["records_compared_again"]) == (len(set(TEXTS)) + 50, 90)
    nothing = run(warehouse, DEFAULT)
    assert [nothing[name] for name in ("texts_sketched", "records_compared_again", "texts_read_to_verify")] == [0, 0, 0]
    hold(warehouse, [*enumerate(TEXTS), *lone, (200, f"{lone[7][1]} and more"), (201, "something else entirely")])
    new = run(warehouse, DEFAULT)
    assert [new[name] for name in ("texts_sketched", "records_compared_again", "texts_read_to_verify")] == [2, 3, 2]
    pairs = warehouse.query(
        "select record_id, matched_record_id, kind from deduped.pairs where matched_record_id = 'r200'"
    )
    assert pairs.rows() == [("r107", "r200", "near")]
    other = run(warehouse, DEFAULT._replace(min_jaccard=0.9))
    assert other["texts_sketched"] == 0
    assert other["records_compared_again"] == 92


def test_what_was_dropped_for_a_record_that_is_another_text_now_is_decided_anew(tmp_path):
    first = " ".join(f"w{k}" for k in range(20))
    rows = [(1, f"{first} and more"), (2, first)]
    warehouse = Warehouse(database=str(tmp_path / "changed.duckdb"))
    hold(warehouse, rows)
    run(warehouse, DEFAULT)
    assert tables_of(warehouse)[0]
    changed = [
        (
            1,
            "cleaned by other rules it says something else entirely and is still the longer one of the two of them here",
        ),
        rows[1],
    ]
    hold(warehouse, changed)
    run(warehouse, DEFAULT)
    assert tables_of(warehouse) == rebuilt(tmp_path, changed, DEFAULT)
    assert not tables_of(warehouse)[0]


def test_where_comparisons_were_skipped_a_text_that_is_gone_makes_room_for_others(tmp_path):
    """The record is there still, as another text: what it stood before is compared with one more of those left."""
    template = [f"t{k}" for k in range(40)]
    texts = [" ".join([*template, *(f"x{n}y{k}" for k in range(30 - n))]) for n in range(5)]
    rows = list(enumerate(texts))
    capped = DEFAULT._replace(max_comparisons=2, bands=60, rows=1)
    warehouse = Warehouse(database=str(tmp_path / "skipped.duckdb"))
    hold(warehouse, rows)
    assert run(warehouse, capped)["comparisons_skipped"] == 3
    rows[0] = (0, " ".join(f"other{k}" for k in range(30)))
    hold(warehouse, rows)
    assert run(warehouse, capped)["comparisons_skipped"] == 1
    assert tables_of(warehouse) == rebuilt(tmp_path, rows, capped)


def test_the_newest_is_the_same_in_every_time_zone_and_what_is_no_time_comes_last(tmp_path):
    times = [
        "2024-01-01",
        "2024-01-01 12:00",
        "2024-01-01T13:00+05:00",
        "2024-01-01T10:00:00Z",
        "nan",
        "infinity",
        "7",
        None,
        "5",
    ]
    newest = [1, 3, 2, 0, 6, 8]
    warehouse = Warehouse(database=str(tmp_path / "times.duckdb"))
    hold(warehouse, [(number, f"text {number}") for number in range(len(times))])
    sketch_missing(warehouse, DEFAULT)
    for zone in ("Asia/Seoul", "America/New_York"):
        with warehouse.get_connection() as connection:
            connection.execute(f"set TimeZone = '{zone}'")
            for number, time in enumerate(times):
                connection.execute("update cleaned.records set record_time = ? where source_row = ?", [time, number])
            records = connection.sql(RECORDS, params={"sketch": DEFAULT.sketch}).pl()
        records = records.with_columns(quality=pl.lit(None, pl.Float64), override=pl.lit(None, pl.String))
        found = ranked(records, DEFAULT._replace(survivor="newest"))["record_id"].to_list()
        assert found[:6] == [f"r{number}" for number in newest]
        assert set(found[6:]) == {"r4", "r5", "r7"}


def test_without_the_switch_for_exact_ones_copies_are_near_duplicates(tmp_path):
    warehouse = Warehouse(database=str(tmp_path / "copies.duckdb"))
    hold(warehouse, [(1, "the same words here now"), (2, "The same words here NOW.")])
    run(warehouse, DEFAULT._replace(exact=False))
    assert warehouse.query("select similarity, kind from deduped.pairs").rows() == [(1.0, "near")]


def test_what_was_dropped_for_an_erased_record_is_decided_anew(tmp_path):
    """An erasure leaves pairs that point to a tombstone, and no row of the record in deduped.compared."""
    warehouse = Warehouse(database=str(tmp_path / "erased.duckdb"))
    hold(warehouse, list(enumerate(TEXTS)))
    run(warehouse, DEFAULT)
    kept = warehouse.value(
        "select min(matched_record_id) as id from deduped.pairs "
        "where matched_record_id not in (select record_id from deduped.pairs)"
    )
    with warehouse.get_connection() as connection:
        for table in ("compared", "pairs"):
            connection.execute(f"delete from deduped.{table} where record_id = $kept", {"kept": kept})
        connection.execute(
            "update deduped.pairs set matched_record_id = 'erased-1' where matched_record_id = $kept", {"kept": kept}
        )
    left = [(number, text) for number, text in enumerate(TEXTS) if f"r{number}" != kept]
    hold(warehouse, left)
    run(warehouse, DEFAULT)
    assert tables_of(warehouse) == rebuilt(tmp_path, left, DEFAULT)


@pytest.mark.parametrize("survivor", ["longest", "first", "newest", "highest_quality", "source_priority", "drop_all"])
def test_survivors_are_chosen_as_declared_and_the_order_of_records_plays_no_part(tmp_path, survivor):
    chosen = DEFAULT._replace(
        survivor=survivor,
        quality_field="score" if survivor == "highest_quality" else None,
        source_priority=("source2", "source0") if survivor == "source_priority" else (),
    )
    results = []
    for name in ("one", "other"):
        warehouse = Warehouse(
            database=str(tmp_path / f"{name}.duckdb"), connection_config=(("threads", 1 if name == "one" else 2),)
        )
        rows = list(enumerate(TEXTS))
        random.Random(name).shuffle(rows)
        hold(warehouse, rows)
        run(warehouse, chosen)
        results.append(tables_of(warehouse))
    assert results[0] == results[1]
    best = {
        "longest": lambda k: -len(TEXTS[k]),
        "drop_all": lambda k: -len(TEXTS[k]),
        "first": lambda k: k % 3,
        "newest": lambda k: -(k * 7 % 11),
        "highest_quality": lambda k: (-(k * 5 % 7), -len(TEXTS[k])),
        "source_priority": lambda k: ({2: 0, 0: 1, 1: 2}[k % 3], -len(TEXTS[k])),
    }[survivor]
    order = sorted(range(40), key=lambda k: (best(k), f"source{k % 3}", k))
    ranks = warehouse.query("select record_id from deduped.compared order by rank")["record_id"].to_list()
    assert ranks == [f"r{k}" for k in order]
    rank = pl.Series([order.index(k) for k in range(40)]).to_numpy()
    plain = duplicates(pl.Series(TEXTS).to_arrow(), rank, words=2, bands=20, rows=3, min_jaccard=0.6)
    expected = {(f"r{a}", f"r{b}", s, kind) for a, b, s, kind in plain.rows()}
    assert {
        row[:4]
        for row in warehouse.query("select record_id, matched_record_id, similarity, kind from deduped.pairs").rows()
    } == expected
    assert len(expected) > 15


def test_few_long_texts_are_held_at_once(monkeypatch):
    monkeypatch.setattr(duplicate_search, "CHUNK_BYTES", 2_500)
    batch = pa.record_batch({"text": ["x" * 1_000]})
    chunks = duplicate_search._chunks(SimpleNamespace(batches=lambda: iter([batch] * 5)))
    assert [len(chunk) for chunk in chunks] == [3, 2]


def test_a_source_of_which_there_is_no_record_is_named(tmp_path, caplog):
    warehouse = Warehouse(database=str(tmp_path / "sources.duckdb"))
    hold(warehouse, [(0, "one"), (1, "two")])
    run(warehouse, DEFAULT._replace(survivor="source_priority", source_priority=("source1", "sorce0")))
    assert "source_priority names sorce0, of which" in caplog.text


@pytest.mark.parametrize(
    ("survivor", "told"), [("highest_quality", "no record has a score"), ("newest", "no record has a time")]
)
def test_a_survivor_that_finds_nothing_to_rank_by_says_what_it_does_instead(tmp_path, caplog, survivor, told):
    warehouse = Warehouse(database=str(tmp_path / "s.duckdb"))
    hold(warehouse, [(0, "one"), (1, "two")])
    run(warehouse, DEFAULT._replace(survivor="newest"))
    with warehouse.get_connection() as connection:
        connection.execute("update cleaned.records set record_time = null")
    run(warehouse, DEFAULT)
    assert "survivor is" not in caplog.text
    run(warehouse, DEFAULT._replace(survivor=survivor))
    assert f"survivor is {survivor}, and {told}" in caplog.text


def test_a_quality_that_is_not_known_comes_last_and_the_longest_of_those_first_but_people_come_before_all():
    rows = {
        "record_id": ["a", "b", "c", "d"], "text_hash": ["a"] * 4, "source": ["s"] * 4, "source_uri": ["u"] * 4, "source_row": [1, 2, 3, 4],
        "chars": [9, 5, 7, 1], "time": [None] * 4, "number": [None] * 4, "quality": [None, 0.2, None, 0.9],
        "word_hash_high": [0] * 4, "word_hash_low": [0] * 4, "band_keys": [[0]] * 4,
    }  # fmt: skip
    best = DEFAULT._replace(survivor="highest_quality")
    records = pl.DataFrame(rows).with_columns(override=pl.lit(None, pl.String))
    assert ranked(records, best)["record_id"].to_list() == ["d", "b", "a", "c"]
    said = records.with_columns(override=pl.Series([None, None, "keep", "drop"]))
    assert ranked(said, best)["record_id"].to_list() == ["c", "b", "a", "d"]
