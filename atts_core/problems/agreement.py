"""What language models say of a run's answers, beside our own verdicts on the same samples."""

from collections.abc import Iterator

import msgspec

from atts_core import events as ev
from atts_core.conformal.intervals import Estimate, rate_interval
from atts_core.state import ProblemState, RunState, SampleState
from atts_core.state_parts import judged_by


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A sample on which the two verdicts differ."""

    problem: str
    """Its id."""
    sample: int
    ours: bool
    judge: bool
    graded: str
    """What reached ours (`SampleFinished.graded`)."""
    answer: str | None
    extracted: str | None
    """The answer that the judge read in the chain, where it saw one."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """One judge's verdicts on the samples that we graded as well."""

    judge: str
    url: str
    sees: ev.Sees
    judged: int
    """Samples, unclear ones included."""
    agree: int
    unclear: int
    """Of its own accord."""
    unanswered: int
    """Nothing came back that can be used; these verdicts are unclear as well, and counted here only."""
    differ: tuple[Difference, ...]
    right_by_us: Estimate
    """Share of the samples that it called right or wrong which we call right; 95 % interval over problems."""
    right_by_judge: Estimate
    """The same share by its own verdicts."""

    @property
    def seen(self) -> str:
        """In words what it sees."""
        return "the answer" if self.sees == "answer" else "the end of the chain"


def agreements(state: RunState) -> tuple[Agreement, ...]:
    """One entry for every judge that was asked, in the order in which they appear in the run."""
    judges: dict[str, ev.AnswerJudged] = {}
    for problem in state.problems:
        for sample in problem.samples:
            judges.update({judged_by(said): said for said in sample.judgements})
    return tuple(_agreement(state, by, said) for by, said in judges.items())


def _agreement(state: RunState, by: str, like: ev.AnswerJudged) -> Agreement:
    found = list(_judged(state, by))
    plain = [(problem, sample, said) for problem, sample, said in found if said.verdict != "unclear"]
    names = [problem.cluster for problem, _, _ in plain]
    unanswered = sum(bool(said.message) for _, _, said in found)
    differ = tuple(
        Difference(
            problem=problem.id,
            sample=sample.index,
            ours=bool(sample.correct),
            judge=said.verdict == "right",
            graded=sample.graded,
            answer=sample.answer,
            extracted=said.extracted,
        )
        for problem, sample, said in plain
        if sample.correct is not (said.verdict == "right")
    )
    return Agreement(
        judge=like.judge,
        url=like.url,
        sees=like.sees,
        judged=len(found),
        agree=len(plain) - len(differ),
        unclear=len(found) - len(plain) - unanswered,
        unanswered=unanswered,
        differ=differ,
        right_by_us=rate_interval([bool(sample.correct) for _, sample, _ in plain], names),
        right_by_judge=rate_interval([said.verdict == "right" for _, _, said in plain], names),
    )


def _judged(state: RunState, by: str) -> Iterator[tuple[ProblemState, SampleState, ev.AnswerJudged]]:
    for problem in state.problems:
        for sample in problem.samples:
            said = sample.judgement(by)
            if said is not None and sample.correct is not None:
                yield problem, sample, said
