"""From a model's bad outputs to the curated records that most likely taught them, and whether a newer set has unlearnt them.

`curate blame` and `eval_report` use it; what each kind of evidence is stands in algorithms/blame.py.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from curation_assets.algorithms import blame, influence, proxy_model
from curation_assets.algorithms.shared_phrases import common_runs
from curation_assets.models.embedders import SentenceTransformerEmbedder
from curation_assets.warehouse import Warehouse

CONTROLS = 32
"""Records of the set that stand for texts no record taught. Ours: the highest but one of them is then the threshold."""

MAX_OUTPUTS = 1_000
SHORTEST_PHRASE = 5
"""Characters of a shared run of words that is worth showing."""

CHARS_PER_TOKEN = 8
"""As in the evaluation: characters taken per training token."""

TEXTS = {
    "curated": "select record_id, text from curated_set.records order by record_id",
    "vectors": "select embedding from embeddings.vectors semi join curated_set.records using (record_id) order by record_id",
}


class OutputsError(ValueError):
    """The file of outputs cannot be read as such; the message says where and what to do."""


class BadOutput(NamedTuple):
    """A bad output of a model."""

    output_id: str
    prompt: str
    output: str

    @property
    def text(self) -> str:
        """Prompt and output, as a record of the set would hold them."""
        return f"{self.prompt}\n{self.output}" if self.prompt else self.output


class Training(NamedTuple):
    """How the small model is trained: as in the evaluation."""

    token_budget: int
    vocabulary: int
    seeds: int


class Blame(NamedTuple):
    """What was found about some outputs."""

    blamed: pl.DataFrame
    """Rows of eval_report.blamed."""
    limits: dict[str, float]
    """The threshold of each kind of evidence."""
    phrases: dict[tuple[str, str], list[str]]
    """(output_id, record_id) → the longest runs of words they share."""


def read_outputs(path: Path) -> list[BadOutput]:
    """The outputs of a JSONL file: fields prompt and output, or text. Repeated ones count once.

    Raises OutputsError naming the line.
    """
    outputs: dict[str, BadOutput] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise OutputsError(f"{path}, line {number}: no JSON: {error}.") from error
        said = (row.get("output") or row.get("text")) if isinstance(row, dict) else None
        prompt = (row.get("prompt") or "") if isinstance(row, dict) else ""
        if not isinstance(said, str) or not said.strip() or not isinstance(prompt, str):
            raise OutputsError(
                f"{path}, line {number}: expected an object with `output` (and `prompt`), or with `text`."
            )
        output_id = hashlib.sha256(f"{prompt}\x1f{said}".encode()).hexdigest()[:16]
        outputs[output_id] = BadOutput(output_id, prompt, said)
    if not outputs:
        raise OutputsError(f"{path} holds no output.")
    if len(outputs) > MAX_OUTPUTS:
        raise OutputsError(f"{path} holds {len(outputs):,} outputs; give at most {MAX_OUTPUTS:,} at a time.")
    return list(outputs.values())


def find(
    warehouse: Warehouse, outputs: Sequence[BadOutput], training: Training, top: int, progress: Callable[[float], None]
) -> Blame:
    """The records of the curated set most likely to have taught each output, at most `top` of them, with their evidence."""
    warehouse.require_all_records("embeddings.vectors")
    curated = warehouse.query(TEXTS["curated"])
    ids, texts = curated["record_id"], curated["text"].to_list()
    with warehouse.get_connection(read_only=True) as connection:
        flat = connection.sql(TEXTS["vectors"]).to_arrow_table()["embedding"].combine_chunks().flatten()
    vectors = np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.float32).reshape(len(ids), -1)
    drawn = np.random.default_rng(0).permutation(len(ids))
    controls, background = drawn[:CONTROLS], drawn[-influence.BACKGROUND :]
    output_vectors = embedder_of(warehouse).embed([one.text for one in outputs])
    own = np.r_[np.full(len(outputs), -1), controls]
    all_texts = [one.text for one in outputs] + [texts[row] for row in controls]
    found = blame.candidates(
        pa.array(all_texts, pa.large_string()),
        np.r_[output_vectors, vectors[controls]],
        pa.array(texts, pa.large_string()),
        vectors,
        own,
        max(top, blame.CANDIDATES),
    )
    # The controls are kept out of training, or the model would know them as it knows no bad output.
    trained_on = np.setdiff1d(drawn, controls) if len(drawn) > 4 * CONTROLS else drawn
    tokenizer, stream = learn(texts, trained_on, training)
    with proxy_model.one_thread():
        model = proxy_model.trained(
            stream, vocabulary=tokenizer.get_vocab_size(), token_budget=training.token_budget, seed=0
        )
        scored = [scored_text(tokenizer, one.prompt, one.output) for one in outputs]
        scored += [scored_text(tokenizer, "", texts[row]) for row in controls]
        wanted, place = np.unique(found.pairs[:, 1], return_inverse=True)
        moved = influence.influences(
            model,
            scored,
            [proxy_model.encode(tokenizer, [texts[row]]) for row in wanted],
            np.stack([found.pairs[:, 0], place], axis=1),
            [proxy_model.encode(tokenizer, [texts[row]]) for row in background],
            progress=progress,
        )
    evidence = dict(zip(blame.EVIDENCE, (found.cosine, found.shared, moved.deviations), strict=True))
    text_of = found.pairs[:, 0]
    score, rank = blame.ranked(text_of, evidence)
    limits = blame.thresholds(text_of, evidence, np.arange(len(all_texts)) >= len(outputs))
    rows = np.flatnonzero((text_of < len(outputs)) & (rank <= top))
    blamed = pl.DataFrame(
        {
            "output_id": [outputs[text].output_id for text in text_of[rows]],
            "record_id": ids.gather(found.pairs[rows, 1]),
            "rank": rank[rows],
            "score": score[rows],
            **{kind: values[rows] for kind, values in evidence.items()},
            "influence_nats": moved.fall[rows],
            "is_strong": blame.is_strong(evidence, limits)[rows],
            "blamed_at": datetime.now(timezone.utc),
        }
    )
    runs = {
        (outputs[text].output_id, ids[row]): [
            run for run in common_runs(outputs[text].text, texts[row]) if len(run) >= SHORTEST_PHRASE
        ]
        for text, row in found.pairs[rows].tolist()
    }
    return Blame(blamed.sort("output_id", "rank"), limits, runs)


def embedder_of(warehouse: Warehouse) -> SentenceTransformerEmbedder:
    """The embedder the database's vectors were made with, in the same arithmetic."""
    sql = (
        "select config::varchar as config, notes::varchar as notes from ledger.runs where stage = 'embeddings' "
        "order by finished_at desc limit 1"
    )
    config, notes = map(json.loads, warehouse.query(sql).row(0))
    embedder = SentenceTransformerEmbedder(config["model"], config["max_chunks"])
    embedder.precision = notes["precision"]
    return embedder


