"""How much of a run is done and how long the rest takes, by turns rather than by problems.

How many turns a sample needs is not known before it ends, and those that ended early are the short ones. So
the chance to go on after each turn is taken from all samples of which that is known, ended or not (Kaplan
and Meier's estimator); the turns that remain follow, and the pace of the last ten minutes says how long they
take. Nothing is known of turns that no sample came to, and problems differ: the range says both.
"""

import math

import msgspec

from atts_core.state import RunState

PACE_SECONDS = 600.0
"""What the pace is taken from, at most: what the rate meter remembers."""
TOO_FEW = 2
"""Finished problems before which a range must hold for samples that all go to the turn limit."""

MOST = 0.99
"""The share that a run under way shows at most: rounded to whole percent it is not all."""


class Forecast(msgspec.Struct, frozen=True):
    """Where a run stands."""

    done: int
    """Turns that are over."""
    left: float
    """Turns still expected."""
    pace: float
    """Turns a second."""
    seconds: float | None
    """Until the end; None where no turn was finished lately."""
    low: float | None
    high: float | None
    """A range for it: 95 % if the problems to come are like those that are finished."""

    @property
    def share(self) -> float:
        """Of all turns expected, those done, 0 to 1."""
        total = self.done + self.left
        return self.done / total if total else 0.0


def forecast(state: RunState) -> Forecast | None:
    """The forecast of a run, None before its first turn began; costs the same for any number of problems."""
    overview, run = state.overview, state.run
    if run is None or not overview.reached:
        return None
    limit = max(run.turns, len(overview.reached))
    reached = [*overview.reached, *[0] * (limit + 1 - len(overview.reached))]
    ended = [*overview.ended_after, *[0] * (limit - len(overview.ended_after))]
    known = sum(reached[1:]) + sum(ended)
    usual = sum(reached[1:]) / known if known else 0.5

    def left(unknown: float, *, all_of_them: bool = False) -> float:
        """Turns that remain where the chance to go on after a turn nobody knows of is `unknown`."""
        remaining, from_here = 0.0, 0.0
        for turn in reversed(range(limit)):
            went_on, seen = reached[turn + 1], reached[turn + 1] + ended[turn]
            chance = unknown if all_of_them or not seen else went_on / seen
            from_here = 1 + (chance * from_here if turn + 1 < limit else 0.0)
            remaining += max(reached[turn] - reached[turn + 1] - ended[turn], 0) * from_here
        return remaining + overview.unbegun * from_here

    likely, low, high = left(usual), left(0.0), left(1.0)
    if overview.finished < TOO_FEW:
        high = left(1.0, all_of_them=True)
    else:
        error = 1.96 * _spread(ended) / math.sqrt(overview.finished)
        low, high = low * max(1 - error, 0.0), high * (1 + error)
    pace = state.rates.rate("turns", state.now, PACE_SECONDS)
    if state.finished is not None or not pace:
        return Forecast(overview.turns_done, likely, pace, None, None, None)
    return Forecast(overview.turns_done, likely, pace, likely / pace, low / pace, high / pace)


def progress(state: RunState) -> float:
    """The share of the turns expected that are done, 0 to 1: 1 only once the run is over."""
    if state.finished is not None and state.finished.end == "done":
        return 1.0
    found = forecast(state)
    if found is None:
        return 0.0
    return found.share if state.finished is not None else min(found.share, MOST)


def _spread(ended: list[int]) -> float:
    """Standard deviation of the turns of ended samples over their mean."""
    count = sum(ended)
    if not count:
        return 1.0
    mean = sum((turn + 1) * number for turn, number in enumerate(ended)) / count
    squares = sum((turn + 1 - mean) ** 2 * number for turn, number in enumerate(ended))
    return math.sqrt(squares / count) / mean
