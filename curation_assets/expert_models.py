"""Models fitted on the experts' labels: how one is fitted, kept in the database, and used again.

The embedded one, logistic regression on embeddings and lexical vectors, is a row of label_model.models. Fine-tuned ones are folders beside
the database, `<database>.models/TASK/ROUND`, and their row says where.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import dagster as dg
import numpy as np
import polars as pl
from scipy.special import softmax

from curation_assets import lexical_store
from curation_assets.algorithms import label_classifier, lexical
from curation_assets.algorithms.label_classifier import Classifier
from curation_assets.labelling.task import Task
from curation_assets.models.embedders import Embedder, SentenceTransformerEmbedder
from curation_assets.models.fine_tuned import MissingPeftError, fit_fine_tuned, fit_lora, load_classifier
from curation_assets.progress import logger, reporter
from curation_assets.warehouse import Warehouse

EMBEDDED, FINE_TUNE, LORA = "embedded", "fine_tune", "lora"
CHUNK_TEXTS = 512  # texts a fine-tuned model predicts between two commits

EMBEDDED_BY = (
    "select notes ->> 'model' as model, notes ->> 'revision' as revision, notes ->> 'precision' as precision, "
    "(config ->> 'max_chunks')::int as max_chunks from ledger.runs where stage = 'embeddings' order by finished_at desc limit 1"
)

MODELS = "select * from label_model.models where task = $task and classes = $classes::varchar[] order by fitted_at"

UNPREDICTED = (
    "select distinct on (text_hash) text_hash, text from filtered.records where text_hash not in "
    "(select text_hash from predicted_labels.cache where revision = $revision) order by text_hash"
)

PREDICTED = "select text_hash, probabilities from predicted_labels.cache where revision = $revision"

TEXTS = "select record_id, text from filtered.records where record_id in (select unnest($ids::varchar[]))"


class FittedModel(NamedTuple):
    """A row of label_model.models."""

    model: str
    """embedded, fine_tune or lora."""
    round: int
    revision: str
    embedded_by: str
    parameters: dict[str, Any]
    fitted_on: str


class Pool(NamedTuple):
    """The records of filtered.records in the order of record_id."""

    record_ids: list[str]
    vectors: np.ndarray
    """Their embeddings, float32[records, dimensions], unit rows."""
    features: np.ndarray
    """What the embedded model reads: the embedding and the lexical vector beside it, float32[records, dimensions], unit rows."""

    def rows(self, record_ids: Sequence[str]) -> np.ndarray:
        """The row of each record, int64, -1 for those that are not in the pool."""
        place = dict(zip(self.record_ids, range(len(self.record_ids)), strict=True))
        return np.array([place.get(one, -1) for one in record_ids], dtype=np.int64)


def pool_of(warehouse: Warehouse) -> Pool:
    """The records as they are embedded now. Raises StaleError if embeddings are of other records, or lexical vectors missing."""
    record_ids, vectors = warehouse.vectors()
    return Pool(record_ids, vectors, lexical.beside(vectors, lexical_store.vectors_of(warehouse)))


def embedded_by(warehouse: Warehouse) -> str:
    """The database's embeddings and lexical vectors, in a word: a model fitted on others does not go with them."""
    model, revision, precision, _ = warehouse.query(EMBEDDED_BY).row(0)
    return f"{model} {revision}-{precision}, lexical {lexical_store.basis_name(warehouse)}"


def embedder_of(warehouse: Warehouse) -> Embedder:
    """The embedder of the database's embeddings, in their arithmetic, for further texts to stand beside them.

    Raises dagster's Failure if the model is not what it was.
    """
    model, revision, precision, max_chunks = warehouse.query(EMBEDDED_BY).row(0)
    embedder = SentenceTransformerEmbedder(model, max_chunks)
    embedder.precision = precision
    if embedder.revision != revision:
        raise dg.Failure(
            f"The records were embedded with {model} at revision {revision}, and here it is {embedder.revision}: "
            "materialize embeddings again, so that records and definitions are read by the same model."
        )
    return embedder


