"""Rows on their way to files: each format and split becomes one JSONL and one Parquet file with the same rows.

Rows come in any order and are wanted in the order of training. They are written to small runs of neighbouring places
first, and each run is sorted when it is read back: memory holds one run, however many rows there are. The bytes depend on
rows and order alone: no times, fixed row groups.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet

from curation_assets.releasing.formats import COLUMNS, FORMATS, Row, present_fields, without_absent

RUN_ROWS = 2_048
BUFFER_BYTES = 32 << 20
GROUP_ROWS, GROUP_BYTES = 8_192, 32 << 20
"""A row group of the Parquet files ends after so many rows or so many bytes of JSON, whichever comes first."""

SPLITS = ("train", "validation", "test")

_PLACE, _ID = 12, 32
"""Characters of a row's place and of its record id, which stand before it in a run."""

PROVENANCE: Mapping[str, pa.DataType] = {
    "record_id": pa.string(),
    "source": pa.string(),
    "source_record_id": pa.string(),
    "source_uri": pa.string(),
    "source_row": pa.int64(),
    "license": pa.string(),
    "record_time": pa.string(),
    "kind": pa.string(),
    "owner_label": pa.string(),
    "language": pa.string(),
    "cluster_id": pa.int64(),
    "quality": pa.float64(),
    "density": pa.float64(),
    "difficulty": pa.float64(),
    "tokens": pa.int64(),
    "inclusion_probability": pa.float64(),
    "position": pa.int64(),
    "text_hash": pa.string(),
}
"""Columns about a record's origin and measures that may stand beside its data."""


class DataFile(NamedTuple):
    """One file of data in the folder."""

    path: str
    """Relative to the folder, with / between its parts."""
    format: str
    split: str
    rows: int
    schema: pa.Schema


class Placed(NamedTuple):
    """Where records of a Parquet file stand: record ids in the order of its rows from `first` on."""

    file: str
    format: str
    split: str
    first: int
    record_ids: list[str]


class Rows:
    """Rows gathered in a folder of their own until all are there."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.counts: Counter[tuple[str, str]] = Counter()
        self._present: defaultdict[str, set[str]] = defaultdict(set)
        self._runs: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        self._waiting: defaultdict[tuple[str, str, int], list[bytes]] = defaultdict(list)
        self._bytes = 0

    def add(self, format: str, split: str, place: int, record_id: str, row: Row) -> None:
        """Take one row. place: its rank in the split, the same in every format.

        Raises ValueError for a record id that has not the 32 characters of ours.
        """
        if len(record_id) != _ID:
            raise ValueError(f"{record_id!r} is no record id: they have {_ID} characters")
        self._present[format] |= present_fields(row)
        line = b"%012d%s%s\n" % (place, record_id.encode(), orjson.dumps(row))
        run = place // RUN_ROWS
        self._waiting[format, split, run].append(line)
        self._runs[format, split].add(run)
        self.counts[format, split] += 1
        self._bytes += len(line)
        if self._bytes > BUFFER_BYTES:
            self._flush()

    def write(self, folder: Path, provenance: list[str]) -> Iterator[DataFile | Placed]:
        """Write data/FORMAT/SPLIT.jsonl and .parquet below a folder; say of each file what it is and which records it holds."""
        self._flush()
        for format in (name for name in FORMATS if any(name == found for found, _ in self.counts)):
            columns = without_absent(COLUMNS[format], self._present[format])
            own = {field.name for field in columns}
            columns += [pa.field(name, PROVENANCE[name]) for name in provenance if name not in own]
            for split in (name for name in SPLITS if self.counts[format, name]):
                yield from self._write_split(folder, format, split, pa.schema(columns))

    def _write_split(self, folder: Path, format: str, split: str, schema: pa.Schema) -> Iterator[DataFile | Placed]:
        stem = f"data/{format}/{split}"
        target = folder / stem
        target.parent.mkdir(parents=True, exist_ok=True)
        first = 0
        with (
            target.with_suffix(".jsonl").open("wb") as lines,
            pa.parquet.ParquetWriter(target.with_suffix(".parquet"), schema, compression="zstd") as table,
        ):
            for group in self._groups(format, split):
                lines.writelines(line[_PLACE + _ID :] for line in group)
                rows = [_flat(orjson.loads(line[_PLACE + _ID :])) for line in group]
                table.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=GROUP_ROWS)
                ids = [line[_PLACE : _PLACE + _ID].decode() for line in group]
                yield Placed(f"{stem}.parquet", format, split, first, ids)
                first += len(group)
        for suffix in ("jsonl", "parquet"):
            yield DataFile(f"{stem}.{suffix}", format, split, first, schema)

    def _groups(self, format: str, split: str) -> Iterator[list[bytes]]:
        """The lines of a split in order, by row groups."""
        group: list[bytes] = []
        size = 0
        for run in sorted(self._runs[format, split]):
            path = self._path(format, split, run)
            with path.open("rb") as file:
                run_lines = sorted(file)
            path.unlink()
            for line in run_lines:
                if len(group) == GROUP_ROWS or size > GROUP_BYTES:
                    yield group
                    group, size = [], 0
                group.append(line)
                size += len(line)
        if group:
            yield group

    def _flush(self) -> None:
        for (format, split, run), lines in self._waiting.items():
            with self._path(format, split, run).open("ab") as file:
                file.writelines(lines)
        self._waiting.clear()
        self._bytes = 0

    def _path(self, format: str, split: str, run: int) -> Path:
        return self.folder / f"{format}-{split}-{run}"


def _flat(row: Row) -> Row:
    """A row as Parquet has it: tools, whose shapes differ, as JSON in a string."""
    if "tools" in row and not isinstance(row["tools"], str):
        row["tools"] = orjson.dumps(row["tools"]).decode()
    return row
