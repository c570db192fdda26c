"""Labels as files: what goes out comes back as it was, each label once, and no row disappears."""

import csv
import json
import re
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from xml.etree import ElementTree

import pytest
from small_label_queue import TASK, labelled_queue
from small_label_queue import TEXTS as WRITTEN
from typer.testing import CliRunner

from curation_assets.labelling import journal
from curation_assets.labelling.label_export import export_items, export_labels, interface_path
from curation_assets.labelling.label_files import ExchangeError
from curation_assets.labelling.label_import import import_labels, rejected_path
from curation_assets.labelling.label_studio import config_xml
from curation_assets.labelling.task import current_task
from curation_assets.stages.label_task import LabelTaskConfig, task_version
from curation_assets.warehouse import Warehouse

CASES = Path(__file__).parents[1] / "cases"
TEXTS = [text.strip() for text in WRITTEN]
ODD = '$odd & "<b>"'
"""The class of the exported cases that XML and Label Studio's $fields would spoil."""


@pytest.fixture(scope="module")
def labelling(tmp_path_factory):
    """A database with a queue of 12 items, their ids and those of their records."""
    folder = tmp_path_factory.mktemp("label_files")
    warehouse = Warehouse(database=str(folder / "queue.duckdb"))
    classes = [*TASK["classes"], {"name": ODD, "definition": "Costs $5 & <more>"}]
    item_ids, record_ids = labelled_queue(warehouse, folder, classes=classes)
    return warehouse.path, item_ids, record_ids


@pytest.fixture
def queue(labelling, tmp_path):
    """A copy of it."""
    path, item_ids, record_ids = labelling
    warehouse = Warehouse(database=str(tmp_path / "queue.duckdb"))
    shutil.copy(path, warehouse.path)
    return warehouse, item_ids, record_ids


def labels(warehouse, columns="record_id, rater, label"):
    return warehouse.query(f"select {columns} from expert_labels.labels order by all").rows()


def standing(warehouse):
    """(record, rater) → the label in force, as the asset decides it."""
    found = warehouse.query(
        "select record_id, rater, label from expert_labels.labels "
        "qualify row_number() over (partition by task, rater, role, record_id order by labelled_at desc, label_id desc) = 1"
    )
    return {(record, rater): label for record, rater, label in found.rows()}


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def written(path, rows):
    names = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, names, delimiter="\t" if path.suffix == ".tsv" else ",")
        table.writeheader()
        table.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_what_is_exported_and_filled_in_comes_back(queue, tmp_path, suffix):
    warehouse, item_ids, record_ids = queue
    path = tmp_path / f"items{suffix}"
    assert export_items(warehouse, path) == 12
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert [row["text"] for row in rows] == TEXTS
    else:
        rows = table(path)
        cells = [row["text"] for row in rows]
        assert cells[3] == f"'{TEXTS[3]}"  # a spreadsheet would have run it
        assert [*cells[:3], *cells[4:]] == [*TEXTS[:3], *TEXTS[4:]]
    assert [row["item_id"] for row in rows] == item_ids
    assert not any(row["label"] or row["rater"] for row in rows)
    assert "predicted_label" not in rows[0]
    given = [("statement", "question", ODD)[place % 3] for place in range(11)]
    for row, label in zip(rows, given, strict=False):
        row |= {"label": label, "rater": "민수 “m”"}
    filled = tmp_path / f"filled{suffix}"
    if suffix == ".jsonl":
        filled.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        written(filled, rows)
    done = import_labels(warehouse, filled)
    assert done[:6] == (11, 0, 1, 0, 0, 0) and not done.rejected
    assert labels(warehouse) == sorted(zip(record_ids, ["민수 “m”"] * 11, given, strict=False))
    assert set(labels(warehouse, "role, answer, origin, guideline_version")) == {
        ("expert", "label", "jsonl" if suffix == ".jsonl" else "csv", current_task(warehouse).guideline_version)
    }
    assert {item for (item,) in labels(warehouse, "item_id")} == set(item_ids[:11])
    before = labels(warehouse, "*")
    again = import_labels(warehouse, filled)
    assert (again.added, again.known) == (0, 11)
    assert labels(warehouse, "*") == before


