"""Reference sets: the texts a user names as good and as bad, from the database or from files."""

import dagster as dg
from pydantic import Field

from curation_assets import readers
from curation_assets.warehouse import Warehouse


class ReferenceSets(dg.Config):
    """Texts like those you want and texts like those you do not."""

    good: list[str] = Field(
        description="Globs over 'source/file' of records in this database, or paths of files to read."
    )
    bad: list[str] = Field(description="The same, for the texts you do not want.")


def reference_texts(warehouse: Warehouse, names: list[str], which: str) -> list[str]:
    """The texts of a reference set, in a stable order.

    Each name is a glob over 'source/file' of the deduplicated records, or else a path of files to read. Raises
    dagster's Failure for one that is neither.
    """
    texts: list[str] = []
    for name in names:
        found = warehouse.query(
            "select text from deduped.records where (source || '/' || source_uri) glob $name or source = $name order by record_id",
            name=name,
        )["text"].to_list()
        texts += found or _texts_of_files(name, which)
    return texts


def _texts_of_files(path: str, which: str) -> list[str]:
    source = readers.Source(name=f"reference_{which}", path=path)
    try:
        files = readers.files(source)
    except readers.SourceError as error:
        raise dg.Failure(
            f"quality_scores: the {which} set {path!r} is neither a glob over 'source/file' of records here nor a file: {error}"
        ) from error
    return [
        text for file in files for batch in readers.read(source, file) for text in batch.records["text"].to_pylist()
    ]
