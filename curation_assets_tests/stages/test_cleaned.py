"""The cleaned stage end to end: what was planted in every part of a record is in no later table and in no file of a release."""

import csv
import json
import random
import re

import dagster as dg
import polars as pl
import pytest
from conftest import materialize, materialize_unchecked
from small_language_models import PEOPLE, save_name_tagger

from curation_assets import audit_sections
from curation_assets.readers import canonical_text, conversation
from curation_assets.record_cleaning import clean_records
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
    arguments = json.dumps(
        {
            "to": leak("arguments"),
            "from": "user",
            "n": 4111111111111111,
            "roles": {leak("key"): "x", leak("other_key"): 4111111111111111.0},
        }
    ).replace("@", "\\u0040")
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
    share = [
        {"from": "human", "value": said(rng, "human")},
        {"from": "function_call", "value": arguments.replace('{"to"', '{"name": "send", "arguments": {"to"') + "}"},
        {"from": "observation", "value": json.dumps({"rows": [f"1\t{leak('tool_rows')}"]}).replace("@", "\\u0040")},
        {"from": "gpt", "value": said(rng, "gpt") + "<|im_end|>"},
    ]
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
        {"instruction": said(rng), "output": f"<s> {leak('beside_a_token')} </s>".replace("@", "&#64;")},
        {"instruction": "<p>Who?</p>", "output": f'<a href="mailto:{leak("markup")}">Someone</a>'},
        {"prompt": said(rng, "prompt"), "completion": said(rng, "completion") + leak("escaped").replace("@", "&#64;")},
        {"messages": turns, "tools": [tool]},
        {"conversations": share, "tools": json.dumps([tool]).replace("@", "\\u0040")},
        {"prompt": said(rng, "pref_prompt"), "chosen": said(rng, "chosen"), "rejected": said(rng, "rejected")},
        {"chosen": hh.format(asked, said(rng, "hh_chosen")), "rejected": hh.format(asked, said(rng, "hh_rejected"))},
        {"prompt": said(rng, "reward_prompt"), "completion": said(rng, "reward_answer"), "score": 0.5},
        {"id": leak("owner_id"), "text": said(rng)},
        {"label": f"by {leak('label')}", "text": said(rng)},
        {"label": "prose", "text": said(rng)},
        *({"text": said(rng)} for _ in range(7)),
    ]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A warehouse after a run over the planted records and a release of all of them, the release's folder, and all pages by asset."""
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
    runs = [materialize_unchecked(warehouse, ops, UP_TO_CURATED), materialize(warehouse, ops, ["release"])]
    assert all(run.success for run in runs)
    warehouse.release_run()
    pages = {
        event.asset_key.to_user_string(): " ".join(str(one.value) for one in event.materialization.metadata.values())
        for run in runs
        for event in run.get_asset_materialization_events()
    }
    return warehouse, folder / "out", pages


def test_what_was_planted_is_in_no_file_of_the_release(released):
    warehouse, out, _ = released
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


def test_what_was_planted_is_on_no_page(released):
    pages = {name: page.replace("\\", "") for name, page in released[2].items()}
    assert pages.keys() == {*UP_TO_CURATED, "release"}
    assert {name: PLANTED.findall(page) for name, page in pages.items() if PLANTED.search(page)} == {}
    assert "| text |" in pages["cleaned"]
    assert "[EMAIL]" in pages["cleaned"]
    assert not re.search(r"\| (text|label) \|", pages["raw"])  # what nothing has looked through yet is not shown at all


def test_an_owners_label_is_masked_and_a_class_stays(released):
    labels = "select label, count(*) as n from curated_set.records where label is not null group by all order by all"
    assert released[0].query(labels).rows() == [("by [EMAIL]", 1), ("prose", 1)]
    assert len(released[0].query("from cleaned.pii where part = 'label' and type = 'email'")) == 1


def test_no_table_but_the_originals_has_a_word_of_it(released):
    warehouse = released[0]
    with warehouse.get_connection(read_only=True) as connection:
        there = set(connection.sql("select schema_name || '.' || table_name as name from duckdb_tables()").pl()["name"])
        names = [name for name in there & set(tables()) if name.split(".")[0] != "raw"]
        for name in names:
            rows = connection.sql(f"select to_json(t)::varchar as row from {name} as t").pl()["row"]
            if "source_record_id" in tables()[name].columns:  # owners' ids stay: they are what one asks by
                rows = rows.str.replace_all(re.escape(leak("owner_id")), "")
            assert not rows.str.contains(r"leak-[a-z_]+(@|\\+u0040|&#64;)planted").any(), name


def test_every_place_is_told_without_what_stood_there(released):
    warehouse = released[0]
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
    warehouse = released[0]
    rows = warehouse.query(
        "select kind, text, cleaned_original, cleaning_steps from cleaned.records where cleaned_original is not null"
    )
    assert len(rows) >= 8
    for kind, text, original, steps in rows.iter_rows():
        assert "pii" in steps
        turns = conversation(kind, original)
        assert turns.response[-1].content in text


