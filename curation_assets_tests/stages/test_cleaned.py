"""The cleaned stage end to end: what was planted in every part of a record is in no later table and in no file of a release."""

import csv
import json
import random
import re

import dagster as dg
import polars as pl
import pytest
from conftest import materialize
from small_language_models import PEOPLE, save_name_tagger

from curation_assets.readers import conversation
from curation_assets.stages.cleaned import CleanedConfig, PiiConfig, rules_of
from curation_assets.tables import tables
from curation_assets.warehouse import Warehouse

UP_TO_CURATED = [
    "raw",
    "cleaned",
    "deduped",
    "filtered",
    "embeddings",
    "clusters",
    "density",
    "quality_scores",
    "curated_set",
]
PLANTED = re.compile(r"leak-[a-z_]+@planted\.example")
KEY = "a key of the tests, long enough"
WORDS = [
    "river",
    "mountain",
    "garden",
    "window",
    "letter",
    "market",
    "bridge",
    "winter",
    "music",
    "paper",
    "village",
    "island",
]


def leak(where: str) -> str:
    return f"leak-{where}@planted.example"


def said(rng, where=None, words=30):
    picked = [rng.choice(WORDS) for _ in range(words)]
    if where:
        picked.insert(rng.randrange(words), leak(where))
    return " ".join(picked)


def planted_records():
    """Records of every kind with an address in each part that a release can show, each address naming its place."""
    rng = random.Random(3)
    arguments = json.dumps({"to": leak("arguments"), "from": "user", "n": 4111111111111111}).replace("@", "\\u0040")
    call = {"id": "c1", "type": "function", "function": {"name": "send", "arguments": arguments}}
    tool = {
        "type": "function",
        "function": {"name": "send", "description": said(rng, "tools"), "parameters": {"type": "object"}},
    }
    turns = [
        {"role": "system", "content": said(rng, "system", 5)},
        {"role": "user", "name": leak("name"), "content": [{"type": "text", "text": said(rng, "text_part")}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": said(rng, "tool_turn")},
        {"role": "assistant", "content": said(rng, "answer"), "reasoning_content": said(rng, "reasoning")},
    ]
    share = [{"from": "human", "value": said(rng, "human")}, {"from": "gpt", "value": said(rng, "gpt") + "<|im_end|>"}]
    hh = "\n\nHuman: {}\n\nAssistant: {}"
    asked = said(rng, "hh_prompt")
    return [
        {"text": said(rng, "document")},
        {
            "text": f"<!DOCTYPE html><html><body><article><p>{said(rng, 'html')}</p><p>{said(rng)}</p></article></body></html>"
        },
        {"text": said(rng) + " " + leak("entity").replace("@", "&#64;")},
        {
            "instruction": said(rng, "instruction"),
            "input": said(rng, "input"),
            "output": said(rng, "output"),
            "system": leak("alpaca_system"),
        },
        {"instruction": said(rng), "output": said(rng), "history": [[said(rng, "history"), said(rng)]]},
        {"prompt": said(rng, "prompt"), "completion": said(rng, "completion") + leak("escaped").replace("@", "&#64;")},
        {"messages": turns, "tools": [tool]},
        {"conversations": share, "tools": json.dumps([tool]).replace("@", "\\u0040")},
        {"prompt": said(rng, "pref_prompt"), "chosen": said(rng, "chosen"), "rejected": said(rng, "rejected")},
        {"chosen": hh.format(asked, said(rng, "hh_chosen")), "rejected": hh.format(asked, said(rng, "hh_rejected"))},
        {"prompt": said(rng, "reward_prompt"), "completion": said(rng, "reward_answer"), "score": 0.5},
        {"id": leak("owner_id"), "text": said(rng)},
        *({"text": said(rng)} for _ in range(8)),
    ]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A warehouse after a run over the planted records and a release of all of them, and the release's folder."""
    folder = tmp_path_factory.mktemp("planted_pii")
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, planted_records())) + "\n")
    rng = random.Random(4)
    with (folder / "chats.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        turns = [
            {"role": "user", "content": said(rng, "csv_user")},
            {"role": "assistant", "content": said(rng, "csv_answer")},
        ]
        writer.writerows([["messages"], [json.dumps(turns).replace("@", "\\u0040")]])
    warehouse = Warehouse(database=str(folder / "planted.duckdb"))
    ops = {
        "raw": {"sources": [{"name": "planted", "path": str(folder / "*.*s*"), "license": "CC0-1.0"}]},
        "filtered": {"rule_sets": []},
        "curated_set": {"budget_records": 1000, "strategy": "random"},
        "release": {"folder": str(folder / "out")},
    }
    assert materialize(warehouse, ops, UP_TO_CURATED).success
    assert materialize(warehouse, ops, ["release"]).success
    warehouse.release_run()
    return warehouse, folder / "out"


