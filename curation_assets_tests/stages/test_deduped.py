"""The stage as a whole: each kind of duplicate on its switch, its evidence in the owner's ids, and checks that pass."""

import json

import pytest
from conftest import materialize, sentence

from curation_assets.stages.deduped import DedupedConfig

STAGES = ["raw", "cleaned", "deduped"]
COOKIES = "We use cookies to give you the best experience. Read our policy or accept them all."
REPEATED = "This very line stands in the text more often than it should."


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def sources(tmp_path):
    """Documents with boilerplate, repeats and a copy; instructions in conflict."""
    documents = [{"id": f"d{k}", "text": f"{sentence(k)}\n\n{COOKIES}\n\n{sentence(k + 50)}"} for k in range(6)]
    documents.append({"id": "copy", "text": f"{documents[0]['text'].upper()}!"})
    documents.append({"id": "near", "text": f"{documents[1]['text']} {sentence(90, 4)}"})
    documents.append({"id": "repeats", "text": f"{REPEATED}\n{sentence(70)}\n{REPEATED}\n{sentence(71)}\n  {REPEATED}"})
    documents.append({"id": "only-repeats", "text": f"{REPEATED}\n{sentence(70)}\n{sentence(71)}"})
    documents.append({"id": "bare", "text": COOKIES})
    answer = "A long answer of more than ten words that somebody gave to several questions at once."
    pairs = [
        ("i1", "Name a river.", f"The Nile. {sentence(80, 12)}"),
        ("i2", "name a  RIVER.", f"The Rhine. {sentence(81, 14)}"),
        ("i3", f"Write about {sentence(82, 8)}", answer),
        ("i4", f"Say something of {sentence(83, 9)}", answer),
        ("i5", "Is it so?", "Yes."),
        ("i6", "Is it?", "Yes."),
    ]
    instructions = [{"id": one, "instruction": asked, "output": answered} for one, asked, answered in pairs]
    return [
        {"name": "documents", "path": write(tmp_path / "documents.jsonl", documents)},
        {"name": "instructions", "path": write(tmp_path / "instructions.jsonl", instructions)},
    ]


def rules(warehouse) -> dict[str, tuple[str, str | None]]:
    rows = warehouse.query(
        "select r.source_record_id, d.rule, m.source_record_id as matched from ledger.current_decisions as d "
        "join raw.records as r using (record_id) left join raw.records as m on m.record_id = d.matched_record_id "
        "where d.stage = 'deduped' and d.verdict = 'drop'"
    )
    return {record: (rule, matched) for record, rule, matched in rows.iter_rows()}


def deduplicate(warehouse, sources, **config):
    result = materialize(warehouse, {"raw": {"sources": sources}, "deduped": config}, STAGES)
    assert result.success  # the blocking checks, too
    return result.asset_materializations_for_node("deduped")[0].metadata


def test_by_default_copies_go_and_the_rest_is_reported(warehouse, sources):
    page = deduplicate(warehouse, sources, shared_paragraph_records=4)
    assert rules(warehouse) == {
        "d0": ("exact_duplicate", "copy"),
        "d1": ("near_duplicate", "near"),
        "only-repeats": ("near_duplicate", "repeats"),
    }
    repeated = warehouse.query("select source_record_id, unit, times, start from deduped.repeated_passages")
    assert repeated.rows() == [("repeats", "line", 3, 0)]
    shared = warehouse.query("select records, unit, source_record_id, excerpt from deduped.shared_paragraphs")
    assert shared["records"].to_list() == [
        6
    ]  # d2 to d5, near and bare: not in what is dropped, nor in the copy, which shouts
    assert shared["excerpt"].to_list() == [COOKIES]
    conflicts = warehouse.query(
        "select kind, source_record_id, is_best from deduped.instruction_conflicts order by 1, 2"
    )
    assert [row[:2] for row in conflicts.rows()] == [
        ("same_answer", "i3"), ("same_answer", "i4"), ("same_instruction", "i1"), ("same_instruction", "i2"),
    ]  # fmt: skip
    assert warehouse.rows("deduped.shortened") == 0
    assert warehouse.value(
        "select count(*) as n from deduped.records join cleaned.records using (record_id, text_hash)"
    ) == (warehouse.rows("deduped.records"))
    assert "same\\_answer" in page["duplicates_by_kind"].value
    assert "near" in page["weakest_pairs"].value
    assert "none" in page["comparisons_skipped"].value


