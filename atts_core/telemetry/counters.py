"""A run in the numbers that a monitoring system asks for, counted from its events with little memory.

Unlike RunState this keeps no text, no turns and no finished sample, so that a second one costs nothing; the
numbers are the same (tests hold it). A screen that is frozen does not stop it.
"""

from collections import Counter

from atts_core import events as ev
from atts_core.meters import RateMeter
from atts_core.state import RunState

TOKENS = ("draft", "verify", "target")
"""Stages whose tokens are counted."""


class RunCounters:
    """Folds events; begins empty, or where a state is (`of`)."""

    def __init__(self) -> None:
        self.run: ev.RunStarted | None = None
        self.finished: ev.RunEnd | None = None
        self.paused = False
        self.now = 0.0
        self.problems = 0
        self.samples_started = 0
        self.ends: Counter[str] = Counter()
        """Samples by why they ended."""
        self.verdicts: Counter[str] = Counter()
        self.alpha: float | None = None
        """Of the newest verdict."""
        self.tokens: Counter[str] = Counter(dict.fromkeys(TOKENS, 0))
        self.rates = RateMeter()
        self.retries = 0
        self.losses: Counter[str] = Counter({"draft": 0, "target": 0})
        self.lost: dict[str, set[str]] = {"draft": set(), "target": set()}
        """URLs of servers that do not answer, by role."""
        self.drift = False
        self.warnings = 0
        self._writing: dict[tuple[int, int], tuple[str, int]] = {}
        """Of samples with an unfinished step: who writes it, and its tokens so far."""
        self._verifying: dict[tuple[int, int], int] = {}
        self._finished: set[int] = set()
        self._ended: dict[tuple[int, int], str] = {}

    @classmethod
    def of(cls, state: RunState) -> "RunCounters":
        """The counters of a run that came to a state."""
        found = cls()
        found.run, found.paused, found.now = state.run, state.paused, state.now
        found.finished = state.finished.end if state.finished else None
        found.problems = len(state.problems)
        found.samples_started = state.samples_started
        found.tokens.update(
            draft=state.draft_tokens, target=state.target_tokens, verify=state.verified_tokens
        )
        found.rates = RateMeter.of((place, dict(counts)) for place, counts in state.rates.export())
        found.retries, found.drift = state.retries, state.drift is not None
        found.warnings = len(state.warnings)
        found.alpha = state.decisions[-1].verdict.alpha if state.decisions else None
        for role, server in state.servers.items():
            found.lost[role] = {url for url, worker in server.workers.items() if worker.lost}
        for problem in state.problems:
            if problem.finished:
                found._finished.add(problem.index)
            for sample in problem.samples:
                place = (problem.index, sample.index)
                found.verdicts["accept"] += sample.accepted
                found.verdicts["take-over"] += sample.taken_over
                found.verdicts["unverifiable"] += sample.unverifiable
                if sample.end is not None:
                    found.ends[sample.end] += 1
                    found._ended[place] = sample.end
                if sample.steps and not sample.steps[-1].complete:
                    found._writing[place] = (sample.steps[-1].role, sample.steps[-1].tokens)
                if sample.verifying:
                    found._verifying[place] = sample.verifying
        return found

    @property
    def problems_finished(self) -> int:
        """Problems all of whose samples ended."""
        return len(self._finished)

    @property
    def samples_total(self) -> int:
        """Samples of all problems."""
        return self.problems * (self.run.samples if self.run else 0)

    @property
    def samples_ended(self) -> int:
        """Samples that ended, for whatever reason."""
        return sum(self.ends.values())

    @property
    def decisions(self) -> int:
        """Verdicts so far."""
        return sum(self.verdicts.values())

    @property
    def realised(self) -> float | None:
        """Realised take-over rate; None before the first decision."""
        return 1 - self.verdicts["accept"] / self.decisions if self.decisions else None

    def fold(self, stamped: ev.Stamped) -> None:
        """Take one event."""
        self.now = stamped.at
        event = stamped.event
        match event:
            case ev.TokensStreamed():
                self._write(event.problem, event.sample, event.tokens)
            case ev.DraftStarted() | ev.TakeOverStarted():
                role = "draft" if isinstance(event, ev.DraftStarted) else "target"
                self._writing[event.problem, event.sample] = (role, 0)
            case ev.DraftFinished() | ev.TakeOverFinished():
                _, so_far = self._writing.get((event.problem, event.sample), ("", 0))
                self._write(event.problem, event.sample, event.tokens - so_far)
                self._writing.pop((event.problem, event.sample), None)
            case ev.VerificationStarted():
                self._verifying[event.problem, event.sample] = event.tokens
                self._count("verify", event.tokens)
            case ev.VerdictReached():
                self._verifying.pop((event.problem, event.sample), None)
                self.verdicts[event.verdict] += 1
                self.alpha = event.alpha
            case ev.ScoreCollected():
                self._count("draft", event.draft_tokens)
                self._count("verify", event.verified_tokens)
            case ev.ProblemAdded():
                self.problems += 1
            case ev.ProblemFinished():
                self._finished.add(event.problem)
            case ev.SampleStarted():
                self._sample_started(event)
            case ev.SampleFinished():
                self.ends[event.end] += 1
                self._ended[event.problem, event.sample] = event.end
            case _:
                self._aside(event)

    def _aside(self, event: ev.AnyEvent) -> None:
        match event:
            case ev.RunStarted():
                if self.run is not None:
                    self._drop_unfinished()
                self.run, self.finished, self.paused = event, None, False
                self.lost = {"draft": set(), "target": set()}
            case ev.RunPaused() | ev.RunResumed():
                self.paused = isinstance(event, ev.RunPaused)
            case ev.RunFinished():
                self.finished = event.end
            case ev.RequestRetried():
                self.retries += 1
            case ev.ServerLost():
                self.losses[event.role] += 1
                self.lost[event.role].add(event.url)
            case ev.ServerFound():
                self.lost[event.role].discard(event.url)
            case ev.DriftDetected():
                self.drift = True
            case ev.Warned():
                self.warnings += 1
            case _:
                pass

    def _sample_started(self, event: ev.SampleStarted) -> None:
        end = self._ended.pop((event.problem, event.sample), None)
        if end is None:
            self.samples_started += 1
            return
        self.ends[end] -= 1  # a sample that had failed goes on
        self._finished.discard(event.problem)
        self._drop((event.problem, event.sample))

    def _drop_unfinished(self) -> None:
        """A new engine goes on with a run that had stopped: what was under way then never happened."""
        for place in {*self._writing, *self._verifying}:
            if place not in self._ended:
                self._drop(place)

    def _drop(self, place: tuple[int, int]) -> None:
        role, tokens = self._writing.pop(place, ("draft", 0))
        self.tokens[role] -= tokens
        self.tokens["verify"] -= self._verifying.pop(place, 0)

    def _write(self, problem: int, sample: int, tokens: int) -> None:
        role, so_far = self._writing.get((problem, sample), ("draft", 0))
        self._writing[problem, sample] = (role, so_far + tokens)
        self._count(role, tokens)

    def _count(self, kind: str, tokens: int) -> None:
        self.tokens[kind] += tokens
        self.rates.add(kind, self.now, tokens)
