"""Replay: what is due at which speed, steps and jumps; and a state that is always that of the fold."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core import events as ev
from atts_core.runs import player as player_module
from atts_core.runs.file import About
from atts_core.runs.player import SPEEDS, Player
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

pytestmark = pytest.mark.usefixtures("no_power_cut")

Simulate = Callable[..., list[ev.Stamped]]
Same = Callable[[RunState], bytes]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def stamps(simulate: Simulate) -> list[ev.Stamped]:
    return simulate(21, problems=6)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, stamps: list[ev.Stamped], about: About) -> Path:
    path = tmp_path_factory.mktemp("player") / "r.atts"
    writer = RunWriter.create(path, about)
    writer.append(stamps)
    writer.close()
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def player(path: Path, clock: Clock) -> Player:
    return Player.open(path, clock)


@pytest.mark.parametrize("speed", SPEEDS)
def test_what_is_due_comes_when_it_is_due(
    player: Player, clock: Clock, stamps: list[ev.Stamped], speed: float
) -> None:
    player.set_speed(speed)
    assert player.drain() == []
    player.play()
    clock.now += 8 / speed
    assert len(player) == len([s for s in stamps if s.at <= 8])
    assert player.drain() == [s for s in stamps if s.at <= 8]
    clock.now += 1 / speed
    assert player.drain() == [s for s in stamps if 8 < s.at <= 9]
    player.pause()
    clock.now += 50
    assert player.drain() == []
    assert player.at == pytest.approx(9)


def test_played_to_the_end_it_is_the_whole_run(
    player: Player, clock: Clock, stamps: list[ev.Stamped], same: Same
) -> None:
    player.play()
    state = player.state
    while not player.ended:
        clock.now += 0.7
        state.fold(player.drain())
    assert same(state) == same(RunState().fold(stamps))
    assert player.at == player.duration == stamps[-1].at
    assert player.epoch == 0
    player.pause()
    player.play()
    assert (player.epoch, player.state.seq) == (1, 0), "from the beginning again"


def test_while_nobody_takes_what_is_due_time_stands_still(player: Player, clock: Clock) -> None:
    player.play()
    clock.now += 5
    waiting = len(player)
    at = player.at
    clock.now += 100
    assert (len(player), player.at) == (waiting, at)


def test_who_looks_before_taking_loses_no_time(player: Player, clock: Clock) -> None:
    player.play()
    for _ in range(40):
        clock.now += 0.05
        len(player)
        clock.now += 0.05
        player.drain()
    assert player.at == pytest.approx(4)


def test_looping_it_begins_again(player: Player, clock: Clock, stamps: list[ev.Stamped]) -> None:
    player.loop = True
    player.play()
    clock.now += 1e6
    assert player.drain() == stamps
    clock.now += 0.001
    assert player.drain() == []
    assert (player.epoch, player.state.seq, player.playing) == (1, 0, True)
    clock.now += 8
    assert player.drain() == [s for s in stamps if s.at <= 8]


@pytest.mark.parametrize("jump_over", [True, False])
def test_stepping_by_verdicts_and_take_overs(
    player: Player, stamps: list[ev.Stamped], same: Same, jump_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player_module, "EVERY", 0 if jump_over else 10**6)
    verdicts = [n for n, s in enumerate(stamps, 1) if isinstance(s.event, ev.VerdictReached)]
    taken = [n for n in verdicts if stamps[n - 1].event.verdict != "accept"]  # type: ignore[union-attr]

    def shown() -> bytes:
        return same(player.state.fold(player.drain()))

    for number in verdicts[:4]:
        assert player.next_verdict()
        assert shown() == same(RunState().fold(stamps[:number]))
    assert player.previous_verdict()
    assert shown() == same(RunState().fold(stamps[: verdicts[2]]))
    following = next(number for number in taken if number > verdicts[2])
    assert player.next_take_over()
    assert shown() == same(RunState().fold(stamps[:following]))
    for _ in taken:
        player.next_take_over()
        shown()
    assert not player.next_take_over()
    assert player.state.seq == taken[-1]
    player.seek(0)
    assert not player.previous_verdict()
    assert not player.playing


def test_speeds_go_up_and_down_within_their_range(player: Player) -> None:
    for _ in range(20):
        player.faster()
    assert player.speed == 64
    for _ in range(20):
        player.slower()
    assert player.speed == 0.25
    player.set_speed(3)
    player.faster()
    assert player.speed == 4
    player.set_speed(3)
    player.slower()
    assert player.speed == 2


@given(
    actions=st.lists(
        st.one_of(
            st.tuples(st.just("wait"), st.floats(0, 20)),
            st.tuples(st.just("seek"), st.floats(-5, 60)),
            st.tuples(st.just("percent"), st.floats(-5, 105)),
            st.tuples(st.just("skip"), st.floats(-10, 10)),
            st.tuples(st.just("speed"), st.sampled_from(SPEEDS)),
            st.tuples(
                st.sampled_from(["play", "pause", "verdict", "back", "take-over", "fold"]), st.just(0.0)
            ),
        ),
        max_size=25,
    )
)
def test_whatever_one_does_the_state_is_that_of_the_fold(
    actions: list[tuple[str, float]], path: Path, stamps: list[ev.Stamped], same: Same
) -> None:
    clock = Clock()
    player = Player.open(path, clock)
    for action, value in actions:
        match action:
            case "wait":
                clock.now += value
            case "seek":
                player.seek(value)
            case "percent":
                player.seek_percent(value)
            case "skip":
                player.skip(value)
            case "speed":
                player.set_speed(value)
            case "play":
                player.play()
            case "pause":
                player.pause()
            case "verdict":
                player.next_verdict()
            case "back":
                player.previous_verdict()
            case "take-over":
                player.next_take_over()
        if action == "fold":
            player.state.fold(player.drain())
    player.state.fold(player.drain())
    count = player.state.seq  # nothing was merged, so sequence numbers are places
    assert same(player.state) == same(RunState().fold(stamps[:count]))
    assert count == len(stamps) or stamps[count].at >= player.at
    player.close()


async def test_batches_end_at_the_end(path: Path, stamps: list[ev.Stamped]) -> None:
    moments = iter(range(10**9))
    player = Player.open(path, clock=lambda: next(moments) * 0.5)
    player.play()
    seen = [stamp async for batch in player.batches() for stamp in batch]
    assert seen == stamps
    await asyncio.sleep(0)


def test_a_run_that_still_grows_plays_on(tmp_path: Path, about: About, stamps: list[ev.Stamped]) -> None:
    clock = Clock()
    writer = RunWriter.create(tmp_path / "r.atts", about)
    writer.append(stamps[:100])
    player = Player.open(tmp_path / "r.atts", clock)
    player.play()
    clock.now += 1000
    assert player.drain() == stamps[:100]
    assert player.ended
    writer.append(stamps[100:200])
    clock.now += 1000
    player.drain()
    clock.now += 1000
    assert player.duration == stamps[199].at
    player.seek_percent(100)
    assert player.state.seq == 200
    writer.close()
