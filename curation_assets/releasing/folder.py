"""Folders that are there whole or not at all, and never change afterwards."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

READ_ONLY = 0o444


class FolderExists(ValueError):
    """There is something at the place a release is to be written to."""


@contextlib.contextmanager
def draft(beside: Path, owner: Path) -> Iterator[Path]:
    """An empty folder beside the place a release will have, on the same disk; it is gone afterwards unless it was placed.

    owner: the database, whose runs wait for one another: what a killed run left there is cleared away.
    """
    name = f".release-{hashlib.sha256(str(owner).encode()).hexdigest()[:12]}.partial"
    folder = beside / name
    _remove(folder)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        _remove(folder)


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


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
