"""What comes out of a file is folded only where it can follow what came before.

A run file may come from anybody. An event that names a sample that does not exist would end a viewer with a
traceback, and one with a turn of a billion would fill the machine's memory; the first that does not fit ends
what is read of the file.
"""

from collections.abc import Callable
from typing import Any

from atts_core import events as ev
from atts_core.state import RunState, SampleState

MOST_SAMPLES = 2_000_000
"""Samples of one run in all: far above any run, far below what would hurt."""
_ENDLESS = 1e12
"""Seconds: no run takes thirty thousand years."""


class Gate:
    """Says of one event after another whether it can be folded. Begins at an empty or a restored state."""

    def __init__(self, state: RunState | None = None) -> None:
        state = state or RunState()
        self._seq = state.seq
        self._at = state.now
        self._each = state.run.samples if state.run else 0
        self._turns = [[0] * len(problem.samples) for problem in state.problems]
        """By problem and sample: turns begun, as far as they were looked at."""
        self._total = sum(map(len, self._turns))
        self._writing: set[tuple[int, int]] = set()
        self._away: dict[int, list[SampleState]] = {}
        """Samples of problems that were put away: nothing changes there before an event has passed here, so
        that their turns are counted when one comes."""
        for index, problem in enumerate(state.problems):
            if problem.put_away:
                self._away[index] = problem.samples
            for number, sample in enumerate(problem.samples):
                if not problem.put_away:
                    self._turns[index][number] = sample.turn_count
                if sample.end is None and sample.steps and not sample.steps[-1].complete:
                    self._writing.add((index, number))

    def refuses(self, stamped: ev.Stamped) -> str:
        """Why this event cannot come next; empty where it can, and it is then taken as having come."""
        if stamped.seq <= self._seq:
            return f"its sequence number {stamped.seq} does not come after {self._seq}"
        if not self._at <= stamped.at < _ENDLESS:
            return f"its time {stamped.at} does not come after {self._at}"
        event = stamped.event
        why = _RULES[type(event)](self, event) if type(event) in _RULES else _anywhere(self, event)
        if not why:
            self._seq, self._at = stamped.seq, stamped.at
        return why

    def turns(self, place: tuple[int, int]) -> int:
        """Turns begun by a sample that exists."""
        problem, number = place
        if not self._turns[problem][number] and problem in self._away:
            self._turns[problem][number] = self._away[problem][number].turn_count
        return self._turns[problem][number]

    def place(self, event: ev.AnyEvent) -> tuple[int, int] | None:
        """Problem and sample of an event, where they exist."""
        problem, sample = getattr(event, "problem", -1), getattr(event, "sample", -1)
        if 0 <= problem < len(self._turns) and 0 <= sample < len(self._turns[problem]):
            return problem, sample
        return None


def _anywhere(gate: Gate, event: ev.AnyEvent) -> str:
    """A problem, sample or turn, where the event has one, must exist or be next."""
    kind = type(event)
    if kind not in _HAS_PROBLEM:
        return ""
    if kind not in _HAS_SAMPLE:
        return "" if 0 <= event.problem < len(gate._turns) else _NOWHERE  # type: ignore[union-attr]
    place = gate.place(event)
    if place is None:
        return _NOWHERE
    if kind in _HAS_TURN:
        turn, turns = event.turn, gate.turns(place)  # type: ignore[union-attr]
        if not 0 <= turn <= turns:
            return f"its turn {turn} does not follow the {turns} before it"
        if turn == turns:
            gate._turns[place[0]][place[1]] = turns + 1
    return ""


def _run_started(gate: Gate, event: ev.RunStarted) -> str:
    if not 0 <= event.samples <= MOST_SAMPLES:
        return f"it has {event.samples} samples"
    gate._each = event.samples
    gate._writing.clear()
    return ""


def _problem_added(gate: Gate, event: ev.ProblemAdded) -> str:
    if event.problem != len(gate._turns):
        return f"its problem {event.problem} does not follow the {len(gate._turns)} before it"
    if gate._total + gate._each > MOST_SAMPLES:
        return f"the run has more than {MOST_SAMPLES:,} samples"
    gate._turns.append([0] * gate._each)
    gate._total += gate._each
    return ""


def _sample_started(gate: Gate, event: ev.SampleStarted) -> str:
    place = gate.place(event)
    if place is None:
        return _NOWHERE
    gate._writing.discard(place)
    return ""


def _step_started(gate: Gate, event: ev.DraftStarted | ev.TakeOverStarted) -> str:
    why = _anywhere(gate, event)
    if not why:
        gate._writing.add((event.problem, event.sample))
    return why


def _tokens_streamed(gate: Gate, event: ev.TokensStreamed) -> str:
    if (event.problem, event.sample) not in gate._writing:
        return "no step is being written there"
    return "" if event.retracted >= 0 else "it takes back less than nothing"


def _step_finished(gate: Gate, event: ev.DraftFinished | ev.TakeOverFinished) -> str:
    if (event.problem, event.sample) not in gate._writing:
        return "no step is being written there"
    why = _anywhere(gate, event)
    if not why:
        gate._writing.discard((event.problem, event.sample))
    return why


def _verdict_reached(gate: Gate, event: ev.VerdictReached) -> str:
    if event.ppl is None and event.rating is None and event.verdict != "unverifiable":
        return "it judges a step without a PPL or a rating"
    return _anywhere(gate, event)


_NOWHERE = "its problem or sample does not exist"
_TYPES = ev.AnyEvent.__args__
_HAS_PROBLEM = frozenset(kind for kind in _TYPES if "problem" in kind.__struct_fields__)
_HAS_SAMPLE = frozenset(kind for kind in _TYPES if "sample" in kind.__struct_fields__)
_HAS_TURN = frozenset(kind for kind in _TYPES if "turn" in kind.__struct_fields__)
_RULES: dict[type[ev.AnyEvent], Callable[[Gate, Any], str]] = {
    ev.RunStarted: _run_started,
    ev.ProblemAdded: _problem_added,
    ev.SampleStarted: _sample_started,
    ev.DraftStarted: _step_started,
    ev.TakeOverStarted: _step_started,
    ev.TokensStreamed: _tokens_streamed,
    ev.DraftFinished: _step_finished,
    ev.TakeOverFinished: _step_finished,
    ev.VerdictReached: _verdict_reached,
}