def test_removal_shortens_documents_and_what_is_then_the_same_goes(warehouse, sources):
    deduplicate(
        warehouse,
        sources,
        shared_paragraph_records=4,
        remove_repeated_passages=True,
        remove_shared_paragraphs=True,
        min_jaccard=0.9,
    )
    texts = dict(
        warehouse.query("select source_record_id, text from deduped.records where kind = 'document'").iter_rows()
    )
    assert sum(COOKIES in text for text in texts.values()) == 1
    assert texts["repeats"] == f"{REPEATED}\n{sentence(70)}\n{sentence(71)}"
    assert texts["d3"] == f"{sentence(3)}\n\n{sentence(53)}"
    said = rules(warehouse)
    assert said["only-repeats"] == ("same_after_removal", "repeats")
    assert said["bare"] == ("nothing_after_removal", None)
    hashes = "select count(*) as n from deduped.records where text_hash <> left(sha256(text), 32)"
    assert warehouse.value(hashes) == 0
    shortened = warehouse.query("select source_record_id, removed_chars, removed_passages from deduped.shortened")
    assert ("repeats", 2 * len(REPEATED) + 4, 2) in shortened.rows()
    assert len(shortened) >= 6
    before = warehouse.content_hashes(["deduped.records", "deduped.shared_paragraphs", "deduped.shortened"])
    deduplicate(
        warehouse,
        sources,
        shared_paragraph_records=4,
        remove_repeated_passages=True,
        remove_shared_paragraphs=True,
        min_jaccard=0.9,
    )
    assert warehouse.content_hashes(before) == before


def test_drop_all_and_conflicts_drop_and_still_point_to_somebody(warehouse, sources):
    deduplicate(warehouse, sources, survivor="drop_all", drop_same_instruction=True, drop_same_answer=True)
    said = rules(warehouse)
    assert (said["d0"], said["copy"]) == (("exact_duplicate", "copy"), ("duplicate_group", "d0"))
    assert (said["d1"], said["near"]) == (("near_duplicate", "near"), ("duplicate_group", "d1"))
    assert said["i1"] == ("same_instruction", "i2")  # the longer one stays
    assert said["i3"] == ("same_answer", "i4")
    assert not {"i5", "i6", "d2"} & said.keys()


def test_chats_share_an_instruction_where_they_ask_the_same_under_the_same_system_prompt(warehouse, tmp_path):
    chats = [{"id": f"c{k}", "messages": [{"role": "assistant", "content": sentence(k)}]} for k in range(3)]
    chats[2]["messages"].insert(0, system := {"role": "system", "content": "Greet the guest."})
    chats.append({"id": "c7", "messages": [system, {"role": "assistant", "content": sentence(7)}]})
    asked = {"role": "user", "content": "Name a river."}
    chats += [{"id": f"c{k}", "messages": [asked, {"role": "assistant", "content": sentence(k)}]} for k in (3, 4)]
    for k, language in ((5, "French"), (6, "German")):
        told = [{"role": "system", "content": f"Translate to {language}."}, {"role": "user", "content": "A long day."}]
        chats.append({"id": f"c{k}", "messages": [*told, {"role": "assistant", "content": sentence(k)}]})
    source = {"name": "chats", "path": write(tmp_path / "chats.jsonl", chats)}
    for _ in range(2):
        deduplicate(warehouse, [source], drop_same_instruction=True)
        assert {record: rule for record, (rule, _) in rules(warehouse).items()} in (
            {one: "same_instruction"} for one in ("c3", "c4")
        )
        with warehouse.get_connection() as connection:  # what an older version has left is read again
            connection.execute(
                "update deduped.exchanges set request_hash = '0'; alter table deduped.exchanges drop column version"
            )


def test_switches_switch_off(warehouse, sources):
    deduplicate(warehouse, sources, exact=False, near=False, passages=False, instruction_conflicts=False)
    assert rules(warehouse) == {}
    for table in ("pairs", "repeated_passages", "shared_paragraphs", "instruction_conflicts"):
        assert warehouse.rows(f"deduped.{table}") == 0, table


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"survivor": "source_priority"}, "go together"),
        ({"source_priority": ["a"]}, "go together"),
        ({"passages": False, "remove_repeated_passages": True}, "need passages: true"),
        ({"instruction_conflicts": False, "drop_same_answer": True}, "need instruction_conflicts: true"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(config, says):
    with pytest.raises(ValueError, match=says):
        DedupedConfig(**config)
