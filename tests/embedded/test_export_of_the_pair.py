"""The export: folders that SGLang can serve, and clear words where they cannot be written."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from atts_core.embedded.export import MODELS, export, main
from atts_core.embedded.tokenizer import EmbeddedTokenizer
from atts_core.errors import SettingsError

FILES = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_both_models_are_written_with_equal_weights(tmp_path, dtype):
    for path in export(tmp_path / "pair", dtype):
        assert {file.name for file in path.iterdir()} == FILES
        shipped = load_file(MODELS / path.name / "model.safetensors")
        written = load_file(path / "model.safetensors")
        assert shipped.keys() == written.keys()
        for name, array in written.items():
            assert array.dtype == dtype
            np.testing.assert_array_equal(array, shipped[name].astype(dtype))
        config = json.loads((path / "config.json").read_text())
        assert config["torch_dtype"] == dtype
        assert config["architectures"] == ["LlamaForCausalLM"]
        assert config["max_position_embeddings"] == 512
        assert written["lm_head.weight"].shape == (config["vocab_size"], config["hidden_size"])
        assert EmbeddedTokenizer.load(path).vocab_size == config["vocab_size"]


def test_the_command_says_what_it_wrote(tmp_path, capsys):
    assert main([str(tmp_path / "pair")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "pair" / name) for name in ("draft", "target")]


def test_an_existing_folder_is_left_alone(tmp_path, capsys):
    (tmp_path / "target").mkdir()
    assert main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "exists already" in said
    assert str(tmp_path / "target") in said
    assert not (tmp_path / "draft").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "a file"
    file.touch()
    with pytest.raises(SettingsError, match="could not be written"):
        export(file, "float32")


def test_missing_models_are_named(tmp_path):
    with pytest.raises(SettingsError, match="are missing"):
        export(tmp_path / "pair", "float32", models=tmp_path / "nothing")


def test_the_shipped_weights_stay_under_ten_megabytes():
    assert sum((MODELS / name / "model.safetensors").stat().st_size for name in ("draft", "target")) < 10e6