@pytest.mark.parametrize("named_by", [("record_id",), ("source_record_id",), ("text",)])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_record_is_found_by_any_of_its_names(queue, tmp_path, named_by, suffix):
    warehouse, _, record_ids = queue
    path = tmp_path / f"items{suffix}"
    export_items(warehouse, path)
    rows = table(path) if suffix == ".csv" else [json.loads(line) for line in path.open(encoding="utf-8")]
    kept = [{name: row[name] for name in named_by} | {"label": "question"} for row in rows]
    filled = tmp_path / f"filled{suffix}"
    if suffix == ".csv":
        written(filled, kept)
    else:
        filled.write_text("".join(json.dumps(row) + "\n" for row in kept))
    done = import_labels(warehouse, filled, rater="ana", role="crowd")
    assert (done.added, done.rejected) == (12, [])
    assert labels(warehouse, "record_id, rater, role") == sorted((one, "ana", "crowd") for one in record_ids)


def test_a_text_as_its_owner_wrote_it_is_found_in_a_csv_although_it_looks_like_a_formula(queue, tmp_path):
    warehouse, _, record_ids = queue
    rows = [{"text": TEXTS[3], "label": "statement"}, {"text": TEXTS[9].replace("\n", "\r\n"), "label": "statement"}]
    assert import_labels(warehouse, written(tmp_path / "own.csv", rows), rater="ana").added == 2
    assert set(standing(warehouse)) == {(record_ids[3], "ana"), (record_ids[9], "ana")}


def test_every_row_that_cannot_be_taken_in_is_given_back_with_its_reason(queue, tmp_path):
    warehouse, item_ids, record_ids = queue
    later = (datetime.now(timezone.utc) + timedelta(days=30)).isoformat()
    good = {"item_id": item_ids[0], "label": "question", "rater": "ana"}
    bad = [
        (good | {"label": "Question?"}, "'Question?' is no class"),
        (good | {"rater": " "}, "names no rater"),
        (good | {"item_id": "item-x"}, "no item in the queue of the task has this item_id: item-x"),
        (good | {"item_id": ""}, "all empty"),
        (good | {"item_id": "", "record_id": "r-x"}, "no record in the pool has this record_id: r-x"),
        (good | {"item_id": "", "source_record_id": "s-x"}, "has this source_record_id: s-x"),
        (good | {"item_id": "", "text": '=a "new"\ntext'}, "no record in the pool has this text"),
        (good | {"record_id": record_ids[1]}, "different records"),
        (good | {"role": "boss"}, "the role 'boss'"),
        (good | {"seconds": "-1"}, "seconds is '-1'"),
        (good | {"seconds": "quick"}, "seconds is 'quick'"),
        (good | {"labelled_at": "yesterday"}, "labelled_at is 'yesterday'"),
        (good | {"labelled_at": later}, "not come yet"),
    ]
    rows = [good, *(row for row, _ in bad), good | {"item_id": item_ids[1]}, good | {"item_id": "gone", "label": " "}]
    path = written(tmp_path / "mixed.csv", rows)
    done = import_labels(warehouse, path)
    assert (done.added, done.empty, len(done.rejected)) == (2, 1, len(bad))
    assert set(standing(warehouse)) == {(record_ids[0], "ana"), (record_ids[1], "ana")}
    back = table(rejected_path(path))
    for number, (one, (row, reason)) in enumerate(zip(back, bad, strict=True), 3):
        assert int(one["file_row"]) == number
        assert reason in one["rejected_because"]
        assert one["label"] == row["label"]
    assert back[6]["text"] == '\'=a "new"\ntext'
    # The file of rejected rows can be mended and imported itself.
    for one in back:
        one |= good | {"item_id": item_ids[2], "record_id": "", "role": "", "seconds": "", "labelled_at": ""}
    mended = import_labels(warehouse, written(tmp_path / "mended.csv", back))
    assert (mended.added, mended.known, mended.rejected) == (1, len(bad) - 1, [])


