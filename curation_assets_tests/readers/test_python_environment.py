"""The running Python's packages as a source: real text, true provenance, the same records each time."""

import itertools
import json
import sys

import pytest

from curation_assets.readers import Source, file_hash, files, read
from curation_assets.readers.python_environment import Item, packages, sample, stdlib

WORDS = "one two three four five six seven eight nine ten " * 2


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Make a folder of three installed distributions, this project among them, the only one Python sees."""

    def install(name, version, metadata, contents):
        info = f"{name}-{version}.dist-info"
        contents = {
            f"{info}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}",
            **contents,
        }
        contents = {path.replace("@", info): data for path, data in contents.items()}
        for path, data in contents.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(data if isinstance(data, bytes) else data.encode())
        (tmp_path / info / "RECORD").write_text("".join(f"{path},,\n" for path in [*contents, f"{name}/gone.py"]))

    zoo = f'''"""{WORDS}"""
import nothing_that_exists
class Cat:
    """{WORDS} cat"""
    def purr(self):
        """Too short."""
    @property
    def name(self):
        """{WORDS} get"""
    @name.setter
    def name(self, value):
        """{WORDS} set"""
'''
    contents = {
        "@/licenses/LICENSE.txt": "Permission is granted.",
        "@/licenses/vendored/NOTICE": "Notice.",
        "zoo/__init__.py": zoo,
        "zoo/tests/test_zoo.py": zoo,
        "zoo/licenses.py": "",
        "zoo/broken.py": "def (",
        "zoo/nul.py": f'"""{WORDS}\\0"""',
        "zoo/COPYING": b"caf\xe9",
    }
    install("Zoo_Park", "1.0", f"License-Expression: MIT\n\n# Zoo\n\n{WORDS}", contents)
    bsd = "License: UNKNOWN\nClassifier: License :: OSI Approved :: BSD License\n\nUNKNOWN"
    install("ant", "2.0", bsd, {"ant.py": "'''No words.'''"})
    install("curation_assets", "0.1.0", f"License-Expression: Apache-2.0\n\n{WORDS}", {"@/licenses/LICENSE": "Ours."})
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return install


def read_all(**options):
    source = Source("demo", "python_environment", **{"parts": ("descriptions", "licences", "modules"), **options})
    [file] = files(source)
    assert file.uri == "python_environment"
    batches = list(read(source, file))
    records = [record for batch in batches for record in batch.records.to_pylist()]
    rejects = [reject for batch in batches for reject in batch.rejects.to_pylist()]
    return records, rejects, [note for batch in batches for note in batch.notes], file_hash(file.path)


def test_records_carry_their_provenance(environment):
    records, _, notes, _ = read_all()
    assert [(r["source_record_id"], r["source_uri"], r["source_row"], r["label"]) for r in records] == [
        ("zoo-park:METADATA", "packages/zoo-park/METADATA", 1, "documentation"),
        ("zoo-park:LICENSE.txt", "packages/zoo-park/LICENSE.txt", 1, "licence"),
        ("zoo-park:vendored/NOTICE", "packages/zoo-park/vendored/NOTICE", 1, "licence"),
        ("modules:zoo", "modules/zoo-park/zoo/__init__.py", 1, "documentation"),
        ("modules:zoo.Cat", "modules/zoo-park/zoo/__init__.py", 3, "documentation"),
        ("modules:zoo.Cat.name", "modules/zoo-park/zoo/__init__.py", 8, "documentation"),
        ("modules:zoo.Cat.name#2", "modules/zoo-park/zoo/__init__.py", 11, "documentation"),
    ]
    assert {r["license"] for r in records} == {"MIT"}
    assert {(r["kind"], r["has_owner_id"]) for r in records} == {("document", True)}
    assert json.loads(records[4]["original"]) == {
        "package": "zoo-park",
        "version": "1.0",
        "file": "zoo/__init__.py",
        "object": "zoo.Cat",
        "licence": "MIT",
        "part": "modules",
        "text": WORDS + " cat",
    }
    assert notes == []


def test_what_cannot_be_read_is_told(environment):
    reasons = [reject["reason"] for reject in read_all()[1]]
    assert len(reasons) == 5  # gone.py twice: both distributions list it
    assert any("zoo/COPYING: it is not valid UTF-8: byte 4 of the file" in reason for reason in reasons)
    assert any("zoo/broken.py: it can't be parsed as Python" in reason for reason in reasons)
    assert any("gone.py: it is listed as installed and can't be read: No such file" in reason for reason in reasons)
    assert any("zoo/nul.py, line 1: it holds a NUL character" in reason for reason in reasons)


def test_the_hash_is_of_what_is_read(environment):
    *_, first = read_all()
    assert read_all()[3] == first
    assert read_all(max_records=3)[3] != first
    assert read_all(parts=("licences",))[3] != first
    environment("bee", "0.1", "\n", {"bee.py": ""})
    assert read_all()[3] != first


def test_a_stated_licence_is_found_in_its_three_places(environment):
    assert {package.name: package.license for package in packages()} == {"zoo-park": "MIT", "ant": "BSD License"}


def test_a_sample_keeps_the_parts_shares_and_most_of_itself():
    def items(part, n):
        return [Item(f"{part}:{i}", part, "u", 1, "t", "p", "1", None, None) for i in range(n)]

    whole = [*items("descriptions", 100), *items("licences", 33), *items("stdlib", 867)]
    chosen = sample(whole, 100)
    assert [sum(item.part == part for item in chosen) for part in ("descriptions", "licences", "stdlib")] == [10, 3, 87]
    assert chosen == [item for item in whole if item in chosen]
    assert sample(whole, 5000) == whole
    again = sample([*whole, *items("modules", 10)], 100)
    assert len({item.id for item in again} & {item.id for item in chosen}) >= 95


def test_the_standard_library_is_read_without_being_imported():
    found = {item.id: item for item in itertools.takewhile(lambda item: item.uri < "stdlib/asyncio/z", stdlib())}
    wait_for = found["stdlib:asyncio.tasks.wait_for"]
    assert "Coroutine will be wrapped in Task" in wait_for.text
    assert (wait_for.uri, wait_for.license, wait_for.part) == ("stdlib/asyncio/tasks.py", "PSF-2.0", "stdlib")
    assert all(len(item.text.split()) >= 20 for item in found.values())


def test_this_environments_packages_are_read():
    records, _, notes, _ = read_all(parts=("descriptions", "licences"), max_records=40)
    assert len(records) == 40
    assert {r["label"] for r in records} == {"documentation", "licence"}
    assert "a sample of 40 of its" in notes[0]
    assert not any("curation-assets" in r["source_uri"] for r in records)