def fitted_models(warehouse: Warehouse, task: Task) -> list[FittedModel]:
    """The models of the task as its classes stand, oldest first."""
    if not warehouse.has_table("label_model.models"):
        return []
    rows = warehouse.query(MODELS, task=task.name, classes=task.class_names).iter_rows(named=True)
    return [
        FittedModel(
            row["model"],
            row["round"],
            row["revision"],
            row["embedded_by"],
            json.loads(row["parameters"]),
            row["fitted_on"],
        )
        for row in rows
    ]


def model_in_force(warehouse: Warehouse, task: Task) -> FittedModel | None:
    """The newest model of the task that goes with the embeddings as they are; None before there is one."""
    usable = [one for one in fitted_models(warehouse, task) if fits(one, embedded_by(warehouse))]
    return usable[-1] if usable else None


def fits(model: FittedModel, now_embedded_by: str) -> bool:
    """Whether a model can be used with the embeddings of today; a fine-tuned one reads the texts itself."""
    return model.model != EMBEDDED or model.embedded_by == now_embedded_by


def fit_embedded(
    pool: Pool, rows: np.ndarray, labels: np.ndarray, *, classes: int, shares: np.ndarray | None, seed: int
) -> tuple[dict[str, Any], str]:
    """Fit the embedded model on some rows of the pool: its parameters as JSON keeps them, and their hash."""
    fitted = label_classifier.fit(
        pool.features[rows], labels, classes=classes, pool=pool.features, prevalence=shares, seed=seed
    )
    parameters = {name: value.tolist() for name, value in fitted._asdict().items()}
    return parameters, hashed(parameters)


def fit_tuned(
    warehouse: Warehouse, kind: str, texts: list[str], labels: np.ndarray, place: tuple[str, int], **settings: Any
) -> tuple[dict[str, Any], str]:
    """Fine-tune a model on texts into a folder of its own: where it is, and its revision.

    place: task and round. Raises dagster's Failure with what to do if it cannot be done.
    """
    folder = new_folder(warehouse, *place)
    fit = fit_lora if kind == LORA else fit_fine_tuned
    try:
        revision = fit(texts, labels, folder=folder, **settings)
    except (OSError, ValueError, MissingPeftError) as error:
        raise dg.Failure(f"label_model: {error}") from error
    return {"folder": str(folder.relative_to(models_folder(warehouse)))}, revision


def models_folder(warehouse: Warehouse) -> Path:
    """Folder of the fine-tuned models of a database, beside it."""
    return warehouse.path.with_name(f"{warehouse.path.name}.models")


def new_folder(warehouse: Warehouse, task: str, number: int) -> Path:
    """A folder for a model of a round that no other has: TASK/ROUND, with a letter of its own where the round was fitted before."""
    name = quote(task, safe=" ").replace(".", "%2E")  # no name of a task leads out of the folder
    of_task = models_folder(warehouse) / name
    taken = sum(1 for path in of_task.glob(f"{number}*") if path.name.split("-")[0] == str(number))
    return of_task / (str(number) if not taken else f"{number}-{taken + 1}")


def probabilities_of(warehouse: Warehouse, model: FittedModel, pool: Pool, rows: np.ndarray) -> np.ndarray:
    """The probabilities a model gives some rows of the pool, float64[rows, classes]."""
    if model.model == EMBEDDED:
        return label_classifier.probabilities(_classifier(model), pool.features[rows]).astype(np.float64)
    ids = [pool.record_ids[row] for row in rows]
    texts = dict(warehouse.query(TEXTS, ids=ids).iter_rows())
    return softmax(_loaded(warehouse, model).logits([texts[one] for one in ids]).astype(np.float64), axis=1)


