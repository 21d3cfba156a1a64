"""Comparing an answer with the gold answer: by spelling first, then, where the problem is one of mathematics,
by calculation.

A verdict is reached once, when a sample ends, and recorded: no report and no resumed run grades again. Where
the calculation is not known (a limit was met, or it cannot run at all), the spelling alone decides, which the
record says (`fallback`) and the run warns of once.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from atts_core.engine.spelling import normalise
from atts_core.problems.mathematics import Mathematics
from atts_core.problems.problem import Grading

How = Literal["", "spelling", "math", "choice", "fallback"]
"""What reached a verdict; empty where there is none."""

_CHOICE = re.compile(
    r"(?:(?:the|correct|right|option|choice|answer|is|:)\s*)*"
    r"(?:[(\[*{]*(?-i:(?P<upper>[A-J]))[)\]*}]*(?:[.:,)\n].*)?|[(\[*{]*(?P<lone>[a-j])[)\]*}]*\.?)",
    re.IGNORECASE | re.DOTALL,
)


class Graded(NamedTuple):
    """A verdict and what reached it."""

    correct: bool | None
    """None where no gold answer is known."""
    how: How


UNKNOWN = Graded(None, "")


def by_spelling(answer: str | None, gold: str | None) -> bool | None:
    """Whether `answer` is `gold` up to spelling (`engine.spelling`). None where no gold answer is known.

    No answer is a wrong answer where the gold is known.
    """
    if gold is None:
        return None
    return answer is not None and normalise(answer) == normalise(gold)


def letter(answer: str) -> str:
    """The letter of a choice, as in `B`, `(B)`, `\\text{B. Because …}`, `option B`; else its spelling."""
    text = re.sub(r"\\(?:text|textbf|mathrm|mathbf)\s*|\$", "", answer).strip()
    found = _CHOICE.fullmatch(text)
    return (found["upper"] or found["lone"]).upper() if found else normalise(answer)


class Grader:
    """Grades answers, each different one once. Close it: it may have a process of its own."""

    def __init__(self, warn: Callable[[str], object] = lambda _: None) -> None:
        self._warn = warn
        self._warned = False
        self._mathematics = Mathematics()
        self._one_at_a_time = asyncio.Lock()
        self._known: dict[tuple[str, str], Graded] = {}

    async def grade(self, answer: str | None, gold: str | None, grading: Grading) -> Graded:
        """The verdict on an answer; a calculation runs beside the event loop."""
        graded = self._at_once(answer, gold, grading)
        if graded is not None:
            return graded
        assert answer is not None and gold is not None  # noqa: S101, PT018  # else it is graded at once
        async with self._one_at_a_time:
            known = self._known.get((answer, gold))
            if known is None:  # nobody has asked while this one waited
                known = await asyncio.to_thread(self._calculate, answer, gold)
            return known

    def grade_now(self, answer: str | None, gold: str | None, grading: Grading) -> Graded:
        """The same where there is no event loop to wait in."""
        graded = self._at_once(answer, gold, grading)
        if graded is not None:
            return graded
        assert answer is not None and gold is not None  # noqa: S101, PT018  # else it is graded at once
        return self._calculate(answer, gold)

    def close(self) -> None:
        """End the process that calculates, if there is one."""
        self._mathematics.close()

    def _at_once(self, answer: str | None, gold: str | None, grading: Grading) -> Graded | None:
        """The verdict where nothing needs to be calculated, else None."""
        if gold is None:
            return UNKNOWN
        if answer is None:
            return Graded(correct=False, how="spelling")
        if grading == "choice":
            return Graded(letter(answer) == letter(gold), "choice")
        if by_spelling(answer, gold) or grading == "exact":
            return Graded(bool(by_spelling(answer, gold)), "spelling")
        return self._known.get((answer, gold))

    def _calculate(self, answer: str, gold: str) -> Graded:
        equality = self._mathematics.compare(gold, answer)
        graded = Graded(equality == "equal", "fallback" if equality == "unknown" else "math")
        self._known[answer, gold] = graded
        if equality == "unknown" and not self._warned:
            self._warned = True
            why = self._mathematics.trouble or f"such as whether {answer[:60]!r} equals {gold[:60]!r}"
            self._warn(
                f"Not every answer could be compared by calculation ({why}); where not, the spelling decides."
            )
        return graded