def test_dropping_types_pseudonyms_and_what_is_told_of_them(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATION_PII_KEY", KEY)
    rows = [
        {"text": "SSN 536-90-4399 and 536-90-4398, a@b.org"},
        {"text": "Ask a@b.org, not c@d.org, +1 202-456-1414."},
        {"prompt": "Whom do I call?", "chosen": "Use 4111 1111 1111 1111", "rejected": "Use 5500 0000 0000 0004"},
    ]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    warehouse = Warehouse(database=str(tmp_path / "texts.duckdb"))
    sources = [{"name": "texts", "path": str(tmp_path / "texts.jsonl"), "license": "CC0-1.0"}]
    config = {"pii": {"us_ssn": "drop", "email": "pseudonymise", "phone": "keep"}}
    assert materialize(warehouse, {"raw": {"sources": sources}, "cleaned": config}, ["raw", "cleaned"]).success
    warehouse.release_run()
    [text] = warehouse.query("select text from cleaned.records")["text"]
    assert re.fullmatch(r"Ask \[EMAIL_[0-9a-f]{8}\], not \[EMAIL_[0-9a-f]{8}\], \+1 202-456-1414\.", text)
    dropped = "select rule, value, threshold from ledger.current_decisions where stage = 'cleaned' and verdict = 'drop' order by rule"
    assert warehouse.query(dropped).rows() == [("pii_us_ssn", 2.0, 0.0), ("same_after_cleaning", None, None)]
    actions = warehouse.query("select type, action, count(*) as n from cleaned.pii group by all order by all").rows()
    told = [("credit_card", "mask", 2), ("email", "pseudonymise", 3), ("phone", "keep", 1), ("us_ssn", "drop", 2)]
    assert actions == told
    assert KEY.encode() not in warehouse.path.read_bytes()
    settings = json.loads(warehouse.value("select config::varchar as config from ledger.runs where stage = 'cleaned'"))
    found = {"settings": {"cleaned": settings}, "run_ids": {}, "run_ids_now": {}, "is_release": False}
    section = audit_sections.personal_data(found, warehouse)
    assert section["tables"][0]["rows"][0][:3] == ["email", "pseudonymise", 3]
    assert "8 places in 3 records" in section["paragraphs"][0]
    assert any("Names of people" in line for line in section["paragraphs"])


def cleaned_by(config, rows):
    """Texts and steps of documents and instructions after cleaning."""
    kinds = ["instruction" if "instruction" in row else "document" for row in rows]
    originals = [json.dumps(row) if kind == "instruction" else None for row, kind in zip(rows, kinds, strict=True)]
    texts = [
        canonical_text(conversation(kind, original)) if original else row["text"]
        for row, kind, original in zip(rows, kinds, originals, strict=True)
    ]
    return list(clean_records(kinds, texts, originals, [None] * len(rows), rules_of(config)))


def test_a_value_has_one_pseudonym_in_all_records_and_runs(monkeypatch):
    monkeypatch.setenv("OTHER_KEY", KEY)
    config = CleanedConfig(pii=PiiConfig(email="pseudonymise", key_variable="OTHER_KEY"))
    rows = [{"text": "Ask a@b.org, not c@d.org."}, {"instruction": "Who?", "output": "A@B.org"}]
    runs = [[one.text for one in cleaned_by(config, rows)] for _ in range(2)]
    first, second = re.findall(r"\[EMAIL_[0-9a-f]{8}\]", runs[0][0])
    assert first != second
    assert runs[0][1] == f"Who?\n{first}"
    assert runs[0] == runs[1]


def test_a_record_that_is_lost_shows_nothing_of_what_was_replaced():
    row = {"prompt": "Whom do I call?", "chosen": "Use 4111 1111 1111 1111", "rejected": "Use 5500 0000 0000 0004"}
    original = json.dumps(row)
    [lost] = clean_records(
        ["preference"],
        [canonical_text(conversation("preference", original))],
        [original],
        [None],
        rules_of(CleanedConfig()),
    )
    assert lost.lost == "same_after_cleaning"
    assert lost.text == "Whom do I call?\nUse [CREDIT_CARD]\nUse [CREDIT_CARD]"
    assert json.loads(lost.original) == row | dict.fromkeys(("chosen", "rejected"), "Use [CREDIT_CARD]")


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
    sentence = f"Then {PEOPLE[0]} said that the sea has waves ."
    rows = [{"text": sentence}, {"text": "No one was here ."}, {"instruction": sentence, "output": "No one was here ."}]
    found = cleaned_by(CleanedConfig(pii=PiiConfig(names_model=model)), rows)
    assert [one.text.split("\n")[0] for one in found] == [
        "Then [PERSON] said that the sea has waves .",
        "No one was here .",
        "Then [PERSON] said that the sea has waves .",
    ]
    assert found[0].findings[0][1].engine == model
    assert conversation("instruction", found[2].original).instruction is None
    assert "[PERSON]" in conversation("instruction", found[2].original).prompt[0].content


def instruction(answer):
    return {"instruction": "Say it.", "output": answer}


def test_a_masked_key_keeps_its_value_and_its_neighbours():
    answer = json.dumps({"a@b.org": 1, "c@d.org": 2, "plain": 3, "[EMAIL] 2": 4})
    [found] = cleaned_by(CleanedConfig(), [instruction(answer)])
    said = json.loads(conversation("instruction", found.original).response[0].content)
    assert said == {"[EMAIL]": 1, "[EMAIL] 3": 2, "plain": 3, "[EMAIL] 2": 4}
    assert [(part, one.type) for part, one in found.findings] == [("output.{0}", "email"), ("output.{1}", "email")]


def test_two_answers_that_differed_in_a_key_that_is_masked_are_lost_without_a_word_of_it():
    row = {"prompt": "Who?", "chosen": '{"a@b.org": 1}', "rejected": '{"c@d.org": 1}'}
    original = json.dumps(row)
    text = canonical_text(conversation("preference", original))
    [found] = clean_records(["preference"], [text], [original], [None], rules_of(CleanedConfig()))
    assert (found.lost, found.text) == ("same_after_cleaning", "Who?\n[EMAIL]\n[EMAIL]")


def test_a_key_tells_what_its_value_is_and_a_number_that_is_whole_is_one():
    rows = [{"password": "S3cr-et99x", "note": "S3cr-et99x"}, [4111111111111111.0, 4111111111111111.5, 1e300]]
    first, second = cleaned_by(CleanedConfig(), [instruction(json.dumps(row)) for row in rows])
    assert json.loads(conversation("instruction", first.original).response[0].content) == {
        "password": "[SECRET]",
        "note": "S3cr-et99x",
    }
    assert conversation("instruction", second.original).response[0].content.startswith('["[CREDIT_CARD]"')


def test_markup_and_code_in_a_conversation_are_what_it_is_about():
    row = {"instruction": "<p>hello</p> Make the word bold.", "output": "<p><b>hello</b></p>"}
    [found] = cleaned_by(CleanedConfig(), [row])
    assert (found.text, found.steps, found.original) == ("\n".join(row.values()), [], None)


def test_every_step_can_be_switched_off():
    text = "One. \nTwo.\nRead more\nThree, a@b.org.\nFour.<|endoftext|>"
    rows = [{"text": text}, {"instruction": "Say it.", "output": text}]
    off = CleanedConfig(
        template_residue=False, boilerplate_lines=False, whitespace=False, pii=PiiConfig(email="ignore")
    )
    kept = cleaned_by(off, rows)
    assert [(one.text, one.steps, one.original) for one in kept] == [(text, [], None), (f"Say it.\n{text}", [], None)]
    document, instruction = cleaned_by(CleanedConfig(), rows)
    assert document.text == "One.\nTwo.\nThree, [EMAIL].\nFour."
    assert document.steps == ["template_residue", "boilerplate_lines", "whitespace", "pii"]
    assert instruction.text == "Say it.\nOne. \nTwo.\nRead more\nThree, [EMAIL].\nFour."  # what is said keeps its lines
    assert instruction.steps == ["template_residue", "pii"]


def test_only_what_is_new_is_cleaned_and_the_tables_are_those_of_cleaning_all(tmp_path):
    first = [
        "Write to ann@mill.example for the plans of the mill.",
        "",
        "<p>A page about the <b>mill</b>.</p>",
        "Plain words.",
    ]
    second = ["Call or write to bob@mill.example instead.", "\u00e2\u20ac\u0153Quoted\u00e2\u20ac\u009d and broken."]
    sources = [
        {"name": name, "path": str(save_texts(tmp_path / f"{name}.jsonl", texts))}
        for name, texts in (("first", first), ("second", second))
    ]

    def clean(warehouse, read, **config):
        ops = {"cleaned": config} | ({"raw": {"sources": read}} if read else {})
        materialize_unchecked(warehouse, ops, ["raw", "cleaned"] if read else ["cleaned"])
        return warehouse.value(
            "select max_by((notes ->> 'records_taken_over')::int, finished_at) as n from ledger.runs where stage = 'cleaned'"
        )

    def tables(warehouse):
        return [
            warehouse.query(f"from {name} order by all").rows() for name in ("cleaned.records", "cleaned.pii")
        ] + warehouse.query(
            "select record_id, verdict, rule from ledger.current_decisions where stage = 'cleaned' order by all"
        ).rows()

    step_by_step, at_once = (Warehouse(database=str(tmp_path / f"{name}.duckdb")) for name in ("steps", "once"))
    assert clean(step_by_step, sources[:1]) == 0
    kept = step_by_step.rows("cleaned.records")
    assert kept < len(first)
    assert clean(step_by_step, sources) == kept
    clean(at_once, sources)
    assert tables(step_by_step) == tables(at_once)
    # Other settings clean everything again, and so do settings that are as they were before those.
    unmasked = {"pii": {"email": "keep"}}
    assert clean(step_by_step, None, **unmasked) == 0
    assert clean(step_by_step, None, **unmasked) == step_by_step.rows("cleaned.records")
    assert any("ann@mill.example" in str(row) for row in tables(step_by_step)[0])
    assert clean(step_by_step, None) == 0
    assert tables(step_by_step) == tables(at_once)
    for warehouse in (step_by_step, at_once):
        warehouse.release_run()


def save_texts(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path