def test_what_was_planted_is_in_no_file_of_the_release(released):
    warehouse, out = released
    assert warehouse.rows("curated_set.records") == warehouse.rows("raw.records") == len(planted_records()) + 1
    read = [path for path in out.rglob("*") if path.is_file()]
    words = {path: path.read_bytes().decode("utf-8", "replace") for path in read if path.suffix != ".parquet"}
    words |= {
        path: json.dumps(pl.read_parquet(path).to_dicts(), ensure_ascii=False)
        for path in read
        if path.suffix == ".parquet"
    }
    assert len(words) >= 10
    unescaped = {
        path: text.replace("\\u0040", "@").replace("\\\\u0040", "@").replace("&#64;", "@")
        for path, text in words.items()
    }
    assert {path.name: PLANTED.findall(text) for path, text in unescaped.items() if PLANTED.search(text)} == {}
    everything = "".join(words.values())
    assert "4111111111111111" not in everything
    assert "[EMAIL]" in everything
    assert "[CREDIT_CARD]" in everything
    assert "<|im_end|>" not in everything


def test_no_table_but_the_originals_has_a_word_of_it(released):
    warehouse, _ = released
    names = [name for name in tables() if name.split(".")[0] != "raw" and warehouse.has_table(name)]
    with warehouse.get_connection(read_only=True) as connection:
        for name in names:
            rows = connection.sql(f"select to_json(t)::varchar as row from {name} as t").pl()["row"]
            if "source_record_id" in tables()[name].columns:  # owners' ids stay: they are what one asks by
                rows = rows.str.replace_all(re.escape(leak("owner_id")), "")
            assert not rows.str.contains(r"leak-[a-z_]+(@|\\+u0040|&#64;)planted").any(), name


def test_every_place_is_told_without_what_stood_there(released):
    warehouse, _ = released
    found = warehouse.query("select * from cleaned.pii")
    emails = found.filter(type="email")
    planted = sum(
        len(PLANTED.findall(json.dumps(row).replace("&#64;", "@").replace("\\\\u0040", "@")))
        for row in planted_records()
    )
    assert len(emails) == planted - 1 + 2  # without the owner's id, with the two of the CSV file
    assert set(found["action"]) == {"mask"}
    parts = set(emails["part"])
    assert {
        "text",
        "instruction",
        "messages[1].content[0].text",
        "messages[2].tool_calls[0].function.arguments.to",
    } <= parts
    record = warehouse.query(
        "select record_id, text, kind from raw.records where kind = 'document' and contains(text, 'leak-document')"
    ).row(0)
    [place] = emails.filter(record_id=record[0]).select("start_char", "end_char").rows()
    assert record[1][slice(*place)] == leak("document")


def test_the_text_is_that_of_the_cleaned_turns(released):
    warehouse, _ = released
    rows = warehouse.query(
        "select kind, text, cleaned_original, cleaning_steps from cleaned.records where cleaned_original is not null"
    )
    assert len(rows) >= 8
    for kind, text, original, steps in rows.iter_rows():
        assert "pii" in steps
        turns = conversation(kind, original)
        assert turns.response[-1].content in text


