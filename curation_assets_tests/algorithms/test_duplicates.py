"""That the duplicates found are duplicates, that hardly any are missed, and that order plays no part."""

import itertools
import random

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.duplicates import (
    connected_components,
    duplicates,
    exact_duplicates,
    linked,
    near_duplicates,
    verified,
)
from curation_assets.algorithms.jaccard import differing, jaccard, may_reach, odd_sketches
from curation_assets.algorithms.minhash import band_keys, sketch, sketches
from curation_assets.algorithms.shared_bands import candidates, components
from curation_assets.algorithms.shingles import Shingles, shingle

few_words = st.lists(st.sampled_from("abcdefg"), max_size=25).map(" ".join)


def shingle_sets(texts: list[str], words: int = 5) -> list[set]:
    split = [text.lower().split() for text in texts]
    return [{tuple(t[k : k + words]) for k in range(max(1, len(t) - words + 1))} for t in split]


def python_jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b)


def of(shingles: Shingles, i: int) -> np.ndarray:
    return shingles.hashes[shingles.offsets[i] : shingles.offsets[i + 1]]


def planted_corpus(n: int, seed: int = 0) -> list[str]:
    """n texts of 20 to 200 words: two thirds of them edits of an earlier one, replacing 0 to 5 words of a hundred."""
    draw = random.Random(seed)
    vocabulary = [f"w{k}" for k in range(2_000)]
    texts = []
    for _ in range(n):
        if texts and draw.random() < 0.67:
            rate = draw.random() * 0.05
            words = [draw.choice(vocabulary) if draw.random() < rate else w for w in draw.choice(texts).split()]
        else:
            words = draw.choices(vocabulary, k=draw.randint(20, 200))
        texts.append(" ".join(words))
    return texts


@settings(deadline=None)
@given(few_words, few_words, st.integers(1, 6))
def test_jaccard_is_that_of_python_sets(a, b, words):
    shingles = shingle(pa.array([a, b]), words)
    assert jaccard(of(shingles, 0), of(shingles, 1)) == python_jaccard(*shingle_sets([a, b], words))


def test_every_pair_is_true_and_hardly_any_is_missed():
    texts = planted_corpus(600)
    rank = np.random.default_rng(1).permutation(len(texts))
    sets = shingle_sets(texts)
    found = near_duplicates(shingle(pa.array(texts)), rank)
    dropped = set(found["record"])
    for record, survivor, similarity in found.rows():
        assert similarity == python_jaccard(sets[record], sets[survivor]) >= 0.7
        assert rank[survivor] < rank[record]
        assert survivor not in dropped
    kept = [i for i in range(len(texts)) if i not in dropped]
    alike = [python_jaccard(sets[i], sets[j]) for k, i in enumerate(kept) for j in kept[:k]]
    # Records with a kept partner at .8 or more, of which at least 99 % must have been dropped.
    missed = sum(similarity >= 0.8 for similarity in alike)
    assert len(dropped) > 200
    assert missed <= 0.01 * (len(dropped) + missed)


def test_with_bands_of_one_row_the_result_is_brute_force():
    texts = planted_corpus(150, seed=5)
    sets = shingle_sets(texts)
    for min_jaccard in (0.2, 0.5, 0.7, 1.0):
        kept, expected = [], []
        for i in range(len(texts)):
            best = max(((python_jaccard(sets[i], sets[j]), -j) for j in kept), default=(0.0, 0))
            if best[0] >= min_jaccard:
                expected.append((i, -best[1], best[0]))
            else:
                kept.append(i)
        found = near_duplicates(
            shingle(pa.array(texts)), np.arange(len(texts)), bands=200, rows=1, min_jaccard=min_jaccard
        )
        assert found.rows() == expected


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 3))
def test_the_order_of_the_texts_plays_no_part(draw, seed):
    texts = planted_corpus(30, seed)
    texts += [texts[3].upper(), texts[7] + "!", texts[3], "short", "Short.", "", ""]
    order = list(range(len(texts)))
    draw.shuffle(order)

    def named(result: pl.DataFrame, names: list[int]) -> set:
        return {(names[record], names[matched], s, kind) for record, matched, s, kind in result.rows()}

    expected = named(duplicates(pa.array(texts), np.arange(len(texts))), list(range(len(texts))))
    found = named(duplicates(pa.array([texts[i] for i in order]), np.array(order)), order)
    assert found == expected
    assert len(expected) > 7