def learn(texts: Sequence[str], rows: np.ndarray, training: Training) -> tuple[Any, np.ndarray]:
    """A tokenizer of all texts and the training stream of some, cut where more would never be read."""
    limit, taken, chars = training.token_budget * CHARS_PER_TOKEN, [], 0
    for row in rows:
        if chars >= limit:
            break
        taken.append(texts[row])
        chars += len(texts[row])
    tokenizer = proxy_model.train_tokenizer(taken, vocab=training.vocabulary)
    return tokenizer, proxy_model.encode(tokenizer, taken)


def scored_text(tokenizer: Any, prompt: str, output: str) -> influence.Text:
    """An output as the small model reads it: after its prompt, which is read but not scored."""
    before = proxy_model.encode(tokenizer, [f"{prompt}\n"] if prompt else [""])
    after = proxy_model.encode(tokenizer, [output])[1:]
    before = before[:1] if len(before) < 2 else before[-(influence.READ_TOKENS // 2) :]
    return influence.Text(np.concatenate([before, after]), len(before))


def remember(warehouse: Warehouse, outputs: Sequence[BadOutput], found: Blame, looks: pl.DataFrame) -> None:
    """Put outputs, the records blamed and the first look at them into the database, all or nothing."""
    rows = pl.DataFrame([one._asdict() for one in outputs]).with_columns(added_at=pl.lit(datetime.now(timezone.utc)))
    with warehouse.transaction(stage="eval_report.blamed", run_id="") as commit:
        commit.append_new("eval_report.bad_outputs", rows, "output_id")
        commit.append("eval_report.blamed", found.blamed)
        commit.append("eval_report.bad_output_checks", looks)


CHECKS = {
    "output_id": pl.String,
    "run_id": pl.String,
    "checked_at": pl.Datetime("us", "UTC"),
    "bits_per_byte": pl.Float64,
    "deviation": pl.Float64,
    "seeds": pl.Int64,
    "token_budget": pl.Int64,
    "blamed": pl.Int64,
    "blamed_still_in": pl.Int64,
    "verdict": pl.String,
}

STILL_IN = (
    "with latest as (select * from eval_report.blamed qualify blamed_at = max(blamed_at) over (partition by output_id)), "
    "meant as (select * from latest qualify is_strong or not bool_or(is_strong) over (partition by output_id)) "
    "select output_id, count(*) as blamed, count(*) filter (record_id in (select record_id from curated_set.records)) as blamed_still_in "
    "from meant group by output_id"
)

FIRST_LOOKS = (
    "select output_id, arg_min(bits_per_byte, checked_at) as bits_per_byte, arg_min(deviation, checked_at) as deviation, "
    "arg_min(seeds, checked_at) as seeds from eval_report.bad_output_checks where token_budget = $budget group by output_id"
)


def remembered(warehouse: Warehouse) -> list[BadOutput]:
    """The bad outputs the database remembers."""
    if not warehouse.has_table("eval_report.bad_outputs"):
        return []
    rows = warehouse.query("select output_id, prompt, output from eval_report.bad_outputs order by output_id")
    return [BadOutput(*row) for row in rows.iter_rows()]


def look_at(
    warehouse: Warehouse,
    outputs: Sequence[BadOutput],
    training: Training,
    run_id: str,
    progress: Callable[[float], None],
    found: Blame | None = None,
) -> pl.DataFrame:
    """One look at each output: its loss under the small model trained on the curated set as it is, beside the first look's.

    Rows of eval_report.bad_output_checks. found: what `curate blame` has just found and not put away yet.
    """
    if not outputs:
        return pl.DataFrame(schema=CHECKS)
    curated = warehouse.query(TEXTS["curated"])
    texts, order = curated["text"].to_list(), np.random.default_rng(0).permutation(len(curated))
    tokenizer, stream = learn(texts, order, training)
    scored = [scored_text(tokenizer, one.prompt, one.output) for one in outputs]
    sizes = proxy_model.token_bytes(tokenizer)
    bits = np.empty((training.seeds, len(outputs)))
    with proxy_model.one_thread():
        for seed in range(training.seeds):
            model = proxy_model.trained(
                stream, vocabulary=tokenizer.get_vocab_size(), token_budget=training.token_budget, seed=seed
            )
            read = [text.tokens[text.scored_from : text.scored_from + influence.READ_TOKENS] for text in scored]
            tokens = np.array([len(one) for one in read])
            written = np.array([max(1, sizes[one].sum()) for one in read])
            bits[seed] = influence.losses(model, scored) * tokens / np.log(2) / written
            progress((seed + 1) / training.seeds)
    table = pl.DataFrame(
        {
            "output_id": [one.output_id for one in outputs],
            "run_id": run_id,
            "checked_at": datetime.now(timezone.utc),
            "bits_per_byte": bits.mean(axis=0),
            "deviation": bits.std(axis=0, ddof=1),
            "seeds": training.seeds,
            "token_budget": training.token_budget,
        }
    )
    known = warehouse.has_table("eval_report.blamed")
    in_set = (
        warehouse.query(STILL_IN)
        if known
        else pl.DataFrame(schema={"output_id": pl.String, "blamed": pl.Int64, "blamed_still_in": pl.Int64})
    )
    if found is not None:
        strong = found.blamed.filter(pl.col("is_strong") | ~pl.col("is_strong").any().over("output_id"))
        now = strong.group_by("output_id").agg(blamed=pl.len().cast(pl.Int64), blamed_still_in=pl.len().cast(pl.Int64))
        in_set = pl.concat([now, in_set.join(now, on="output_id", how="anti")])
    first = warehouse.query(FIRST_LOOKS, budget=training.token_budget) if known else None
    table = table.join(in_set, on="output_id", how="left", maintain_order="left").with_columns(
        pl.col("blamed", "blamed_still_in").fill_null(0)
    )
    before = {row[0]: row[1:] for row in first.iter_rows()} if first is not None else {}
    verdicts = [verdict(row, before.get(row["output_id"])) for row in table.iter_rows(named=True)]
    return table.with_columns(verdict=pl.Series(verdicts, dtype=pl.String)).cast(CHECKS).select(list(CHECKS))


def verdict(look: dict[str, Any], first: tuple[float, float, int] | None) -> str:
    """A look as a sentence: what has become of the blamed records, and whether the output is less likely than at the first look.

    A difference is shown where it exceeds twice its standard error over the training runs.
    """
    records = f"{look['blamed_still_in']} of {look['blamed']} blamed records are still in the set"
    if first is None:
        return f"{records}; {look['bits_per_byte']:.2f} bits a byte at this first look."
    change = look["bits_per_byte"] - first[0]
    error = (look["deviation"] ** 2 / look["seeds"] + first[1] ** 2 / first[2]) ** 0.5
    figures = (
        f"{look['bits_per_byte']:.2f} bits a byte against {first[0]:.2f} at first, change {change:+.2f} ± {error:.2f}"
    )
    shown = "no difference is shown" if abs(change) <= 2 * error else "less likely" if change > 0 else "likelier"
    return f"{records}; a model trained on it finds the output: {shown} ({figures})."
