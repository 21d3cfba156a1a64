"""The embedded pair's tokenizer: a fixed vocabulary, longest match first, read from its `tokenizer.json`."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from atts_core.errors import SettingsError

PAD, BOS, EOS, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
STEP_END: Final = "\n\n"

# What `EmbeddedTokenizer.render` does, for servers that render the chat template themselves.
CHAT_TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ message['content'] | trim }}{{ '\\n\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)


class _Model(msgspec.Struct):
    vocab: dict[str, int]


class _AddedToken(msgspec.Struct):
    id: int
    content: str
    special: bool = False


class _TokenizerFile(msgspec.Struct):
    model: _Model
    added_tokens: list[_AddedToken]


class _TokenizerConfig(msgspec.Struct):
    chat_template: str


class EmbeddedTokenizer:
    """Text to token ids and back. A blank line, which ends a step, is one token; digits are one token each.

    Special tokens are never read from text: a user who types `</s>` gets five ordinary characters.
    """

    def __init__(self, vocabulary: Mapping[str, int], specials: frozenset[str], chat_template: str) -> None:
        self._ids = dict(vocabulary)
        self._texts = [text for text, _ in sorted(vocabulary.items(), key=lambda item: item[1])]
        if [self._ids[text] for text in self._texts] != list(range(len(self._texts))):
            raise SettingsError("The tokenizer's ids are not 0, 1, 2, …: its tokenizer.json is damaged.")
        missing = {BOS, EOS, STEP_END} - vocabulary.keys()
        if missing:
            raise SettingsError(f"The tokenizer's vocabulary lacks {sorted(missing)!r}.")
        self.vocab_size = len(self._texts)
        self.bos_id = self._ids[BOS]
        self.eos_id = self._ids[EOS]
        self.eos_ids = frozenset({self.eos_id})
        self.step_end_id = self._ids[STEP_END]
        self._special_ids = frozenset(self._ids[text] for text in specials)
        self._unknown_id = self._ids.get(UNKNOWN)
        self._pattern = re.compile(split_pattern(text for text in self._texts if text not in specials))
        canonical = msgspec.json.encode([self._texts, chat_template])
        self.identity = hashlib.sha256(canonical).hexdigest()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads `tokenizer.json` and `tokenizer_config.json` of a model folder.

        Raises:
            SettingsError: a file is absent or not a tokenizer of this kind.
        """
        try:
            file = msgspec.json.decode((folder / "tokenizer.json").read_bytes(), type=_TokenizerFile)
            config = msgspec.json.decode(
                (folder / "tokenizer_config.json").read_bytes(), type=_TokenizerConfig
            )
        except (OSError, msgspec.MsgspecError) as error:
            raise SettingsError(f"No tokenizer could be read from {folder}: {error}.") from error
        specials = frozenset(token.content for token in file.added_tokens if token.special)
        return cls(file.model.vocab, specials, config.chat_template)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without a beginning-of-sequence token; a character it has never seen is `<unk>`."""
        if self._unknown_id is None:
            return [self._ids[piece] for piece in self._pattern.findall(text) if piece in self._ids]
        unknown = self._unknown_id
        return [self._ids.get(piece, unknown) for piece in self._pattern.findall(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; special tokens are skipped."""
        return "".join(self._texts[i] for i in ids if i not in self._special_ids)

    def render(self, messages: Sequence[Mapping[str, str]], *, continue_final: bool = False) -> list[int]:
        """Ids of a conversation, as the chat template says: system messages are ignored.

        `continue_final` leaves a final assistant message open, so that a model can go on with it.

        Raises:
            SettingsError: `continue_final` without a final assistant message.
        """
        if continue_final and not (messages and messages[-1]["role"] == "assistant"):
            raise SettingsError("Only a final assistant message can be continued.")
        ids = [self.bos_id]
        for message in messages:
            if message["role"] == "user":
                ids += self.encode(message["content"].strip() + STEP_END)
            elif message["role"] == "assistant":
                ids += [*self.encode(message["content"]), self.eos_id]
        return ids[:-1] if continue_final else ids

    def unknown_words(self, text: str) -> list[str]:
        """Words and signs of `text` that are no token of their own, in order, each once.

        The models can spell them, but have never learned what they mean.
        """
        found: dict[str, None] = {}
        for match in re.finditer(r"\\?[A-Za-z]+|\d|\S", text):
            word = match.group()
            if not any(form in self._ids for form in (word, " " + word, word + "{")):
                found[word] = None
        return list(found)


def split_pattern(pieces: Iterable[str]) -> str:
    """The expression that cuts a text into tokens: the longest piece wins; an unknown character is alone."""
    ordered = sorted(pieces, key=lambda piece: (-len(piece), piece))
    return "|".join(re.escape(piece) for piece in ordered) + r"|[\s\S]"
