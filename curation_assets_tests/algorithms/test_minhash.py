"""That signatures and bands agree as often as the mathematics says, and that what was kept of them can be read."""

import numpy as np
import pyarrow as pa
import pytest

from curation_assets.algorithms.minhash import SKETCH_VERSION, band_keys, candidate_probability, sketch, sketches
from curation_assets.algorithms.shingles import Shingles


def test_candidate_probability_is_the_published_one():
    # FineWeb's choice of 14 bands of 8 rows: 92.4 % at .8 (DataTrove, comment in pipeline/dedup/minhash.py).
    assert candidate_probability(0.8, bands=14, rows=8) == pytest.approx(0.924, abs=5e-4)
    assert candidate_probability(np.array([0.0, 1.0]), 3, 2).tolist() == [0.0, 1.0]


def test_bands_and_signatures_agree_as_often_as_the_mathematics_says():
    n, pairs = 300, 400
    draw = np.random.default_rng(3)
    for true in (0.5, 0.8):
        shared = round(2 * n * true / (1 + true))
        sets = []
        for _ in range(pairs):
            values = draw.integers(0, 2**64, 2 * n - shared, np.uint64)
            sets += [np.sort(values[:n]), np.sort(values[n - shared :])]
        shingles = Shingles(np.concatenate(sets), np.arange(2 * pairs + 1) * n, np.empty((0, 2), np.uint64), None)
        signatures = sketch(shingles)
        agreeing = (signatures[::2] == signatures[1::2]).mean()
        keys = band_keys(signatures)
        candidates = (keys[:, ::2] == keys[:, 1::2]).any(axis=0).mean()
        assert agreeing == pytest.approx(true, abs=0.015)
        expected = candidate_probability(true)
        assert abs(candidates - expected) < 4 * np.sqrt(expected * (1 - expected) / pairs)


def test_sketches_that_were_kept_can_still_be_read():
    """If this fails, what is kept in deduped.sketches is of no use any more: raise SKETCH_VERSION and put the new values here."""
    found = sketches(pa.array(["A text of seven words, well-known: 한국어 é"]))
    assert SKETCH_VERSION == 2
    assert found.word_hash.tolist() == [[11101224637101853927, 6387983697451938619]]
    assert found.keys[:2, 0].tolist() == [8358777693553484252, 1231010404462088729]
