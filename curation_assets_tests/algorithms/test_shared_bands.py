"""That records share a bucket exactly where they share a key."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.shared_bands import bucket_starts, buckets_of


@settings(deadline=None)
@given(st.integers(1, 4), st.lists(st.integers(0, 9), max_size=40), st.booleans())
def test_a_bucket_is_a_key_that_several_have_in_one_band(bands, values, spread):
    values = values[: len(values) // bands * bands]
    keys = np.array(values, np.uint64).reshape(bands, -1)
    keys = keys << np.uint64(40) if spread else keys  # the low bits alone tell nothing apart then
    found = buckets_of(keys)
    places = [(band, n) for band in range(bands) for n in range(keys.shape[1])]
    for band, n in places:
        assert (found[band, n] >= 0) == ((keys[band] == keys[band, n]).sum() > 1)
        for other_band, m in places:
            if found[band, n] >= 0:
                same = band == other_band and keys[band, n] == keys[other_band, m]
                assert (found[band, n] == found[other_band, m]) == same
    assert bucket_starts(found)[-1] == (found >= 0).sum()