def test_an_owners_id_or_text_of_two_records_is_ambiguous(queue, tmp_path):
    warehouse, _, record_ids = queue
    with warehouse.get_connection() as connection:
        connection.execute(
            "update filtered.records set source_record_id = 'twin', text = 'The same.' where source_record_id in ('text-0', 'text-1')"
        )
    rows = [{"source_record_id": "twin"}, {"text": "The same."}, {"record_id": record_ids[1], "text": "The same."}]
    done = import_labels(
        warehouse, written(tmp_path / "twins.csv", [row | {"label": "question"} for row in rows]), "ana"
    )
    assert [(one.row.number, one.reason[:38]) for one in done.rejected] == [
        (2, "2 records have this source_record_id; "[:38]),
        (3, "2 records have this text; say which by"),
    ]
    assert done.added == 1


def test_an_item_whose_record_left_the_pool_takes_no_label(queue, tmp_path):
    warehouse, item_ids, record_ids = queue
    with warehouse.get_connection() as connection:
        connection.execute("delete from filtered.records where record_id = $id", {"id": record_ids[4]})
    done = import_labels(
        warehouse, written(tmp_path / "gone.csv", [{"item_id": item_ids[4], "label": "question"}]), "ana"
    )
    assert [one.reason for one in done.rejected] == ["its record is no longer in the pool"]
    assert export_items(warehouse, tmp_path / "open.csv") == 11


def test_lines_that_are_no_rows_are_given_back(queue, tmp_path):
    warehouse, item_ids, _ = queue
    good = json.dumps(
        {"item_id": item_ids[0], "label": "question", "comment": "a\u2028b", "seconds": 2}, ensure_ascii=False
    )
    path = tmp_path / "labels.jsonl"
    path.write_text(f"{good}\n\n[1]\n{{broken\n", encoding="utf-8")
    done = import_labels(warehouse, path, "ana")
    assert [(one.row.number, one.reason[:17]) for one in done.rejected] == [
        (3, "the line is no JS"),
        (4, "the line is no JS"),
    ]
    assert labels(warehouse, "comment, seconds") == [("a\u2028b", 2.0)]
    path = tmp_path / "wide.csv"
    path.write_text(f"item_id,label\n{item_ids[1]},question,more\n{item_ids[2]},question,\n")
    done = import_labels(warehouse, path, "ana")
    assert [(one.row.number, "more cells" in one.reason) for one in done.rejected] == [(2, True)]
    assert done.added == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.xlsx", b"PK", "labels come as"),
        ("a.csv", "item_id,label\né,x\n".encode("latin-1"), "UTF-8"),
        ("a.csv", b"item_id,rater\n1,ana\n", "must name the columns"),
        ("a.csv", b"label,rater\nquestion,ana\n", "must name the columns"),
        ("a.csv", b"item_id,label,label\n1,a,b\n", "each once"),
        ("a.csv", b"", "it says nothing"),
        ("a.json", b"{", "no JSON"),
        ("a.json", b'[{"data": {"text": "no annotations"}}]', "no export of Label Studio"),
    ],
)
def test_a_file_that_is_none_of_labels_is_refused_whole(labelling, tmp_path, name, content, said):
    warehouse = Warehouse(database=str(labelling[0]))
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ExchangeError, match=said):
        import_labels(warehouse, path, "ana")
    assert not warehouse.has_table("expert_labels.labels")


