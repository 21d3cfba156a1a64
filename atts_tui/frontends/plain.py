"""Progress for a terminal without a screen, a log file or a pipe: one line now and then on stderr."""

import sys
from typing import TextIO

from atts_core import events as ev
from atts_core.forecast import forecast, progress
from atts_core.percent import percent
from atts_core.state import RunState
from atts_tui.text import clean

SECONDS_BETWEEN = 2.0


class PlainProgress:
    """Writes a line when a problem ends, a warning comes, or `SECONDS_BETWEEN` of run time have passed."""

    def __init__(self, state: RunState, out: TextIO | None = None) -> None:
        """`out` is standard error where none is given."""
        self._state = state
        self._out = out or sys.stderr
        self._next = 0.0

    def say(self, words: str) -> None:
        """A line that is not part of the run."""
        self._out.write(f"atts: {clean(words)}\n")
        self._out.flush()

    def saw(self, stamps: list[ev.Stamped]) -> None:
        """Called after each batch was folded."""
        for stamped in stamps:
            match stamped.event:
                case ev.Warned(message=message):
                    self.say(f"warning: {message}")
                case ev.ServerLost(role=role, message=message):
                    self.say(f"{role} server lost: {message}")
                case ev.ServerFound(role=role, url=url):
                    self.say(" ".join(filter(None, (role, "server", url, "answers again"))))
                case ev.ProblemFinished() as ended:
                    self._problem(ended)
                case _:
                    pass
        if self._state.now >= self._next and not self._state.finished:
            self._next = self._state.now + SECONDS_BETWEEN
            self._progress()

    def _problem(self, ended: ev.ProblemFinished) -> None:
        problem = self._state.problems[ended.problem]
        mark = {True: "right", False: f"wrong, gold {problem.gold}", None: "no gold answer"}[ended.correct]
        answer = "no answer" if ended.answer is None else f"answer {ended.answer}"
        self.say(f"problem {ended.problem + 1}/{len(self._state.problems)} {problem.id}: {answer} ({mark})")

    def _progress(self) -> None:
        state = self._state
        if state.run is None:
            if state.collecting:
                done, total = state.collecting.collected, state.collecting.total
                self.say(f"collecting scores to rank against: {done}/{total}")
            return
        realised = percent(state.overall.realised)
        rate = state.rates.rate("draft", state.now) + state.rates.rate("target", state.now)
        found = forecast(state)
        left = f", about {found.seconds:.0f} s left" if found and found.seconds is not None else ""
        self.say(
            f"{progress(state):4.0%}  {state.samples_ended}/{state.samples_total} samples  "
            f"take-over {realised}  {rate:,.0f} tokens/s{left}"
        )
