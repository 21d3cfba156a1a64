"""Tokenizers: the embedded pair's own, or a model folder's through transformers (extra `hub`)."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from atts_core.embedded.tokenizer import CHAT_TEMPLATE, EmbeddedTokenizer
from atts_core.errors import SettingsError

ANCHOR: Final = "\n"
"""A text that no tokenizer joins with the one after it."""


class Tokenizer(Protocol):
    """Text to token ids and back, and the chat template of one model."""

    @property
    def vocab_size(self) -> int:
        """Every id is below it."""

    @property
    def bos_id(self) -> int | None:
        """The beginning-of-text token, where the model has one."""

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end a text."""

    @property
    def identity(self) -> str:
        """Hash over vocabulary and chat template: equal where two models read the same ids."""

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, shape (tokens,), without special tokens around it."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; special tokens are skipped."""

    def render(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Ids of a conversation by the chat template, up to where the assistant begins to write."""


def load_tokenizer(source: str | Path, *, download: bool = False) -> Tokenizer:
    """The tokenizer of a model folder, or of a name in the local hub cache.

    Nothing is fetched unless `download` is set, and no code of a model is ever run.

    Raises:
        SettingsError: there is none, it cannot be read, or transformers is not installed.
    """
    folder = Path(source)
    if is_embedded_folder(folder):
        return EmbeddedTokenizer.load(folder)
    return HubTokenizer(str(source), download=download)


def is_embedded_folder(folder: Path) -> bool:
    """Whether a model folder is one of the embedded pair's: no other model has its chat template."""
    return _read(folder / "tokenizer_config.json").get("chat_template") == CHAT_TEMPLATE


class HubTokenizer:
    """A Hugging Face tokenizer. Needs transformers (extra `hub`), not torch."""

    def __init__(self, source: str, *, download: bool) -> None:
        """Raises `SettingsError`, see `load_tokenizer`."""
        # Set before the import: it is what keeps transformers from looking for torch and printing advice.
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            transformers = import_module("transformers")  # takes seconds, and is an extra
        except ImportError as error:
            raise SettingsError(
                f"the tokenizer of {source} needs transformers, which is missing: pip install 'atts[hub]'"
            ) from error
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                source, local_files_only=not download, trust_remote_code=False
            )
        except Exception as error:  # transformers raises whatever it likes on a bad folder
            raise SettingsError(
                f"no tokenizer could be read from {source}: give the model's folder, or its name if it is in "
                "the local Hugging Face cache, with --draft-tokenizer or --target-tokenizer"
            ) from error
        template = self._tokenizer.chat_template
        if not template:
            raise SettingsError(
                f"the tokenizer of {source} has no chat template: a problem cannot be put to it"
            )
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        self.vocab_size = max(vocabulary.values()) + 1
        self.bos_id: int | None = self._tokenizer.bos_token_id
        self.eos_ids = self._end_ids(Path(source))
        self._anchor = self._find_anchor()
        canonical = msgspec.json.encode([sorted(vocabulary.items()), template], order="deterministic")
        self.identity = hashlib.sha256(canonical).hexdigest()

    def _end_ids(self, folder: Path) -> frozenset[int]:
        """The tokenizer's end token and those of `generation_config.json`: many chat models have several."""
        listed = _read(folder / "generation_config.json").get("eos_token_id")
        more = listed if isinstance(listed, list) else [listed]
        ids = {i for i in (*more, self._tokenizer.eos_token_id) if type(i) is int}
        return frozenset(i for i in ids if 0 <= i < self.vocab_size)

    def encode(self, text: str) -> list[int]:
        if self._anchor:
            ids = self._plain_ids(ANCHOR + text)
            if ids[: len(self._anchor)] == self._anchor:
                return ids[len(self._anchor) :]
        return self._plain_ids(text)

    def decode(self, ids: Sequence[int]) -> str:
        if self._anchor and ids:
            return self._plain_text([*self._anchor, *ids]).removeprefix(self._plain_text(self._anchor))
        return self._plain_text(ids)

    def _find_anchor(self) -> list[int]:
        """What a step is read after, where the tokenizer takes every text for a beginning.

        Those of the Llama 2 kind put a space before a text and take one away, so that the words on both sides
        of a joint would run together. Byte-level ones (Llama 3, Qwen, DeepSeek) do neither.
        """
        exact = (
            self._plain_text([*self._plain_ids("a"), *self._plain_ids(" b"), *self._plain_ids("c")]) == "a bc"
        )
        return [] if exact else self._plain_ids(ANCHOR)

    def _plain_ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _plain_text(self, ids: Sequence[int]) -> str:
        return str(
            self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    def render(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        try:
            text = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # a template is a program of the model's author and fails as it likes
            raise SettingsError(f"the model's chat template refuses this conversation: {error}") from error
        # The template writes the special tokens itself, so none is added around it.
        return self._plain_ids(text)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
