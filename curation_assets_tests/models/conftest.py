"""Small real language models, made once for all tests here."""

import pytest
from small_language_models import save_causal_model, save_seq2seq_model


@pytest.fixture(scope="session")
def language_models(tmp_path_factory):
    """Folders of a causal model with chat template, a causal one without, and a seq2seq one."""
    folder = tmp_path_factory.mktemp("language_models")
    return {
        "chat": save_causal_model(folder / "chat", chat=True),
        "plain": save_causal_model(folder / "plain", chat=False),
        "seq2seq": save_seq2seq_model(folder / "seq2seq"),
    }
