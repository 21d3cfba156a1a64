"""Tokenizers by folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from atts_core.embedded.tokenizer import EmbeddedTokenizer
from atts_core.errors import SettingsError
from atts_core.serving import tokenizers
from atts_core.serving.tokenizers import load_tokenizer

MODELS = Path(tokenizers.__file__).parents[1] / "embedded" / "models"


def test_an_embedded_folder_gives_the_embedded_tokenizer() -> None:
    for role in ("draft", "target"):
        tokenizer = load_tokenizer(str(MODELS / role))
        assert isinstance(tokenizer, EmbeddedTokenizer)
        ids = tokenizer.render([{"role": "user", "content": "1 + 1"}])
        assert ids[0] == tokenizer.bos_id
        assert max(ids) < tokenizer.vocab_size
        assert tokenizer.decode(tokenizer.encode("12 + 3")) == "12 + 3"


def test_without_transformers_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(tokenizers, "import_module", missing)
    with pytest.raises(SettingsError, match=r"atts\[hub\]"):
        load_tokenizer(tmp_path)


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(SettingsError, match="no tokenizer could be read"):
        load_tokenizer(tmp_path / "nothing")


def test_a_hub_tokenizer_agrees_with_the_embedded_one(tmp_path: Path) -> None:
    """The exported folders are read alike by transformers, which real servers use."""
    pytest.importorskip("transformers")
    for file in (MODELS / "draft").iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config["chat_template"] += "{# not the embedded pair's #}"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    hub, own = load_tokenizer(tmp_path), load_tokenizer(MODELS / "draft")
    assert not isinstance(hub, EmbeddedTokenizer)
    messages = [{"role": "user", "content": "What is 3 + 4 * 2?"}]
    assert hub.render(messages) == own.render(messages)
    assert (hub.vocab_size, hub.bos_id, hub.eos_ids) == (own.vocab_size, own.bos_id, own.eos_ids)
    text = "12 + 3 = 15.\n\nSo the answer is \\boxed{15}."
    assert hub.encode(text) == own.encode(text)
    assert hub.decode(hub.encode(text)) == text
    assert hub.identity != own.identity


def test_no_tokenizer_library_is_imported_before_it_is_needed() -> None:
    code = "import sys, atts_core.serving.tokenizers; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