def records_of(tmp_path, rows, config, name="texts"):
    (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    warehouse = Warehouse(database=str(tmp_path / f"{name}.duckdb"))
    sources = [{"name": "texts", "path": str(tmp_path / f"{name}.jsonl"), "license": "CC0-1.0"}]
    assert materialize(warehouse, {"raw": {"sources": sources}, "cleaned": config}, ["raw", "cleaned"]).success
    warehouse.release_run()
    return warehouse


def test_a_type_whose_records_are_dropped_says_so_in_the_ledger(tmp_path):
    rows = [
        {"id": "a", "text": "SSN 536-90-4399 and 536-90-4398, a@b.org"},
        {"id": "b", "text": "a@b.org"},
        {"id": "c", "text": "None."},
    ]
    warehouse = records_of(tmp_path, rows, {"pii": {"us_ssn": "drop", "email": "keep"}})
    assert warehouse.query("select text from cleaned.records order by source_row")["text"].to_list() == [
        "a@b.org",
        "None.",
    ]
    [decision] = warehouse.query(
        "select rule, value, threshold from ledger.current_decisions where stage = 'cleaned' and verdict = 'drop'"
    ).rows()
    assert decision == ("pii_us_ssn", 2.0, 0.0)
    actions = warehouse.query("select type, action, count(*) as n from cleaned.pii group by all order by all").rows()
    assert actions == [("email", "keep", 2), ("us_ssn", "drop", 2)]


def test_answers_that_differ_in_what_was_masked_alone_are_no_preference(tmp_path):
    rows = [
        {"prompt": "Whom do I write to?", "chosen": "Write to a@b.org", "rejected": "Write to c@d.org"},
        {"text": "Other words."},
    ]
    warehouse = records_of(tmp_path, rows, {})
    assert warehouse.rows("cleaned.records") == 1
    assert warehouse.value("select rule from ledger.current_decisions where verdict = 'drop'") == "same_after_cleaning"


def test_pseudonyms_are_the_same_in_every_run_and_the_key_is_kept_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATION_PII_KEY", KEY)
    rows = [{"text": "Ask a@b.org, not c@d.org."}, {"instruction": "Who?", "output": "A@B.org"}]
    config = {"pii": {"email": "pseudonymise"}}
    texts = []
    for name in ("one", "two"):
        warehouse = records_of(tmp_path, rows, config, name)
        texts.append(warehouse.query("select text from cleaned.records order by source_row")["text"].to_list())
        assert KEY.encode() not in warehouse.path.read_bytes()
    first, second = re.findall(r"\[EMAIL_[0-9a-f]{8}\]", texts[0][0])
    assert first != second
    assert texts[0][1] == f"Who?\n{first}"
    assert texts[0] == texts[1]


def test_pseudonyms_without_a_key_and_a_model_that_is_not_there_stop_the_run(monkeypatch, tmp_path):
    monkeypatch.delenv("CURATION_PII_KEY", raising=False)
    with pytest.raises(dg.Failure, match="CURATION_PII_KEY"):
        rules_of(CleanedConfig(pii=PiiConfig(phone="pseudonymise")))
    with pytest.raises(dg.Failure, match="names_model"):
        rules_of(CleanedConfig(pii=PiiConfig(names_model=str(tmp_path / "nothing"))))
    with pytest.raises(ValueError, match="XX"):
        PiiConfig(phone_regions=["XX"])


def test_names_are_masked_where_a_model_finds_them(tmp_path):
    model = str(save_name_tagger(tmp_path / "model"))
    rows = [{"text": f"Then {PEOPLE[0]} said that the sea has waves ."}, {"text": "No one was here ."}]
    warehouse = records_of(tmp_path, rows, {"pii": {"names_model": model}})
    texts = warehouse.query("select text from cleaned.records order by source_row")["text"].to_list()
    assert texts == ["Then [PERSON] said that the sea has waves .", "No one was here ."]
    assert warehouse.value("select engine from cleaned.pii") == model


def test_every_step_can_be_switched_off(tmp_path):
    text = "One.  \nTwo.\nRead more\nThree, a@b.org.\nFour.<|endoftext|>"
    off = dict.fromkeys(("template_residue", "boilerplate_lines", "whitespace"), False)
    pii = dict.fromkeys(("email",), "ignore")
    rows = [{"text": text}, {"instruction": "Say it.", "output": f"{text}"}]
    kept = (
        records_of(tmp_path, rows, off | {"pii": pii}, "off")
        .query("select text, cleaning_steps from cleaned.records order by source_row")
        .rows()
    )
    assert [words for words, _ in kept] == [text, f"Say it.\n{text}"]
    assert [steps for _, steps in kept] == [[], []]
    tidied = (
        records_of(tmp_path, rows, {}, "on")
        .query("select text, cleaning_steps, text_hash <> raw_text_hash from cleaned.records order by source_row")
        .rows()
    )
    assert tidied[0] == (
        "One.\nTwo.\nThree, [EMAIL].\nFour.",
        ["template_residue", "boilerplate_lines", "whitespace", "pii"],
        True,
    )
    assert tidied[1] == ("Say it.\nOne.  \nTwo.\nRead more\nThree, [EMAIL].\nFour.", ["template_residue", "pii"], True)
