"""Can the embedded pair read this problem? If not: why, and what it can read."""

from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from atts_core import embedded
from atts_core.embedded.tokenizer import EmbeddedTokenizer
from atts_core.problems.builtin.solver import solve
from atts_core.problems.builtin.streams import endless

_MODELS: Final = Path(embedded.__file__).parent / "models"


class Readability(msgspec.Struct, frozen=True):
    """What the embedded pair would make of a text.

    `unknown` are words outside its vocabulary; `gold` is the exact answer where the text is a question of the
    built-in families; `examples` are three questions of different families that it reads well.
    """

    unknown: tuple[str, ...]
    gold: str | None
    examples: tuple[str, str, str]

    @property
    def readable(self) -> bool:
        """Every word is known. But the models know the families only: without a `gold` expect nonsense."""
        return not self.unknown

    def explain(self) -> str:
        """For a user: what is wrong and what would work; empty where all is well."""
        if self.unknown:
            named = ", ".join(f'"{word}"' for word in self.unknown[:5])
            more = "" if len(self.unknown) <= 5 else f" and {len(self.unknown) - 5} more"
            reason = f"The embedded models do not know {named}{more}."
        elif self.gold is None:
            reason = "The embedded models know these words, but not this kind of problem."
        else:
            return ""
        lines = [f"{reason} They can read problems like these:", *self.examples]
        return "\n  ".join(lines)


def readable(text: str) -> Readability:
    """Checks `text` against the vocabulary and the families of the embedded pair.

    Raises:
        SettingsError: the pair's tokenizer is missing from the installation.
    """
    return Readability(tuple(_tokenizer().unknown_words(text)), solve(text), examples())


@cache
def examples() -> tuple[str, str, str]:
    """Three test questions of different families, always the same."""
    story, shop, equation = (
        next(endless("test", 3, level, family)).question
        for family, level in (("story", 3), ("shop", 4), ("equation", 3))
    )
    return story, shop, equation


@cache
def _tokenizer() -> EmbeddedTokenizer:
    return EmbeddedTokenizer.load(_MODELS / "draft")
