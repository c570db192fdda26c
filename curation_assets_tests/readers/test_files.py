"""Files of every format and compression, whole and damaged: each good row arrives, each bad one says where and why."""

import csv
import gzip
import io
import json
import random
import tracemalloc
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.readers import RECORDS, REJECTS, Source, SourceError, file_hash, files, read

COMPRESS = {"": lambda data: data, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
ROWS = [{"id": f"a{i}", "text": f"Größe 데이터 {i}, “quoted”\nline two", "label": "x"} for i in range(250)]


def read_all(path, batch_bytes=16 << 20, **options):
    """Read a source whole: its records, rejects and notes."""
    source = Source("test", str(path), **options)
    records, rejects, notes = [], [], []
    for file in files(source):
        for batch in read(source, file, batch_bytes):
            assert batch.records.schema.equals(RECORDS)
            assert batch.rejects.schema.equals(REJECTS)
            batch.records.validate(full=True)
            batch.rejects.validate(full=True)
            records += batch.records.to_pylist()
            rejects += batch.rejects.to_pylist()
            notes += batch.notes
    return records, rejects, notes


def written(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def encode(rows, suffix):
    """Write rows in one format."""
    if suffix in (".jsonl", ".ndjson"):
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if suffix == ".json":
        return json.dumps(rows, ensure_ascii=False, indent=1).encode()
    if suffix == ".parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=60)
        return sink.getvalue()
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter="\t" if suffix == ".tsv" else ",")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


# --- what arrives ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"])
def test_every_format_and_compression_reads_back(tmp_path, suffix, compression):
    path = written(tmp_path, f"rows{suffix}{compression}", COMPRESS[compression](encode(ROWS, suffix)))
    records, rejects, notes = read_all(path)
    assert rejects == []
    assert notes == []
    assert [r["text"] for r in records] == [row["text"] for row in ROWS]
    assert [r["source_record_id"] for r in records] == [row["id"] for row in ROWS]
    assert all(r["has_owner_id"] and r["label"] == "x" and r["kind"] == "document" for r in records)
    assert [json.loads(r["original"]) for r in records] == ROWS
    # In CSV each record takes two physical lines after the header; elsewhere rows are counted from 1.
    rows = range(2, 502, 2) if suffix in (".csv", ".tsv") else range(1, 251)
    assert [r["source_row"] for r in records] == list(rows)


@pytest.mark.parametrize("compression", COMPRESS)
def test_texts_lines_and_html(tmp_path, compression):
    data = COMPRESS[compression]("\ufeffone\r\n\r\ntwo".encode())
    text, _, _ = read_all(written(tmp_path, f"a.txt{compression}", data))
    assert [(r["text"], r["source_row"], r["source_record_id"]) for r in text] == [
        ("one\r\n\r\ntwo", 1, f"a.txt{compression}:1")
    ]
    assert json.loads(text[0]["original"]) == text[0]["text"]
    lines, _, notes = read_all(tmp_path / f"a.txt{compression}", format="lines", text_field="ignored")
    assert [(r["text"], r["source_row"], r["has_owner_id"]) for r in lines] == [("one", 1, False), ("two", 3, False)]
    assert notes == [f"a.txt{compression}: 1 blank line passed over."]
    html, _, _ = read_all(written(tmp_path, f"b.htm{compression}", COMPRESS[compression](b"<p>a fragment</p>")))
    assert html[0]["kind"] == "html"


def test_originals_are_verbatim(tmp_path):
    lines = ['{"text":"a",  "n": 1.50}', '{ "text" : "\\u00e9", "n":1e2, "text2":null }', '{"text": "b", "n": 1}']
    records, _, _ = read_all(written(tmp_path, "a.jsonl", "\r\n".join(lines)))
    assert [r["original"] for r in records] == lines
    records, _, _ = read_all(written(tmp_path, "b.json", "\n [ " + " ,\n".join(lines) + "\n]\n"))
    assert [r["original"] for r in records] == lines
    records, _, _ = read_all(written(tmp_path, "c.json", '{"v": {"data": 1}, "data": [' + ", ".join(lines) + "]}"))
    assert [r["original"] for r in records] == lines


def test_a_json_file_of_lines_or_of_one_object(tmp_path):
    records, rejects, _ = read_all(written(tmp_path, "lines.json", '{"text": "a"}\n{"text": bad}\n{"text": "c"}\n'))
    assert [r["text"] for r in records] == ["a", "c"]
    assert [r["source_row"] for r in rejects] == [2]
    records, _, notes = read_all(
        written(tmp_path, "wrapped.json", '{"version": 1, "data": [{"text": "a"}, {"text": "b"}]}')
    )
    assert [r["text"] for r in records] == ["a", "b"]
    assert notes == ["wrapped.json: the file is one object, and its records are the list under 'data'."]
    chat = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}'
    records, _, _ = read_all(written(tmp_path, "chat.json", chat))
    assert [(r["kind"], r["text"]) for r in records] == [("chat", "Hi\nHello")]
    _, rejects, _ = read_all(written(tmp_path, "two.json", '{"a": [{"text": "a"}], "b": [{"text": "b"}]}'))
    assert "several lists of objects ('a', 'b')" in rejects[0]["reason"]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda t: t.strip()
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries({"id": TEXT, "text": TEXT}), min_size=1, max_size=8), ascii=st.booleans())
def test_any_records_read_back_from_any_format(tmp_path_factory, rows, ascii):
    tmp_path = tmp_path_factory.mktemp("any")
    expected = [(row["id"], row["text"]) for row in rows]
    dumped = [json.dumps(row, ensure_ascii=ascii) for row in rows]
    data = {
        "a.jsonl": "\n".join(dumped).encode(),
        "a.json": ("[" + ",".join(dumped) + "]").encode(),
        "a.parquet": encode(rows, ".parquet"),
    }
    # A carriage return alone ends a line for some CSV writers; Python's quotes it, and so it reads back.
    data["a.csv"] = encode(rows, ".csv")
    for name, stored in data.items():
        records, rejects, _ = read_all(written(tmp_path, name, stored))
        assert rejects == [], name
        assert [(r["source_record_id"], r["text"]) for r in records] == expected, name
    assert [r["original"] for r in read_all(tmp_path / "a.json")[0]] == dumped


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(['{"id":1,"body":"a"}', '{"id":2,"body":"bb"}', '{"body":""}', "{", "", "[1]", '{"body":"c"}'])
    ),
    batch_bytes=st.integers(1, 200),
    suffix=st.sampled_from([".jsonl", ".json"]),
)
def test_batches_change_nothing(tmp_path_factory, lines, batch_bytes, suffix):
    data = "\n".join(lines) if suffix == ".jsonl" else "[" + ",".join(line for line in lines if line) + "]"
    path = written(tmp_path_factory.mktemp("batches"), f"a{suffix}", data)
    assert read_all(path, batch_bytes) == read_all(path)


