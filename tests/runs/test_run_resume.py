"""A run stopped anywhere goes on to what it would have been: nothing lost, nothing done or counted twice."""

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_core import events as ev
from atts_core.config import EMBEDDED, Given, Layers
from atts_core.conformal import ConformalSettings, Decider, flat_calibration
from atts_core.engine.votes import vote
from atts_core.errors import RunError, SettingsError
from atts_core.problems.problem import Problem
from atts_core.runs.file import About, RunFile
from atts_core.runs.resume import (
    FinishedStep,
    RunProgress,
    SampleProgress,
    differences,
    read_progress,
    refuse_differences,
    restore_decider,
)
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

pytestmark = pytest.mark.usefixtures("no_power_cut")

PROBLEMS, SAMPLES, TURNS = 2, 3, 5
CALIBRATION = flat_calibration(np.linspace(1.0, 2.0, 40), 4)
Group = list[ev.AnyEvent]
"""Events that an engine publishes without waiting in between."""


def settings_of(**given: object) -> dict[str, object]:
    layers = Layers().add(Given(samples=SAMPLES, turns=TURNS, **given), str)  # type: ignore[arg-type]
    settings: dict[str, object] = msgspec.to_builtins(layers.resolve(EMBEDDED))
    return settings


def chance(*what: object) -> float:
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:4], "big") / 2**32


class Engine:
    """What the real one does, with texts and perplexities that follow from their place alone."""

    def __init__(
        self, start: ev.RunStarted, decider: Decider, order: int, progress: RunProgress | None = None
    ) -> None:
        self.start, self.decider, self.order = start, decider, random.Random(order)
        self.progress = progress
        self.answers: list[list[str | None]] = [[None] * SAMPLES for _ in range(PROBLEMS)]
        self.ended = [0] * PROBLEMS
        for each in progress.problems if progress else ():
            for sample in each.samples:
                if sample.end is not None:
                    self.answers[sample.problem][sample.sample] = sample.answer
                    self.ended[sample.problem] += 1

    def groups(self) -> Iterator[Group]:
        yield [self.start]
        known = self.progress.problems if self.progress else ()
        for problem in range(len(known), PROBLEMS):
            yield [
                ev.ProblemAdded(
                    problem=problem, id=f"p{problem}", question="?", gold="1", grading="math", repeats="p"
                )
            ]
        alive = []
        for problem in range(PROBLEMS):
            for number in range(SAMPLES):
                new = SampleProgress(problem=problem, sample=number)
                alive.append(self.sample(known[problem].samples[number] if problem < len(known) else new))
        while alive:
            chosen = self.order.choice(alive)
            group = next(chosen, None)
            if group is None:
                alive.remove(chosen)
            else:
                yield group
        yield [ev.RunFinished(end="done")]

    def sample(self, done: SampleProgress) -> Iterator[Group]:
        if done.end is not None:
            return
        at = {"problem": done.problem, "sample": done.sample}
        if not done.started:
            yield [ev.SampleStarted(**at)]
        turn, stage = where(done)
        while turn < TURNS:
            here = {**at, "turn": turn}
            if stage == "draft":
                yield [ev.DraftStarted(**here)]
                yield from self.text(here, "draft")
                yield [ev.DraftFinished(**self.done(here, "draft"))]
                stage = "verify"
            group: Group = []
            if stage == "verify":
                yield [ev.VerificationStarted(**here, tokens=4)]
                ppl = 1 + chance(here)
                made = self.decider.decide(f"p{done.problem}", turn, ppl)
                group = [ev.VerdictReached(
                    **here, verdict=made.verdict, ppl=ppl, p=made.p, alpha=made.alpha,
                    threshold=made.threshold, mode=made.mode, rule=made.rule, size=made.size, tokens=4,
                    seconds=0.1,
                )]  # fmt: skip
                stage = "target" if made.takes_over else "turn"
            if stage == "target":
                if group:
                    yield group
                yield [ev.TakeOverStarted(**here, variant="rewrite")]
                yield from self.text(here, "target")
                group = [ev.TakeOverFinished(**self.done(here, "target"))]
            if chance("ends", here) < 0.3:
                yield group + self.end(at, str(int(2 * chance("answer", here))))
                return
            yield group
            turn, stage = turn + 1, "draft"
        yield self.end(at, None)

    def text(self, here: dict[str, int], role: ev.Role) -> Iterator[Group]:
        for letter in self.done(here, role)["text"]:  # type: ignore[union-attr]
            yield [ev.TokensStreamed(**here, role=role, text=letter, tokens=1)]

    def done(self, here: dict[str, int], role: ev.Role) -> dict[str, object]:
        text = hashlib.sha256(repr((here, role)).encode()).hexdigest()[:4]
        return {**here, "text": text, "tokens": 5, "ended": False, "seconds": 0.1, "first_token_seconds": 0.1,
                "ids": tuple(text.encode())}  # fmt: skip

    def end(self, at: dict[str, int], answer: str | None) -> Group:
        problem = at["problem"]
        self.answers[problem][at["sample"]] = answer
        self.ended[problem] += 1
        outcome = vote(self.answers[problem])
        voted = sum(count for _, count in outcome.tally)
        found = [ev.AnswerFound(**at, turn=0, role="draft", answer=answer)] if answer else []
        group: Group = [
            *found,
            ev.SampleFinished(**at, end="answered" if answer else "turn-limit", answer=answer, correct=None),
            ev.VoteChanged(problem=problem, tally=outcome.tally, voted=voted, ended=self.ended[problem]),
        ]
        if self.ended[problem] == SAMPLES:
            group.append(
                ev.ProblemFinished(problem=problem, answer=outcome.winner, tied=outcome.tied, correct=None)
            )
        return group


