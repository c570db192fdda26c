"""`curate whatif` against what the rules then really do, on a small real database; and the signals that need whole records."""

import json

import pytest
from conftest import materialize
from typer.testing import CliRunner

from curation_assets import overrides, whatif
from curation_assets.cli import app
from curation_assets.command_line import FAILED, NOT_FOUND, USAGE
from curation_assets.filter_rules import RuleSettings
from curation_assets.stages.filtered import FilteredConfig
from curation_assets.warehouse import StaleError, Warehouse

STAGES = ["raw", "cleaned", "deduped", "filtered"]
FRENCH = (
    "Le bateau quitte le port deux fois par jour et met environ deux heures pour atteindre l'île. La plupart des gens qui y "
    "vivent ont une petite barque, mais en hiver la mer est souvent trop agitée pour sortir. Voilà pourquoi le village garde "
    "de la farine et du papier, et pourquoi personne ne s'étonne du retard du courrier."
)
TOPICS = ["harbour", "school", "ferry", "library", "captain", "village", "island", "winter", "summer", "boat"]


def prose(topic: str, sentences: int) -> str:
    known = [
        f"The {topic} is known to most of the people who live in this part of the country.",
        f"Nobody remembers when the {topic} was first mentioned, but there are letters that speak of it with respect.",
        f"In the year of the great flood the {topic} had to be given up, and it took a decade to return to what it had been.",
        f"Visitors ask for the {topic} before they ask for anything else, which has surprised everyone in the council.",
        f"A small society looks after the {topic} and prints a calendar, and from its sale all repairs have been paid.",
    ]
    return " ".join(known[:sentences])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whatif")
    pages = [{"id": f"page{n}-{topic}", "text": prose(topic, n)} for topic in TOPICS for n in (2, 3, 5)]
    pages += [
        {"id": "menu", "text": "\n".join(["Home", "About us", "Contact", "Sign in", "Privacy", "News", "Jobs"] * 8)},
        {"id": "french", "text": FRENCH},
        {"id": "\x1b[31mcolour", "text": prose("\\x1b lighthouse", 1)},
    ]  # fmt: skip
    (folder / "pages.jsonl").write_text("\n".join(map(json.dumps, pages)))
    instructions = [
        ("Name a colour of the rainbow.", "Red."),
        ("name a  colour of the rainbow.", "Blue."),
        ("Draw a graph of the sales of the year.", "I would draw it like this."),
        ("Tell me about the sea near the village.", "Tell me about the sea near the village."),
        (
            "Explain why the sea is salt.",
            "Rivers bring salts from the rocks, and the water that evaporates leaves them.",
        ),
    ]
    rows = [{"instruction": asked, "input": "", "output": said} for asked, said in instructions]
    (folder / "instructions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    labelled = [{"text": f"you {word} idiot number {n}", "label": "abuse"} for n in range(60) for word in ("stupid",)]
    labelled += [{"text": f"the harbour has {n} boats in winter", "label": "fine"} for n in range(60)]
    labelled += [{"text": f"you stupid idiot with number {n}"} for n in range(90)]  # without a label
    (folder / "labelled.jsonl").write_text("\n".join(map(json.dumps, labelled)))
    return folder


@pytest.fixture(scope="module")
def filtered(folder):
    warehouse = Warehouse(database=str(folder / "curation.duckdb"))
    assert run(warehouse, folder, {})
    yield warehouse
    warehouse.release_run()


def run(warehouse: Warehouse, folder, config: dict, stages=STAGES) -> bool:
    sources = [
        {"name": "pages", "path": str(folder / "pages.jsonl")},
        {"name": "instructions", "path": str(folder / "instructions.jsonl")},
    ]
    ops = {"raw": {"sources": sources}, "deduped": {"min_jaccard": 1.0}, "filtered": config}
    return materialize(warehouse, ops, stages).success


def kept(warehouse: Warehouse) -> set[str]:
    return set(warehouse.query("select record_id from filtered.records")["record_id"])


SUPPOSED = [
    ["gopher_min_words=20"],
    ["max_short_line_ratio=null", "gopher_min_words=null"],
    ["languages=[en, und]", "min_language_score=0.5"],
    ["rule_sets=[gopher_quality, self_instruct, c4]"],
    ["short_text_median_words=500"],
]


@pytest.mark.parametrize("given", SUPPOSED, ids=lambda given: given[0])
def test_what_is_supposed_is_what_then_happens(filtered, folder, given):
    before = kept(filtered)
    answer = whatif.ask(filtered, given)
    entering, leaving = (set(answer.changes.filter(change=change)["record_id"]) for change in ("enter", "leave"))
    assert kept(filtered) == before, "whatif changes nothing"
    assert run(filtered, folder, {name: then for name, _, then in answer.settings}, ["filtered"])
    try:
        assert kept(filtered) == (before | entering) - leaving
        assert entering.isdisjoint(before)
        assert leaving <= before
        assert entering | leaving, "the case changes something"
    finally:
        assert run(filtered, folder, {}, ["filtered"])


def test_a_record_with_a_verdict_of_a_person_stays_as_that_says(filtered, folder):
    supposed = ["gopher_min_words=90"]
    [kept_by_hand, *_] = whatif.ask(filtered, supposed).changes.filter(change="leave")["record_id"]
    overrides.enter(filtered, [overrides.Entry(kept_by_hand, "keep", "It is needed.")], "a person")
    try:
        assert run(filtered, folder, {}, ["filtered"])
        changes, before = whatif.ask(filtered, supposed).changes, kept(filtered)
        assert kept_by_hand not in changes["record_id"]
        assert len(changes)
        assert run(filtered, folder, {"min_words": 90}, ["filtered"])
        assert kept(filtered) == before - set(changes["record_id"])
    finally:
        overrides.enter(filtered, [overrides.Entry(kept_by_hand, "none", "It was a test.")], "a person")
        assert run(filtered, folder, {}, ["filtered"])


def test_signals_of_records_before_a_later_deduped_run_answer_nothing(filtered, folder):
    assert run(filtered, folder, {}, ["deduped"])
    with pytest.raises(StaleError, match="curate run --select filtered"):
        whatif.ask(filtered, ["min_words=20"])
    assert run(filtered, folder, {}, ["filtered"])
    assert len(whatif.ask(filtered, ["min_words=20"]).changes)


def curate(*arguments, code=0):
    result = CliRunner().invoke(app, ["whatif", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_tells_it_in_words_and_as_json(filtered):
    said = curate("filtered", "--set", "gopher_min_words=20", "--examples", 2, "--database", filtered.path)
    assert "min_words: 50 now, 20 supposed" in said
    assert "would enter, by source: pages" in said
    assert said.count("enters; dropped now by gopher_min_words") == 2
    told = json.loads(curate("filtered", "--set", "min_words=20", "--json", "--database", filtered.path))
    assert told["kept_then"] - told["kept_now"] == told["enter"]["records"] - told["leave"]["records"] > 0
    assert (
        told["enter"]["by_language"]["en"] == told["enter"]["by_rule"]["gopher_min_words"] == told["enter"]["records"]
    )
    assert len(told["examples"]) == 3


def test_nothing_supposed_changes_nothing_and_marks_of_control_are_shown(filtered):
    assert "nothing would change" in curate("filtered", "--set", "min_words=50", "--database", filtered.path)
    said = curate("filtered", "--set", "min_words=1", "--examples", 50, "--database", filtered.path)
    assert "\x1b" not in said


@pytest.mark.parametrize(
    "given, sentence",
    [
        ("gopher_min_word=3", "near it are gopher_min_words"),
        ("min_words", "has no value"),
        ("min_words=many", "min_words:"),
        ("rule_sets=[gofer]", "choose from"),
        ("languages=[en, kr]", "no text is ever found to be in kr"),
        ("c4_min_sentences=5", "--set 'rule_sets=[language, gopher_quality, gopher_repetition, fineweb, c4]'"),
        ("min_language_score=0.9", "--set 'languages=[en]'"),
        ("toxicity_examples=null", "cannot be supposed"),
        ("min_words=[1", "no number, list or null"),
    ],
)
def test_what_cannot_be_supposed_is_said_in_a_sentence(filtered, given, sentence):
    assert sentence in curate("filtered", "--set", given, "--database", filtered.path, code=USAGE)


def test_without_a_database_or_a_run_it_says_what_to_do(tmp_path, folder):
    curate("filtered", "--set", "min_words=1", "--database", tmp_path / "none.duckdb", code=NOT_FOUND)
    empty = Warehouse(database=str(tmp_path / "empty.duckdb"))
    assert run(empty, folder, {}, ["raw"])
    empty.release_run()
    assert "curate run --select filtered" in curate(
        "filtered", "--set", "min_words=1", "--database", empty.path, code=FAILED
    )
    assert "filtered" in curate("deduped", "--set", "x=1", "--database", empty.path, code=USAGE)


def test_instructions_are_measured_on_their_turns(filtered):
    rows = filtered.query(
        "select text, request_words, blocked_request_words, response_repeats_request, "
        "count(distinct response_hash) over (partition by request_hash) as responses_to_request "
        "from filtered.signals join deduped.records using (record_id) where source = 'instructions'"
    ).sort("text")
    measured = {text.split("\n")[0].lower()[:8]: values for text, *values in rows.iter_rows()}
    assert measured["explain "] == [6, 0, 0, 1]
    assert measured["draw a g"] == [9, 2, 0, 1]
    assert measured["tell me "] == [8, 0, 1, 1]
    assert measured["name a  " if "name a  " in measured else "name a c"][3] == 2
    pages = "select count(request_words) from filtered.signals join deduped.records using (record_id) where source = 'pages'"
    assert filtered.value(pages) == 0


def test_a_classifier_fitted_on_labels_of_ones_own(filtered, folder):
    examples = {"path": str(folder / "labelled.jsonl"), "toxic_labels": ["abuse"]}
    config = {"toxicity_examples": examples, "rule_sets": ["toxicity"], "max_toxicity": 0.5}
    assert run(filtered, folder, config, ["filtered"])
    try:
        notes = json.loads(
            filtered.value(
                "select notes::varchar from ledger.runs where stage = 'filtered' order by finished_at desc limit 1"
            )
        )
        assert notes["signals_measured"]
        assert notes["toxicity_classifier"]["auc"] > 0.9
        assert (notes["toxicity_classifier"]["harmless"], notes["toxicity_classifier"]["toxic"]) == (60, 60)
        assert (
            filtered.value(
                "select count(*) from filtered.signals where toxicity is null or not toxicity between 0 and 1"
            )
            == 0
        )
    finally:
        assert run(filtered, folder, {}, ["filtered"])
    assert filtered.value("select count(toxicity) from filtered.signals") == 0


def test_every_field_that_bounds_is_the_setting_of_a_rule(filtered):
    params = {name: 0 if value is None else value for name, value in FilteredConfig().rule_params().items()}
    rules = filtered.draft(
        "filtered.rules",
        **(
            params
            | {
                "languages": ["en"],
                "rule_sets": whatif._every_rule(filtered, FilteredConfig())["rule_set"].unique().to_list(),
            }
        ),
    )
    bounds = RuleSettings.model_fields.keys() - {"rule_sets", "languages", "short_text_median_words"}
    assert set(rules["setting"]) == bounds
