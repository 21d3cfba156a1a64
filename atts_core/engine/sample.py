"""One sample: its chain, the stages that a strategy makes of it, and the events that tell of them.

What is finished is never done again. A sample keeps its finished parts in order, its own or those of an
engine before it; when a strategy begins anew (after a failure, or in a run that goes on) each stage first
gives the part that is there. So a strategy needs no state of its own but what its stages gave it, and any
strategy that is a function of that can be resumed anywhere.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from atts_core import events as ev
from atts_core.conformal.drift import DriftAlarm
from atts_core.engine.answers import find_answer
from atts_core.engine.chain import Chain, Written
from atts_core.engine.requests import Context, Requests
from atts_core.engine.seeds import request_seed
from atts_core.errors import RunError
from atts_core.problems.problem import Problem
from atts_core.runs.resume import FinishedStep, Part, SampleProgress

P = TypeVar("P", FinishedStep, ev.VerdictReached, ev.AttemptKept)


class Sample:
    """One chain. `turn` is the one under way; a strategy calls the stages and puts the steps into `chain`."""

    def __init__(self, context: Context, index: int, problem: Problem, sample: int) -> None:
        self.context = context
        self.problem = index
        self.problem_id = problem.id
        self.sample = sample
        self.turn = 0
        self.answer: str | None = None
        self._question = problem.question
        self._requests = Requests(context, index, problem.id, sample)
        self._parts: list[Part] = []
        self._next = 0
        self._told = False
        self._first_step_seen = False
        self.chain = self._new_chain()

    def restore(self, progress: SampleProgress) -> None:
        """Take over what another engine had finished of this sample."""
        self._parts = list(progress.parts)
        self._told = progress.answered is not None
        self._first_step_seen = any(isinstance(part, ev.VerdictReached) for part in self._parts)

    def begin(self) -> None:
        """At the first stage again, with everything finished at hand."""
        self.chain, self.turn, self.answer, self._next = self._new_chain(), 0, None, 0

    @property
    def replaying(self) -> bool:
        """Whether the next stage is finished already."""
        return self._next < len(self._parts)

    # stages

    async def draft(self, *, attempt: int = 0, most: int | None = None) -> Written:
        """The draft goes on after the chain, up to `most` tokens (None: as the settings say).

        `attempt` counts the drafts of a turn: each draws other text.
        """
        side = self.context.pair.draft
        done = self._finished(FinishedStep)
        if done is not None:
            return _written(self._checked(done, "draft"))
        at = self._at
        async with self._requests.place(side, "draft", self.turn) as held:
            self.publish(ev.DraftStarted(**at))
            step = await self._requests.write(
                held, self.chain.draft_ids, self.turn, attempt=attempt, most=most
            )
        self._wrote(ev.DraftFinished, "draft", step)
        return step

    async def take_over(
        self,
        prompt: Sequence[int],
        variant: ev.Variant,
        *,
        attempt: int = 0,
        most: int | None = None,
        opening: str = "",
    ) -> Written:
        """The target goes on after `prompt`. `variant`: what becomes of the turn's draft.

        `opening` is put before what it writes and becomes the beginning of its step.
        """
        side = self.context.pair.target
        done = self._finished(FinishedStep)
        if done is not None:
            return _written(self._checked(done, "target"))
        async with self._requests.place(side, "target", self.turn) as held:
            self.publish(ev.TakeOverStarted(**self._at, variant=variant))
            opened: tuple[int, ...] = ()
            if opening:
                opened = tuple(side.tokenizer.encode(opening))
                self.publish(ev.TokensStreamed(**self._at, role="target", text=opening, tokens=0))
            step = await self._requests.write(held, [*prompt, *opened], self.turn, attempt=attempt, most=most)
        step = dataclasses.replace(step, ids=(*opened, *step.ids), text=opening + step.text)
        self._wrote(ev.TakeOverFinished, "target", step)
        return step

    async def score(self, step: Written) -> tuple[float | None, float]:
        """PPL of a draft's step after the chain under the target, and seconds. None: nothing to score."""
        side, ids = self.context.pair.target, self.chain.for_target(step)
        async with self._requests.place(side, "verify", self.turn) as held:
            self.publish(ev.VerificationStarted(**self._at, tokens=len(ids)))
            return await self._requests.score(held, self.chain.target_ids, ids)

    async def verify(self, step: Written, *, again: bool = False) -> ev.VerdictReached:
        """The verdict of the run's decider on a draft's step. `again`: see `VerdictReached.again`."""
        done = self.verdict()
        if done is not None:
            return done
        ppl, seconds = await self.score(step)
        decider, monitor = self.context.decider, self.context.monitor
        if decider is None:
            raise AssertionError("a run without a decider verifies nothing")
        decision = decider.decide(self.problem_id, self.turn, ppl, self._uniform())
        verdict = ev.VerdictReached(
            **self._at,
            verdict=decision.verdict,
            ppl=decision.ppl,
            p=decision.p,
            alpha=decision.alpha,
            threshold=decision.threshold,
            mode=decision.mode,
            rule=decision.rule,
            size=decision.size,
            u=decision.u,
            again=again,
            tokens=len(self.chain.for_target(step)),
            seconds=seconds,
        )
        self.judged(verdict)
        if monitor is not None and not (self.turn == 0 and self._first_step_seen):
            self._first_step_seen |= self.turn == 0
            self._say_drift(monitor.alarm, monitor.update(self.problem_id, self.sample, self.turn, ppl))
        return verdict

    async def rate(self, step: Written, request: Sequence[int]) -> tuple[str, int, float]:
        """What the target says where it is asked `request` after the chain and a draft's step.

        Gives its greedy answer of one token, the tokens read and seconds.
        """
        side, ids = self.context.pair.target, self.chain.for_target(step)
        async with self._requests.place(side, "verify", self.turn) as held:
            self.publish(ev.VerificationStarted(**self._at, tokens=len(ids) + len(request)))
            said, seconds = await self._requests.ask(held, [*self.chain.target_ids, *ids, *request])
        return said, len(ids) + len(request), seconds

    def verdict(self) -> ev.VerdictReached | None:
        """The next verdict, where it is reached already."""
        return self._finished(ev.VerdictReached)

    def judged(self, verdict: ev.VerdictReached) -> None:
        """Tell of a verdict on this sample."""
        self._done(verdict)
        self.publish(verdict)

    def keep(self, attempt: int) -> None:
        """Tell which of the turn's rejected drafts stays."""
        if self._finished(ev.AttemptKept) is None:
            kept = ev.AttemptKept(**self._at, attempt=attempt)
            self._done(kept)
            self.publish(kept)

    def wait_for_round(self, stage: ev.Stage) -> None:
        """Tell that it waits for the other samples of its round before `stage`."""
        self.publish(ev.StageQueued(**self._at, stage=stage, for_round=True))

    def answers(self, text: str, role: ev.Role) -> bool:
        """Whether a text of this chain holds a final answer; says so once."""
        answer = find_answer(text)
        if answer is not None and self.answer is None:
            self.answer = answer
            if not self._told:
                self._told = True
                self.publish(ev.AnswerFound(**self._at, role=role, answer=answer))
        return answer is not None

    def over(self) -> None:
        """A sample that ended without a verdict on its first step must not keep the drift test waiting."""
        monitor = self.context.monitor
        if monitor is not None and not self._first_step_seen:
            self._first_step_seen = True
            self._say_drift(monitor.alarm, monitor.missing(self.problem_id, self.sample))

    def publish(self, event: ev.AnyEvent) -> None:
        self.context.bus.publish(event)

    # what is finished

    @property
    def _at(self) -> dict[str, Any]:
        return {"problem": self.problem, "sample": self.sample, "turn": self.turn}

    def _new_chain(self) -> Chain:
        return Chain(self.context.pair, self._question, instruct=self.context.settings.instruct)

    def _finished(self, kind: type[P]) -> P | None:
        """The next part, where it is finished."""
        if self._next == len(self._parts):
            return None
        part = self._parts[self._next]
        if not isinstance(part, kind) or part.turn != self.turn:
            raise RunError(
                f"Sample {self.sample + 1} of problem {self.problem_id} did not come about by the strategy"
                f" {self.context.settings.strategy}; a run goes on with the one that it began with."
            )
        self._next += 1
        return part

    def _checked(self, step: FinishedStep, role: ev.Role) -> FinishedStep:
        if step.role != role:
            raise RunError(
                f"Turn {step.turn + 1} of sample {self.sample + 1} of problem {self.problem_id} is not of the"
                f" {role}; a run goes on with the strategy that it began with."
            )
        return step

    def _done(self, part: Part) -> None:
        self._parts.append(part)
        self._next = len(self._parts)

    def _wrote(
        self, told_by: type[ev.DraftFinished] | type[ev.TakeOverFinished], role: ev.Role, step: Written
    ) -> None:
        """Keep a model's step and publish that it is complete."""
        self._done(
            FinishedStep(
                turn=self.turn,
                role=role,
                text=step.text,
                ids=step.ids,
                tokens=step.generated,
                ended=step.ended,
                seconds=step.seconds,
                first_token_seconds=step.first_token_seconds,
            )
        )
        self.publish(
            told_by(
                **self._at,
                text=step.text,
                tokens=step.generated,
                ended=step.ended,
                seconds=step.seconds,
                first_token_seconds=step.first_token_seconds,
                ids=step.ids,
            )
        )

    def _uniform(self) -> float | None:
        """The number in (0, 1] that a smoothed p-value takes; the same in every run of the same seed."""
        settings = self.context.settings
        if not settings.conformal.smoothed:
            return None
        attempt = sum(isinstance(p, ev.VerdictReached) and p.turn == self.turn for p in self._parts)
        seed = request_seed(settings.seed, self.problem_id, self.sample, self.turn, "verify", attempt)
        return (seed + 1) / 2**31

    def _say_drift(self, before: DriftAlarm | None, alarm: DriftAlarm | None) -> None:
        """The alarm is raised once a run."""
        if alarm is not None and before is None:
            self.publish(
                ev.DriftDetected(
                    message=alarm.sentence,
                    direction=alarm.direction,
                    evidence=alarm.evidence,
                    decisions=alarm.at,
                    false_alarm=alarm.false_alarm,
                )
            )


def _written(step: FinishedStep) -> Written:
    return Written(step.ids, step.text, step.tokens, step.ended, step.seconds, step.first_token_seconds)