def pool_probabilities(warehouse: Warehouse, model: FittedModel, pool: Pool) -> np.ndarray:
    """The probabilities a model gives every record of the pool, float64[records, classes].

    What a fine-tuned model says of a text is computed once, and put away chunk by chunk in predicted_labels.cache.
    """
    if model.model == EMBEDDED:
        return label_classifier.probabilities(_classifier(model), pool.features).astype(np.float64)
    if not warehouse.has_table("predicted_labels.cache"):
        warehouse.append("predicted_labels.cache", _cache_rows([], model.revision, np.empty((0, 1))))
    with warehouse.spooled(UNPREDICTED, revision=model.revision) as spool:
        if spool.rows:
            classifier, done = _loaded(warehouse, model), 0
            report = reporter("predicting", "texts", spool.rows)
            for batch in spool.batches(CHUNK_TEXTS):
                found = softmax(classifier.logits(batch["text"].to_pylist()).astype(np.float64), axis=1)
                rows = _cache_rows(batch["text_hash"].to_pylist(), model.revision, found)
                warehouse.append("predicted_labels.cache", rows)
                report(done := done + len(batch))
    known = warehouse.query(PREDICTED, revision=model.revision)
    records = warehouse.query("select record_id, text_hash from filtered.records order by record_id")
    joined = records.join(known, on="text_hash", how="left", maintain_order="left")
    return np.array(joined["probabilities"].to_list(), dtype=np.float64)


def row_of(task: Task, fitted: FittedModel) -> pl.DataFrame:
    """The row of label_model.models that a model is kept as."""
    return pl.DataFrame(
        [
            {
                "task": task.name,
                "round": fitted.round,
                "model": fitted.model,
                "revision": fitted.revision,
                "embedded_by": fitted.embedded_by,
                "classes": task.class_names,
                "parameters": json.dumps(fitted.parameters),
                "fitted_on": fitted.fitted_on,
                "fitted_at": datetime.now(timezone.utc),
            }
        ]
    )


def no_models() -> pl.DataFrame:
    """No row of label_model.models."""
    texts = ("task", "model", "revision", "embedded_by", "parameters", "fitted_on")
    others = {"round": pl.Int32, "classes": pl.List(pl.String), "fitted_at": pl.Datetime("us", "UTC")}
    return pl.DataFrame(schema=dict.fromkeys(texts, pl.String) | others)


def shares_of(task: Task, expected: dict[str, float]) -> np.ndarray | None:
    """The expected share of each class in the pool, float64[classes]; None where nothing is expected.

    Raises dagster's Failure where a class is left out, is none, or the shares do not add up to 1.
    """
    if not expected:
        return None
    shares = np.array([expected.get(name, math.nan) for name in task.class_names])
    if set(expected) != set(task.class_names) or not (shares > 0).all() or abs(shares.sum() - 1) > 0.01:
        raise dg.Failure(
            f"expected_shares needs a share above 0 for each of the classes {task.class_names}, 1 together; got {expected}."
        )
    return shares / shares.sum()


def hashed(value: Any) -> str:
    """The first characters of a hash of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def _classifier(model: FittedModel) -> Classifier:
    return Classifier(*(np.array(model.parameters[name], dtype=np.float32) for name in Classifier._fields))


def _loaded(warehouse: Warehouse, model: FittedModel) -> Any:
    try:
        logger.info("labels: loading the fine-tuned model of round %s", model.round)
        return load_classifier(models_folder(warehouse) / model.parameters["folder"])
    except (OSError, MissingPeftError) as error:
        raise dg.Failure(str(error)) from error


def _cache_rows(hashes: list[str], revision: str, found: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "text_hash": pl.Series(hashes, dtype=pl.String),
            "revision": pl.Series([revision] * len(hashes), dtype=pl.String),
            "probabilities": pl.Series(found.tolist(), dtype=pl.List(pl.Float64)),
        }
    )