def test_a_json_array_is_read_in_pieces(tmp_path):
    # Elements larger than a read, and cuts inside strings, escapes, numbers and characters of several bytes.
    elements = [{"text": 'é\\"[{ ' * random.Random(i).randrange(1, 400_000), "n": i * 111_111} for i in range(12)]
    records, rejects, _ = read_all(written(tmp_path, "a.json", json.dumps(elements, ensure_ascii=False)))
    assert rejects == []
    assert [json.loads(r["original"]) for r in records] == elements


# --- which files ----------------------------------------------------------------------------------------------------


def test_uris_are_the_same_on_every_machine(tmp_path):
    for name in ("b/2.jsonl", "b/deep/er.jsonl.gz", "a.jsonl", "notes.rst", ".hidden/x.jsonl", "b/.y.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")

    def uris(path):
        return [file.uri for file in files(Source("s", str(path)))]

    assert uris(tmp_path / "**/*.jsonl") == ["a.jsonl", "b/2.jsonl"]
    assert uris(tmp_path / "b" / "*") == ["2.jsonl"]
    assert uris(tmp_path / "?" / "2.jsonl") == ["b/2.jsonl"]
    assert uris(tmp_path) == ["a.jsonl", "b/2.jsonl", "b/deep/er.jsonl.gz"]
    assert uris(tmp_path / "b/2.jsonl") == ["2.jsonl"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(tmp_path):
    written(tmp_path, "part[1].jsonl", "{}")
    assert [file.uri for file in files(Source("s", str(tmp_path / "part[1].jsonl")))] == ["part[1].jsonl"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"path": "no/such.jsonl"}, "there is no file no/such.jsonl"),
        ({"path": "no/such/*.jsonl"}, "matches no file (there is no folder no/such)"),
        ({"path": "."}, "has no file we know by its suffix"),
        ({"path": "x", "format": "xml"}, "format 'xml' is unknown; choose one of jsonl"),
        ({"path": "x", "text_field": "a", "text_template": "{a}"}, "not both"),
        ({"path": "x", "text_template": "{a.b}"}, "plain field names only"),
        ({"path": "x", "quoting": "all"}, "choose minimal or none"),
        ({"path": "x", "encoding": "utf-9"}, "unknown to Python"),
        ({"path": "x", "max_records": 5}, "files are read whole"),
        ({"path": "python_environment", "parts": ("licenses",)}, "choose from descriptions"),
    ],
)
def test_a_source_that_cannot_be_read_says_so(tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=r"^Source 'mine': ") as raised:
        files(Source("mine", **options))
    assert says in str(raised.value)


