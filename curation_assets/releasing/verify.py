"""Whether a release's folder is, byte for byte, what its manifest says. Needs the folder and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation_assets.releasing.manifest import FILE, VERSION, Manifest, digest, file_sha256, seal, to_json


class NoRelease(ValueError):
    """The folder is no release: it has no manifest that can be read."""


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a release's folder. Raises NoRelease if there is none that can be read."""
    path = folder / FILE
    if not path.is_file():
        raise NoRelease(f"{folder} is no release: there is no {FILE} in it.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise NoRelease(f"{path} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise NoRelease(f"{path} is no manifest of a release: it lists no files.")
    return manifest


def verify(folder: Path) -> Iterator[str]:
    """A sentence for everything in the folder that is not as the manifest says; none if all is.

    Checked: the manifest's own hash and form, the release hash, that every file is there and no other, and each file's size,
    SHA-256 and rows. Raises NoRelease if there is no manifest that can be read.
    """
    manifest = read_manifest(folder)
    if manifest.get("manifest_version") != VERSION:
        yield f"{FILE}: version {manifest.get('manifest_version')!r} of the manifest; this program knows {VERSION}."
    if (folder / FILE).read_bytes() != to_json(manifest).encode():
        yield f"{FILE}: not written as a release writes it, so it was edited."
    if manifest.get("manifest_hash") != seal(manifest)["manifest_hash"]:
        yield f"{FILE}: its content does not have the hash it states (manifest_hash), so it was edited."
    reproducible = manifest.get("reproducible")
    if manifest.get("release_hash") != digest(reproducible):
        yield f"{FILE}: the release hash is not that of the hashes, code and config it lists (release_hash)."
    files: dict[str, Any] = manifest["files"]
    data = reproducible.get("data_files") if isinstance(reproducible, dict) else None
    if data != {name: entry for name, entry in files.items() if name.startswith("data/")}:
        yield f"{FILE}: the files of data it lists differ from those that the release hash covers."
    present = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }
    present.pop(FILE)
    for name in sorted(set(present) - set(files)):
        yield f"{name}: not part of the release."
    for name in sorted(files):
        if name not in present:
            yield f"{name}: missing."
        else:
            yield from _verify_file(name, present[name], files[name])


def _verify_file(name: str, path: Path, entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"{name}: {FILE} states no hash of it."
        return
    if path.is_symlink():
        yield f"{name}: a link, not a file."
        return
    if (size := path.stat().st_size) != entry.get("bytes"):
        yield f"{name}: {size:,} bytes, not {entry.get('bytes')}."
        return
    if (found := file_sha256(path)) != entry.get("sha256"):
        yield f"{name}: changed; its SHA-256 is {found[:16]}…, not {str(entry.get('sha256'))[:16]}…."
        return
    if "rows" in entry and (rows := count_rows(path)) != entry["rows"]:
        yield f"{name}: {rows:,} rows, not {entry['rows']}."


def count_rows(path: Path) -> int:
    """Rows of a Parquet file, or lines of any other."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_metadata(path).num_rows
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
