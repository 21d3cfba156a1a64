"""What the screens of a run's figures show: measured now and then, drawn as often as it is looked at."""

from atts_core.conformal.live import DecisionTally, Realised, WhatIf
from atts_core.conformal.signal import Signal
from atts_core.reports.barrier import BarrierCost, Layout, barrier_cost, lay_out, recorded_chain
from atts_core.reports.timeline import StageTally, StageTimes, places_of
from atts_core.state import RunState
from atts_tui.view import View

ALPHA_STEP = 0.01
GROWTH = 1.1
"""Signal is measured again when so many times as many samples have ended: it costs most, and moves least."""
MANY_STAGES, MANY_GROWTH = 4000, 2.0
"""From so many stages on (about 60 ms) a barrier is laid out again when so many times as much is done."""


class CalibrationFigures:
    """A run's decisions against its calibration, and against any other alpha."""

    def __init__(self) -> None:
        self.version = 0
        """Grows with every change: what was drawn of another version is old."""
        self.chosen: float | None = None
        """The alpha that a person asks about; None: the run's own."""
        self._clear()

    def _clear(self) -> None:
        self.tally = DecisionTally()
        self.realised: Realised | None = None
        self.signal: Signal | None = None
        self.judged_by = ""
        self.what_if: WhatIf | None = None
        self.own_alpha: float | None = None
        self.threshold: float | None = None
        """The PPL above which steps were taken over last, as the run recorded it."""
        self.thresholds_differ = False
        self._of: tuple[RunState, int] | None = None
        self._ended = 0

    def measure(self, view: View) -> None:
        """Bring everything up to date; what has not changed is not computed again."""
        state = view.state
        if self._of != (state, view.epoch):
            self._clear()
            self._of = (state, view.epoch)
            self.version += 1
        card = state.run.calibration if state.run is not None else None
        if card is not None and self.own_alpha is None:
            self.own_alpha = card.alpha
            self.version += 1
        changed = self.tally.update(state, DecisionTally.AT_ONCE)
        if self.behind:
            self.what_if = None
            self.version += 1
            return
        if changed or self.realised is None:
            self.realised = self.tally.realised()
            recent = {d.verdict.threshold for d in list(state.decisions)[-64:]}
            self.thresholds_differ = len(recent) > 1
            self.threshold = state.decisions[-1].verdict.threshold if state.decisions else None
            self._ask()
        if state.samples_ended > self._ended * GROWTH or (
            state.finished is not None and state.samples_ended != self._ended
        ):
            self._ended = state.samples_ended
            self.signal, self.judged_by = self.tally.signal(state)
            self.version += 1

    @property
    def behind(self) -> int:
        """Problems whose decisions are not in the figures yet; until they are, nothing is shown."""
        return self.tally.behind

    @property
    def why_empty(self) -> str:
        """What to say where there is nothing to show."""
        return (
            f"Still adding up {self.behind:,} problems." if self.behind else "No step has been decided yet."
        )

    @property
    def alpha(self) -> float | None:
        """The alpha that is asked about; None before the run has one."""
        return self.own_alpha if self.chosen is None else self.chosen

    @property
    def divide(self) -> float | None:
        """The PPL that divides accepted steps from those taken over, at the alpha asked about."""
        if self.chosen is None:
            return self.threshold
        return self.what_if.threshold if self.what_if is not None else None

    def choose(self, alpha: float | None) -> None:
        """Ask about another alpha, or, with None, about the run's own."""
        self.chosen = None if alpha is None else min(max(round(alpha, 2), 0.0), 1.0)
        self._ask()

    def step(self, steps: int) -> None:
        """Ask about an alpha that many hundredths from the present one."""
        if self.alpha is not None:
            self.choose(self.alpha + steps * ALPHA_STEP)

    def _ask(self) -> None:
        alpha = self.alpha
        known = self.tally.count and not self.behind
        self.what_if = self.tally.what_if(alpha) if alpha is not None and known else None
        self.version += 1


class StageFigures:
    """Where a run's time went, and what a barrier per turn would have cost."""

    def __init__(self) -> None:
        self.version = 0
        """Grows with every change."""
        self._clear()

    def _clear(self) -> None:
        self.times = StageTimes()
        self.cost: BarrierCost | None = None
        self._tally = StageTally()
        self._of: tuple[RunState, int] | None = None
        self._done = 0
        self._layouts: dict[tuple[int, int], tuple[Layout, Layout]] = {}

    @property
    def behind(self) -> int:
        """Finished problems that are not in the times yet."""
        return self._tally.behind

    def measure(self, view: View) -> None:
        """Bring everything up to date; the barrier when a tenth more is done, or twice as much of a problem
        of many samples, since it costs most."""
        state = view.state
        if self._of != (state, view.epoch):
            self._clear()
            self._of = (state, view.epoch)
        self.times = self._tally.update(state)
        done = state.overall.decisions + state.samples_ended  # some strategies decide nothing
        many = self.cost is not None and self.cost.stages >= MANY_STAGES
        growth = MANY_GROWTH if many else GROWTH
        if done > self._done * growth or (state.finished is not None and done != self._done):
            self._done = done
            self.cost = barrier_cost(state.problems, *_places(state))
        self.version += 1

    def layouts(self, view: View) -> tuple[Layout, Layout] | None:
        """The problem looked at by itself, its stages laid out without a barrier and with one."""
        problem = view.problem
        if problem is None:
            return None
        key = (problem.index, problem.touched)
        if key not in self._layouts:
            chains = [recorded_chain(sample) for sample in problem.samples]
            places = _places(view.state)
            self._layouts = {
                key: (
                    lay_out([chains], *places, barrier=False),
                    lay_out([chains], *places, barrier=True),
                )
            }
        return self._layouts[key]


def _places(state: RunState) -> tuple[int, int]:
    """Requests at a time; where a run does not say, as many as it has samples."""
    draft, target = places_of(state)
    every = max(state.samples_total, 1)
    return draft or every, target or every
