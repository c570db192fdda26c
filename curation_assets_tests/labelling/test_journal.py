"""The journal: what `write` has said is saved is there after any kill, and the database gets it once."""

import logging
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timezone

import pytest

from curation_assets.labelling import journal
from curation_assets.labelling.journal import LabelError, columns, fold, journal_path, pending, write


def act(number=0, **changed):
    row = dict.fromkeys(columns()) | {
        "label_id": f"act-{number}",
        "task": "animals",
        "record_id": f"record-{number}",
        "rater": "ana",
        "role": "expert",
        "answer": "label",
        "label": "cat",
        "seconds": 1.5,
        "labelled_at": datetime.now(timezone.utc),
        "origin": "page",
    }
    return row | changed


def folded(warehouse):
    return warehouse.query("select label_id from expert_labels.labels order by label_id")["label_id"].to_list()


def test_what_is_written_is_folded_once(warehouse):
    rows = [act(number, comment="naïve “quotes”\nand lines") for number in range(3)]
    write(warehouse, rows)
    assert [row["label_id"] for row in pending(warehouse)] == ["act-0", "act-1", "act-2"]
    assert not warehouse.path.exists()  # writing does not touch the database
    assert fold(warehouse) == 3
    assert pending(warehouse) == []
    write(warehouse, [rows[0], act(3), act(3)])  # the same act once more, and one twice
    assert fold(warehouse) == 1
    assert fold(warehouse) == 0
    assert folded(warehouse) == ["act-0", "act-1", "act-2", "act-3"]
    stored = warehouse.query("select * from expert_labels.labels where label_id = 'act-1'").row(0, named=True)
    assert stored == rows[1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"role": "boss"}, "role"),
        ({"answer": "maybe"}, "answer"),
        ({"label": "dog"}, "no class"),
        ({"answer": "skip"}, "stands with the answer"),
        ({"label": None}, "stands with the answer"),
        ({"rater": " "}, "rater"),
        ({"seconds": -1.0}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"labelled_at": datetime(2026, 1, 1)}, "time zone"),
        ({"more": 1}, "more"),
    ],
)
def test_an_unsound_act_is_refused_and_nothing_of_its_batch_is_written(warehouse, changed, said):
    with pytest.raises(LabelError, match=said):
        write(warehouse, [act(1), act(2, **changed)], classes=["cat", "bird"])
    assert pending(warehouse) == []


def test_a_torn_line_is_told_and_the_answers_around_it_stay(warehouse, caplog):
    write(warehouse, [act(0)])
    with journal_path(warehouse).open("ab") as file:
        file.write(b'{"label_id":"torn","task":"ani')
    write(warehouse, [act(1)])
    with caplog.at_level(logging.WARNING), _propagating():
        assert fold(warehouse) == 2
    assert "torn" in caplog.text
    assert b"torn" in journal_path(warehouse).with_suffix(".unread").read_bytes()
    assert folded(warehouse) == ["act-0", "act-1"]


def test_an_answer_written_while_a_fold_is_under_way_is_kept(warehouse, monkeypatch):
    write(warehouse, [act(0)])
    was_read, content = threading.Event(), journal._content

    def reading(path):
        found = content(path)
        was_read.set()
        return found

    monkeypatch.setattr(journal, "_content", reading)
    with warehouse.get_connection():  # the fold has read the journal and waits for the database
        folding = threading.Thread(target=fold, args=(warehouse,))
        folding.start()
        assert was_read.wait(300)
        writing = threading.Thread(target=write, args=(warehouse, [act(1)]), daemon=True)
        writing.start()
        writing.join(timeout=120)
        assert not writing.is_alive()  # written although the database is taken
    folding.join(timeout=300)
    assert folded(warehouse) == ["act-0"]
    assert [row["label_id"] for row in pending(warehouse)] == ["act-1"]
    assert fold(warehouse) == 1


def test_a_kill_between_commit_and_shortening_doubles_nothing(warehouse, monkeypatch):
    from curation_assets.labelling import journal

    write(warehouse, [act(0), act(1)])

    def killed(path, size):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(journal, "_drop_first", killed)
        fold(warehouse)
    assert len(pending(warehouse)) == 2
    assert fold(warehouse) == 0
    assert folded(warehouse) == ["act-0", "act-1"]


WRITER = """
import sys
from curation_assets.labelling.journal import fold, write
from curation_assets.warehouse import Warehouse
sys.path.insert(0, sys.argv[3])
from test_journal import act
warehouse = Warehouse(database=sys.argv[1])
for number in range(100_000):
    write(warehouse, [act(f"{sys.argv[2]}-{number}", comment="x" * 5000)])
    print(f"act-{sys.argv[2]}-{number}", flush=True)
"""


def test_two_writers_killed_in_the_middle_lose_nothing_they_were_told_of(warehouse, request):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(warehouse.path), name, str(request.path.parent)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    told = [{writer.stdout.readline().strip() for _ in range(20)} for writer in writers]
    new = fold(warehouse)  # while both write
    for writer, lines in zip(writers, told, strict=True):
        os.kill(writer.pid, signal.SIGKILL)
        # A line cut off by the kill is not taken for told.
        lines |= {line.strip() for line in writer.communicate()[0].splitlines(keepends=True) if line.endswith("\n")}
    assert new + fold(warehouse) >= sum(map(len, told)) >= 40
    assert told[0] | told[1] <= set(folded(warehouse))


class _propagating:
    """pytest reads the log at the root; the command line keeps ours off it."""

    def __enter__(self):
        self.logger = logging.getLogger("curation_assets")
        self.before, self.logger.propagate = self.logger.propagate, True

    def __exit__(self, *problem):
        self.logger.propagate = self.before