def test_file_hash_is_of_the_stored_bytes(tmp_path):
    path = written(tmp_path, "a.txt", b"abc")
    assert file_hash(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1


# --- bad input ------------------------------------------------------------------------------------------------------

GOOD = '{"text": "good"}'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"text": "broken', "line 2: it is not valid JSON: unexpected end of data at character 17."),
        (b"[1, 2]", "line 2: it is an array, not an object with fields."),
        (b'"just text"', "line 2: it is a string, not an object"),
        (b'{"text": 5}', "line 2: the field 'text' is a number, not a string"),
        (b'{"text": null, "a": 1}', "line 2: the field 'text' is null; the record's fields are 'text', 'a'."),
        (b'{"txt": "a", "n": 1}', "line 2: it has no field 'text'; its fields are 'txt', 'n'."),
        (b'{"text": " \\n"}', "line 2: the text is empty."),
        (b'{"text": "caf\xe9"}', "line 2: it is not valid UTF-8: byte 14 of the line is \\xe9."),
        (b'{"text": "a\0b"}', "line 2: byte 12 of the line is a NUL."),
        (b'{"text": "a\\u0000b"}', "line 2: it holds a NUL character"),
        (b'{"text": "\\ud800"}', "line 2: it holds a lone surrogate escape, such as \\ud800"),
        (b'{"text": "a", "n": NaN}', "line 2: it holds NaN or Infinity (character 20)"),
        (b'{"text": ' + b"[" * 5000, "line 2: it is not valid JSON"),
    ],
)
def test_one_bad_line_is_told_and_the_others_go_on(tmp_path, line, says):
    path = written(tmp_path, "bad.jsonl", b"\n".join([GOOD.encode(), line, GOOD.encode()]))
    records, rejects, _ = read_all(path)
    assert [r["source_row"] for r in records] == [1, 3]
    [reject] = rejects
    assert reject["reason"].startswith("bad.jsonl, ")
    assert says in reject["reason"]
    assert (reject["source_uri"], reject["source_row"]) == ("bad.jsonl", 2)
    assert reject["excerpt"].startswith(line[:10].decode())


def test_the_same_holds_inside_a_json_array(tmp_path):
    bad = [b'"text"', b'{"text": "caf\xe9"}', b'{"text": "\\ud800"}', b'{"text": NaN}', b'{"text": "\0"}', b"7"]
    path = written(tmp_path, "bad.json", b"[" + b", ".join([GOOD.encode(), *bad, GOOD.encode()]) + b"]")
    records, rejects, _ = read_all(path)
    assert [r["source_row"] for r in records] == [1, 8]
    assert [r["source_row"] for r in rejects] == [2, 3, 4, 5, 6, 7]
    assert "bad.json, element 3: it is not valid UTF-8: byte 14 of the element is \\xe9." in [
        r["reason"] for r in rejects
    ]
    assert rejects[1]["excerpt"] == '{"text": "caf\\xe9"}'


