"""P(yes) by transformers, on real small models: against a forward pass by hand, in batches, cut, and under attack."""

import shutil

import numpy as np
import pytest
from small_language_models import WORDS, asked
from test_ask_llm import ATTACKS

from curation_assets.models.ask_llm import FENCE, Prompt, fence_lines, fill, load_prompt, p_yes
from curation_assets.models.transformers_asker import TransformersAsker
from curation_assets.models.vocabulary import answer_ids

KINDS = ["chat", "plain", "seq2seq"]
PROMPT = load_prompt("pretraining")
SEA, SHOP = " ".join(WORDS["yes"]), " ".join(WORDS["no"])
TEXTS = [SEA, SHOP, "", "한국어 문장 하나.", SHOP * 7, "A cat sat."]


@pytest.fixture(scope="module")
def askers(language_models):
    return {kind: TransformersAsker(str(folder), PROMPT) for kind, folder in language_models.items()}


def masses_by_hand(folder, kind, texts):
    """Masses of yes and no, one text at a time: float64[texts, 2]."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    family = AutoModelForSeq2SeqLM if kind == "seq2seq" else AutoModelForCausalLM
    model = family.from_pretrained(folder).eval()
    words = [tokenizer.decode([number]).strip().lower() for number in range(len(tokenizer))]
    columns = [[number for number, word in enumerate(words) if word == answer] for answer in ("yes", "no")]
    masses = []
    for text in texts:
        prompt = asked(tokenizer, fill(PROMPT, text), chat=kind == "chat")
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=kind != "chat")["input_ids"]
        with torch.no_grad():
            start = {"decoder_input_ids": torch.zeros(1, 1, dtype=torch.long)} if kind == "seq2seq" else {}
            probabilities = model(input_ids=ids, **start).logits[0, -1].double().softmax(0).numpy()
        masses.append([probabilities[column].sum() for column in columns])
    return np.array(masses)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_gives_what_a_forward_pass_by_hand_gives_each_text(askers, language_models, kind):
    answers = askers[kind].ask(TEXTS)
    masses = masses_by_hand(language_models[kind], kind, TEXTS)
    np.testing.assert_allclose(np.column_stack([answers.yes, answers.no]), masses, rtol=1e-3, atol=1e-7)
    assert answers.method == ["logits"] * len(TEXTS) and answers.error == [None] * len(TEXTS)
    alone = np.concatenate([p_yes(askers[kind].ask([text])) for text in TEXTS])
    np.testing.assert_allclose(p_yes(answers), alone, atol=1e-5)
    assert p_yes(answers).std() > 1e-4
    assert answers.prompt_tokens.tolist() == askers[kind].count_tokens(TEXTS).tolist()


def test_what_the_model_learned_shows_in_the_order_of_the_texts(askers):
    sea, shop = p_yes(askers["chat"].ask([SEA, SHOP]))
    assert sea > 0.5 > shop


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_record_is_cut_and_the_question_never(askers, kind):
    asker = askers[kind]
    record = " ".join(f"{number} {SEA}" for number in range(400))
    prompt = asker._encode([record])[0]
    text = asker._tokenizer.decode(prompt, skip_special_tokens=True)
    assert asker.limit - 3 <= len(prompt) <= asker.limit
    assert record[:200] in text
    assert "OPTIONS:\n- yes\n- no" in text
    short = asker.ask([record[:60]])
    cut = asker.ask([record, record[:60]])
    assert cut.prompt_tokens[0] == len(prompt)
    assert np.isclose(p_yes(cut)[1], p_yes(short)[0], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_control_token_comes_from_a_record(askers, kind, attack):
    asker = askers[kind]
    prompt = asker._encode([attack])[0]
    text = asked(asker._tokenizer, fill(PROMPT, attack, asker._control_tokens), chat=kind == "chat")
    assert len(fence_lines(text)) == 2
    encoded = asker._tokenizer(text, add_special_tokens=kind != "chat", return_offsets_mapping=True)
    assert encoded["input_ids"] == prompt.tolist()
    start, end = text.index(f"{FENCE}\n"), text.index(f"\n{FENCE}\n\nDoes")
    inside = [
        i for i, (first, last) in zip(prompt, encoded["offset_mapping"], strict=True) if start <= first < last <= end
    ]
    assert len(inside) > 3 and not set(inside) & set(asker._control_ids.tolist())
    assert asker.ask([attack]).method == ["logits"]


def test_a_control_token_that_comes_through_fails_its_own_text_only(language_models):
    asker = TransformersAsker(str(language_models["chat"]), PROMPT)
    asker._control_ids = np.append(asker._control_ids, asker._tokenizer("~")["input_ids"])
    answers = asker.ask([SEA, "a ~ b"])
    assert answers.method == ["logits", "failed"]
    assert answers.error[0] is None and "control token" in answers.error[1]


def test_thinking_is_switched_off_where_the_template_knows_how(askers):
    text = askers["chat"]._tokenizer.decode(askers["chat"]._encode([SEA])[0])
    assert text.endswith("<think>\n\n</think>\n\n")


def test_a_tokenizer_that_cannot_tell_yes_from_no_is_refused():
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    def tokenizer(vocabulary):
        words = Tokenizer(WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token="[UNK]"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")

    with pytest.raises(ValueError, match="same token"):
        answer_ids(tokenizer(["[UNK]", "maybe"]))
    assert answer_ids(tokenizer(["[UNK]", "No", "Yes", "yes"])) == ([2, 3], [1])


def test_what_cannot_be_asked_is_refused_at_the_door(language_models, tmp_path):
    with pytest.raises(ValueError, match="no place is left for a record"):
        TransformersAsker(str(language_models["chat"]), PROMPT, max_tokens=100)
    unsafe = shutil.copytree(language_models["chat"], tmp_path / "unsafe")
    (unsafe / "model.safetensors").rename(unsafe / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        TransformersAsker(str(unsafe), PROMPT)


def test_the_revision_follows_weights_and_chat_template(askers, language_models, tmp_path):
    other = shutil.copytree(language_models["chat"], tmp_path / "other")
    assert TransformersAsker(str(other), PROMPT).revision == askers["chat"].revision != askers["plain"].revision
    template = other / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert TransformersAsker(str(other), PROMPT).revision != askers["chat"].revision


def test_bfloat16_changes_little(language_models, askers):
    rough = TransformersAsker(str(language_models["chat"]), PROMPT, precision="bf16")
    assert rough.precision == "bf16"
    assert np.abs(p_yes(rough.ask(TEXTS)) - p_yes(askers["chat"].ask(TEXTS))).max() < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_free_text(askers, kind):
    assert isinstance(askers[kind].complete("Name three words about the sea.", max_tokens=5), str)


def test_a_prompt_of_the_users_own(language_models):
    prompt = Prompt("mine", "0-x", f"{FENCE}\n{{record}}\n{FENCE}\nGood, yes or no?\nAnswer:")
    asker = TransformersAsker(str(language_models["plain"]), prompt)
    assert asker._tokenizer.decode(asker._encode(["x"])[0]).endswith("no?\nAnswer:")
