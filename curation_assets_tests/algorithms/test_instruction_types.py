import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.instruction_types import MAX_CHARS, TYPES, guess_types, neighbour_types, ruled_types


def ruled(*requests):
    return [TYPES[at] if at >= 0 else None for at in ruled_types(list(requests))[0]]


@pytest.mark.parametrize(
    ("request_", "type_"),
    [
        ("Write a Python function that reverses a list.", "code"),
        ("파이썬으로 소수를 구하는 함수를 작성해줘", "code"),
        ("A train goes 60 miles in 2 hours. How many miles does it go in 5?", "maths"),
        ("3시간에 60km를 가면 5시간에는 얼마나 가는지 계산해줘", "maths"),
        ("Translate the sentence into French.", "translation"),
        ("다음 문장을 영어로 번역해 주세요.", "translation"),
        ("Summarize the article in two sentences.", "summarisation"),
        ("아래 글을 요약해줘", "summarisation"),
        ("Extract all key concepts from the following paragraph.", "extraction"),
        ("Classify the tweet as positive or negative.", "classification"),
        ("Some long text. Is this review positive or negative?", "classification"),
        ("Rewrite the sentence in the passive voice.", "rewriting"),
        ("이 문장의 맞춤법을 고쳐줘", "rewriting"),
        ("Define the term entropy.", "definition"),
        ("관성이란 무엇인가요?", "definition"),
        ("Write a short story about a dragon.", "creative_writing"),
        ("가을에 대한 시를 써줘", "creative_writing"),
        ("List five reasons to exercise.", "brainstorming"),
        ("여행 가기 좋은 곳 추천해줘", "brainstorming"),
        ("Who wrote Hamlet?", "factual_question"),
        ("What is the capital of France?", "factual_question"),
        ("Should I quit my job?", "open_question"),
        ("살을 빼려면 어떻게 해야 할까?", "open_question"),
        ("Explain how a vaccine works.", "explanation"),
        ("Hello, how are you?", "dialogue"),
        ("오늘 너무 힘들다", "dialogue"),
        ("Purple.", None),
        ("", None),
        (None, None),
    ],
)
def test_rules_know_a_request_of_each_type(request_, type_):
    assert ruled(request_) == [type_]


def test_a_word_in_passing_makes_no_type():
    assert ruled("Compile a list of famous landmarks.") != ["code"]
    assert ruled("Identify three punctuation marks used in English.") != ["translation"]


def test_a_question_after_a_long_text_is_read_and_the_middle_is_not():
    filler = "word " * MAX_CHARS
    assert ruled(f"{filler}\nIs this review positive or negative?") == ["classification"]
    assert ruled(f"{filler} translate into French {filler}") == [None]


def test_neighbours_speak_only_where_rules_are_silent():
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 0]]
    requests = ["Define entropy.", "Define mass.", "Translate: cat", "Translate: dog", "Entropy, then"]
    found = guess_types(requests, vectors)
    assert found.by_rule.tolist() == [True, True, True, True, False]
    assert TYPES[found.types[4]] == "definition"
    assert found.vote_share[4] == pytest.approx(1, abs=1e-4)
    nothing = guess_types(["Purple.", "Mauve."], vectors[:2])
    assert nothing.types.tolist() == [-1, -1]
    assert nothing.vote_share.tolist() == [0, 0]
    assert len(guess_types([], vectors[:0]).types) == 0


@settings(deadline=None, max_examples=20)  # the first call compiles the rules
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["Define mass.", "Purple.", "List ten birds."])), max_size=12)
)
def test_a_guess_does_not_depend_on_the_order_of_the_records(records):
    vectors = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows, requests = [row for row, _ in records], [words for _, words in records]
    there = guess_types(requests, vectors[rows])
    back = guess_types(requests[::-1], vectors[rows[::-1]])
    assert there.by_rule.tolist() == back.by_rule[::-1].tolist()
    assert there.types[there.by_rule].tolist() == back.types[::-1][there.by_rule].tolist()
    assert ((there.types >= 0) == (back.types[::-1] >= 0)).all()


def test_the_nearest_references_vote():
    references = np.float32([[1, 0], [0.96, 0.28], [0, 1], [-1, 0]])
    types, share = neighbour_types(np.float32([[1, 0], [0, 1]]), references, np.array([3, 3, 5, 7]), k=2)
    assert types.tolist() == [3, 5]
    assert share[0] == pytest.approx(1)
    assert share[1] == pytest.approx(1 / 1.28)


def test_rules_know_grade_school_maths_and_templates(shared_data):
    """Gold types by what the sets are: GSM8K is maths, seed tasks say whether they are classification."""
    import json

    lines = (shared_data / "benchmarks" / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()
    types, _ = ruled_types([json.loads(line)["question"] for line in lines])
    assert (types == TYPES.index("maths")).mean() > 0.85
    lines = (shared_data / "instruction_en" / "seed_tasks.jsonl").read_text(encoding="utf-8").splitlines()
    tasks = [json.loads(line) for line in lines]
    found = ruled_types([task["instruction"] for task in tasks])[0] == TYPES.index("classification")
    gold = np.array([task["is_classification"] for task in tasks])
    assert (found == gold).mean() > 0.93
