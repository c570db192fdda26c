"""The signals against a plain Python reading of their definitions, and the rules on the records they must and must not drop."""

import re

import duckdb
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from curation_assets.algorithms.signals import text_signals
from curation_assets.stages.filtered import FilteredConfig
from curation_assets.tables import tables

THRESHOLDS = FilteredConfig().rule_params()

PROSE = (
    "The ferry leaves the harbour twice a day and takes about two hours to reach the island. Most of the people who live "
    "there have a small boat of their own, but in winter the sea is often too rough for it. That is why the village keeps "
    "stores of flour, oil and paper, and why nobody is surprised when the post comes with a week's delay. Visitors in "
    "summer find a school with nine pupils, two shops and a library that is open to everyone who asks for the key.\n"
    "Its books were left by a retired captain, whose notes in the margins are worth reading too."
)
FRENCH = (
    "Le bateau quitte le port deux fois par jour et met environ deux heures pour atteindre l'île. La plupart des gens qui y "
    "vivent ont une petite barque, mais en hiver la mer est souvent trop agitée. Voilà pourquoi le village garde de la farine, "
    "du papier et de l'huile dans une réserve, et pourquoi personne ne s'étonne quand le courrier arrive en retard."
)
CHINESE = "渡輪每天兩次離開港口，大約兩個小時到達島上。住在那裡的人大多有自己的小船，但是冬天的海浪常常太大。" * 1 + (
    "因此村子裡存放著麵粉、油和紙張，郵件晚到一個星期也沒有人感到驚訝。夏天來的客人會看到一所只有九個學生的學校，兩間商店，還有一座圖書館。"
)


