"""How well each measure of quality in a database ranks records that somebody called good: AUC with its interval.

    python benchmarks/judges.py --database data/alpaca.duckdb --good the_good_ones.json

--good is any file `curate run --source` reads; a record is good if its text stands in it, word for word. Measured are the
judge's score (each judge's on the records it looked at, where there are several) and, where they are, the cheap judge's,
the language model's P(yes), and perplexity (less is better); beside them the embedded judge for prose, here by the signals
alone, whoever judged the database, and length, which needs no judge.
"""

import argparse
from pathlib import Path

import polars as pl

from curation_assets import judging, readers
from curation_assets.algorithms.calibration import auc
from curation_assets.models.judges import EmbeddedJudge
from curation_assets.warehouse import Warehouse

MEASURES = (
    "select record_id, raw.text, q.quality, q.cheap_quality, q.p_yes, -q.bits_per_byte as low_perplexity, len(raw.text) as length, "
    "q.judge from quality_scores.scores as q join raw.records as raw using (record_id)"
)


def main() -> None:
    """Print one line a measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--good", required=True, help="file of the good records")
    options = parser.parse_args()
    source = readers.Source(name="good", path=options.good)
    good = {
        text
        for file in readers.files(source)
        for batch in readers.read(source, file)
        for text in batch.records["text"].to_pylist()
    }
    warehouse = Warehouse(database=str(options.database))
    rows = warehouse.query(MEASURES)
    signals = judging.records_to_judge(warehouse)
    prose = signals.select("record_id", prose=pl.Series(EmbeddedJudge().score(signals)))
    rows = rows.join(prose, on="record_id", how="left", maintain_order="left")
    judges = sorted(rows["judge"].unique())
    if len(judges) > 1:
        rows = rows.with_columns(pl.when(judge=name).then("quality").alias(name) for name in judges)
    is_good = rows["text"].is_in(list(good))
    print(f"{len(rows):,} records, {is_good.sum():,} of them good; judge: {', '.join(judges)}")
    of_judges = judges if len(judges) > 1 else []
    for name in ("quality", *of_judges, "cheap_quality", "p_yes", "low_perplexity", "prose", "length"):
        known = rows[name].is_not_null()
        if known.any():
            found = auc(rows[name].filter(known).to_numpy(), is_good.filter(known).to_numpy())
            print(f"{name:<18} AUC {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]  n {found.n:,}")


if __name__ == "__main__":
    main()