@pytest.mark.parametrize("tail", ['{"text": oops}, ' + GOOD + "]", '{"text": "cut', "", '{"text": "a"} {"text": "b"}]'])
def test_a_broken_json_array_keeps_what_came_before(tmp_path, tail):
    records, rejects, _ = read_all(written(tmp_path, "a.json", f"[{GOOD}, {GOOD}, " + tail))
    assert [r["source_row"] for r in records[:2]] == [1, 2]
    [reject] = rejects
    assert reject["source_row"] == len(records) + 1
    assert "the JSON array breaks off" in reject["reason"]
    assert "what came before is read, what followed is lost" in reject["reason"]


def test_a_100_mb_line_is_passed_over_and_never_held(tmp_path):
    path = tmp_path / "long.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(GOOD.encode() + b'\n{"text": "')
        for _ in range(100):
            out.write(b"x" * 1_000_000)
        out.write(b'"}\n' + GOOD.encode())
    tracemalloc.start()
    records, rejects, _ = read_all(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [r["source_row"] for r in records] == [1, 3]
    assert rejects[0]["reason"] == (
        "long.jsonl.gz, line 2: its 100,000,012 bytes are over max_record_bytes (16,777,216);"
        " it begins at byte 17 of the file."
    )
    assert len(rejects[0]["excerpt"]) == 1_000
    assert peak < 60e6


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".txt"])
def test_a_record_over_the_limit_is_told_in_every_format(tmp_path, suffix):
    rows = [{"text": "a"}, {"text": "b" * 3000}, {"text": "c"}]
    data = b"d" * 3000 if suffix == ".txt" else encode(rows, suffix)
    records, rejects, _ = read_all(written(tmp_path, f"a{suffix}", data), max_record_bytes=2000)
    assert [r["text"] for r in records] == ([] if suffix == ".txt" else ["a", "c"])
    assert len(rejects) == 1
    assert "over max_record_bytes (2,000)" in rejects[0]["reason"]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "lines", "text", "html", "parquet"])
@pytest.mark.parametrize("compression", COMPRESS)
def test_an_empty_file_is_a_note(tmp_path, suffix, compression):
    if suffix == "parquet":
        data = io.BytesIO()
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), data)
        data = data.getvalue()
    else:
        data = b""
    path = written(tmp_path, f"none.txt{compression}", COMPRESS[compression](data))
    records, rejects, notes = read_all(path, format=suffix)
    assert (records, rejects) == ([], [])
    assert notes == [f"none.txt{compression}: it is empty, there is no record in it."]


