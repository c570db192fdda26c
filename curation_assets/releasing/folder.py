"""Folders that are there whole or not at all, and never change afterwards."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from curation_assets.progress import logger

READ_ONLY = 0o444


class FolderExists(ValueError):
    """There is something at the place a release is to be written to."""


@contextlib.contextmanager
def draft(beside: Path, owner: Path) -> Iterator[Path]:
    """An empty folder beside the place a release will have, on the same disk; it is gone afterwards unless it was placed.

    owner: the database, whose runs wait for one another. Where the folder is stands beside it (`<database>.drafting`) while it is there,
    so that what a kill leaves, which is full of text, is cleared away by whatever run or erasure has the database next (`clear`).
    """
    clear(owner)
    folder, note = beside / _name(owner), _note(owner)
    started = note.with_name(f"{note.name}.new")
    started.write_text(str(beside.absolute()), encoding="utf-8")
    started.replace(note)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        clear(owner)


def clear(owner: Path) -> None:
    """Remove the draft of a release on this database, if there is one. Only for whoever holds the database for a run."""
    note = _note(owner)
    places = {usual_place(owner), *([Path(note.read_text(encoding="utf-8"))] if note.exists() else [])}
    drafts = [place / _name(owner) for place in places]
    for draft in drafts:
        _remove(draft)
    if left := [draft for draft in drafts if draft.exists()]:
        logger.warning("What a killed release left cannot be removed; delete it by hand: %s", ", ".join(map(str, left)))
        return
    note.unlink(missing_ok=True)


def usual_place(owner: Path) -> Path:
    """The folder in which the releases of a database lie where nobody names another."""
    return owner.parent / "releases"


def place(folder: Path, target: Path) -> None:
    """Give a finished folder its name: every file on disk and read-only before the one rename that makes it visible.

    Raises FolderExists if there is anything at the target but an empty folder.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            path.chmod(READ_ONLY)
            _sync(path)
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        _sync(path)
    _sync(folder)
    try:
        folder.rename(target)
    except OSError as error:
        raise FolderExists(f"{target} cannot become the release's folder: {error.strerror}. Name another.") from error
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _name(owner: Path) -> str:
    return f".release-{hashlib.sha256(str(owner).encode()).hexdigest()[:12]}.partial"


def _note(owner: Path) -> Path:
    return owner.with_name(f"{owner.name}.drafting")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
