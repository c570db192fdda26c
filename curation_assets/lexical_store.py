"""Lexical vectors in the database: the basis in force, and the vectors of the pool's records."""

import hashlib

import numpy as np
import pyarrow as pa

from curation_assets.algorithms import lexical
from curation_assets.algorithms.lexical import Basis
from curation_assets.warehouse import StaleError, Warehouse

NGRAMS = "select basis, ngram, idf, direction from lexical_vectors.ngrams order by ngram"
VECTORS = (
    "select r.record_id, v.lexical_vector, case when v.text_hash is null then r.text end as text from filtered.records as r "
    "left join lexical_vectors.vectors as v on v.text_hash = r.text_hash and v.basis = $basis order by r.record_id"
)


def has_basis(warehouse: Warehouse) -> bool:
    """Whether there is a basis: not before the stage has run, and not between an erasure, which empties the tables, and its next run."""
    return warehouse.has_table("lexical_vectors.ngrams") and warehouse.rows("lexical_vectors.ngrams") > 0


def basis_name(warehouse: Warehouse) -> str:
    """The basis in force. Raises StaleError before there is one."""
    if not has_basis(warehouse):
        raise StaleError("There are no lexical vectors yet. Materialize lexical_vectors first; label_round does.")
    return warehouse.value("select any_value(basis) as basis from lexical_vectors.ngrams")


def basis_of(warehouse: Warehouse) -> tuple[str, Basis]:
    """The basis in force, and its name. Raises StaleError before there is one."""
    name = basis_name(warehouse)
    rows = warehouse.query(NGRAMS)
    directions = rows["direction"].explode().to_numpy().astype(np.float32).reshape(len(rows), -1)
    return name, Basis(rows["ngram"].to_numpy(), rows["idf"].to_numpy().astype(np.float32), directions)


def vectors_of(warehouse: Warehouse) -> np.ndarray:
    """The lexical vectors of filtered.records in the order of record_id, float32[records, dimensions].

    Texts that came since lexical_vectors was materialized are projected here. Raises StaleError before there is a basis.
    """
    rows = warehouse.query(VECTORS, basis=basis_name(warehouse))
    known = rows["lexical_vector"].is_not_null()
    if known.all():
        return rows["lexical_vector"].explode().to_numpy().astype(np.float32).reshape(len(rows), -1)
    _, basis = basis_of(warehouse)
    found = np.empty((len(rows), basis.directions.shape[1]), dtype=np.float32)
    found[known.to_numpy()] = rows.filter(known)["lexical_vector"].explode().to_numpy().reshape(known.sum(), -1)
    found[~known.to_numpy()] = lexical.vectors(basis, rows.filter(~known)["text"])
    return found


def rows_of(name: str, basis: Basis) -> pa.Table:
    """A basis as rows of lexical_vectors.ngrams."""
    return pa.table(
        {
            "basis": pa.array([name] * len(basis.ngrams), pa.string()),
            "ngram": pa.array(basis.ngrams, pa.uint64()),
            "idf": pa.array(basis.idf, pa.float32()),
            "direction": lists_of(basis.directions),
        }
    )


def lists_of(rows: np.ndarray) -> pa.ListArray:
    """The rows of a matrix as lists."""
    offsets = pa.array(np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1])
    return pa.ListArray.from_arrays(offsets, pa.array(rows.reshape(-1), pa.float32()))


def name_of(basis: Basis) -> str:
    """A hash of all a basis is."""
    hashed = hashlib.sha256()
    for part in basis:
        hashed.update(np.ascontiguousarray(part).tobytes())
    return hashed.hexdigest()[:16]
