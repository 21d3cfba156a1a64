"""Speculative Thinking: the target helps with a few words where the draft doubts or concludes.

After Yang et al., "Speculative Thinking: Enhancing Small-Model Reasoning with Large Model Guidance at
Inference Time" (arXiv 2504.12329), in our own words. A turn goes from one blank line to the next.

The same: at a blank line the draft shows its next 20 tokens; where they hold neither affirming nor doubting
nor checking words they are dropped and the draft goes on; else they are dropped and the target writes 20
tokens instead, which stay (their `choose_large`). Texts of the target that doubt are counted; at the 15th it
is made to look for wrong steps, for 125 tokens, each time 25 more up to 200, and the count that it takes
rises by 5 up to 30. A checking word of the target lets it write another 125.

Different: chains are token ids of each model's own, so the two need not share a tokenizer; limits are our
turns, step lengths and the context; the target never writes the beginning (their option for drafts that do
not reason). Nothing is scored, so there are no verdicts and no take-over rate.
"""

import re
from dataclasses import dataclass

from atts_core import events as ev
from atts_core.engine.prompts import LOOK_BACK
from atts_core.engine.requests import Context
from atts_core.engine.sample import Sample
from atts_core.engine.strategies.strategy import Independent

PREVIEW = 20
"""Tokens that the draft shows and the target writes."""
CHECK = 125
"""Tokens that the target goes on for after a checking word."""
LOOK, LONGER, LONGEST = 125, 25, 200
"""Tokens of a look back: the first, how many more each time, at most."""
DOUBTS, MORE, MOST = 15, 5, 30
"""Doubts until a look back: the first time, how many more each time, at most."""


def _any(*words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)


AFFIRMS = _any("yeah", "yes", "final answer", "confident")
CHECKS = _any("verify", "think again", "recap", "check")
DOUBTS_WORDS = _any("wait", "alternatively", "hold on", "another", "verify", "think again", "recap", "check")


def mood(text: str) -> int:
    """1: the text affirms more than it doubts; −1: it doubts at least as much; 0: it does neither."""
    yes, no = len(AFFIRMS.findall(text)), len(DOUBTS_WORDS.findall(text))
    return 0 if yes == no == 0 else 1 if yes > no else -1


@dataclass(slots=True)
class Mind:
    """What a chain has come to so far."""

    doubts: int = 0
    patience: int = DOUBTS
    look: int = LOOK


class SpeculativeThinking(Independent):
    """The target writes little, and only where words of the draft call for it."""

    def __init__(self, _: Context) -> None:
        self._minds: dict[tuple[int, int], Mind] = {}

    def joins(self, sample: Sample) -> None:
        self._minds[sample.problem, sample.sample] = Mind()

    def leaves(self, sample: Sample) -> None:
        self._minds.pop((sample.problem, sample.sample), None)

    async def turn(self, sample: Sample) -> ev.SampleEnd | None:
        if sample.turn > 0:
            end = await self._at_a_blank_line(sample, self._minds[sample.problem, sample.sample])
            if end is not None:
                return end
        step = await sample.draft(attempt=int(sample.turn > 0))  # not again what it showed, which is dropped
        sample.chain.append_draft(step, sample.chain.for_target(step))
        return _end(sample, "draft", ended=step.ended)

    async def _at_a_blank_line(self, sample: Sample, mind: Mind) -> ev.SampleEnd | None:
        if mind.doubts >= mind.patience:
            look, mind.look = mind.look, min(mind.look + LONGER, LONGEST)
            mind.doubts, mind.patience = 0, min(mind.patience + MORE, MOST)
            return await self._help(sample, look, opening=LOOK_BACK)
        shown = await sample.draft(most=PREVIEW)
        if mood(shown.text) == 0:
            return None
        before = len(sample.chain.text)
        end = await self._help(sample, PREVIEW)
        said = sample.chain.text[before:]
        mind.doubts += mood(said) < 0
        if end is None and CHECKS.search(said):
            end = await self._help(sample, CHECK, attempt=1)
        return end

    async def _help(
        self, sample: Sample, most: int, *, attempt: int = 0, opening: str = ""
    ) -> ev.SampleEnd | None:
        chain = sample.chain
        step = await sample.take_over(
            chain.target_ids, "rewrite", attempt=attempt, most=most, opening=opening
        )
        chain.append_target(step)
        return _end(sample, "target", ended=step.ended)


def _end(sample: Sample, role: ev.Role, *, ended: bool) -> ev.SampleEnd | None:
    if sample.answers(sample.chain.text, role):
        return "answered"
    return "end-of-text" if ended else None
