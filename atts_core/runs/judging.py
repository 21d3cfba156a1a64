"""Asking a language model about the answers of a recorded run; its verdicts join the run file, beside ours.

A live run is never judged, so that a judge can neither slow nor stop one. Who judges holds the file as an
engine does: a run cannot go on, nor be judged twice at once, meanwhile. Verdicts carry the time of the run's
last event, because the run's own time does not go on.
"""

import asyncio
import contextlib
import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec

from atts_core import events as ev
from atts_core.errors import RunError, SettingsError
from atts_core.problems.judge import MOST_TOKENS, Case, Reading, prompt, read_reply, reply_schema
from atts_core.runs import commands, schema
from atts_core.runs.details import read_details
from atts_core.runs.file import RunFile
from atts_core.runs.writer import RunWriter
from atts_core.serving.chat import ChatClient
from atts_core.serving.errors import RequestRefused, ServerError, ServerUnreachable
from atts_core.state import ProblemState, RunState, SampleState
from atts_core.state_parts import judge_key

BEAT_SECONDS = 1.0
"""Between two signs of life, which tell others that the file is being written."""


class Judge(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked, and what for."""

    name: str
    """The model's."""
    url: str
    """Where requests go, without credentials."""
    sees: ev.Sees
    characters: int = 4000
    """Of a chain's end, where it sees chains."""

    @property
    def by(self) -> str:
        """Under which a sample keeps its judgement."""
        return judge_key(self.name, self.url, self.sees)


class Question(NamedTuple):
    """One request: equal answers of one problem share it, but for chains, each of which is its own."""

    problem: int
    samples: tuple[int, ...]


class Plan(msgspec.Struct, frozen=True):
    """What is to be asked about a run."""

    path: Path
    judge: Judge
    questions: tuple[Question, ...]
    judged: int
    """Samples that this judge has judged already."""
    last: int
    """Events of the run when this was found."""

    @property
    def samples(self) -> int:
        """To be judged."""
        return sum(len(question.samples) for question in self.questions)


@dataclass(slots=True)
class Judged:
    """What was done so far."""

    samples: int = 0
    unanswered: int = 0
    """Of these, the ones of which nothing that can be used came back."""
    why: str = ""
    """Such as."""


def plan_judging(path: Path, judge: Judge) -> Plan:
    """The samples that ended, were graded by us, and have no usable verdict of this judge yet.

    Without chains, samples without an answer are left out: there is nothing to compare.

    Raises:
        SettingsError: it is no run file, or no sample of it was graded.
        RunError: its engine is at work on it, or it is damaged.
    """
    with contextlib.closing(RunFile.open(path)) as file:
        if file.engine in ("alive", "stalled"):
            raise RunError(
                f"The run {path.stem} is going on, or being judged by another process; judge it once that"
                " has ended."
            )
        last = file.last()
        state = file.state(last)
        if file.trouble:
            raise RunError(f"{file.trouble} A damaged run cannot be judged: its file is not written to.")
    judged, questions = 0, []
    graded = False
    for problem in state.problems:
        shared: dict[object, list[int]] = {}
        for sample in problem.samples:
            if sample.correct is None or problem.gold is None:
                continue
            graded = True
            said = sample.judgement(judge.by)
            if said is not None and not said.message:
                judged += 1
            elif judge.sees == "chain" and sample.characters:
                shared[sample.index] = [sample.index]
            elif judge.sees == "answer" and sample.answer is not None:
                shared.setdefault(sample.answer, []).append(sample.index)
        questions += [Question(problem.index, tuple(samples)) for samples in shared.values()]
    if not graded:
        raise SettingsError(
            f"No sample of the run {path.stem} was graded: without gold answers there is nothing to judge."
        )
    return Plan(path, judge, tuple(questions), judged, last.ordinal)


async def judge_run(
    plan: Plan, client: ChatClient, *, at_once: int, done: Judged, told: Callable[[], None] = lambda: None
) -> None:
    """Ask, and write each verdict as it comes; `done` counts them and `told` is called after each.

    What fails for one question is recorded as unclear with its reason, but for the first question: where that
    cannot be asked at all, none is. Cancelled, or asked to end by a viewer, it keeps what is done.

    Raises:
        ServerError: the judge cannot be reached, or refuses the first question.
        RunError: the run went on since it was planned, or its file cannot be written.
    """
    writer = RunWriter.resume(plan.path)
    try:
        if writer.last.ordinal != plan.last:
            raise RunError(f"The run {plan.path.stem} went on meanwhile; say it again.")
        with contextlib.closing(RunFile.open(plan.path)) as file:
            asking = _Asking(plan, client, file, file.state(file.last()), writer, done, told)
            await asking.all(at_once)
    finally:  # no reader is left: the file can be made one file again
        try:
            writer.close()
        except sqlite3.Error as error:
            _cannot_write(plan.path, error)


class _Asking:
    """Questions under way. All of it in one event loop and one thread."""

    def __init__(
        self,
        plan: Plan,
        client: ChatClient,
        file: RunFile,
        state: RunState,
        writer: RunWriter,
        done: Judged,
        told: Callable[[], None],
    ) -> None:
        self._judge = plan.judge
        self._client = client
        self._file = file
        self._state = state
        self._writer = writer
        self._done = done
        self._told = told
        self._left = iter(plan.questions)
        self._whole: ProblemState | None = None
        """The last problem whose texts were read from the file."""

    async def all(self, at_once: int) -> None:
        first = next(self._left, None)
        if first is None:
            return
        beating = asyncio.create_task(self._beat())
        try:
            self._write(first, *await self._asked(first, strict=True))
            working = [asyncio.create_task(self._work()) for _ in range(at_once)]
            try:
                await asyncio.gather(*working)
            finally:
                for task in working:
                    task.cancel()
                await asyncio.gather(*working, return_exceptions=True)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _work(self) -> None:
        while (question := next(self._left, None)) is not None:  # each worker takes the next
            self._write(question, *await self._asked(question))

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(sqlite3.Error):  # a sign of life only
                self._writer.beat(time.monotonic())
                if any(isinstance(wish, commands.Cancel) for wish in self._writer.take_commands()):
                    self._left = iter(())
            await asyncio.sleep(BEAT_SECONDS)

    async def _asked(self, question: Question, *, strict: bool = False) -> tuple[Reading, float]:
        """What the judge says, and the seconds it took."""
        case, began = self._case(question), time.monotonic()
        if case is None:
            return Reading("unclear", message="its text cannot be read from the run file"), 0.0
        sees = self._judge.sees
        try:
            reply = await self._client.ask(
                prompt(case, secrets.token_hex(8)), tokens=MOST_TOKENS[sees], schema=reply_schema(sees)
            )
            reading = read_reply(reply, sees)
        except ServerError as error:
            if strict and isinstance(error, RequestRefused | ServerUnreachable):
                raise
            reading = Reading("unclear", message=str(error))
        return reading, time.monotonic() - began

    def _case(self, question: Question) -> Case | None:
        problem = self._state.problems[question.problem]
        sample = problem.samples[question.samples[0]]
        chain = None
        if self._judge.sees == "chain":
            whole = self._texts_of(problem, sample)
            if whole is None:
                return None
            chain = whole.text[-self._judge.characters :]
        return Case(question=problem.question, gold=problem.gold or "", answer=sample.answer, chain=chain)

    def _texts_of(self, problem: ProblemState, sample: SampleState) -> SampleState | None:
        if not problem.put_away:
            return sample
        if self._whole is None or self._whole.index != problem.index:
            self._whole = read_details(self._file, self._state, problem.index)
        return None if self._whole is None else self._whole.samples[sample.index]

    def _write(self, question: Question, reading: Reading, seconds: float) -> None:
        clean, judge, last = self._client.without_key, self._judge, self._writer.last
        stamps = [
            ev.Stamped(
                last.seq + number,
                last.at,
                ev.AnswerJudged(
                    problem=question.problem,
                    sample=sample,
                    judge=judge.name,
                    url=judge.url,
                    sees=judge.sees,
                    verdict=reading.verdict,
                    extracted=None if reading.extracted is None else clean(reading.extracted),
                    message=clean(reading.message),
                    seconds=round(seconds, 3),
                ),
            )
            for number, sample in enumerate(question.samples, start=1)
        ]
        try:
            self._writer.append(stamps)
        except sqlite3.Error as error:
            _cannot_write(self._writer.path, error)
        self._done.samples += len(stamps)
        if reading.message:
            self._done.unanswered += len(stamps)
            self._done.why = clean(reading.message)
        self._told()


def _cannot_write(path: Path, error: sqlite3.Error) -> NoReturn:
    raise RunError(
        f"{path} cannot be written: {schema.reason(error)}. What was judged before is kept."
    ) from None
