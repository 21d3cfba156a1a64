"""Captions of a run: which moments, in what words, and that nothing passes while one is read."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import synthetic
from driving import frame, text

from atts_core import events as ev
from atts_core.runs.file import About
from atts_core.runs.player import Player
from atts_core.runs.writer import RunWriter
from atts_tui.app import AttsApp
from atts_tui.narrator import Narrator, Story


def verdict(sample: int, p: float) -> ev.VerdictReached:
    return ev.VerdictReached(
        problem=0,
        sample=sample,
        turn=0,
        verdict="accept" if p <= 0.6 else "take-over",
        ppl=1 + p,
        p=p,
        alpha=0.6,
        threshold=1.6,
        mode="marginal",
        rule="conformal",
        size=100,
        tokens=12,
        seconds=0.1,
    )


def finished(
    kind: type[ev.DraftFinished] | type[ev.TakeOverFinished], tokens: int, problem: int = 0
) -> ev.AnyEvent:
    return kind(
        problem=problem,
        sample=0,
        turn=0,
        text="x",
        tokens=tokens,
        ended=False,
        seconds=1,
        first_token_seconds=0.1,
    )


def vote(ended: int, *counts: int) -> ev.VoteChanged:
    tally = tuple((str(answer), count) for answer, count in enumerate(counts, start=40))
    return ev.VoteChanged(problem=0, tally=tally, voted=sum(counts), ended=ended)


STARTED = ev.RunStarted(
    run="r",
    command="demo",
    started_at=0,
    version="",
    strategy="atts",
    takeover="rewrite",
    samples=4,
    turns=3,
    seed=0,
    models=(),  # type: ignore[arg-type]
    calibration=None,
    settings={},
)
ADDED = ev.ProblemAdded(problem=0, id="a", question="?")
CHECKING = ev.VerificationStarted(problem=0, sample=0, turn=0, tokens=12)


def test_each_moment_is_told_once_and_in_order() -> None:
    events = [
        STARTED,
        ADDED,
        ev.ProblemAdded(problem=1, id="b", question="?"),
        finished(ev.DraftFinished, 30, problem=1),
        finished(ev.DraftFinished, 30),
        CHECKING,
        CHECKING,
        verdict(2, 0.2),
        verdict(1, 0.9),
        verdict(0, 0.3),
        finished(ev.TakeOverFinished, 20),
        ev.AnswerFound(problem=0, sample=3, turn=1, role="draft", answer="40"),
        vote(2, 2),
        vote(3, 3),
        ev.RunFinished(end="done"),
    ]
    story = Story()
    captions = [caption for event in events if (caption := story.after(event)) is not None]
    assert [caption.moment for caption in captions] == [
        "start", "draft", "check", "accept", "take-over", "answer", "decided", "end",
    ]  # fmt: skip
    take_over = captions[4]
    assert take_over.sample == 1
    assert "writes the step anew" in take_over.body
    assert "40 %" in take_over.body
    assert "25 %" in captions[-1].body  # 20 of 80 tokens


@pytest.mark.parametrize(
    ("ended", "counts", "decided"),
    [
        (2, (2,), False),
        (3, (2, 1), False),
        (3, (3,), True),
        (4, (2, 2), False),
        (4, (2, 1, 1), True),
        (4, (), False),
    ],
)
def test_a_vote_is_decided_once_no_answer_can_catch_up(
    ended: int, counts: tuple[int, ...], decided: bool
) -> None:
    story = Story()
    story.after(STARTED)
    story.after(ADDED)
    caption = story.after(vote(ended, *counts))
    assert (caption is not None) == decided


class Recorded:
    """A source that holds everything at once, as after a screen that opened late."""

    def __init__(self, events: list[ev.Stamped]) -> None:
        self.left = events

    def __len__(self) -> int:
        return len(self.left)

    def drain(self) -> list[ev.Stamped]:
        taken, self.left = self.left, []
        return taken

    async def batches(self) -> AsyncIterator[list[ev.Stamped]]:
        yield self.drain()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


EVENTS = [
    ev.Stamped(1, 0.0, STARTED),
    ev.Stamped(2, 0.0, ADDED),
    ev.Stamped(3, 1.0, ev.SampleStarted(problem=0, sample=0)),
    ev.Stamped(4, 2.0, CHECKING),
    ev.Stamped(5, 2.0, verdict(0, 0.1)),
    ev.Stamped(6, 2.5, ev.RunFinished(end="done")),
]


def test_nothing_passes_while_a_caption_is_read_and_time_goes_on_after_it() -> None:
    clock = Clock()
    narrator = Narrator(Recorded(list(EVENTS)), hold=5, clock=clock)
    assert [stamped.seq for stamped in narrator.drain()] == [1, 2]
    assert narrator.caption is not None
    assert narrator.caption.moment == "start"
    seen = []
    for _ in range(200):
        clock.now += 0.125
        held, caption = narrator.holding, narrator.caption
        passed = [stamped.seq for stamped in narrator.drain()]
        if passed:
            assert not held or narrator.caption is not caption or not narrator.holding
            seen.append((round(clock.now - 100, 1), passed))
    # start holds 5 s, then 1 s and 2 s of the run go by, check and accept hold 5 s each.
    assert seen == [(6.0, [3]), (7.0, [4]), (12.0, [5]), (17.5, [6])]
    assert len(narrator) == 0


def test_a_caption_that_was_read_is_left_at_once() -> None:
    clock = Clock()
    narrator = Narrator(Recorded(list(EVENTS)), hold=1000, clock=clock)
    narrator.drain()
    clock.now += 2
    assert narrator.drain() == []
    narrator.go_on()
    clock.now += 1.1
    assert [stamped.seq for stamped in narrator.drain()] == [3]


async def test_batches_wake_and_pass_nothing_by() -> None:
    narrator = Narrator(Recorded(list(EVENTS)), clock=Clock())
    assert [batch async for batch in narrator.batches()] == [[]]
    assert len(narrator) == len(EVENTS)


async def test_a_live_run_is_told_on_the_screen_while_its_events_wait() -> None:
    clock = Clock()
    events = synthetic.events(problems=1)
    narrator = Narrator(synthetic.Recorded(events), hold=5, clock=clock)
    app = AttsApp(narrator, narrator=narrator, title="demo")
    async with app.run_test(size=(120, 40)) as pilot:
        await frame(pilot)
        assert "samples" in text(app)
        told = []
        while app.state.finished is None or narrator.holding:
            clock.now += 2.0
            await frame(pilot)
            assert narrator.caption is not None
            assert narrator.caption.headline in text(app)
            if narrator.caption.headline not in told:
                told.append(narrator.caption.headline)
                assert "o goes on" in text(app)
                if narrator.caption.sample is not None:
                    assert app.view.sample_index == narrator.caption.sample
                await pilot.press("o")
        assert len(told) == 8
        assert app.state.seq == events[-1].seq


async def test_a_replay_stands_still_for_its_captions(tmp_path: Path) -> None:
    path = tmp_path / "told.atts"
    writer = RunWriter.create(path, About(run="told", command="demo", created=0.0, version="0"))
    writer.append(synthetic.events(problems=1))
    writer.close()
    clock = Clock()
    player = Player.open(path, clock)
    narrator = Narrator(player, player=player, hold=5, clock=clock)
    app = AttsApp(narrator, state=player.state, player=player, narrator=narrator, title="replay")
    async with app.run_test(size=(80, 24)) as pilot:
        player.play()
        clock.now += 0.1
        await frame(pilot)
        assert not player.playing
        at = player.at
        clock.now += 4
        await frame(pilot)
        assert player.at == at
        clock.now += 1.5
        await frame(pilot)
        assert player.playing
        await pilot.press("home")
        clock.now += 1
        await frame(pilot)
        assert narrator.holding, "from the beginning it is told again"
    player.close()
