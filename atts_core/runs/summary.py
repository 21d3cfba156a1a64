"""What a run came to so far, in a few numbers that its file keeps, so that a list reads nothing else."""

import msgspec

from atts_core import events as ev
from atts_core.runs.saved import Saved, saved_by
from atts_core.state import RunState


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in numbers. Accuracy is over the problems of `metrics.is_graded`; where
    some were stopped early, by the vote alone: which samples ended then is not left to chance."""

    events: int = 0
    seconds: float = 0.0
    """The run's own time: a run that was stopped and went on does not count the pause."""
    started_at: float | None = None
    """Seconds since the epoch."""
    strategy: str = ""
    draft: str = ""
    target: str = ""
    mode: str = ""
    rule: str = ""
    nominal: float | None = None
    seed: int | None = None
    end: ev.RunEnd | None = None
    message: str = ""
    paused: bool = False
    problems: int = 0
    problems_finished: int = 0
    problems_graded: int = 0
    problems_correct: int = 0
    """Won by the vote."""
    problems_passed: int = 0
    """Of those graded, with at least one correct sample."""
    samples: int = 0
    samples_ended: int = 0
    samples_failed: int = 0
    samples_graded: int = 0
    samples_correct: int = 0
    decisions: int = 0
    taken_over: int = 0
    draft_tokens: int = 0
    target_tokens: int = 0
    verified_tokens: int = 0
    saved: Saved | None = None
    """By stopping decided problems early; None where none was."""

    @property
    def accuracy(self) -> float | None:
        """Share of the graded samples that are right."""
        return self.samples_correct / self.samples_graded if self.samples_graded else None

    @property
    def majority(self) -> float | None:
        """Share of graded problems whose vote is correct."""
        return self.problems_correct / self.problems_graded if self.problems_graded else None

    @property
    def pass_at_k(self) -> float | None:
        """Share of graded problems with at least one correct sample."""
        return self.problems_passed / self.problems_graded if self.samples_graded else None

    @property
    def takeover_rate(self) -> float | None:
        """Realised take-over rate."""
        return self.taken_over / self.decisions if self.decisions else None


class Tally:
    """Counts what RunState does not: correct samples and problems. `summary` joins both."""

    def __init__(self) -> None:
        self._graded: dict[int, dict[int, bool]] = {}
        """By problem, the samples that were found right or wrong."""
        self._votes: dict[int, bool | None] = {}
        """By finished problem, whether its vote is right."""
        self._stopped: dict[int, int] = {}
        """By problem whose vote was decided early, the samples that were stopped."""
        self._saved: dict[int, Saved] = {}
        """By finished problem of those."""

    @classmethod
    def of(cls, state: RunState) -> "Tally":
        """The tally of a run as far as a state tells it."""
        tally = cls()
        for problem in state.problems:
            tally._graded[problem.index] = {
                sample.index: sample.correct for sample in problem.samples if sample.correct is not None
            }
            stopped = sum(sample.end == "decided" for sample in problem.samples)
            if stopped:
                tally._stopped[problem.index] = stopped
            if problem.finished:
                tally._votes[problem.index] = problem.correct
        return tally

    def fold(self, event: ev.AnyEvent) -> None:
        """Take one event."""
        if type(event) is ev.SampleFinished:
            if event.end == "decided":
                self._stopped[event.problem] = self._stopped.get(event.problem, 0) + 1
            if event.correct is not None:
                self._graded.setdefault(event.problem, {})[event.sample] = event.correct
        elif type(event) is ev.SampleStarted:
            self._graded.get(event.problem, {}).pop(event.sample, None)
            self._votes.pop(event.problem, None)
        elif type(event) is ev.ProblemFinished:
            self._votes[event.problem] = event.correct

    def summary(self, state: RunState, events: int) -> Summary:
        """The run in numbers, after `events` events that folded to `state`."""
        run = state.run
        known: dict[str, object] = {}
        if run is not None:
            card = run.calibration
            known = {
                "started_at": run.started_at,
                "strategy": run.strategy,
                "draft": run.models[0].name,
                "target": run.models[1].name,
                "seed": run.seed,
                "nominal": card.nominal if card else None,
                "mode": card.mode if card else "",
                "rule": card.rule if card else "",
            }
        # A failed sample makes its problem unknown, as in the result of a run.
        graded = [
            index
            for index, correct in self._votes.items()
            if correct is not None
            and len(self._graded.get(index, ())) + self._stopped.get(index, 0)
            == len(state.problems[index].samples)
        ]
        whole = [] if self._stopped.keys() & set(graded) else graded
        right = [sum(self._graded.get(index, {}).values()) for index in whole]
        for index in self._stopped.keys() & self._votes.keys() - self._saved.keys():
            self._saved[index] = saved_by(state.problems[index])
        return Summary(
            events=events,
            seconds=state.now,
            end=state.finished.end if state.finished else None,
            message=state.finished.message if state.finished else "",
            paused=state.paused,
            problems=len(state.problems),
            problems_finished=len(self._votes),
            problems_graded=len(graded),
            problems_correct=sum(self._votes[index] is True for index in graded),
            problems_passed=sum(count > 0 for count in right),
            samples=state.samples_total,
            samples_ended=state.samples_ended,
            samples_failed=state.samples_failed,
            samples_graded=sum(len(self._graded.get(index, ())) for index in whole),
            samples_correct=sum(right),
            decisions=state.overall.decisions,
            taken_over=state.overall.taken_over,
            draft_tokens=state.draft_tokens,
            target_tokens=state.target_tokens,
            verified_tokens=state.verified_tokens,
            saved=sum(self._saved.values(), Saved()) if self._saved else None,
            **known,  # type: ignore[arg-type]  # each is of its field's type
        )


def summarise(state: RunState, events: int) -> Summary:
    """The numbers of a run from its whole state."""
    return Tally.of(state).summary(state, events)
