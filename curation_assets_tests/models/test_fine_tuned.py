"""Fine-tuned classifiers: trained for real on a few texts, saved whole, and the same when loaded again."""

import sys

import numpy as np
import pytest
from planted_headlines import headlines
from scipy.special import softmax

from curation_assets.models import fine_tuned
from curation_assets.models.fine_tuned import MissingPeftError, fit_fine_tuned, fit_lora, load_classifier


@pytest.fixture(scope="module")
def labelled():
    rows = headlines(100, clickbait_share=0.5, seed=5)
    return [row["text"] for row in rows], np.array([row["kind"] == "clickbait" for row in rows]).astype(int)


def test_a_fine_tuned_model_learns_and_is_the_same_when_loaded(labelled, tmp_path):
    texts, labels = labelled
    folder = tmp_path / "models" / "task" / "1"
    revision = fit_fine_tuned(texts[:60], labels[:60], classes=2, folder=folder, epochs=1)
    logits = load_classifier(folder).logits(texts)
    assert logits.shape == (100, 2) and softmax(logits, axis=1).sum(axis=1) == pytest.approx(1)
    assert (logits[60:].argmax(axis=1) == labels[60:]).mean() > 0.8
    assert load_classifier(folder).logits(texts[::-1])[::-1] == pytest.approx(logits, abs=1e-3)
    assert not list(folder.rglob("*.bin")) and not list(folder.rglob("*.pkl"))
    assert not list(folder.parent.glob(".*")) and len(revision) == 16


def test_an_interrupted_fit_leaves_nothing(labelled, tmp_path, monkeypatch):
    texts, labels = labelled
    monkeypatch.setattr(fine_tuned, "_write_settings", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fit_fine_tuned(texts[:8], labels[:8], classes=2, folder=tmp_path / "1", epochs=1)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match="is gone"):
        load_classifier(tmp_path / "1")


def test_lora_trains_adapters_that_are_the_same_when_loaded(labelled, language_models, tmp_path):
    pytest.importorskip("peft")
    texts, labels = labelled
    settings = {"classes": 3, "backbone": str(language_models["plain"]), "batch_texts": 8}
    fit_lora(texts[:24], labels[:24], folder=tmp_path / "1", epochs=12, learning_rate=5e-3, **settings)
    found = load_classifier(tmp_path / "1").logits(texts[:24])
    assert (found.argmax(axis=1) == labels[:24]).mean() > 0.7 and (found.argmax(axis=1) < 2).all()
    assert load_classifier(tmp_path / "1").logits(texts[:24]) == pytest.approx(found, abs=1e-4)
    adapter = tmp_path / "1" / "adapter" / "adapter_model.safetensors"
    assert adapter.is_file() and adapter.stat().st_size < 1e6


def test_lora_takes_the_embedding_model_too(labelled, tmp_path):
    pytest.importorskip("peft")
    texts, labels = labelled
    fit_lora(texts[:8], labels[:8], classes=2, folder=tmp_path / "1", epochs=1)
    assert np.isfinite(load_classifier(tmp_path / "1").logits(texts[:4])).all()


def test_without_peft_it_says_what_to_do(labelled, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingPeftError, match=r"curation-assets\[peft\]"):
        fit_lora(*labelled, classes=2, folder=tmp_path / "1")