@pytest.mark.parametrize("compression", [".gz", ".zst"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_a_truncated_file_keeps_the_rows_before_the_cut(tmp_path, suffix, compression):
    random_text = random.Random(0)
    rows = [{"text": "".join(random_text.choices("abcdefghij ", k=900)) + "."} for _ in range(3_000)]
    data = COMPRESS[compression](encode(rows, suffix))
    records, rejects, _ = read_all(written(tmp_path, f"cut{suffix}{compression}", data[: len(data) // 2]))
    assert 1_000 < len(records) < 2_000
    assert [r["text"] for r in records] == [row["text"] for row in rows[: len(records)]]
    [reject] = rejects
    assert reject["source_row"] == len(records) + (2 if suffix == ".csv" else 1)
    assert (
        f" data are cut off at {'element' if suffix == '.json' else 'line'} {reject['source_row']};" in reject["reason"]
    )


def test_only_the_end_of_the_gzip_is_missing(tmp_path):
    data = gzip.compress(f"{GOOD}\n{GOOD}".encode())
    records, rejects, _ = read_all(written(tmp_path, "a.jsonl.gz", data[:-8]))
    assert [r["source_row"] for r in records] == [1, 2]
    assert "cut off" in rejects[0]["reason"]
    flipped = data[:-8] + bytes(4) + data[-4:]
    records, rejects, _ = read_all(written(tmp_path, "b.jsonl.gz", flipped))
    assert "the gzip data are damaged" in rejects[0]["reason"]


def test_compression_is_told_by_the_bytes(tmp_path):
    records, _, _ = read_all(
        written(tmp_path, "a.jsonl", gzip.compress(GOOD.encode()) + gzip.compress(b"\n" + GOOD.encode()))
    )
    assert len(records) == 2
    records, rejects, _ = read_all(written(tmp_path, "b.jsonl.gz", GOOD))
    assert records == []
    assert rejects[0]["reason"] == "b.jsonl.gz: it is named as gzip but its bytes are not gzip."


def test_byte_order_marks_and_other_encodings(tmp_path):
    table = 'id,text\n1,"Größe, 데이터"\n'
    for name, data, options in [
        ("bom.csv", table.encode("utf-8-sig"), {}),
        ("excel.csv", table.encode("utf-16"), {}),
        ("be.csv", table.encode("utf-16-be"), {"encoding": "utf-16-be"}),
    ]:
        records, rejects, _ = read_all(written(tmp_path, name, data), **options)
        assert ([(r["source_record_id"], r["text"]) for r in records], rejects) == ([("1", "Größe, 데이터")], [])
    for suffix in (".jsonl", ".json", ".tsv"):
        stored = encode([{"text": "한국어 댓글"}], suffix).decode().encode("cp949")
        records, rejects, _ = read_all(written(tmp_path, f"ko{suffix}", stored), encoding="cp949")
        assert ([r["text"] for r in records], rejects) == (["한국어 댓글"], [])
        assert json.loads(records[0]["original"]) == {"text": "한국어 댓글"}
        _, rejects, _ = read_all(tmp_path / f"ko{suffix}")
        assert "UTF-8" in rejects[0]["reason"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("3", "line 3: it has 1 fields where the header has 2."),
        ("3,a,b", "line 3: it has 3 fields where the header has 2."),
        ('3,"he said "no" to me"', "line 3: a quote inside a quoted field is not doubled; if quotes mean nothing"),
        (
            '3,"open',
            "line 3: a quote is opened in it that runs on to line 4 and has text after its end there; if quotes",
        ),
        ("3,a\0b", "line 3: byte 4 of line 3 is a NUL."),
        ("3,", "line 3: the text is empty."),
        (b"3,caf\xe9", "line 3: it is not valid UTF-8: byte 6 of the line is \\xe9."),
    ],
)
def test_one_bad_row_of_csv(tmp_path, row, says):
    row = row if isinstance(row, bytes) else row.encode()
    path = written(tmp_path, "bad.csv", b"id,text\n2,two\n" + row + b'\n4,"fo\nur"\n6,six\n')
    records, rejects, _ = read_all(path)
    assert [(r["source_row"], r["text"]) for r in records] == [(2, "two"), (4, "fo\nur"), (6, "six")]
    [reject] = rejects
    assert says in reject["reason"]


def test_a_quote_never_closed_costs_one_row(tmp_path):
    many = "".join(f"{i},text {i}\n" for i in range(500))
    records, rejects, _ = read_all(written(tmp_path, "a.csv", 'id,text\n1,"open\n' + many))
    assert [r["text"] for r in records] == [f"text {i}" for i in range(500)]
    assert "line 2: a quote is opened in it and never closed" in rejects[0]["reason"]
    records, rejects, _ = read_all(tmp_path / "a.csv", max_record_bytes=1_000)
    assert (len(records), len(rejects)) == (500, 1)
    assert "not closed within max_record_bytes" in rejects[0]["reason"]


def test_quotes_as_plain_characters(tmp_path):
    records, rejects, _ = read_all(written(tmp_path, "a.tsv", 'text\tn\n"open\t1\na "b\t2\n'), quoting="none")
    assert ([r["text"] for r in records], rejects) == (['"open', 'a "b'], [])


def test_csv_headers(tmp_path):
    records, _, notes = read_all(written(tmp_path, "a.csv", "text,,text\na,1,b\n"))
    assert json.loads(records[0]["original"]) == {"text": "a", "column_2": "1", "text_2": "b"}
    assert notes == ["a.csv: header names that are empty or come twice are read as 'column_2', 'text_2'."]
    _, _, notes = read_all(written(tmp_path, "b.csv", "1,A first review.\n2,A second one.\n"))
    assert (
        notes[0] == "b.csv: its first line reads like data ('1', 'A first review.'); if it has no header, put one in."
    )
    records, _, notes = read_all(written(tmp_path, "c.csv", "id;text\n1;eins\n"))
    assert (records[0]["text"], notes) == ("eins", ["c.csv: its fields are separated by semicolons, not commas."])
    records, rejects, _ = read_all(written(tmp_path, "d.csv", "id,body\n1,a\n2,b\n"), text_field="text")
    assert (records, [r["source_row"] for r in rejects]) == ([], [None])
    assert rejects[0]["reason"] == "d.csv: its header has no column 'text'; it has 'id', 'body'."


def test_parquet_with_another_schema_does_not_stop_the_others(tmp_path):
    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"body": ["a"], "n": [1]}), tmp_path / "2.parquet")
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "3.parquet")
    whole = encode(ROWS, ".parquet")
    written(tmp_path, "4.parquet", whole[: len(whole) // 2])
    written(tmp_path, "5.parquet", whole)
    records, rejects, _ = read_all(tmp_path / "*.parquet", text_field="text")
    assert len(records) == 1 + len(ROWS)
    assert [(r["source_uri"], r["source_row"]) for r in rejects] == [
        ("1.parquet", 2),
        ("2.parquet", None),
        ("3.parquet", None),
        ("4.parquet", None),
    ]
    assert rejects[1]["reason"] == "2.parquet: it has no column 'text'; it has 'body', 'n'."
    assert rejects[2]["reason"] == "3.parquet: its column 'text' is int64, not string."
    assert "damaged, or not Parquet" in rejects[3]["reason"]


def test_parquet_damaged_inside_keeps_the_other_rows(tmp_path):
    rows = [{"text": f"{random.Random(i).random()} " * 20} for i in range(9_000)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=3_000, use_dictionary=False)
    data = bytearray(sink.getvalue())
    start = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(0).data_page_offset
    data[start : start + 200] = b"\xff" * 200
    records, rejects, _ = read_all(written(tmp_path, "a.parquet", bytes(data)))
    assert [r["text"] for r in records] == [row["text"] for row in rows[:3_000] + rows[6_000:]]
    assert records[-1]["source_row"] == 9_000
    assert [r["source_row"] for r in rejects] == [3_001]
    assert "a.parquet: a damaged part of the file, its rows 3001 to 6000, can't be read" in rejects[0]["reason"]


def test_parquet_values_of_all_kinds_become_json(tmp_path):
    bad_utf8 = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff\xfe"], pa.binary()).buffers())
    table = pa.table(
        {
            "text": bad_utf8,
            "created": pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "UTC")),
            "price": pa.array([Decimal("1.50"), None]),
            "blob": pa.array([b"\x00\xff", None]),
            "tags": pa.array([["a", None], []], pa.list_(pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    records, rejects, _ = read_all(tmp_path / "a.parquet")
    assert records[0]["record_time"] == "2023-11-14T22:13:20.123456+00:00"
    original = json.loads(records[0]["original"])
    assert (original["price"], original["blob"], original["tags"]) == ("1.50", "\0\\xff", ["a", None])
    assert [r["source_row"] for r in rejects] == [2]
    assert "byte 1 of the column 'text' is \\xff" in rejects[0]["reason"]
    assert rejects[0]["excerpt"] == "\\xff\\xfe"


def test_owner_ids_given_twice_are_told_and_all_rows_stay(tmp_path):
    ids = ["a", "b", "a", "c", "b", "d", "c", "d", "a", None]
    rows = [{"text": "t", **({"id": i} if i else {})} for i in ids]
    for batch_bytes in (1, 60, 1 << 20):
        records, rejects, notes = read_all(written(tmp_path, "a.jsonl", encode(rows, ".jsonl")), batch_bytes)
        assert (len(records), rejects) == (10, [])
        assert notes == [
            "a.jsonl: owner ids repeat, 5 records in all: 'a' (rows 1 and 3), 'b' (rows 2 and 5), 'c' (rows 4 and 7);"
            " every record stays.",
            "a.jsonl: no owner id in 1 record (first: row 10); file:row stands in for it.",
        ]
    assert records[-1]["source_record_id"] == "a.jsonl:10"


def test_an_unknown_suffix_is_a_text_and_said(tmp_path):
    records, _, notes = read_all(written(tmp_path, "README.rst", "A title\n"))
    assert [r["text"] for r in records] == ["A title\n"]
    assert notes == [
        "README.rst: the suffix '.rst' is unknown, so the whole file is one text; give the source a format if it holds"
        " many records."
    ]
