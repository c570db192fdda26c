import numpy as np
import polars as pl
import pytest

from curation_assets.algorithms.proxy_model import (
    RESULT_SCHEMA,
    SEPARATOR,
    _initial_parameters,
    _windows,
    compare,
    encode,
    logits,
    perplexities,
    token_bytes,
    train_tokenizer,
    verdict,
)

SUBJECTS = {
    "kitchen": ["the cook", "a baker", "our guest", "the soup", "fresh bread"],
    "harbour": ["the captain", "a sailor", "our ship", "the tide", "cold wind"],
}
VERBS = {"kitchen": ["bakes", "stirs", "tastes", "serves"], "harbour": ["sails", "anchors", "drifts", "signals"]}


def sentences(place, count, seed):
    rng = np.random.default_rng(seed)
    return [
        f"{rng.choice(SUBJECTS[place])} {rng.choice(VERBS[place])} before {rng.choice(SUBJECTS[place])} returns."
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(sentences("kitchen", 200, 0) + sentences("harbour", 200, 0), vocab=320)


@pytest.fixture(scope="module")
def results(tokenizer):
    arms = {
        "curated": encode(tokenizer, sentences("kitchen", 400, 1)),
        "random": encode(tokenizer, sentences("harbour", 400, 1)),
    }
    heldout = {place: encode(tokenizer, sentences(place, 80, 2)) for place in SUBJECTS}
    return perplexities(
        arms, heldout, token_bytes=token_bytes(tokenizer), token_budget=8_000, seeds=(0, 1), context=32, width=32
    ), heldout


def test_the_tokenizer_is_deterministic_and_loses_no_byte(tokenizer):
    again = train_tokenizer(sentences("kitchen", 200, 0) + sentences("harbour", 200, 0), vocab=320)
    assert again.to_str() == tokenizer.to_str()
    texts = ["the captain\tstirs 한국어 \x00🙂", "", f"spells {SEPARATOR} out"]
    stream = encode(tokenizer, texts)
    assert (stream == 0).sum() == len(texts)  # only ours, not the one spelled out
    documents = np.split(stream, np.flatnonzero(stream == 0))[1:]
    assert [tokenizer.decode(part[1:].tolist()) for part in documents] == texts
    assert token_bytes(tokenizer)[stream].sum() == sum(len(text.encode()) for text in texts)
    assert len(encode(tokenizer, [])) == 0


def test_matching_text_teaches_more_than_other_text_and_more_than_word_frequencies(results, tokenizer):
    table, heldout = results
    assert table.columns == list(RESULT_SCHEMA)
    mean = {(a, s): p for a, s, p in table.group_by("arm", "slice").agg(pl.mean("perplexity")).iter_rows()}
    assert mean["curated", "kitchen"] < 0.5 * mean["random", "kitchen"]
    assert mean["random", "harbour"] < 0.5 * mean["curated", "harbour"]
    counts = np.bincount(heldout["kitchen"], minlength=320)
    shares = counts[counts > 0] / counts.sum()
    best_unigram = np.exp(-(shares * np.log(shares)).sum())  # the oracle, which knows the held-out frequencies
    assert mean["curated", "kitchen"] < 0.5 * best_unigram
    assert np.allclose(np.exp(table["loss"]), table["perplexity"])
    assert table["train_tokens"].n_unique() == 1
    for row in table.iter_rows(named=True):
        assert np.exp(sum(row["record_nats"]) / sum(row["record_tokens"])) == pytest.approx(row["perplexity"])
        documents = np.diff(np.append(np.flatnonzero(heldout[row["slice"]] == 0), len(heldout[row["slice"]])))
        whole = np.array(row["record_tokens"])[1:-1]  # the first separator is no target, the last record may be cut
        assert (whole == documents[1 : len(whole) + 1]).all() and len(whole) >= 70


def test_figures_repeat_whatever_the_number_of_threads(tokenizer):
    arms = {name: encode(tokenizer, sentences(name, 60, 3)) for name in SUBJECTS}
    shares = []
    one, two = (
        perplexities(
            arms,
            arms,
            token_bytes=token_bytes(tokenizer),
            token_budget=2_000,
            seeds=(7,),
            context=16,
            width=16,
            threads=threads,
            progress=shares.append,
        )
        for threads in (1, 2)
    )
    assert one.equals(two)
    assert shares[-1] == 1 and len(shares) >= 2


def test_no_arm_is_repeated_more_than_max_epochs(tokenizer):
    small, large = encode(tokenizer, sentences("kitchen", 20, 0)), encode(tokenizer, sentences("kitchen", 100, 1))
    table = perplexities(
        {"small": small, "large": large},
        {"text": large},
        token_bytes=token_bytes(tokenizer),
        token_budget=10**9,
        max_epochs=2,
        seeds=(0,),
        context=16,
        width=16,
    )
    assert table["train_tokens"].n_unique() == 1
    assert 1.5 < table.filter(pl.col("arm") == "small")["epochs"].item() <= 2


def test_no_prediction_sees_its_own_or_a_later_token():
    import torch

    parameters = _initial_parameters(50, 16, 2, seed=0)
    with torch.no_grad():
        for name in parameters:  # blocks start as the identity, which would see nothing at all
            if name.endswith("_out"):
                parameters[name].normal_()
        ids = torch.randint(50, (1, 12))
        changed = ids.clone()
        changed[0, 8] = (ids[0, 8] + 1) % 50
        same = torch.isclose(logits(parameters, ids), logits(parameters, changed)).all(dim=1)
    assert same[:8].all() and not same[8:].any()


def test_an_epoch_shows_every_window_once():
    starts = _windows(tokens=1_000, context=10, count=99, seed=0)
    assert len(np.unique(starts)) == 99 and len(np.unique(starts % 10)) == 1
    assert (starts + 10 < 1_000).all()


def made_up(curated, random, tokens=(10, 20, 30), surprise=0.0):
    """Runs in which every held-out record reads alike, but for the first, which the curated arm finds harder by so many nats."""
    tokens, rows = np.array(tokens), []
    for arm, values in (("curated", curated), ("random", random)):
        for seed, value in enumerate(values):
            nats = np.log(value) * tokens + np.eye(len(tokens))[0] * surprise * (arm == "curated")
            row = {"arm": arm, "seed": seed, "slice": "target", "perplexity": np.exp(nats.sum() / tokens.sum())}
            row |= {"bits_per_byte": 1.0, "epochs": 1.0, "record_nats": nats.tolist(), "record_tokens": tokens.tolist()}
            rows.append(row)
    return pl.DataFrame(rows)


def test_where_records_read_alike_the_interval_is_students_t_on_the_paired_differences():
    from scipy.stats import ttest_rel

    curated, random = [40.0, 41.0, 43.0], [45.0, 45.5, 46.0]
    row = compare(made_up(curated, random)).filter(pl.col("arm") == "curated").row(0, named=True)
    interval = ttest_rel(curated, random).confidence_interval(0.95)
    assert row["difference"] == pytest.approx(np.mean(curated) - np.mean(random))
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((interval.low, interval.high))
    assert row["records"] == 3


def test_one_record_that_makes_all_the_difference_shows_none():
    same = [40.0, 40.0, 40.0]
    rows = made_up(same, same, tokens=[100] * 30, surprise=1_000.0)
    row = compare(rows).filter(pl.col("arm") == "curated").row(0, named=True)
    assert row["difference"] == pytest.approx(40 * (np.exp(1 / 3) - 1))  # more than a third worse, at every seed
    assert row["difference_low"] <= 0 < row["difference"] < row["difference_high"]
    assert "no difference between 'curated' and 'random' is shown" in verdict(compare(rows))


@pytest.mark.parametrize("records", [2, 5, 100])
def test_the_interval_over_records_has_the_width_of_many_draws_of_them(records):
    rng = np.random.default_rng(5)
    tokens = np.full(records, 50)

    def difference(gaps):
        rows = made_up([40.0, 40.0, 40.0], [40.0, 40.0, 40.0], tokens=tokens)
        nats = [np.array(n) + gaps * (arm == "curated") for arm, n in rows.select("arm", "record_nats").iter_rows()]
        values = [np.exp(n.sum() / tokens.sum()) for n in nats]
        found = compare(rows.with_columns(pl.Series("record_nats", nats), pl.Series("perplexity", values)))
        return found.filter(arm="curated").row(0, named=True)

    gaps = [rng.normal(2.0, 15.0, records) for _ in range(60)]
    truth = 40 * (np.exp(2.0 / 50) - 1)
    rows = [difference(gap) for gap in gaps]
    covered = np.mean([row["difference_low"] < truth < row["difference_high"] for row in rows])
    assert 0.88 < covered <= 1


def test_of_one_held_out_record_no_difference_can_be_shown():
    assert "one held-out record gives" in verdict(compare(made_up([40, 41, 40], [45, 46, 45], tokens=[50])))


@pytest.mark.parametrize(
    ("curated", "random", "says"),
    [
        ([40, 41, 40], [45, 46, 45], "is better than on 'random' (perplexity 40.3 against 45.3, difference -5.0"),
        ([45, 46, 45], [40, 41, 40], "is worse than"),
        ([40, 46, 43], [45, 40, 44], "no difference between 'curated' and 'random' is shown"),
        ([40], [45], "no difference can be shown"),
    ],
)
def test_the_verdict_says_what_the_interval_allows(curated, random, says):
    assert says in verdict(compare(made_up(curated, random)))


def test_misuse_is_refused(tokenizer):
    with pytest.raises(ValueError, match="'short' has 3 tokens"):
        perplexities({"short": np.zeros(3, np.int32)}, {}, token_bytes=token_bytes(tokenizer))
    with pytest.raises(ValueError, match="no arm 'baseline'"):
        compare(made_up([1, 2], [1, 2]), baseline="baseline")
    with pytest.raises(ValueError, match="no arm 'absent'"):
        verdict(compare(made_up([1, 2], [1, 2])), arm="absent")
