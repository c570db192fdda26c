"""That the lines and paragraphs found, and their places, are those that plain Python finds."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms import passages as subject
from curation_assets.algorithms.passages import MIN_CHARS, passages

line = st.one_of(
    st.sampled_from(["", " ", "\t ", "} ", "-" * 40, "x" * 29, "x" * 30, "가" * 29, " 나라 " * 12, "é" * 35 + "\r"]),
    st.text("ab 😀가\t\r", max_size=50),
)
some_texts = st.lists(st.lists(line, max_size=8).map("\n".join), max_size=5)


def plain_passages(text: str) -> list[tuple[str, int, int, bool]]:
    """(what it says, start, characters, whether it is a paragraph) of each, line by line."""
    found, block, at = [], [], 0
    lines = text.split("\n")
    for number, one in enumerate(lines):
        stop = at + len(one) + (number < len(lines) - 1)
        said = one.strip(" \t\r").replace("\t", " ").replace("\r", " ")
        if said:
            block.append((said, at, stop))
            if len(said) >= MIN_CHARS:
                found.append((said, at, stop - at, False))
        if (not said or number == len(lines) - 1) and block:
            if len(block) > 1 and sum(len(one[0]) for one in block) >= MIN_CHARS:
                found.append(("\n".join(one[0] for one in block), block[0][1], block[-1][2] - block[0][1], True))
            block = []
        at = stop
    return found


@settings(deadline=None)
@given(some_texts)
def test_passages_are_those_of_plain_python(texts):
    found = passages(pa.array(texts, pa.string()))
    expected = [plain_passages(text) for text in texts]
    assert found.offsets.tolist() == [0, *(sum(map(len, expected[: k + 1])) for k in range(len(texts)))]
    flat = [one for some in expected for one in some]
    assert found.starts.tolist() == [one[1] for one in flat]
    assert found.chars.tolist() == [one[2] for one in flat]
    assert found.is_paragraph.tolist() == [one[3] for one in flat]
    said: dict[tuple, int] = {}
    for one, value in zip(flat, found.hashes.tolist(), strict=True):
        assert said.setdefault((one[0], one[3]), value) == value
    assert len(set(said.values())) == len(said)


def test_slabs_change_nothing():
    texts = pa.array(
        ["the first line of them is long enough\n\nand so is the second of them here", "", "z" * 31 + "\n" + "y" * 31]
    )
    whole = passages(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curation_assets.algorithms.words.SLAB_BYTES", 1)
        cut = subject.passages(texts)
    assert all((a == b).all() for a, b in zip(whole, cut, strict=True))
    assert whole.offsets.tolist() == [0, 2, 2, 5]
