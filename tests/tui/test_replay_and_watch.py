"""A recorded run on the screen: replayed with its transport, and watched while another process runs it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import synthetic
from driving import frame, lines, text

from atts_core.bus import Bus
from atts_core.runs.file import About
from atts_core.runs.player import Player
from atts_core.runs.reader import RunReader
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState
from atts_tui.app import QUIET_FRAMES, AttsApp
from atts_tui.screens.confirm import ConfirmQuit


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "20261120-104512-demo.atts"
    writer = RunWriter.create(path, About(run=path.stem, command="demo", created=0.0, version="0"))
    writer.append(synthetic.events(problems=2))
    writer.close()
    return path


class Clock:
    """Time that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def replaying(path: Path) -> AsyncIterator[tuple[Any, AttsApp, Player, Clock]]:
    clock = Clock()
    player = Player.open(path, clock)
    app = AttsApp(player, state=player.state, player=player, title="replay")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        yield pilot, app, player, clock
    player.close()


def folded(until: float) -> RunState:
    return RunState().fold(s for s in synthetic.events(problems=2) if s.at <= until)


async def test_it_plays_holds_and_changes_speed(run_file: Path) -> None:
    async with replaying(run_file) as (pilot, app, player, clock):
        assert "REPLAY" in text(app)
        assert not player.playing
        await pilot.press("space", "right_square_bracket")
        assert (player.playing, player.speed) == (True, 2.0)
        clock.now += 1.0
        await frame(pilot)
        assert app.state.now == pytest.approx(2.0, abs=0.2)
        await pilot.press("space")
        clock.now += 100.0
        await frame(pilot)
        assert app.state.now == pytest.approx(2.0, abs=0.2)
        assert "2x" in text(app)


async def test_seeking_shows_exactly_what_was_then(run_file: Path) -> None:
    async with replaying(run_file) as (pilot, app, player, _):
        for keys, share in ((")" * 5, 0.5), (")" * 4, 0.9), ("(" * 7, 0.2)):
            await pilot.press(*keys)
            await frame(pilot)
            wanted = folded(player.duration * share)
            assert app.state.seq == wanted.seq
            assert app.state.problems == wanted.problems
            assert app.view.state is app.state
        await pilot.press("home")
        await frame(pilot)
        assert (app.state.now, app.state.overall.decisions) == (0.0, 0)
        await pilot.press("end")
        await frame(pilot)
        assert app.state.finished is not None


async def test_at_its_end_a_replay_shows_all_of_it_and_stands_still(run_file: Path) -> None:
    async with replaying(run_file) as (pilot, app, player, _):
        await pilot.press("space", "end")
        assert player.playing
        for _ in range(QUIET_FRAMES + 1):
            app._tick()
        await pilot.pause()
        assert "2 of 2 right" in lines(app)[0] or "all 16 samples ended" in lines(app)[0]
        assert app._clock is not None
        assert not app._clock._active.is_set()
        await pilot.press("home")
        assert app._clock._active.is_set()
        assert player.at == 0.0


async def test_a_click_on_the_track_seeks_there(run_file: Path) -> None:
    async with replaying(run_file) as (pilot, app, player, _):
        bar = next(line for line in lines(app) if "━" in line or ("●" in line and "─" in line))
        first, last = bar.index("●"), len(bar.rstrip()) - len(" 1x")
        await pilot.click("#transport", offset=((first + last) // 2, 0))
        await frame(pilot)
        assert player.at == pytest.approx(player.duration / 2, rel=0.03)
        await pilot.click("#transport", offset=(2, 0))
        await frame(pilot)
        assert player.at == pytest.approx(player.duration / 2, rel=0.03)


async def test_steps_from_verdict_to_verdict_and_to_the_next_take_over(run_file: Path) -> None:
    async with replaying(run_file) as (pilot, app, _, _clock):
        await pilot.press("full_stop")
        await frame(pilot)
        assert app.state.overall.decisions == 1
        await pilot.press("full_stop", "full_stop")
        await frame(pilot)
        assert app.state.overall.decisions == 3
        await pilot.press("comma")
        await frame(pilot)
        assert app.state.overall.decisions == 2
        await pilot.press("n")
        await frame(pilot)
        assert app.state.decisions[-1].verdict.verdict != "accept"


async def test_a_replay_is_left_without_a_question_and_its_help_names_its_keys(run_file: Path) -> None:
    async with replaying(run_file) as (pilot, app, _, _clock):
        await pilot.press("question_mark")
        await pilot.pause()
        assert app.screen.query_one("*") is not None
        await pilot.press("escape", "q")
        await pilot.pause()
        assert not app.is_running


async def test_the_transport_does_nothing_on_a_live_screen() -> None:
    app = AttsApp(Bus().subscribe())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*"n).,l<[")
        await pilot.pause()
        assert "REPLAY" not in text(app)


async def test_a_watcher_sees_the_run_go_on_says_when_its_engine_is_gone_and_leaves_freely(
    tmp_path: Path,
) -> None:
    stamps = synthetic.events(problems=1)
    path = tmp_path / "20261120-104512-demo.atts"
    writer = RunWriter.create(path, About(run=path.stem, command="demo", created=0.0, version="0"))
    half = len(stamps) // 2
    writer.append(stamps[:half])
    reader = RunReader.open(path)
    lives = ["alive"]
    app = AttsApp(reader, state=reader.state, owns=False, life=lambda: lives[-1], title="watch")  # type: ignore[return-value]
    async with app.run_test(size=(120, 40)) as pilot:
        await frame(pilot)
        assert app.state.seq == stamps[half - 1].seq
        writer.append(stamps[half : half + 50])
        while app.state.seq < stamps[half + 49].seq:
            await pilot.pause(0.05)
        lives.append("gone")
        while "GONE" not in text(app):
            await pilot.pause(0.05)
        await pilot.press("q")
        await pilot.pause()
        assert not isinstance(app.screen, ConfirmQuit)
        assert not app.is_running
    reader.close()
    writer.close()