def test_who_changed_their_mind_in_a_second_file_has_the_second_label(queue, tmp_path):
    warehouse, item_ids, record_ids = queue

    def file(name, label, **more):
        return written(tmp_path / name, [{"item_id": item_ids[0], "label": label, "rater": "ana"} | more])

    first, second = file("1.csv", "question"), file("2.csv", "statement")
    assert [import_labels(warehouse, path).added for path in (first, second, first, second)] == [1, 1, 0, 0]
    assert standing(warehouse) == {(record_ids[0], "ana"): "statement"}
    # A grown file repeats what stands and adds what is new in it.
    grown = [{"item_id": one, "label": "statement", "rater": "ana"} for one in item_ids[:3]]
    done = import_labels(warehouse, written(tmp_path / "3.csv", grown))
    assert (done.added, done.known) == (2, 1)
    # In one file the later row wins; a label with an old time is history.
    both = [grown[0] | {"label": "question"}, grown[0] | {"label": ODD}]
    assert import_labels(warehouse, written(tmp_path / "4.csv", both)).added == 2
    assert import_labels(warehouse, file("5.csv", "question", labelled_at="2020-01-01T00:00:00Z")).added == 1
    assert standing(warehouse)[record_ids[0], "ana"] == ODD
    # Under a new guideline the same label is a new statement.
    assert import_labels(warehouse, file("6.csv", ODD, guideline_version="new")).added == 1


def test_a_second_file_replaces_an_answer_from_the_page_whose_clock_was_ahead(queue, tmp_path):
    warehouse, item_ids, record_ids = queue
    ahead = datetime.now(timezone.utc) + timedelta(hours=1)
    act = dict.fromkeys(journal.columns()) | {
        "label_id": "p",
        "task": "questions",
        "record_id": record_ids[0],
        "rater": "ana",
    }
    act |= {"role": "expert", "answer": "label", "label": "question", "labelled_at": ahead, "origin": "page"}
    journal.write(warehouse, [act])
    rows = [{"item_id": item_ids[0], "label": "question"}]
    assert import_labels(warehouse, written(tmp_path / "same.csv", rows), "ana").known == 1
    rows[0]["label"] = "statement"
    assert import_labels(warehouse, written(tmp_path / "other.csv", rows), "ana").added == 1
    assert standing(warehouse) == {(record_ids[0], "ana"): "statement"}


def test_only_open_items_go_out_and_not_what_the_rater_answered(queue, tmp_path):
    warehouse, item_ids, _ = queue
    rows = [
        {"item_id": item_ids[0], "rater": "ana"},
        {"item_id": item_ids[0], "rater": "ben"},
        {"item_id": item_ids[1], "rater": "ana"},
    ]
    import_labels(warehouse, written(tmp_path / "given.csv", [row | {"label": "question"} for row in rows]))
    assert export_items(warehouse, tmp_path / "all.csv") == 11
    assert export_items(warehouse, tmp_path / "ana.csv", rater="ana") == 10
    assert {row["rater"] for row in table(tmp_path / "ana.csv")} == {"ana"}
    with pytest.raises(ExchangeError, match="is there already"):
        export_items(warehouse, tmp_path / "all.csv")
    with pytest.raises(ExchangeError, match="must end in"):
        export_items(warehouse, tmp_path / "all.xlsx")


def test_an_owners_id_that_is_an_address_does_not_go_out(queue, tmp_path):
    warehouse = queue[0]
    with warehouse.get_connection() as connection:
        connection.execute(
            "update filtered.records set source_record_id = 'jane@example.org' where source_record_id = 'text-0'"
        )
    export_items(warehouse, tmp_path / "items.csv")
    rows = table(tmp_path / "items.csv")
    assert [row["source_record_id"] for row in rows[:2]] == ["[EMAIL]", "text-1"]
    filled = written(tmp_path / "filled.csv", [rows[0] | {"label": "question"}])
    assert import_labels(warehouse, filled, "ana").added == 1
    export_labels(warehouse, tmp_path / "labels.csv")
    assert [row["source_record_id"] for row in table(tmp_path / "labels.csv")] == ["[EMAIL]"]


