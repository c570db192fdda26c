"""How well each measure of quality in a database ranks records that somebody called good: AUC with its interval.

    python benchmarks/judges.py --database data/alpaca.duckdb --good the_good_ones.json

--good is any file `curate run --source` reads; a record is good if its text stands in it, word for word. Measured are the
judge's score and, where they are, the cheap judge's, the language model's P(yes), and perplexity (less is better); beside
them length, which needs no judge.
"""

import argparse
from pathlib import Path

from curation_assets import readers
from curation_assets.algorithms.calibration import auc
from curation_assets.warehouse import Warehouse

MEASURES = (
    "select raw.text, q.quality, q.cheap_quality, q.p_yes, -q.bits_per_byte as low_perplexity, len(raw.text) as length, "
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
    rows = Warehouse(database=str(options.database)).query(MEASURES)
    is_good = rows["text"].is_in(list(good))
    print(f"{len(rows):,} records, {is_good.sum():,} of them good; judge: {', '.join(rows['judge'].unique())}")
    for name in ("quality", "cheap_quality", "p_yes", "low_perplexity", "length"):
        known = rows[name].is_not_null()
        if known.any():
            found = auc(rows[name].filter(known).to_numpy(), is_good.filter(known).to_numpy())
            print(f"{name:<16} AUC {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]  n {found.n:,}")


if __name__ == "__main__":
    main()
