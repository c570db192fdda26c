"""Folders that are there whole or not at all, and what `verify` finds in one that was touched."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from curation_assets.releasing import manifest as manifests
from curation_assets.releasing.data_files import RUN_ROWS, Placed, Rows
from curation_assets.releasing.folder import FolderExists, clear, draft, place
from curation_assets.releasing.verify import NoRelease, verify


def small_release(folder):
    """A folder with two files of data, a card and a manifest that is right."""
    data = folder / "data" / "text"
    data.mkdir(parents=True)
    pa.parquet.write_table(pa.table({"text": ["a", "b"]}), data / "train.parquet")
    (data / "train.jsonl").write_text('{"text":"a"}\n{"text":"b"}\n')
    (folder / "README.md").write_text("# A card\n")
    files = {f"data/text/train.{end}": manifests.file_entry(data / f"train.{end}", 2) for end in ("parquet", "jsonl")}
    reproducible = {"data_files": files}
    manifest = {
        "manifest_version": 1,
        "reproducible": reproducible,
        "release_hash": manifests.digest(reproducible),
        "files": files | {"README.md": manifests.file_entry(folder / "README.md", None)},
    }
    (folder / manifests.FILE).write_text(manifests.to_json(manifests.seal(manifest)))
    return folder


@pytest.fixture
def released(tmp_path):
    return small_release(tmp_path / "release")


def test_an_untouched_folder_is_as_its_manifest_says(released):
    assert list(verify(released)) == []


def test_any_one_changed_byte_of_any_file_is_found_and_named(released):
    for path in sorted(path for path in released.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 200)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            try:
                said = list(verify(released))
            except NoRelease as error:  # the manifest itself, no longer JSON
                said = [str(error)]
            assert any(path.name in sentence for sentence in said), (path, at)
        path.write_bytes(whole)
    assert list(verify(released)) == []


def test_missing_added_and_linked_files_are_found(released):
    card = released / "README.md"
    card.rename(released / "README.txt")
    assert sorted(verify(released)) == ["README.md: missing.", "README.txt: not part of the release."]
    card.symlink_to(released / "README.txt")
    assert "README.md: a link, not a file." in list(verify(released))


def test_whitespace_in_the_manifest_and_a_file_outside_the_hash_are_found(released):
    path = released / manifests.FILE
    whole = path.read_text()
    path.write_text(whole + " ")
    assert ["edited" in sentence for sentence in verify(released)] == [True]
    manifest = json.loads(whole)
    manifest["files"]["data/text/train.jsonl"]["rows"] = 3
    path.write_text(manifests.to_json(manifests.seal(manifest)))
    said = "\n".join(verify(released))
    assert "2 rows, not 3" in said
    assert "differ from those that the release hash covers" in said


def test_a_folder_without_a_manifest_is_no_release(tmp_path):
    with pytest.raises(NoRelease, match="no release"):
        list(verify(tmp_path))
    (tmp_path / manifests.FILE).write_text("[]")
    with pytest.raises(NoRelease, match="lists no files"):
        list(verify(tmp_path))


def test_a_draft_that_fails_leaves_nothing_and_one_left_by_a_kill_is_cleared(tmp_path):
    owner = tmp_path / "c.duckdb"
    with pytest.raises(RuntimeError), draft(tmp_path / "releases", owner) as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert list((tmp_path / "releases").iterdir()) == []
    folder.mkdir()
    (folder / "left by a kill").write_text("x")
    with draft(tmp_path / "releases", owner) as folder:
        assert list(folder.iterdir()) == []
        (folder / "data").write_text("x")
        place(folder, tmp_path / "releases" / "one")
    assert (tmp_path / "releases" / "one" / "data").stat().st_mode & 0o777 == 0o444
    assert [path.name for path in (tmp_path / "releases").iterdir()] == ["one"]


def test_what_a_kill_left_of_a_release_goes_when_the_database_is_taken_next(warehouse, tmp_path):
    abroad, owner = tmp_path / "elsewhere", warehouse.path
    with draft(abroad, owner) as folder:
        (folder / "train.jsonl").write_text("a text")
        note = owner.with_name(f"{owner.name}.drafting")
        assert note.read_text() == str(abroad)
        kept = note.read_text()
    assert not note.exists()
    folder.mkdir()  # as a kill in between leaves it
    (folder / "train.jsonl").write_text("a text")
    note.write_text(kept)
    usual = owner.parent / "releases" / folder.name  # of a release whose note was not written yet
    usual.mkdir(parents=True)
    other = abroad / ".release-000000000000.partial"  # of another database
    other.mkdir()
    warehouse.hold_for_run()
    assert [path for path in (folder, usual, note) if path.exists()] == []
    assert other.exists()
    clear(owner)  # nothing to do


def test_nothing_is_ever_overwritten(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").write_text("mine")
    with draft(tmp_path, tmp_path / "c.duckdb") as folder:
        (folder / "data").write_text("x")
        with pytest.raises(FolderExists, match="Name another"):
            place(folder, taken)
    assert [path.name for path in taken.iterdir()] == ["mine"]


def test_rows_come_out_in_order_whatever_order_they_came_in(tmp_path):
    n = RUN_ROWS * 2 + 100
    made = []
    for name, order in (("a", range(n)), ("b", reversed(range(n)))):
        rows = Rows(tmp_path / f"{name}.rows")
        for at in order:
            rows.add("text", "train", at, f"{at:032d}", {"text": f"text {at}", "record_id": f"{at:032d}"})
        made.append(list(rows.write(tmp_path / name, ["record_id"])))
        table = pyarrow.parquet.read_table(tmp_path / name / "data" / "text" / "train.parquet")
        lines = (tmp_path / name / "data" / "text" / "train.jsonl").read_text().splitlines()
        assert table.to_pylist() == [json.loads(line) for line in lines]
        assert table["text"].to_pylist() == [f"text {at}" for at in range(n)]
        placed = [part for part in made[-1] if isinstance(part, Placed)]
        assert [record for part in placed for record in part.record_ids] == table["record_id"].to_pylist()
        assert [part.first for part in placed] == [
            sum(len(p.record_ids) for p in placed[:i]) for i in range(len(placed))
        ]
        assert not list((tmp_path / f"{name}.rows").iterdir())
    same = [(tmp_path / name / "data" / "text" / "train.parquet").read_bytes() for name in ("a", "b")]
    assert same[0] == same[1]
