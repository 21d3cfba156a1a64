"""One reasoning chain as two append-only lists of token ids, one a model.

Each model sees the prompt rendered once by its own template, the ids that it wrote itself as it wrote them,
and the other model's text tokenised once. Nothing is ever inserted between steps, so prefixes stay
byte-identical for the servers' prefix caches and a step's PPL covers exactly its own tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from atts_core.engine.pair import Pair
from atts_core.engine.prompts import messages

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Written:
    """A step as its model wrote it."""

    ids: tuple[int, ...]
    """Without end-of-text."""
    text: str
    generated: int
    """Tokens generated, end-of-text included."""
    ended: bool
    """The model ended its text."""
    seconds: float
    first_token_seconds: float


class Chain:
    """The text of one sample and its ids for both models."""

    def __init__(self, pair: Pair, question: str, *, instruct: bool) -> None:
        conversation = messages(question, instruct=instruct)
        self._pair = pair
        self.draft_ids: list[int] = pair.draft.tokenizer.render(conversation)
        self.target_ids: list[int] = pair.target.tokenizer.render(conversation)
        self.text = ""
        self._last = ""
        self._steps = 0

    def repeats(self, step: Written) -> bool:
        """Whether a step says again what the last one said; never the first two steps of a chain."""
        return self._steps > 1 and step.text == self._last

    def append_draft(self, step: Written, target_ids: Sequence[int]) -> None:
        """The draft's step joins the chain; `target_ids` are its ids for the target (`for_target`)."""
        self.draft_ids += step.ids
        self.target_ids += target_ids
        self._append(step.text)

    def append_target(self, step: Written) -> None:
        """The target's step joins the chain."""
        self.target_ids += step.ids
        if self._pair.same_tokenizer:
            self.draft_ids += step.ids
        else:
            self.draft_ids += self._pair.draft.tokenizer.encode(step.text)
        self._append(step.text)

    def for_target(self, step: Written) -> list[int]:
        """The ids by which the target reads a step of the draft."""
        if self._pair.same_tokenizer:
            return list(step.ids)
        return self._pair.target.tokenizer.encode(step.text)

    def _append(self, text: str) -> None:
        self.text += text
        self._last = text
        self._steps += 1