def measured(
    texts: list[str], kinds: list[str] | None = None, sources: list[str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A database in memory with deduped.records and filtered.signals."""
    connection = duckdb.connect()
    connection.execute("create schema deduped; create schema filtered; create schema contamination")
    connection.execute("create table contamination.matches (record_id varchar, coverage double)")
    names = ["source_record_id", "source_uri", "source_row", "label", "license", "record_time", "text_hash"]
    records = pl.DataFrame(
        {
            "record_id": range(len(texts)),
            "text": pl.Series(texts, dtype=pl.String),
            "kind": kinds or ["document"] * len(texts),
            "source": sources or ["web"] * len(texts),
        }
    ).with_columns(pl.lit("").alias(name) for name in names)
    connection.register("given", records.to_arrow())
    connection.execute("create table deduped.records as from given")
    connection.register("incoming", records.select("record_id").hstack(text_signals(records["text"])).to_arrow())
    connection.execute(f"create table filtered.signals as {tables()['filtered.signals'].sql}")
    return connection


def signals(*texts: str) -> list[dict]:
    return measured(list(texts)).sql("from filtered.signals order by record_id").pl().to_dicts()


def dropped_by(connection: duckdb.DuckDBPyConnection, **thresholds) -> dict[int, set[str]]:
    """record_id → rules that drop it."""
    rules = tables()["filtered.rules"].sql
    connection.execute(f"create or replace table filtered.rules as {rules}", THRESHOLDS | thresholds)
    found = connection.execute(
        tables()["filtered.decisions"].sql, {"short_text_median_words": 50, "languages": thresholds.get("languages")}
    ).fetchall()
    assert all(verdict == "drop" and value != threshold for _, verdict, _, value, threshold, _ in found)
    dropped: dict[int, set[str]] = {}
    for record_id, _, rule, *_ in found:
        dropped.setdefault(record_id, set()).add(rule)
    return dropped


@settings(max_examples=3, deadline=None, phases=[Phase.generate])
@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [
                    "The",
                    "of",
                    "naïve",
                    "안녕",
                    "3.5",
                    "don't",
                    "#tag",
                    "...",
                    "(so)",
                    "—",
                    "wait…",
                    "• x",
                    "no!",
                    "",
                    "é",
                ]
            ),
            max_size=30,
        ).flatmap(
            lambda words: st.lists(
                st.sampled_from([" ", " ", "\n", "\n\n", "\t", "\u3000"]), min_size=len(words), max_size=len(words)
            ).map(lambda spaces: "".join(word + space for word, space in zip(words, spaces, strict=True)))
        ),
        min_size=20,
        max_size=40,
    )
)
def test_signals_equal_the_plain_reading(texts):
    for text, row in zip(texts, signals(*texts), strict=True):
        tokens = [re.sub(r"^[\W_]+|[\W_]+$", "", token) for token in text.split()]
        tokens = [token for token in tokens if token]
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        expected = {
            "words": len(tokens),
            "chars": len(text),
            "lines": len(lines),
            "hash_symbol_ratio": text.count("#") / len(tokens) if tokens else None,
            "newline_word_ratio": text.count("\n") / len(tokens) if tokens else None,
            "mean_word_chars": sum(map(len, tokens)) / len(tokens) if tokens else None,
            "alpha_word_ratio": sum(any(map(str.isalpha, t)) for t in tokens) / len(tokens) if tokens else None,
            "capitalized_word_ratio": sum(t[0].isupper() for t in tokens) / len(tokens) if tokens else None,
            "unique_word_ratio": len({t.lower() for t in tokens}) / len(tokens) if tokens else None,
            "stop_words": len({t.lower() for t in tokens} & {"the", "of"}),
            "ellipsis_ratio": (text.count("...") + text.count("…")) / len(tokens) if tokens else None,
            "short_line_ratio": sum(len(line) <= 30 for line in lines) / len(lines) if lines else None,
            "duplicate_line_ratio": 1 - len(set(lines)) / len(lines) if lines else None,
            "bullet_line_ratio": sum(line[0] in "•-" for line in lines) / len(lines) if lines else None,
            "ellipsis_line_ratio": sum(line.endswith(("...", "…")) for line in lines) / len(lines) if lines else None,
            "exclamation_ratio": text.count("!") / len(tokens) if tokens else None,
            "digit_ratio": sum(map(str.isdigit, text)) / len(text) if text else None,
        }
        assert {name: row[name] for name in expected} == pytest.approx(expected), text


def test_every_column_is_described_and_a_text_of_nothing_has_no_ratios():
    empty, blank, marks = signals("", " \n\u3000", "?! — ...")
    assert all(tables()["filtered.signals"].columns.values())
    assert empty.keys() == tables()["filtered.signals"].columns.keys()
    for row in (empty, blank, marks):
        assert (row["words"], row["script"], row["language"], row["mean_word_chars"]) == (0, "none", "und", None)


def test_script_and_language():
    expected = [
        (PROSE, "Latin", "en"),
        (FRENCH, "Latin", "fr"),
        ("이 영화는 정말 재미있게 봤습니다. OST도 최고예요!", "Hangul", "ko"),
        (CHINESE, "Han", "zh"),
        ("これは日本語の文章です。東京都内の図書館で読みました。", "Kana", "ja"),
        ("Это самый обычный текст на русском языке.", "Cyrillic", "ru"),
        ("هذا نص عادي باللغة العربية", "Arabic", "ar"),
        ("यह हिन्दी में एक साधारण वाक्य है", "Devanagari", "hi"),
        ("Αυτό είναι ένα κείμενο", "Greek", "el"),
        ("זה טקסט רגיל", "Hebrew", "he"),
        ("นี่คือข้อความธรรมดา", "Thai", "th"),
        ("ነጻ ሆነው የተወለዱ ናቸው", "other", "am"),
        ("12:30 – 4.5 %", "none", "und"),
        ("Blue widget cheap widget store", "Latin", "en"),
        ("ㅋㅋㅋ ㅠㅠ", "Hangul", "und"),
    ]
    found = signals(*(text for text, _, _ in expected))
    assert [(row["script"], row["language"]) for row in found] == [
        (script, language) for _, script, language in expected
    ]


def test_prose_passes_in_any_script_and_rules_about_english_ask_only_english():
    hangul = (
        "배는 하루에 두 번 항구를 떠나 두 시간쯤 뒤에 섬에 닿는다. 섬사람들은 대부분 작은 배를 가지고 있지만 겨울에는 파도가 너무 높아 "
        "탈 수 없는 날이 많다. 그래서 마을 창고에는 밀가루와 기름과 종이가 늘 쌓여 있고 우편물이 한 주 늦게 와도 아무도 놀라지 않는다. "
        "여름에 찾아온 손님은 학생이 아홉 명뿐인 학교와 가게 두 곳, 그리고 열쇠만 부탁하면 누구나 들어갈 수 있는 도서관을 보게 된다."
    )
    keywords = "cheap used cars, best prices, call now, free shipping, discount tickets, hotel deals, " * 6
    dropped = dropped_by(measured([PROSE, FRENCH, CHINESE, hangul, keywords]))
    assert "gopher_min_stop_words" in dropped.pop(4)
    assert dropped == {}


def test_paragraphs_without_spaces_between_words_are_no_list():
    chinese = (
        "渡輪每天兩次離開港口，大約兩個小時到達島上，住在那裡的人大多有自己的小船……但是冬天的海浪常常太大。",
        "因此村子裡存放著麵粉、油和紙張，郵件晚到一個星期也沒有人感到驚訝，因為大家早就習慣了等待。",
        "夏天來的客人會看到一所只有九個學生的學校，兩間商店，還有一座向所有人開放的圖書館。",
    )
    thai = (
        "เรือข้ามฟากออกจากท่าวันละสองครั้งและใช้เวลาประมาณสองชั่วโมงจึงจะถึงเกาะ คนส่วนใหญ่ที่นั่นมีเรือเล็กเป็นของตัวเอง",
        "แต่ในฤดูหนาวทะเลมักมีคลื่นแรง หมู่บ้านจึงเก็บแป้งและน้ำมันไว้ในโกดัง และไม่มีใครแปลกใจเมื่อจดหมายมาช้าไปหนึ่งสัปดาห์",
        "ผู้ที่มาเที่ยวในฤดูร้อนจะพบโรงเรียนที่มีนักเรียนเก้าคน ร้านค้าสองร้าน และห้องสมุดที่เปิดให้ทุกคนที่ขอกุญแจ",
    )
    pages = ["\n\n".join(chinese), "\n\n".join(thai), "\n".join(part[:4] for part in (*chinese, *thai) for _ in "ab")]
    pages.append("\n".join(chinese).replace("，", "。\n"))  # a sentence a line
    dropped = dropped_by(measured(pages))
    assert {"fineweb_max_newline_word_ratio", "fineweb_max_short_line_ratio"} <= dropped.pop(2)
    assert dropped == {}


def test_each_rule_drops_what_it_is_for():
    expected = [
        ("The page that you want to see was not found.", "gopher_min_words"),
        (PROSE + " #" * 20, "gopher_max_hash_symbol_ratio"),
        (PROSE + " ..." * 20, "gopher_max_ellipsis_ratio"),
        (PROSE + " 12345 67 890" * 10, "gopher_min_alpha_word_ratio"),
        ("\n".join(f"• {PROSE[n * 20 : n * 20 + 40]}" for n in range(15)), "gopher_max_bullet_line_ratio"),
        (PROSE + "\n" + PROSE, "gopher_max_duplicate_line_ratio"),
        (PROSE + "\n\n" + PROSE, "gopher_max_duplicate_paragraph_char_ratio"),
        (PROSE + " and that was that" * 12, "gopher_max_top_4gram_char_ratio"),
        (PROSE.replace(".", "").replace("\n", " ") + "\nthe end", "fineweb_min_terminal_punctuation_line_ratio"),
        (re.sub(r"(\S+ \S+ \S+) ", r"\1\n", PROSE), "fineweb_max_short_line_ratio"),
    ]
    dropped = dropped_by(measured([text for text, _ in expected]))
    missed = [rule for row, (_, rule) in enumerate(expected) if rule not in dropped.get(row, set())]
    assert missed == []


def test_a_rule_of_languages_keeps_what_is_asked_for():
    connection = measured([PROSE, FRENCH, "ㅋㅋㅋ"])
    assert "language_min_score" not in {rule for rules in dropped_by(connection).values() for rule in rules}
    by_languages = {
        tuple(wanted): dropped_by(connection, languages=wanted)
        for wanted in (["en"], ["fr", "und"], ["en", "fr", "und"])
    }
    wrong = {
        wanted: {record for record, rules in dropped.items() if "language_min_score" in rules}
        for wanted, dropped in by_languages.items()
    }
    assert wrong == {("en",): {1, 2}, ("fr", "und"): {0}, ("en", "fr", "und"): set()}
    assert "language_min_score" in dropped_by(connection, languages=["en"], min_language_score=1)[0]


@pytest.mark.parametrize(
    "rule_set, text, rule",
    [
        ("c4", PROSE.replace(". ", "; ").replace("\n", " ").rstrip("."), "c4_min_sentences"),
        ("c4", PROSE + "\nif (x) { return the value of it to the caller.", "c4_max_curly_bracket_lines"),
        ("c4", PROSE + "\nLorem ipsum dolor sit amet consectetur.", "c4_max_lorem_ipsum_lines"),
        (
            "refinedweb",
            PROSE + "\nSIGN IN\nMenu\n12 likes\nREAD ALL OF OUR NEWS HERE",
            "refinedweb_max_flagged_word_ratio",
        ),
        (
            "korean",
            "부동산 아파트 매매 전세 월세 시세 강남 분당 판교 광교 대출 금리 상담 전화 문의 무료 할인 " * 4,
            "korean_min_ending_ratio",
        ),
        ("korean", "비가 온다 ㅋㅋㅋㅋㅋㅋ", "korean_max_jamo_ratio"),
        ("toxicity", "fuck off you piece of shit", "toxicity_max_word_ratio"),
    ],
)
def test_each_set_asked_for_drops_what_it_is_for_and_no_prose(rule_set, text, rule):
    connection = measured([PROSE, FRENCH, CHINESE, text])
    assert dropped_by(connection, rule_sets=[rule_set]) == {3: {rule}}
    assert dropped_by(connection, rule_sets=["gopher_quality"]).get(3, set()).isdisjoint({rule})


def test_rules_that_are_off_by_default_are_there_to_be_switched_on():
    connection = measured([PROSE, "The tranny said it.", "Go and kill yourself.", PROSE + " ( ) , ; : ! ? - " * 12])
    assert dropped_by(connection, rule_sets=["toxicity"]) == {
        1: {"toxicity_max_word_ratio"},
        2: {"toxicity_max_word_ratio"},
    }
    switched_on = dropped_by(
        connection, rule_sets=["toxicity"], max_toxic_word_ratio=None, max_slur_words=0, max_threat_words=0
    )
    assert switched_on == {1: {"toxicity_max_slur_words"}, 2: {"toxicity_max_threat_words"}}
    assert "datatrove_min_alpha_token_ratio" in dropped_by(connection, min_alpha_token_ratio=0.8)[3]


def test_datatroves_readings_are_there_to_be_switched_on():
    short = "Nothing occurs twice here."
    lines = "It rained hard.\n" * 5
    connection = measured([PROSE, short, lines, PROSE, PROSE])
    readings = {f"datatrove_max_top_{n}gram_char_ratio": bound for n, bound in ((2, 0.2), (3, 0.18), (4, 0.16))}
    assert readings.keys().isdisjoint(dropped_by(connection, rule_sets=["gopher_repetition"]).get(1, set()))
    assert dropped_by(connection, rule_sets=["gopher_repetition"], **readings)[1] == set(readings)
    assert "c4_min_sentences" in dropped_by(connection, rule_sets=["c4"])[2]
    of_the_paper = {"min_c4_sentences": None, "datatrove_min_c4_sentences": 5}
    assert dropped_by(connection, rule_sets=["c4"], **of_the_paper).keys() == {1}


def test_short_texts_and_conversations_are_not_held_to_the_form_of_a_document():
    reviews = ["재미있어요 ㅋㅋㅋ", "so so...", "10/10 !!!", "One Of The Best Films Of The Year", "#best"]
    question = "Name three public figures who support renewable energy.\nThree public figures who support renewable energy are A, B and C."
    connection = measured(
        [*reviews, question, PROSE], ["document"] * 5 + ["instruction", "document"], ["reviews"] * 5 + ["alpaca", "web"]
    )
    assert dropped_by(connection) == {}
    # The same as pages of a source of documents.
    assert dropped_by(measured([*reviews, question, *[PROSE] * 9])).keys() >= {0, 1, 2, 3, 4, 5}


def test_a_loop_is_dropped_even_from_short_texts_and_conversations():
    loop = "Sure, here is a list of the things you asked me for. " * 6
    connection = measured(
        ["boring film " * 9, "fine", loop], ["document", "document", "chat"], ["reviews", "reviews", "chats"]
    )
    dropped = dropped_by(connection)
    assert dropped.keys() == {0, 2}
    assert "gopher_max_duplicate_5gram_char_ratio" in dropped[0]
    assert dropped[2] == {"conversation_max_duplicate_5gram_char_ratio"}


def test_a_value_on_the_threshold_passes_and_null_switches_a_rule_off():
    text = " ".join(f"the{'x' * (n % 7)} of{n}a." for n in range(25))  # exactly 50 words
    connection = measured([text, "the of."] + [PROSE] * 3)
    assert connection.execute("select words from filtered.signals where record_id = 0").fetchone() == (50,)
    assert "gopher_min_words" not in dropped_by(connection).get(0, set())
    assert "gopher_min_words" in dropped_by(connection, min_words=51)[0]
    assert "gopher_min_words" not in dropped_by(connection, min_words=None).get(1, set())
    assert not any(
        "gopher" in rule for rules in dropped_by(connection, rule_sets=["fineweb"]).values() for rule in rules
    )


def test_kept_are_the_records_without_a_decision():
    connection = measured([PROSE, "stub", FRENCH])
    dropped = dropped_by(connection)
    connection.execute("create temp table decided as select unnest(?) as record_id", [list(dropped)])
    kept = connection.execute(tables()["filtered.records"].sql).fetchall()
    assert [row[0] for row in kept] == [0, 2]
    assert len(kept[0]) == len(tables()["filtered.records"].columns) == 11


def test_every_rule_reads_a_signal_that_decisions_compares():
    connection = measured([PROSE])
    dropped_by(connection)
    compared = set(re.findall(r"(?:signals|benchmark_coverage)\.(\w+)::double", tables()["filtered.decisions"].sql))
    assert {signal for (signal,) in connection.sql("select signal from filtered.rules").fetchall()} <= compared


def test_the_defaults_are_the_published_thresholds():
    """Gopher: Rae et al. 2021, appendix A1; FineWeb: Penedo et al. 2024, section 3.6."""
    published = {
        "min_words": 50,
        "max_words": 100_000,
        "min_mean_word_chars": 3,
        "max_mean_word_chars": 10,
        "max_hash_symbol_ratio": 0.1,
        "max_ellipsis_ratio": 0.1,
        "max_bullet_line_ratio": 0.9,
        "max_ellipsis_line_ratio": 0.3,
        "min_alpha_word_ratio": 0.8,
        "min_stop_words": 2,
        "max_duplicate_paragraph_ratio": 0.3,
        "max_duplicate_paragraph_char_ratio": 0.2,
        "max_duplicate_line_ratio": 0.3,
        "gopher_max_duplicate_line_char_ratio": 0.2,
        **{f"max_top_{n}gram_char_ratio": bound for n, bound in ((2, 0.2), (3, 0.18), (4, 0.16))},
        **{f"max_duplicate_{n}gram_char_ratio": (20 - n) / 100 for n in range(5, 11)},
        "min_terminal_punctuation_line_ratio": 0.12,
        "max_short_line_ratio": 0.67,
        "max_duplicate_line_char_ratio": 0.01,
        "max_newline_word_ratio": 0.3,
    }
    assert published.items() <= THRESHOLDS.items()
