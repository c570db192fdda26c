"""New records beside old ones: which are which, every look at how they differ, and the words of those that do.

New is what was read since the last release, or since the first curation after drift was found, whichever is later: that
curation has taken the drifted records in, and the same drift is not told twice. Later batches may bring more of the same; so,
until the next release, they are drift only where they are unlike all that came before and unlike the batch that drifted last.
Without a release or such a curation, new are the newest reading and those before it that still wait for a comparison, so that
small batches add up and drift stands until it is taken in.

Records that stand for duplicates are left out on both sides. A new record that resembles an old one is dropped as its
duplicate, so what repeats is found among the old alone, and every batch would look newer than it is.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import dagster as dg
import numpy as np
import polars as pl

from curation_assets import expert_models
from curation_assets.algorithms import drift
from curation_assets.algorithms.ctfidf import ctfidf_words
from curation_assets.algorithms.drift import Look
from curation_assets.algorithms.new_concept import NewConcepts, new_concepts
from curation_assets.algorithms.sampling import uniforms
from curation_assets.labelling.task import current_task
from curation_assets.lexical_store import has_basis
from curation_assets.warehouse import Warehouse

EVERYTHING = "everything"
SIGNALS = ("words", "alpha_word_ratio", "stop_word_ratio", "punctuation_ratio", "digit_ratio", "unique_word_ratio")
"""Signals whose distributions are compared. Few, since every look more needs a larger difference to be told from chance."""
OLD_RECORDS, NEW_RECORDS = (
    20_000,
    10_000,
)  # compared at most, drawn by hash: more makes no difference that matters visible
WORDS, TYPICAL = 6, 60
"""Words that are told, out of so many that are typical of a side. Ours."""
LEAST_NAMED = 5
"""Fewer records are not named by their words, which might be those of one of them alone. Ours."""


# --- what is new ----------------------------------------------------------------------------------------------------


class Reference(NamedTuple):
    """What new records are compared with."""

    since: datetime | None
    """Records read from here on are new. None: there are none."""
    why: str
    """Since when that is, in words, after "read since"."""
    drifted_since: datetime | None = None
    """Records read from here on, and before `since`, are those that drifted last and were taken in; None where none did."""


RELEASED = "select release_id, released_at from release.releases order by released_at desc limit 1"

TAKEN_IN = (
    "select c.finished_at as since, f.finished_at as found_at, (f.notes ->> 'since')::timestamptz as drifted_since "
    "from ledger.runs as f join ledger.runs as c on c.stage = 'curated_set' and (c.run_id = f.run_id or c.finished_at > f.finished_at) "
    "where f.stage = 'drift_report' and (f.notes ->> 'drift_looks')::int > 0 and f.config ->> 'since' is null "
    "qualify row_number() over (partition by f.finished_at order by c.finished_at) = 1 order by since desc, found_at limit 1"
)
"""The first curation after each comparison that found drift took the drifted records in. A comparison with a date of its own is a
question somebody asked, and moves nothing."""

READINGS = (
    "with readings as (select min(ingested_at) as began, max(ingested_at) as ended from raw.batches where rows_added > 0 group by run_id), "
    "compared as (select finished_at, (notes ->> 'since')::timestamptz as since, "
    "coalesce((notes ->> 'drift_looks')::int = 0 and ((notes ->> 'new')::int >= $least or (notes ->> 'old')::int < $least), false) "
    "as settles "
    "from ledger.runs where stage = 'drift_report' and config ->> 'since' is null), "
    "curated as (select finished_at from ledger.runs where stage = 'curated_set'), "
    "before as (select max(began) as moment from readings) "
    "select max(began) as newest, min(began) filter (began = moment or (began > (select min(began) from readings) "
    "and not exists (from compared as c where c.settles and c.finished_at > ended and c.finished_at < moment) "
    "and (exists (from compared as c where c.since <= began and c.finished_at > ended) "
    "or not exists (from curated as c where c.finished_at > ended and c.finished_at < moment)))) as since from readings, before"
)
"""When the newest reading began, and the earliest one that is new still. Only what happened before the newest reading counts, so that a
comparison made twice is the same. A reading is old once

