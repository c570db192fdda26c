"""Small real language models, saved as a user's would be, with a tokenizer trained on the spot.

The seq2seq one has random weights. The causal ones have learned to answer the pretraining prompt with yes for records about
the sea and no for others, more or less: enough for P(yes) to differ between texts and for yes and no to be among the
likeliest tokens.
"""

import random
from pathlib import Path

from curation_assets.models.ask_llm import PROMPTS, fill, load_prompt

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
CONTEXT = 1024
WORDS = {
    "yes": ["the", "sea", "has", "waves", "tides", "and", "salt", "water"],
    "no": ["buy", "now", "cheap", "offer", "click", "here"],
}


def training_texts():
    answers = ["Yes", "No", " yes", " no", "yes", "no", " Yes", " No", "YES", "NO"]
    return [path.read_text(encoding="utf-8") for path in PROMPTS.glob("*.md")] + answers * 200


def save_causal_model(folder: Path, *, chat: bool) -> Path:
    """A Qwen2-class model; with a chat template and its control tokens, or a plain one."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, set_seed

    set_seed(0)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        training_texts(), trainers.BpeTrainer(vocab_size=700, special_tokens=special, initial_alphabet=alphabet)
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=special[2 if chat else 0], pad_token=special[0], model_max_length=CONTEXT
    )
    if chat:
        fast.chat_template = CHATML
        fast.add_tokens(["<think>", "</think>"])
    fast.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,  # wide, so that answers differ between texts
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    teach(model, fast, chat=chat)
    model.save_pretrained(folder)
    return folder


def save_seq2seq_model(folder: Path) -> Path:
    """A T5-class model, its tokenizer with ▁ for a space and </s> at the end."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration, set_seed

    set_seed(0)
    special = ["<pad>", "</s>", "<unk>", "<extra_id_0>"]
    tokenizer = Tokenizer(BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(training_texts(), trainers.BpeTrainer(vocab_size=600, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    fast.add_special_tokens({"additional_special_tokens": ["<extra_id_0>"]})
    fast.save_pretrained(folder)
    config = T5Config(
        vocab_size=len(fast),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        initializer_factor=0.5,
        pad_token_id=0,
        eos_token_id=1,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def teach(model, tokenizer, *, chat: bool, steps: int = 30) -> None:
    """A few steps towards Yes or yes, No or no as the first token after the prompt."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices this small are slower on more
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    chance = random.Random(0)
    for _ in range(steps):
        words = [chance.choice(["yes", "no"]) for _ in range(8)]
        texts = [" ".join(chance.choices(WORDS[word], k=12)) for word in words]
        targets = [tokenizer.convert_tokens_to_ids(chance.choice([word, word.title()])) for word in words]
        prompts = [asked(tokenizer, fill(load_prompt("pretraining"), text), chat=chat) for text in texts]
        batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=not chat)
        inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        last = inputs["attention_mask"].sum(dim=1) - 1
        logits = model(**inputs).logits[torch.arange(len(texts)), last]
        torch.nn.functional.cross_entropy(logits, torch.tensor(targets)).backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.set_num_threads(threads)


def asked(tokenizer, text: str, *, chat: bool, thinking: bool = False) -> str:
    """A filled prompt as the model reads it, written out by hand."""
    if not chat:
        return text if tokenizer.eos_token == "</s>" else f"{text}\n\nANSWER:"
    thought = "" if thinking else "<think>\n\n</think>\n\n"
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n{thought}"


PEOPLE = ["Marianne Okonkwo", "Tobias", "Ines Halvorsen"]


def save_name_tagger(folder: Path, labels: tuple[str, ...] = ("O", "B-PER", "I-PER", "B-LOC")) -> Path:
    """A BERT-class token classifier that has learned to mark the people above by their names, in sentences of a few words."""
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast, set_seed

    set_seed(0)
    frames = [
        "{} met {} .",
        "Then {} said that the sea has waves .",
        "We saw {} and the salt water .",
        "No one was here .",
    ]
    texts = [frame.format(a, b) for frame in frames for a in PEOPLE for b in PEOPLE]
    pieces = BertWordPieceTokenizer(lowercase=False)
    pieces.train_from_iterator(texts, vocab_size=120, min_frequency=1, show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    pieces.save_model(str(folder))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=False, model_max_length=32)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        id2label=dict(enumerate(labels)),
        label2id={label: at for at, label in enumerate(labels)},
    )
    model = BertForTokenClassification(config)
    batch = tokenizer(texts, return_tensors="pt", padding=True, return_offsets_mapping=True)
    places = batch.pop("offset_mapping").tolist()
    wanted = torch.tensor([[_tag(text, *place) for place in row] for text, row in zip(texts, places, strict=True)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        logits = model(**batch).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


def _tag(text: str, start: int, end: int) -> int:
    """1 where a name begins, 2 inside of one, else 0."""
    for name in PEOPLE:
        at = text.find(name)
        while at >= 0:
            if at <= start < end <= at + len(name):
                return 1 if start == at else 2
            at = text.find(name, at + 1)
    return 0