def test_each_dropped_record_has_one_pair_with_a_kept_one():
    base = [f"w{k}" for k in range(60)]
    a, b = " ".join(base), " ".join([*base[:-2], "x", "y"])
    texts = [a, b, b.upper() + ".", "unrelated words that stand alone here", b + "\n", a + " "]
    rank = np.array([0, 2, 1, 3, 4, 5])
    near = python_jaccard(*shingle_sets([a, b]))
    found = duplicates(pa.array(texts), rank)
    assert found.rows() == [
        (1, 2, 1.0, "exact"),
        (1, 0, near, "near"),
        (2, 0, near, "near"),
        (4, 2, 1.0, "exact"),
        (4, 0, near, "near"),
        (5, 0, 1.0, "exact"),
    ]
    dropped = set(found["record"])
    final = found.filter(~pl.col("matched").is_in(list(dropped)))
    assert final["record"].to_list() == sorted(dropped)


@settings(deadline=None)
@given(
    st.sets(st.integers(0, 2**64 - 1), min_size=1, max_size=300),
    st.integers(0, 300),
    st.integers(0, 300),
    st.floats(0.01, 1),
)
def test_the_bounds_before_merging_never_rule_out_a_pair_that_reaches_the_threshold(values, a, b, at_least):
    """Sets of any sizes, so that odd sketches of unlike lengths are folded; their elements share low bits now and then."""
    values = np.array(sorted(values), np.uint64)
    sets = [values[: max(1, len(values) - a)], values[min(b, len(values) - 1) :]]
    sizes = [len(one) for one in sets]
    shingles = Shingles(np.concatenate(sets), np.array([0, sizes[0], sum(sizes)]), np.empty((2, 2), np.uint64), None)
    odd, offsets = odd_sketches(shingles, np.arange(2))
    true = python_jaccard(*(set(one.tolist()) for one in sets))
    both = odd[: offsets[1]], odd[offsets[1] :]
    assert differing(*both) <= len(set(sets[0].tolist()) ^ set(sets[1].tolist()))
    assert may_reach(*sizes, *both, true)
    if not may_reach(*sizes, *both, at_least):
        assert true < at_least


def test_records_of_one_template_are_told_apart_and_what_the_cap_skips_is_counted():
    draw = random.Random(2)
    template = [f"t{k}" for k in range(80)]
    texts = [" ".join(template + [f"x{draw.randrange(10**9)}" for _ in range(24)]) for _ in range(60)]
    texts.append(texts[7])
    texts[-1] = texts[-1].replace(" t3 ", " u3 ")  # a near-duplicate of one of them
    array, rank = pa.array(texts), np.arange(len(texts))
    options = {"words": 5, "bands": 60, "rows": 2, "seed": 1}
    known, shingles = sketches(array, **options), shingle(array)
    free, capped = (verified(known, rank, shingles, rank, max_comparisons=most) for most in (1_000, 5))
    assert free.pairs.select("record", "matched").rows() == [(60, 7)]
    assert free.skipped.sum() == 0
    assert capped.skipped.tolist() == [max(0, k - 5) for k in range(61)]
    assert len(capped.pairs) <= 1


@settings(deadline=None)
@given(st.integers(0, 3), st.sampled_from([(14, 8), (40, 2)]))
def test_sketches_and_shingles_of_candidates_alone_find_what_all_shingles_find(seed, banding):
    texts = [*planted_corpus(60, seed), "a", "A", "", ""]
    bands, rows = banding
    array, rank = pa.array(texts), np.random.default_rng(seed).permutation(len(texts))
    known = sketches(array, bands=bands, rows=rows)
    some = candidates(known)
    row = np.cumsum(some) - 1
    found = verified(known, rank, shingle(array.filter(pa.array(some))), row).pairs
    assert found.equals(duplicates(array, rank, bands=bands, rows=rows))
    groups = components(known)
    assert (groups[found["record"].to_numpy()] == groups[found["matched"].to_numpy()]).all()
    assert (groups <= np.arange(len(texts))).all()
    exact = verified(known, rank, shingle(array), np.arange(len(texts)), near=False).pairs
    assert exact.equals(found.filter(pl.col("kind") == "exact"))
    as_near = verified(known, rank, shingle(array), np.arange(len(texts)), exact=False).pairs
    assert set(as_near["kind"]) <= {"near"}
    assert set(as_near["record"]) == set(found["record"])


def test_nothing_chains():
    """a ~ b and b ~ c but not a ~ c: c stays, although one component holds all three."""
    words = [f"w{k}" for k in range(140)]
    texts = [" ".join(words[start : start + 100]) for start in (0, 14, 28)]
    sets = shingle_sets(texts)
    assert python_jaccard(sets[0], sets[1]) > 0.74 > 0.6 > python_jaccard(sets[0], sets[2])
    shingles = shingle(pa.array(texts))
    found = near_duplicates(shingles, np.arange(3), bands=100, rows=2)
    assert found.select("record", "survivor").rows() == [(1, 0)]
    by_middle = near_duplicates(shingles, np.array([1, 0, 2]), bands=100, rows=2)
    assert by_middle.select("record", "survivor").rows() == [(0, 1), (2, 1)]
    # The middle one is as much like the one end as like the other: the better rank wins, whatever bands they share.
    for rank, seed in itertools.product(([0, 2, 1], [1, 2, 0]), range(8)):
        by_ends = near_duplicates(shingles, np.array(rank), bands=60, rows=2, seed=seed)
        assert by_ends.select("record", "survivor").rows() == [(1, rank.index(0))]
    assert connected_components(by_middle, 4).tolist() == [0, 0, 0, 3]