- a comparison followed that found no drift and had enough new records to find some, or too few old ones to compare with;
- or a curation did, and no comparison has held it to be new (as where `drift_report` was not run);
- or it is the first: there is nothing before it."""


def reference(warehouse: Warehouse, given: str | None) -> Reference:
    """What is new now, and why. Raises dagster's Failure for a time that cannot be read."""
    if given is not None:
        try:
            moment = datetime.fromisoformat(given).astimezone()
        except ValueError as error:
            raise dg.Failure(
                f"drift_report: since is no ISO 8601 time: {given!r}, e.g. 2026-01-31T00:00:00+00:00"
            ) from error
        return Reference(moment, f"{moment:%Y-%m-%d %H:%M}, as asked")
    found = []
    if warehouse.has_table("release.releases"):
        for release_id, released_at in warehouse.query(RELEASED).iter_rows():
            found.append(Reference(released_at, f"release {release_id} of {released_at:%Y-%m-%d %H:%M}"))
    if warehouse.has_table("ledger.runs"):
        for since, found_at, drifted_since in warehouse.query(TAKEN_IN).iter_rows():
            told = f"the curation of {since:%Y-%m-%d %H:%M}, which took in the drift found at {found_at:%Y-%m-%d %H:%M}"
            found.append(Reference(since, told, drifted_since))
    if found:
        return max(found, key=lambda one: one.since)
    newest, since = warehouse.query(READINGS, least=drift.LEAST_RECORDS).row(0)
    if since == newest:
        return Reference(newest, "the newest reading began")
    told = "the first that no curation has taken in and no comparison of enough records has found to be like the old"
    return Reference(since, f"the reading of {since:%Y-%m-%d %H:%M} began, {told}")


# --- what is compared -----------------------------------------------------------------------------------------------


class Compared(NamedTuple):
    """The records of a comparison: one row each, in the order of their vectors."""

    records: pl.DataFrame
    """record_id, source, side (old, drifted or new), in_reference (whether it stands for all that is not new), cluster_id,
    language, the signals."""
    vectors: np.ndarray

    @property
    def is_new(self) -> np.ndarray:
        """bool[records]: whether a record is new."""
        return (self.records["side"] == "new").to_numpy()

    @property
    def new(self) -> pl.DataFrame:
        """The new records, in order."""
        return self.records.filter(side="new")


RECORDS = (
    "select f.record_id, r.source, b.ingested_at >= $since as is_new, b.ingested_at >= $drifted_since as is_drifted, "
    "a.cluster_id, s.language, md5_number_upper(f.record_id) as draw_hash, "
    "s.words, s.alpha_word_ratio, s.stop_word_ratio, s.punctuation_ratio, s.digit_ratio, s.unique_word_ratio, "
    "f.record_id in (select matched_record_id from deduped.pairs) as stands_for_others "
    "from filtered.records as f join raw.records as r using (record_id) join raw.batches as b using (batch_id) "
    "join filtered.signals as s using (record_id) join clusters.assignments as a using (record_id) order by f.record_id"
)


def compare(warehouse: Warehouse, against: Reference) -> Compared:
    """The records, at most as many of a side as are needed, and their vectors."""
    records = with_side(warehouse.query(RECORDS, since=against.since, drifted_since=against.drifted_since))
    _, vectors = warehouse.vectors()
    drawn = records.with_columns(
        draw=pl.Series(uniforms(records["draw_hash"].to_numpy())), row=pl.int_range(pl.len())
    ).filter(~pl.col("stands_for_others"))
    is_new = pl.col("side") == "new"
    drawn = drawn.with_columns(
        in_reference=~is_new & (pl.col("draw").rank("ordinal").over(is_new) <= OLD_RECORDS),
        of_its_side=(pl.col("side") != "old") & (pl.col("draw").rank("ordinal").over("side") <= NEW_RECORDS),
    ).filter(pl.col("in_reference") | pl.col("of_its_side"))
    return Compared(
        drawn.drop("draw_hash", "draw", "stands_for_others", "of_its_side", "row"), vectors[drawn["row"].to_numpy()]
    )


