"""Asking a real small model behind a server: what is kept, what is counted, and that the caps hold whatever the server does."""

import dagster as dg
import polars as pl
import pytest
from models.openai_server import Handler, serving

from curation_assets import asking
from curation_assets.models.ask_llm import Answer, gathered


@pytest.fixture
def texts(warehouse):
    """40 texts as filtered.records, the columns that asking reads."""
    rows = pl.DataFrame(
        {"text_hash": [f"{n:02}" for n in range(40)], "text": [f"The sea has {n} waves." for n in range(40)]}
    )
    with warehouse.get_connection() as connection:
        connection.execute("create schema filtered")
        connection.register("rows", rows.to_arrow())
        connection.execute("create table filtered.records as from rows")
    return rows["text_hash"].to_list()


def config_of(server, **settings):
    return asking.LanguageModel(model="small", server=server.url, **{"concurrency": 2, "chunk_texts": 16} | settings)


@pytest.mark.parametrize("logprobs", [True, False])
@pytest.mark.parametrize("counts", [True, False])
def test_a_cap_on_tokens_holds_also_under_votes_and_uncounted(
    language_models, warehouse, texts, monkeypatch, logprobs, counts
):
    cap = 3_000 if logprobs else 12_000
    generated, billed = Handler.generated, []

    def counting(self, *args):
        answer = generated(self, *args)
        billed.append(sum(answer["usage"].values()))
        return answer if counts else {**answer, "usage": None}

    monkeypatch.setattr(Handler, "generated", counting)
    with serving(language_models["chat"], logprobs=logprobs) as server:
        config = config_of(server, max_tokens=cap, votes=8)
        spent = asking.ask_missing(warehouse, asking.asker_of(config), config, texts)
    assert 0 < sum(billed) <= cap
    assert spent.stopped_by == f"max_tokens {cap:,}" and warehouse.rows("quality_scores.answers") == spent.calls
    if logprobs and counts:
        assert sum(billed) > cap - 300  # not taken for eight times as much
    if counts:
        assert spent.prompt_tokens + spent.completion_tokens == sum(billed)


def test_what_is_neither_yes_nor_no_is_kept_and_not_asked_again(warehouse, texts):
    class Mute:
        model, revision, calls_per_text = "mute", "1", 1
        prompt = asking.load_prompt("code")

        def __init__(self, says):
            self.says, self.asked = says, 0

        def ask(self, some):
            self.asked += len(some)
            return gathered(
                [Answer(float(self.says(text)), 0.0, "logprobs", prompt_tokens=1, calls=1) for text in some]
            )

    config = asking.LanguageModel(model="mute", chunk_texts=8)
    never = Mute(lambda text: False)
    for _ in range(2):
        with pytest.raises(dg.Failure, match="none of 8 texts"):
            asking.ask_missing(warehouse, never, config, texts)
    assert never.asked == 16 and warehouse.rows("quality_scores.answers") == 0
    first = Mute(lambda text: "1" in text)
    assert asking.ask_missing(warehouse, first, config, texts).failed == 27
    again = Mute(lambda text: True)
    assert asking.ask_missing(warehouse, again, config, texts).calls == again.asked == 0


def test_a_busy_server_does_not_change_its_name_and_a_dead_one_is_told(language_models, monkeypatch):
    with serving(language_models["chat"]) as server:
        config = config_of(server)
        revision = asking.asker_of(config).revision
        told = asking.asker_of(config_of(server, extra={"chat_template_kwargs": {"enable_thinking": False}})).prompt
        assert told.version != asking.asker_of(config).prompt.version
        monkeypatch.setattr(Handler, "do_GET", lambda self: self.reply(503, {"error": "loading"}))
        with pytest.raises(dg.Failure, match="503 loading"):
            asking.asker_of(config)
        monkeypatch.setattr(Handler, "do_GET", lambda self: self.reply(404, {"error": "no such path"}))
        assert asking.asker_of(config).revision != revision
    with pytest.raises(dg.Failure, match="gave no answer"):
        asking.asker_of(config)


def test_a_cap_without_a_price_and_a_key_for_a_name_are_refused():
    with pytest.raises(dg.Failure, match="max_cost needs price"):
        asking.asker_of(asking.LanguageModel(model="small", max_cost=1))
    with pytest.raises(dg.Failure, match="name of an environment variable") as refused:
        asking.asker_of(asking.LanguageModel(model="small", server="http://127.0.0.1:9", api_key_variable="sk-abc-123"))
    assert "sk-abc" not in refused.value.description
