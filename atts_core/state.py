"""RunState: a pure fold of events. Every front end and every report reads only this.

Folding is deterministic and has no clock of its own: the same events give the same state, live, attached or
replayed. Readers may look at anything and change nothing. `touched` fields hold the sequence number of the
last event that changed an object, so that a screen redraws only what moved.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from atts_core import events as ev
from atts_core.digest import Judged, Span
from atts_core.meters import RateMeter
from atts_core.overview import TURN_BYTES, Overview
from atts_core.state_parts import (
    Decision,
    LogLine,
    Phase,
    ProblemState,
    SampleState,
    ServerState,
    Step,
    Turn,
    TurnRate,
    WorkerState,
    judged_by,
)
from atts_core.telemetry.history import Machines
from atts_core.verdict_words import verdict_in_words

__all__ = [
    "LOG_LINES",
    "RECENT_DECISIONS",
    "Decision",
    "Judged",
    "LogLine",
    "Phase",
    "ProblemState",
    "RunState",
    "SampleState",
    "ServerState",
    "Span",
    "Step",
    "Turn",
    "TurnRate",
    "WorkerState",
    "verdict_in_words",
]

RECENT_DECISIONS = 4096
"""Decisions kept for the threshold chart: several screens wide; older ones live on in the per-turn counts."""
LOG_LINES = 2000
"""Lines kept for the log; a run file holds them all."""


class RunState:
    """Everything that the screens and the reports need, folded from events in order."""

    def __init__(self) -> None:
        self.seq = 0
        self.now = 0.0
        """Run time of the last event folded, seconds."""
        self.run: ev.RunStarted | None = None
        self.paused = False
        self.finished: ev.RunFinished | None = None
        self.problems: list[ProblemState] = []
        self.overall = TurnRate()
        self.by_turn: list[TurnRate] = []
        self.unverifiable = 0
        self.decisions: deque[Decision] = deque(maxlen=RECENT_DECISIONS)
        self.draft_tokens = 0
        self.target_tokens = 0
        self.verified_tokens = 0
        self.rates = RateMeter()
        self.samples_started = 0
        self.samples_ended = 0
        self.samples_failed = 0
        self.collecting: ev.ScoreCollected | None = None
        """The newest score collected before the run, where it has no calibration of its own."""
        self.retries = 0
        self.first_token_at: float | None = None
        self.servers: dict[ev.Role, ServerState] = {"draft": ServerState(), "target": ServerState()}
        self.machines = Machines()
        self.drift: ev.DriftDetected | None = None
        self.warnings: list[str] = []
        self.log: deque[LogLine] = deque(maxlen=LOG_LINES)
        self.last_take_over: tuple[int, int] | None = None
        """Problem and sample of the newest take-over."""
        self.overview = Overview()

    def fold(self, stamps: Iterable[ev.Stamped]) -> "RunState":
        """Apply events in order; returns itself."""
        for stamped in stamps:
            self.apply(stamped)
        return self

    @property
    def samples_total(self) -> int:
        """Samples of all problems added so far."""
        return self.overview.samples

    @property
    def samples_running(self) -> int:
        """Samples that began and have not ended."""
        return self.samples_started - self.samples_ended

    @property
    def written(self) -> int:
        """Tokens that both models wrote in samples: scores collected before them are no part of it."""
        return self.overview.written

    @property
    def target_share(self) -> float | None:
        """The target's share of `written`, None before the first token."""
        return self.target_tokens / self.written if self.written else None

    def sample(self, problem: int, sample: int) -> SampleState:
        """The sample of these indices. Raises IndexError where no such event came."""
        return self.problems[problem].samples[sample]

    # One method an event below; the tables at the end pick it.

    def apply(self, stamped: ev.Stamped) -> None:
        """Fold one event."""
        self.seq = stamped.seq
        self.now = stamped.at
        _APPLY[type(stamped.event)](self, stamped.event)

    def _run_started(self, event: ev.RunStarted) -> None:
        for model in event.models:
            self.servers[model.role].expect(model.urls)
        if self.run is not None:
            self._run_continued(event, self.run)
            return
        self.run = event
        self._say("info", f"{event.strategy} started: {event.samples} samples a problem, {event.turns} turns")

    def _run_continued(self, event: ev.RunStarted, before: ev.RunStarted) -> None:
        """A new engine goes on with a run that had stopped: what was under way then never happened."""
        self.run = msgspec.structs.replace(event, started_at=before.started_at)
        self.finished, self.paused = None, False
        for problem in self.problems:
            for sample in problem.samples:
                if sample.end is None and sample.phase != "pending":
                    self._drop_unfinished(problem, sample)
        self._say("info", "continued: every sample goes on from its last finished step")

    def _drop_unfinished(self, problem: ProblemState, sample: SampleState) -> None:
        turn = sample.turns[-1] if sample.turns else None
        if turn and turn.spans and (turn.spans[-1].end is None or sample.verifying):
            turn.spans.pop()  # a score that no verdict was told of is worth nothing
        if sample.steps and not sample.steps[-1].complete:
            self._count(problem, sample, sample.steps[-1], -sample.steps[-1].tokens)
            sample.steps.pop()
        self.verified_tokens -= sample.verifying
        problem.verified_tokens -= sample.verifying
        sample.verifying, sample.phase, sample.queued_for, sample.touched = 0, "between", None, self.seq

    def _run_paused(self, _: ev.RunPaused) -> None:
        self.paused = True
        self._say("info", "paused: requests under way finish, no new ones leave")

    def _run_resumed(self, _: ev.RunResumed) -> None:
        self.paused = False
        self._say("info", "resumed")

    def _run_finished(self, event: ev.RunFinished) -> None:
        self.finished = event
        self._say(
            "error" if event.end == "failed" else "info",
            f"run {event.end}" + (f": {event.message}" if event.message else ""),
        )

    def _problem_added(self, event: ev.ProblemAdded) -> None:
        count = self.run.samples if self.run else 0
        self.problems.append(
            ProblemState(
                event.problem,
                event.id,
                event.question,
                event.gold,
                event.family,
                [SampleState(k) for k in range(count)],
                event.repeats,
                touched=self.seq,
            )
        )
        self.overview.problem_added(event.repeats, count)

    def _problem_finished(self, event: ev.ProblemFinished) -> None:
        problem = self.problems[event.problem]
        self.overview.begins_again(problem)  # said twice, it counts once
        problem.finished, problem.finished_at = True, self.now
        problem.answer, problem.tied, problem.correct = event.answer, event.tied, event.correct
        problem.touched = self.seq
        self.overview.problem_finished(problem)
        self.overview.put_away(self.problems)
        mark = {True: " ✓", False: f" ✗ (gold {problem.gold})", None: ""}[event.correct]
        said = "no answer" if event.answer is None else f"answer {event.answer}{mark}"
        self._say("answer", f"problem {problem.id}: {said}" + (", tied" if event.tied else ""), event.problem)

    def _sample_started(self, event: ev.SampleStarted) -> None:
        sample = self._touch(event.problem, event.sample)
        problem = self.problems[event.problem]
        if sample.end is not None:
            self._begin_again(problem, sample)
            return
        sample.phase, sample.started_at = "between", self.now
        self.samples_started += 1
        if problem.started_at is None:
            problem.started_at, problem.touched = self.now, self.seq
            self.overview.began(problem)

    def _begin_again(self, problem: ProblemState, sample: SampleState) -> None:
        """A sample that had ended, such as a failed one, goes on from its last finished step."""
        self.samples_ended -= 1
        self.samples_failed -= sample.end == "failed"
        self.overview.begins_again(problem)
        self.overview.sample_ended(problem, sample, -1)
        sample.unpack_turns()
        self._drop_unfinished(problem, sample)
        sample.end, sample.ended_at, sample.answer, sample.correct, sample.message = (
            None,
            None,
            None,
            None,
            "",
        )
        sample.judgements = ()
        problem.finished, problem.finished_at, problem.touched = False, None, self.seq
        self._say("info", "goes on from its last finished step", problem.index, sample.index)

    def _sample_finished(self, event: ev.SampleFinished) -> None:
        sample = self._touch(event.problem, event.sample)
        sample.phase, sample.ended_at = "ended", self.now
        sample.end, sample.answer, sample.correct = event.end, event.answer, event.correct
        sample.graded, sample.message = event.graded, event.message
        if sample.turns and sample.turns[-1].spans and sample.turns[-1].spans[-1].end is None:
            sample.turns[-1].spans[-1].end = self.now
        self.samples_ended += 1
        self.overview.sample_ended(self.problems[event.problem], sample)
        self.rates.add("turns", self.now, min(sample.turn_count, 1))
        if event.end == "failed":
            self.samples_failed += 1
            self._say("error", f"failed: {event.message}", event.problem, event.sample)
        elif event.end == "decided":
            self._say("info", "ended: the vote is decided without it", event.problem, event.sample)
        elif event.answer is None:
            self._say("info", f"ended without an answer ({event.end})", event.problem, event.sample)

    def _answer_judged(self, event: ev.AnswerJudged) -> None:
        sample = self._touch(event.problem, event.sample)
        others = (said for said in sample.judgements if judged_by(said) != judged_by(event))
        sample.judgements = (*others, event)
        if event.verdict == {True: "wrong", False: "right"}.get(sample.correct):  # type: ignore[arg-type]
            said = f"judge {event.judge}: {event.verdict}, unlike our own verdict"
            self._say("info", said, event.problem, event.sample)

    def _stage_queued(self, event: ev.StageQueued) -> None:
        sample = self._touch(event.problem, event.sample)
        turn = self._turn(sample, event.turn)
        if event.for_round:
            self._end_span(turn)
        sample.phase, sample.queued_for = "round" if event.for_round else "queued", event.stage

    def _draft_started(self, event: ev.DraftStarted) -> None:
        sample = self._begin(event.problem, event.sample, event.turn, "draft")
        # A second draft in one turn is a new try: the one before was rejected.
        if sample.steps and sample.steps[-1].turn == event.turn and sample.steps[-1].role == "draft":
            sample.steps[-1].discarded = True
        sample.steps.append(Step(event.turn, "draft"))

    def _tokens_streamed(self, event: ev.TokensStreamed) -> None:
        sample = self._touch(event.problem, event.sample)
        step = sample.steps[-1]
        if event.retracted:
            step.text = step.text[: len(step.text) - event.retracted]
        step.text += event.text
        self._count(self.problems[event.problem], sample, step, event.tokens)
        self.rates.add(step.role, self.now, event.tokens)
        if self.first_token_at is None:
            self.first_token_at = self.now

    def _draft_finished(self, event: ev.DraftFinished) -> None:
        self._complete(event, "between")

    def _verification_started(self, event: ev.VerificationStarted) -> None:
        sample = self._begin(event.problem, event.sample, event.turn, "verify")
        sample.verifying = event.tokens
        self.verified_tokens += event.tokens
        self.problems[event.problem].verified_tokens += event.tokens
        self.rates.add("verify", self.now, event.tokens)

    def _verdict_reached(self, event: ev.VerdictReached) -> None:
        sample = self._touch(event.problem, event.sample)
        turn = self._turn(sample, event.turn)
        if turn.verdict is not None:
            turn.rejected.append(turn.verdict)
        turn.verdict = event
        self._end_span(turn)
        sample.phase, sample.verifying = "between", 0
        while len(self.by_turn) <= event.turn:
            self.by_turn.append(TurnRate())
        taken = event.verdict != "accept"
        problem = self.problems[event.problem]
        self.overview.decided(problem, taken=taken)
        problem.weight += TURN_BYTES
        for rate in (self.overall, self.by_turn[event.turn]):
            rate.decisions += 1
            rate.taken_over += taken
        match event.verdict:
            case "accept":
                sample.accepted += 1
            case "take-over":
                sample.taken_over += 1
            case "unverifiable":
                sample.unverifiable += 1
                self.unverifiable += 1
        self.decisions.append(Decision(self.seq, self.now, event))
        if taken:
            self.last_take_over = (event.problem, event.sample)
            self._say("take-over", verdict_in_words(event), event.problem, event.sample)
        else:
            self._say("accept", verdict_in_words(event), event.problem, event.sample)

    def _take_over_started(self, event: ev.TakeOverStarted) -> None:
        sample = self._begin(event.problem, event.sample, event.turn, "target")
        if event.variant == "rewrite":
            for step in sample.steps:
                if step.turn == event.turn and step.role == "draft":
                    step.discarded = True
        sample.steps.append(Step(event.turn, "target"))

    def _take_over_finished(self, event: ev.TakeOverFinished) -> None:
        self._complete(event, "between")

    def _attempt_kept(self, event: ev.AttemptKept) -> None:
        sample = self._touch(event.problem, event.sample)
        drafts = [step for step in sample.steps if step.turn == event.turn and step.role == "draft"]
        for number, step in enumerate(drafts):
            step.discarded = number != event.attempt
        self._turn(sample, event.turn).kept = event.attempt
        tries = f"turn {event.turn + 1}: all {len(drafts)} drafts rejected"
        self._say("info", f"{tries} → number {event.attempt + 1} kept", event.problem, event.sample)

    def _answer_found(self, event: ev.AnswerFound) -> None:
        self._touch(event.problem, event.sample).answer = event.answer
        self._say("answer", f"answer {event.answer}", event.problem, event.sample)

    def _vote_changed(self, event: ev.VoteChanged) -> None:
        problem = self.problems[event.problem]
        problem.tally, problem.voted, problem.ended = event.tally, event.voted, event.ended
        problem.touched = self.seq

    def _score_collected(self, event: ev.ScoreCollected) -> None:
        self.collecting = event
        self.draft_tokens += event.draft_tokens
        self.verified_tokens += event.verified_tokens
        self.rates.add("draft", self.now, event.draft_tokens)
        self.rates.add("verify", self.now, event.verified_tokens)

    def _request_retried(self, event: ev.RequestRetried) -> None:
        self.retries += 1
        self._say(
            "warning",
            f"{event.stage} request failed, attempt {event.attempt} in {event.delay:.1f} s: {event.message}",
            event.problem,
            event.sample,
        )

    def _drift_detected(self, event: ev.DriftDetected) -> None:
        self.drift = event
        self._say("warning", event.message)

    def _server_lost(self, event: ev.ServerLost) -> None:
        self.servers[event.role].lose(event.url, event.message)
        self._say("error", f"{event.role} server lost: {event.message}")

    def _server_found(self, event: ev.ServerFound) -> None:
        self.servers[event.role].find(event.url)
        self._say("info", " ".join(filter(None, (event.role, "server", event.url, "answers again"))))

    def _server_read(self, event: ev.ServerRead) -> None:
        self.machines.read_server(
            event.role, event.url, event.reading, event.router, at=self.now, samples=self.samples_running
        )
        if not event.router:
            self.servers[event.role].read(event.url, event.reading, self.now)

    def _gpus_read(self, event: ev.GpusRead) -> None:
        self.machines.read_gpus(
            event.source,
            event.gpus,
            event.unavailable,
            event.kind,
            event.roles,
            at=self.now,
            samples=self.samples_running,
        )

    def _warned(self, event: ev.Warned) -> None:
        self.warnings.append(event.message)
        self._say("warning", event.message)

    def _touch(self, problem: int, sample: int) -> SampleState:
        state = self.problems[problem].samples[sample]
        state.touched = self.seq
        return state

    def _turn(self, sample: SampleState, turn: int) -> Turn:
        while len(sample.turns) <= turn:
            self.overview.turn_began(len(sample.turns))
            if sample.turns:
                self.rates.add("turns", self.now, 1)
            sample.turns.append(Turn())
        return sample.turns[turn]

    def _begin(self, problem: int, index: int, turn: int, stage: ev.Stage) -> SampleState:
        sample = self._touch(problem, index)
        sample.phase, sample.queued_for = stage, None
        self._turn(sample, turn).spans.append(Span(stage, self.now))
        return sample

    def _end_span(self, turn: Turn) -> None:
        if turn.spans and turn.spans[-1].end is None:
            turn.spans[-1].end = self.now

    def _complete(self, event: ev.DraftFinished | ev.TakeOverFinished, phase: Phase) -> None:
        sample = self._touch(event.problem, event.sample)
        step = sample.steps[-1]
        step.text, step.complete = event.text, True
        step.seconds, step.first_token_seconds = event.seconds, event.first_token_seconds
        problem, rest = self.problems[event.problem], event.tokens - step.tokens
        self._count(problem, sample, step, rest)
        self.rates.add(step.role, self.now, rest)
        problem.weight += len(event.text)
        self._end_span(self._turn(sample, event.turn))
        sample.phase = phase

    def _count(self, problem: ProblemState, sample: SampleState, step: Step, tokens: int) -> None:
        step.tokens += tokens
        self.overview.written += tokens
        if step.role == "draft":
            sample.draft_tokens += tokens
            problem.draft_tokens += tokens
            self.draft_tokens += tokens
        else:
            sample.target_tokens += tokens
            problem.target_tokens += tokens
            self.target_tokens += tokens

    def _say(
        self,
        level: Literal["info", "accept", "take-over", "answer", "warning", "error"],
        message: str,
        problem: int | None = None,
        sample: int | None = None,
    ) -> None:
        self.log.append(LogLine(self.seq, self.now, level, message, problem, sample))