def test_korean_and_chinese_are_compared_by_characters_and_emoji_do_not_meet():
    korean = (
        "오늘은 아침부터 비가 내려서 우산을 들고 회사에 갔다. 점심에는 동료들과 함께 김치찌개를 먹고 커피를 마셨다. "
        "저녁에는 집에서 책을 읽었다."
    )
    edited = korean.replace("커피를", "홍차를").replace(" 함께 ", " 함께, ")
    other = "어제는 하루 종일 날씨가 맑아서 공원에서 자전거를 탔다. 친구를 만나 영화를 보고 늦게 돌아왔다."
    chinese = ["今天早上下雨了，我带着伞去公司上班。", "昨天天气很好，我们去公园骑自行车。"]
    texts = [korean, edited, other, *chinese, "😀😀😀😀😀😀", "👍👍👍👍👍👍", "？！", "。。。"]
    found = duplicates(pa.array(texts), np.arange(len(texts)), bands=30, rows=4)
    assert found.select("record", "matched", "kind").rows() == [(1, 0, "near")]


@pytest.mark.parametrize("texts", [[], ["one"], ["", "", ""], ["\x00", "\x00"], ["a b", "a  b", "a c"]])
def test_the_smallest_inputs(texts):
    found = duplicates(pa.array(texts, pa.string()), np.arange(len(texts), dtype=np.int64))
    assert found.schema == {"record": pl.Int64, "matched": pl.Int64, "similarity": pl.Float64, "kind": pl.String}
    repeats = {"": 2, "\x00": 1, "a b": 1}
    assert len(found) == (repeats.get(texts[0], 0) if texts else 0)


def test_chunks_and_other_seeds():
    texts = pa.array(planted_corpus(200))
    rank = np.arange(200)[::-1]
    whole = duplicates(texts, rank)
    assert duplicates((texts.slice(k, 7) for k in range(0, 200, 7)), rank).equals(whole)
    shingles = shingle(texts)
    assert (sketch(shingles, seed=1) != sketch(shingles, seed=2)).mean() > 0.99
    assert np.array_equal(sketch(shingles)[[5, 3]], sketch(shingles, records=np.array([5, 3])))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=12), st.randoms(use_true_random=False))
def test_exact_groups_keep_their_best(hashes, draw):
    rank = list(range(len(hashes)))
    draw.shuffle(rank)
    found = exact_duplicates(np.array(hashes, np.uint64).reshape(-1, 2), np.array(rank, np.int64))
    best = {h: min((r, i) for i, (r, g) in enumerate(zip(rank, hashes, strict=True)) if g == h)[1] for h in hashes}
    assert found.rows() == [(i, best[h]) for i, h in enumerate(hashes) if best[h] != i]


@pytest.mark.parametrize(
    ("rank", "options", "says"),
    [
        ([0], {}, "2 records but 1 ranks"),
        ([0, 0], {}, "each once"),
        ([0.0, 1.0], {}, "must be the integers"),
        ([1, 2], {}, "0 to 1"),
        ([0, 1], {"min_jaccard": 0.0}, "above 0"),
        ([0, 1], {"rows": 0}, "at least one band"),
    ],
)
def test_impossible_demands_are_refused(rank, options, says):
    with pytest.raises(ValueError, match=says):
        duplicates(pa.array(["a", "b"]), np.array(rank), **options)
    with pytest.raises(ValueError, match="5 equal bands"):
        band_keys(np.zeros((1, 112), np.uint32), 5)


def test_linked_joins_chains_that_deduplication_leaves_apart():
    rng = np.random.default_rng(0)
    vocabulary = [f"word{number}" for number in range(5_000)]
    texts = []
    for _ in range(40):  # four texts, each like the next and less like the one after it
        tokens = list(rng.choice(vocabulary, 140))
        texts += [" ".join(tokens[start : start + 100]) for start in (0, 12, 24, 36)]
    order = rng.permutation(len(texts))
    shuffled = pa.array([texts[at] for at in order])
    options = {"words": 5, "bands": 50, "rows": 5, "min_jaccard": 0.5}
    groups = connected_components(linked(shuffled, **options), len(texts))
    chain = order // 4
    assert all(len(set(groups[chain == one])) == 1 for one in range(40))
    assert len(set(groups)) == 40