def where(done: SampleProgress) -> tuple[int, str]:
    """Turn and stage to go on with."""
    if not done.parts:
        return 0, "draft"
    last = done.parts[-1]
    if isinstance(last, ev.VerdictReached):
        return (last.turn + 1, "draft") if last.verdict == "accept" else (last.turn, "target")
    assert isinstance(last, FinishedStep)
    return (last.turn, "verify") if last.role == "draft" else (last.turn + 1, "draft")


def result(state: RunState) -> object:
    """Everything but times, order and log."""
    samples = [sample for problem in state.problems for sample in problem.samples]
    verdicts = [[turn.verdict for turn in sample.turns] for sample in samples]
    return (
        [[(s.turn, s.role, s.text, s.tokens, s.complete, s.discarded) for s in x.steps] for x in samples],
        verdicts,
        [[len(turn.spans) for turn in x.turns] for x in samples],
        [(x.end, x.answer, x.accepted, x.taken_over, x.draft_tokens, x.target_tokens) for x in samples],
        [(p.tally, p.voted, p.ended, p.finished, p.answer, p.tied) for p in state.problems],
        (state.draft_tokens, state.target_tokens, state.verified_tokens),
        (state.samples_started, state.samples_ended, state.samples_failed),
        (state.overall, state.by_turn, state.finished),
    )


def stamped(groups: Iterator[Group], seq: int = 0, at: float = 0.0) -> list[list[ev.Stamped]]:
    batches = []
    for group in groups:
        batch = []
        for event in group:
            seq, at = seq + 1, at + 0.01
            batch.append(ev.Stamped(seq, at, event))
        batches.append(batch)
    return batches


@given(
    order=st.integers(0, 2**32),
    cuts=st.lists(st.integers(0, 10**6), min_size=1, max_size=3),
    closed=st.booleans(),
)
@settings(max_examples=40)
def test_stopped_anywhere_it_becomes_what_it_would_have_been(
    order: int, cuts: list[int], closed: bool, tmp_path_factory: pytest.TempPathFactory,
    about: About, run_started: Callable[..., ev.RunStarted],
) -> None:  # fmt: skip
    begin = run_started(SAMPLES, settings=settings_of(mode="marginal"))
    conformal = ConformalSettings(mode="marginal", samples=SAMPLES)
    whole = Engine(begin, Decider(conformal, CALIBRATION), order)
    expected = RunState()
    for batch in stamped(whole.groups()):
        expected.fold(batch)
    path = tmp_path_factory.mktemp("r") / "r.atts"
    writer = RunWriter.create(path, about)
    batches = stamped(Engine(begin, Decider(conformal, CALIBRATION), order).groups())
    for number, cut in enumerate(cuts):
        cut = 1 + cut % len(batches)  # noqa: PLW2901
        for batch in batches[:cut]:
            writer.append(batch)
        writer.close() if closed else writer.abandon()
        progress = read_progress(path)
        decider = restore_decider(progress, CALIBRATION)
        writer = RunWriter.resume(path)
        assert (writer.last.seq, writer.last.at) == (progress.last_seq, progress.last_at)
        engine = Engine(begin, decider, order + number + 1, progress)
        batches = stamped(engine.groups(), progress.last_seq, progress.last_at)
    for batch in batches:
        writer.append(batch)
    writer.close()
    progress = read_progress(path)
    assert progress.complete
    assert [each.problem for each in progress.problems] == [
        Problem(id=f"p{k}", question="?", gold="1", grading="math", repeats="p") for k in range(PROBLEMS)
    ]
    file_state = RunState()
    for stamps in RunFile.open(path).events():
        file_state.fold(stamps)
    assert result(file_state) == result(expected)