_APPLY: dict[type[ev.AnyEvent], Callable[[RunState, Any], None]] = {
    ev.RunStarted: RunState._run_started,
    ev.RunPaused: RunState._run_paused,
    ev.RunResumed: RunState._run_resumed,
    ev.RunFinished: RunState._run_finished,
    ev.ProblemAdded: RunState._problem_added,
    ev.ProblemFinished: RunState._problem_finished,
    ev.SampleStarted: RunState._sample_started,
    ev.SampleFinished: RunState._sample_finished,
    ev.AnswerJudged: RunState._answer_judged,
    ev.StageQueued: RunState._stage_queued,
    ev.DraftStarted: RunState._draft_started,
    ev.TokensStreamed: RunState._tokens_streamed,
    ev.DraftFinished: RunState._draft_finished,
    ev.VerificationStarted: RunState._verification_started,
    ev.VerdictReached: RunState._verdict_reached,
    ev.TakeOverStarted: RunState._take_over_started,
    ev.TakeOverFinished: RunState._take_over_finished,
    ev.AttemptKept: RunState._attempt_kept,
    ev.AnswerFound: RunState._answer_found,
    ev.VoteChanged: RunState._vote_changed,
    ev.ScoreCollected: RunState._score_collected,
    ev.RequestRetried: RunState._request_retried,
    ev.DriftDetected: RunState._drift_detected,
    ev.ServerLost: RunState._server_lost,
    ev.ServerFound: RunState._server_found,
    ev.ServerRead: RunState._server_read,
    ev.GpusRead: RunState._gpus_read,
    ev.Warned: RunState._warned,
}