DROPS = (
    "with records as (select f.record_id, r.source, b.ingested_at >= $since as is_new, b.ingested_at >= $drifted_since as is_drifted "
    "from deduped.records as f join raw.records as r using (record_id) "
    "join raw.batches as b using (batch_id) anti join deduped.pairs as p on p.matched_record_id = f.record_id), "
    "dropped as (select distinct record_id, rule from ledger.current_decisions where stage = 'filtered' and verdict = 'drop') "
    "select source, is_new, is_drifted, null as rule, count(*) as records from records group by all union all "
    "select source, is_new, is_drifted, rule, count(*) as records from records join dropped using (record_id) group by all"
)


def drops(warehouse: Warehouse, against: Reference) -> pl.DataFrame:
    """How many records came to the filters and how many each rule drops: source, side, rule (null: all there are), records.

    Rules and thresholds are those of the last run for old and new alike.
    """
    return with_side(warehouse.query(DROPS, since=against.since, drifted_since=against.drifted_since))


def with_side(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows with is_new and is_drifted (since a time earlier than is_new, or null), with the side they are on instead."""
    is_new, is_drifted = (pl.col(name).fill_null(False) for name in ("is_new", "is_drifted"))
    side = pl.when(is_new).then(pl.lit("new")).when(is_drifted).then(pl.lit("drifted")).otherwise(pl.lit("old"))
    return frame.with_columns(side=side).drop("is_new", "is_drifted")


# --- looks ----------------------------------------------------------------------------------------------------------


class Taken(NamedTuple):
    """A look as it was taken."""

    source: str
    look: Look
    old_records: int
    new_records: int


def concepts_of(compared: Compared) -> NewConcepts:
    """The concepts among the new records that those before do not cover."""
    reference = compared.records["in_reference"].to_numpy()
    return new_concepts(compared.vectors[reference], compared.vectors[compared.is_new])


def looks_of(
    compared: Compared, dropped: pl.DataFrame, found: NewConcepts, labelled: Sequence[Taken], *, alpha: float, seed: int
) -> list[Taken]:
    """Every look at everything and at each source that has enough old and new records.

    dropped: as `drops` has it; found: the new concepts of everything; labelled: looks at labels, which are of everything.
    """
    names = sorted({*compared.records["source"].unique(), *dropped["source"].unique()})
    sources = [EVERYTHING, *(names if len(names) > 1 else [])]
    rules = dropped["rule"].drop_nulls().n_unique()
    most = len(sources) * (len(SIGNALS) + 4 + rules) + len(labelled)
    permutations = drift.permutations_for(most, alpha)
    taken: list[Taken] = []
    for source in sources:
        of_source = np.ones(len(compared.records), dtype=bool)
        of_source = of_source if source == EVERYTHING else (compared.records["source"] == source).to_numpy()
        is_old = of_source & compared.records["in_reference"].to_numpy()
        is_drifted = of_source & (compared.records["side"] == "drifted").to_numpy()
        is_new = of_source & compared.is_new
        known = found if source == EVERYTHING else None
        looks = looks_at(compared, is_old, is_new, known, permutations=permutations, seed=seed)
        again = looks_at(compared, is_drifted, is_new, None, permutations=permutations, seed=seed) if looks else []
        counted = (int(is_old.sum()), int(is_new.sum()))
        taken += [Taken(source, look, *counted) for look in drift.unlike_both(looks, again)]
        of_part = dropped if source == EVERYTHING else dropped.filter(source=source)
        looks, counted = looks_at_drops(of_part, ("old", "drifted"))
        again, _ = looks_at_drops(of_part, ("drifted",))
        taken += [Taken(source, look, *counted) for look in drift.unlike_both(looks, again)]
    return [*taken, *labelled]


def looks_at(
    compared: Compared,
    is_old: np.ndarray,
    is_new: np.ndarray,
    found: NewConcepts | None,
    *,
    permutations: int,
    seed: int,
) -> list[Look]:
    """The looks at records that came through the filters, old and new; none where there are too few. found: their concepts, if known."""
    if min(is_old.sum(), is_new.sum()) < drift.LEAST_RECORDS:
        return []
    vectors = compared.vectors[is_old], compared.vectors[is_new]
    old, new = compared.records.filter(pl.Series(is_old)), compared.records.filter(pl.Series(is_new))
    settings = {"permutations": permutations, "seed": seed}

    def values(name: str) -> tuple[np.ndarray, np.ndarray]:
        return tuple(side[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for side in (old, new))

    return [
        drift.classifier_two_sample(*vectors, **settings),
        drift.shares("occupancy", old["cluster_id"].to_numpy(), new["cluster_id"].to_numpy(), **settings),
        drift.novelty(found or new_concepts(*vectors), len(new)),
        drift.shares("language", *(side["language"].fill_null("und").to_numpy() for side in (old, new)), **settings),
        *(drift.signal_shift(name, *values(name)) for name in SIGNALS),
    ]


def looks_at_drops(dropped: pl.DataFrame, sides: tuple[str, ...]) -> tuple[list[Look], tuple[int, int]]:
    """A look at each rule that drops enough records to tell, and how many there were of these sides and new."""
    counts: dict[str | None, list[int]] = {}
    for side, rule, records in dropped.select("side", "rule", "records").iter_rows():
        if side in sides or side == "new":
            counts.setdefault(rule, [0, 0])[side == "new"] += records
    old, new = counts.pop(None, [0, 0])
    if min(old, new) < drift.LEAST_RECORDS:
        return [], (old, new)
    told = [
        drift.drop_rate(rule, of_old, old, of_new, new)
        for rule, (of_old, of_new) in sorted(counts.items())
        if of_old + of_new >= drift.LEAST_DROPPED
    ]
    return told, (old, new)


MODELS_BEFORE = "select count(*) as n from label_model.models where task = $task and classes = $classes::varchar[] and fitted_at < $since"

LABELLED = (
    "select i.record_id, i.label, b.ingested_at >= $since as is_new from expert_labels.items as i join raw.records as r using (record_id) "
    "join raw.batches as b using (batch_id) where i.task = $task and list_contains($classes::varchar[], i.label) "
    "and (i.half = 'evaluate' or b.ingested_at >= $since) order by i.record_id"
)
"""Of the old records those that evaluate; of the new ones all, since the model was fitted before they came."""


def looks_at_labels(warehouse: Warehouse, against: Reference, seed: int) -> list[Taken]:
    """Whether the labelling task's model, as it was when the new records came, agrees less with the experts on them.

    None without a task, such a model, or enough labels on both sides. Which records experts are asked about differs from round to
    round (the closest pairs, or the new concept alone), and so does how hard they are: a fall says that the model needs the
    experts, not that the records alone are to blame.
    """
    labelled_tables = ("label_model.models", "expert_labels.items")
    if against.since is None or not (all(map(warehouse.has_table, labelled_tables)) and has_basis(warehouse)):
        return []
    task = current_task(warehouse)
    named = {"task": task.name, "classes": task.class_names, "since": against.since}
    before = expert_models.fitted_models(warehouse, task)[: warehouse.value(MODELS_BEFORE, **named)]
    usable = [one for one in before if expert_models.fits(one, expert_models.embedded_by(warehouse))]
    labelled = warehouse.query(LABELLED, **named)
    pool = expert_models.pool_of(warehouse)
    rows = pool.rows(labelled["record_id"].to_list())
    labelled, rows = labelled.filter(pl.Series(rows >= 0)), rows[rows >= 0]
    is_new = labelled["is_new"].to_numpy()
    if not usable or min(is_new.sum(), (~is_new).sum()) < drift.LEAST_LABELS:
        return []
    codes = labelled["label"].replace_strict(task.class_names, range(len(task.classes)), return_dtype=pl.Int64)
    predicted = expert_models.probabilities_of(warehouse, usable[-1], pool, rows).argmax(axis=1)
    both = np.column_stack([predicted, codes.to_numpy()])
    look = drift.kappa_fall(both[~is_new], both[is_new], seed=seed)
    return [Taken(EVERYTHING, look, int((~is_new).sum()), int(is_new.sum()))]


# --- words ----------------------------------------------------------------------------------------------------------


def words_behind(look: Look, texts: Sequence[str]) -> list[str]:
    """The words that tell the new records behind a look from the other new ones; none where it is about no records, or few.

    By c-TF-IDF, less those that are typical of the others too: in film reviews both sides speak of films.
    """
    if look.behind is None or look.behind.sum() < LEAST_NAMED:
        return []
    told, of_others = ctfidf_words(texts, np.where(look.behind, 0, 1), 2, TYPICAL)
    return [word for word in told if word not in of_others][:WORDS]
