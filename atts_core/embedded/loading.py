"""A model folder, ready to run: weights, tokenizer, and what a server says about them."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from atts_core.embedded.jobs import Vocabulary
from atts_core.embedded.llama import Llama, LlamaConfig, load_weights
from atts_core.embedded.tokenizer import EmbeddedTokenizer
from atts_core.errors import SettingsError

SHIPPED = ("draft", "target")


class _TokenizerSettings(msgspec.Struct):
    add_bos_token: bool = False


class _TokenizerModel(msgspec.Struct):
    vocab: dict[str, int]


class _TokenizerFile(msgspec.Struct):
    model: _TokenizerModel


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with its tokenizer. `adds_bos`: plain text gets a beginning-of-sequence token in front."""

    folder: Path
    name: str
    model: Llama
    tokenizer: EmbeddedTokenizer
    vocabulary: Vocabulary
    adds_bos: bool
    weights_sha256: str


def find_folder(model: str) -> tuple[Path, str]:
    """The folder of a model and the name it is served under: `draft`, `target`, or a path to a folder."""
    if model in SHIPPED:
        return Path(__file__).parent / "models" / model, model
    folder = Path(model).expanduser().resolve()
    return folder, folder.name


def load_model(model: str, max_rows: int) -> LoadedModel:
    """Reads a model; `max_rows` is the most tokens of one pass.

    Raises:
        SettingsError: there is no usable model in the folder.
    """
    folder, name = find_folder(model)
    if not folder.is_dir():
        known = ", ".join(SHIPPED)
        raise SettingsError(f"There is no model folder {folder}: name {known} or a Llama one.")
    config = LlamaConfig.load(folder)
    tokenizer = EmbeddedTokenizer.load(folder)
    if tokenizer.vocab_size != config.vocab_size:
        raise SettingsError(
            f"{folder}: the tokenizer knows {tokenizer.vocab_size} tokens, the model {config.vocab_size}."
        )
    weights, digest = load_weights(folder)
    try:
        file = msgspec.json.decode((folder / "tokenizer.json").read_bytes(), type=_TokenizerFile)
        settings = msgspec.json.decode(
            (folder / "tokenizer_config.json").read_bytes(), type=_TokenizerSettings
        )
    except (OSError, msgspec.MsgspecError) as error:
        raise SettingsError(f"The tokenizer of {folder} cannot be read: {error}.") from error
    raw = sorted(file.model.vocab, key=file.model.vocab.__getitem__)
    vocabulary = Vocabulary(
        raw=raw,
        visible=[tokenizer.decode([i]) for i in range(len(raw))],
        eos_ids=frozenset(tokenizer.eos_ids),
    )
    return LoadedModel(
        folder, name, Llama(config, weights, max_rows), tokenizer, vocabulary, settings.add_bos_token, digest
    )