@given(
    order=st.integers(0, 2**32), cut=st.integers(1, 10**6), adapt=st.sampled_from(["off", "one", "per-turn"])
)
@settings(max_examples=25)
def test_an_online_decider_goes_on_where_it_was(
    order: int, cut: int, adapt: str, tmp_path_factory: pytest.TempPathFactory,
    about: About, run_started: Callable[..., ev.RunStarted],
) -> None:  # fmt: skip
    conformal = ConformalSettings(mode="online", samples=SAMPLES, adapt=adapt)  # type: ignore[arg-type]
    decider = Decider(conformal, CALIBRATION)
    begin = run_started(SAMPLES, settings=settings_of(mode="online", adapt=adapt))
    path = tmp_path_factory.mktemp("r") / "r.atts"
    writer = RunWriter.create(path, about)
    groups = Engine(begin, decider, order).groups()
    for seq, group in zip(range(1, cut % 120 + 2), groups, strict=False):
        writer.append([ev.Stamped(seq * 10 + n, seq, event) for n, event in enumerate(group)])
        if any(isinstance(event, ev.VerdictReached) for event in group):
            state = decider.export_state()
    writer.close()
    progress = read_progress(path)
    if progress.verdicts:
        restored = restore_decider(progress, CALIBRATION).export_state()
        assert restored == state
        with pytest.raises(SettingsError, match="judged by other calibration scores"):
            restore_decider(progress, flat_calibration(np.linspace(1.0, 1.1, 76), 4))


@pytest.fixture
def progress(tmp_path: Path, about: About, run_started: Callable[..., ev.RunStarted]) -> RunProgress:
    writer = RunWriter.create(tmp_path / "r.atts", about)
    writer.append([ev.Stamped(1, 0.0, run_started(SAMPLES, settings=settings_of()))])
    writer.close()
    return read_progress(tmp_path / "r.atts")


def test_settings_that_differ_are_refused_by_name(
    progress: RunProgress, run_started: Callable[..., ev.RunStarted]
) -> None:
    def now(**given: object) -> ev.RunStarted:
        return run_started(SAMPLES, settings=settings_of(**given))

    assert differences(progress, now()) == []
    assert differences(progress, now(draft_concurrency=3, takeover_rate=0.4)) == []
    assert differences(progress, now(alpha=0.6)) == [], "the same rate in other words"
    assert differences(progress, now(temperature=0.1, seed=9)) == [
        "--seed was 0 and is 9",
        "--temperature was 0.8 and is 0.1",
    ]
    with pytest.raises(SettingsError, match=r"--takeover-rate was 0.4 and is 0.25"):
        refuse_differences(progress, now(takeover_rate=0.25))
    other = now()
    models = (
        msgspec.structs.replace(other.models[0], tokenizer="u", url="http://elsewhere"),
        other.models[1],
    )
    assert differences(progress, msgspec.structs.replace(other, models=models)) == [
        "the draft model's tokenizer was t and is u"
    ]
    card = ev.CalibrationCard(
        mode="", rule="", adaptation="", alpha=0, nominal=0, size=0, problems=0, fingerprint="abc", source="",
        promise="", limits="",
    )  # fmt: skip
    assert differences(progress, msgspec.structs.replace(other, calibration=card)) == [
        "the calibration was empty and is abc"
    ]
    assert progress.settings.samples == SAMPLES


def test_what_cannot_go_on_says_why(
    tmp_path: Path, about: About, run_started: Callable[..., ev.RunStarted]
) -> None:
    empty = tmp_path / "empty.atts"
    RunWriter.create(empty, about).close()
    with pytest.raises(RunError, match="stopped before its first step"):
        read_progress(empty)
    foreign = tmp_path / "foreign.atts"
    writer = RunWriter.create(foreign, msgspec.structs.replace(about, origin="results/"))
    writer.append([ev.Stamped(1, 0.0, run_started())])
    writer.close()
    with pytest.raises(RunError, match="imported from results/"):
        read_progress(foreign)
    strange = tmp_path / "strange.atts"
    writer = RunWriter.create(strange, about)
    writer.append([ev.Stamped(1, 0.0, run_started(settings={"samples": "many"}))])
    writer.close()
    with pytest.raises(SettingsError, match="mean nothing to this"):
        read_progress(strange).settings  # noqa: B018