def test_exported_labels_are_known_here_and_new_elsewhere(queue, labelling, tmp_path):
    warehouse, item_ids, _ = queue
    comment = '-1 "quoted"\nsecond line\r\nthird, with 한국어'
    rows = [
        {"item_id": one, "label": ODD, "rater": who, "comment": comment, "seconds": "2.5"}
        for one in item_ids[:4]
        for who in "ab"
    ]
    import_labels(warehouse, written(tmp_path / "given.tsv", rows), role="adjudicator")
    for suffix in (".csv", ".jsonl"):
        path = tmp_path / f"labels{suffix}"
        assert export_labels(warehouse, path) == 8
        assert import_labels(warehouse, path)[:2] == (0, 8)
        other = Warehouse(database=str(tmp_path / f"other{suffix[1:]}.duckdb"))
        shutil.copy(labelling[0], other.path)
        assert import_labels(other, path)[:2] == (8, 0)
        same = "item_id, rater, role, label, comment, seconds, labelled_at, guideline_version"
        assert labels(other, same) == labels(warehouse, same)


def test_label_studios_export_comes_back(queue):
    """The case is what a Label Studio 1.23.2 server exported of tasks made by export_items: two raters, one of whom changed a label."""
    warehouse, _, record_ids = queue
    done = import_labels(warehouse, CASES / "label_studio_export.json")
    assert done[:6] == (14, 0, 1, 1, 1, 0) and not done.rejected
    q, s = "question", "statement"
    first = dict(zip(record_ids, [q, s, ODD, s, s, s, q, s, q, s], strict=False))
    second = {record_ids[place]: label for place, label in ((0, q), (1, q), (3, s), (6, s))}
    assert standing(warehouse) == {
        **{(one, "a@example.org"): label for one, label in first.items()},
        **{(one, "c@example.org"): label for one, label in second.items()},
    }
    found = warehouse.query("select * from expert_labels.labels where rater = 'a@example.org'").rows_by_key(
        "record_id", named=True, unique=True
    )
    assert found[record_ids[6]]["comment"] == "물음표가 없지만 “question”,\nsee line 2"
    assert found[record_ids[6]]["seconds"] == 10.25
    assert found[record_ids[3]]["seconds"] is None  # 5000: nobody looked at it for so long
    assert found[record_ids[0]]["labelled_at"].tzinfo and found[record_ids[0]]["origin"] == "label_studio"
    assert found[record_ids[0]]["guideline_version"] == current_task(warehouse).guideline_version
    # The same annotations from the other format, where raters are numbers, are the same annotations.
    minimal = import_labels(warehouse, CASES / "label_studio_export_min.json")
    assert (minimal.added, minimal.known, minimal.rejected) == (0, 14, [])
    assert import_labels(warehouse, CASES / "label_studio_export.json").known == 14


def test_label_studios_short_format_says_the_same(queue, labelling, tmp_path):
    warehouse, other = queue[0], Warehouse(database=str(tmp_path / "other.duckdb"))
    shutil.copy(labelling[0], other.path)
    import_labels(warehouse, CASES / "label_studio_export.json")
    assert import_labels(other, CASES / "label_studio_export_min.json").added == 14
    same = "record_id, label, comment, seconds, labelled_at"
    assert labels(other, same) == labels(warehouse, same)
    assert {rater for (rater,) in labels(other, "rater")} == {"label-studio-1", "label-studio-3"}


def test_an_annotation_with_two_choices_is_given_back(queue, tmp_path):
    tasks = json.loads((CASES / "label_studio_export.json").read_text(encoding="utf-8"))
    tasks[0]["annotations"][0]["result"][0]["value"]["choices"].append("statement")
    tasks[1]["annotations"][0]["comments"] = [{"text": "from the side panel"}]
    path = tmp_path / "two.json"
    path.write_text(json.dumps(tasks))
    done = import_labels(queue[0], path)
    assert done.added == 13
    assert [one.reason for one in done.rejected] == ["it has 2 choices and a label is one: question, statement"]
    assert ("from the side panel",) in labels(queue[0], "comment")


def test_what_label_studio_gets_hides_the_guess_and_is_exact(queue, tmp_path):
    warehouse, item_ids, record_ids = queue
    path = tmp_path / "tasks.json"
    assert export_items(warehouse, path, label_studio=True) == 12
    tasks = [task["data"] for task in json.loads(path.read_text(encoding="utf-8"))]
    assert [task["text"] for task in tasks] == TEXTS
    assert [task["item_id"] for task in tasks] == item_ids
    assert tasks[0]["partner_text"] == TEXTS[1] and tasks[0]["partner_record_id"] == record_ids[1]
    assert not re.search(r"predict|0\.6173|reason", path.read_text(encoding="utf-8"))
    view = ElementTree.parse(interface_path(path)).getroot()
    assert [one.get("alias") for one in view.iter("Choice")] == ["statement", "question", ODD]
    # `$word` in an attribute is a field of the task to Label Studio; only the two texts are.
    shown = [
        value
        for one in view.iter()
        for name, value in one.attrib.items()
        if name != "alias" and re.search(r"\$\w", value)
    ]
    assert shown == ["$text", "$partner_text"]
    headers = [one.get("value") for one in view.iter("Header")]
    assert headers[:2] == [
        "# Question or statement?",
        "Would one **answer** it? Then it is a *question*, with or without its mark.",
    ]
    assert config_xml(current_task(warehouse)) == interface_path(path).read_text(encoding="utf-8")


def test_the_commands_say_what_they_did(queue, tmp_path):
    from curation_assets.cli import app

    warehouse, item_ids, _ = queue

    def run(*arguments):
        found = CliRunner().invoke(app, ["label", *map(str, arguments), "--database", str(warehouse.path)])
        return found.exit_code, found.output

    path = tmp_path / "items.csv"
    code, said = run("export", path)
    assert code == 0 and "12 items want labels" in said
    assert run("export", path)[0] == 2
    rows = [{"item_id": item_ids[0], "label": "question"}, {"item_id": item_ids[1], "label": "nonsense"}]
    written(path, rows)
    code, said = run("import", path, "--rater", "ana", "--role", "crowd")
    assert code == 1
    assert (
        "1 labels are new" in said and "row 3: 'nonsense' is no class" in said and f"{path.name}.rejected.csv" in said
    )
    assert labels(warehouse, "rater, role") == [("ana", "crowd")]
    written(path, rows[:1])
    assert run("import", path, "--rater", "ana", "--role", "crowd")[0] == 0
    code, said = run("export", tmp_path / "labels.jsonl", "--labels")
    assert code == 0 and "1 labels are in" in said
    code, said = run("export", tmp_path / "tasks.json", "--format", "label-studio")
    assert code == 0 and "tasks.xml" in said.replace("\n", "")
    code, said = run("report")
    assert code == 0 and "no report on questions yet" in said


def test_files_of_before_and_after_a_class_was_renamed_say_the_same(queue, tmp_path):
    """A file written under the old name comes back as nothing new, and a late answer in it counts under the new one."""
    warehouse, item_ids, record_ids = queue
    rows = [
        {"item_id": item, "label": label, "rater": "ann"}
        for item, label in zip(item_ids[:3], ("question", "statement", "question"), strict=True)
    ]
    import_labels(warehouse, written(tmp_path / "given.csv", rows))
    before = tmp_path / "before.csv"
    assert export_labels(warehouse, before) == 3

    statement, question, *_ = current_task(warehouse).classes
    classes = [
        {"name": statement.name, "definition": statement.definition},
        {"name": "asks", "definition": question.definition, "renamed_from": ["question"]},
        {"name": ODD, "definition": "Costs $5 & <more>"},
    ]
    warehouse.append("label_task.tasks", task_version(LabelTaskConfig(**TASK | {"classes": classes, "examples": []})))
    after = tmp_path / "after.csv"
    assert export_labels(warehouse, after) == 3
    assert [row["label"] for row in table(before)] == ["question", "statement", "question"]
    assert [row["label"] for row in table(after)] == ["asks", "statement", "asks"]
    for path in (before, after):
        done = import_labels(warehouse, path)
        assert (done.added, done.known, done.rejected) == (0, 3, [])
    late = import_labels(
        warehouse,
        written(tmp_path / "late.csv", [{"item_id": item_ids[3], "label": "question", "rater": "ann"}]),
    )
    assert (late.added, late.rejected) == (1, [])
    assert standing(warehouse)[record_ids[3], "ann"] == "asks"
