"""The home screen: one key to a live solve, runs by their state, and reasons for what cannot be."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import synthetic
from driving import text
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from atts_core import events as ev
from atts_core.config import Given
from atts_core.events import Stamped
from atts_core.runs.file import About
from atts_core.runs.writer import RunWriter
from atts_tui.cli import _parser
from atts_tui.home.app import EXAMPLE, HomeApp
from atts_tui.home.choices import Choices
from atts_tui.home.listing import TRIES, age
from atts_tui.layout.frame import frame
from atts_tui.layout.home import FRAMED, arrange_home
from atts_tui.screens.confirm import Confirm

WHOLE = synthetic.events(problems=1)


def record(folder: Path, name: str, stamps: list[Stamped], *, close: bool = True) -> RunWriter:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.atts"
    about = About(run=name, command="demo", created=0.0, version="0", dataset="[b]built\x1b[31min")
    writer = RunWriter.create(path, about)
    writer.append(stamps)
    if close:
        writer.close()
    return writer


@asynccontextmanager
async def at_home(
    folder: Path, size: tuple[int, int] = (120, 40), given: Given | None = None, **look: Any
) -> AsyncIterator[tuple[Pilot[Any], HomeApp]]:
    app = HomeApp(folder, given or Given(), **look)
    async with app.run_test(size=size, notifications=True) as pilot:
        await app.find_runs()
        await pilot.pause()
        yield pilot, app


async def test_a_newcomer_reaches_a_live_solve_with_one_key(tmp_path: Path) -> None:
    async with at_home(tmp_path / "none") as (pilot, app):
        assert "No runs yet" in text(app)
        await pilot.press("enter")
    assert app.return_value == ("solve", "--", EXAMPLE)


async def test_what_is_typed_is_read_with_each_letter_and_refused_with_a_reason(tmp_path: Path) -> None:
    async with at_home(tmp_path) as (pilot, app):
        await pilot.press(*"Let a = 5 + 3. Let b = a * 2. What is b?")
        await pilot.pause()
        assert "the right answer is 16" in text(app)
        await pilot.press(*" Paris")
        await pilot.pause()
        assert 'do not know "Paris"' in text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert app.is_running
        await pilot.press(*["backspace"] * 6, "enter")
    assert app.return_value == ("solve", "--", "Let a = 5 + 3. Let b = a * 2. What is b?")


async def test_servers_of_the_settings_take_any_problem_and_are_asked(tmp_path: Path) -> None:
    given = Given(draft="http://user:secret@127.0.0.1:9", target="http://127.0.0.1:9")
    async with at_home(tmp_path, given=given) as (pilot, app):
        while "cannot be reached" not in text(app):
            await pilot.pause(0.02)
        assert "secret" not in text(app)
        await pilot.press(*"Why is Paris?", "enter")
    assert app.return_value == ("solve", "--", "Why is Paris?")


async def test_a_finished_run_is_replayed_and_a_running_one_watched(tmp_path: Path) -> None:
    record(tmp_path, "20261120-100000-demo", WHOLE)
    alive = record(tmp_path, "20261120-110000-demo", WHOLE[:300], close=False)
    for rows, verb in ((1, "watch"), (2, "replay")):
        async with at_home(tmp_path) as (pilot, app):
            assert "running" in text(app)
            assert "done" in text(app)
            assert "\x1b" not in text(app)
            await pilot.press(*["down"] * rows, "enter")
        assert app.return_value is not None
        assert app.return_value[0] == verb
    alive.close()


@pytest.mark.parametrize(("answer", "verb"), [("y", "demo"), ("n", "replay"), ("escape", "")])
async def test_a_run_that_stopped_asks_whether_to_go_on(tmp_path: Path, answer: str, verb: str) -> None:
    record(tmp_path, "20261120-100000-demo", WHOLE[:300])
    async with at_home(tmp_path) as (pilot, app):
        await pilot.press("down", "enter")
        await pilot.pause()
        assert isinstance(app.screen, Confirm)
        await pilot.press(answer)
        await pilot.pause()
        assert (app.return_value or ("",))[0] == verb
        if not verb:
            assert app.is_running
            await pilot.press("r")
    if answer != "n":
        path = str(tmp_path / "20261120-100000-demo.atts")
        assert app.return_value == ("demo", "--resume", path)


async def test_the_longest_status_leaves_a_space_before_the_age(tmp_path: Path) -> None:
    begun = synthetic.events(until=1.0, problems=1)
    ended = Stamped(begun[-1].seq + 1, begun[-1].at, ev.RunFinished(end="interrupted"))
    record(tmp_path, "r", [*begun, ended])
    async with at_home(tmp_path) as (_, app):
        assert re.search(r"interrupted \S", text(app))


async def test_runs_are_found_by_a_word(tmp_path: Path) -> None:
    for name in ("20261120-100000-demo", "20261121-100000-eval"):
        record(tmp_path, name, WHOLE)
    async with at_home(tmp_path) as (pilot, app):
        await pilot.press("down", "slash", *"eval")
        await pilot.pause()
        assert [choice.id for choice in app.home_screen.runs.choices] == ["20261121-100000-eval"]
        assert "1 of 2" in text(app)
        await pilot.press("enter", "enter")
    assert app.return_value is not None
    assert app.return_value[1].endswith("eval.atts")


@pytest.mark.parametrize("leaving", [("down", "q"), ("ctrl+c",)])
async def test_q_is_typed_in_the_prompt_and_leaves_elsewhere(tmp_path: Path, leaving: tuple[str]) -> None:
    async with at_home(tmp_path) as (pilot, app):
        await pilot.press("q")
        assert app.home_screen.prompt.input.value == "q"
        await pilot.press(*leaving)
        await pilot.pause()
        assert not app.is_running
    assert app.return_value is None


@pytest.mark.parametrize("size", [(200, 60), (80, 24), (60, 14), (59, 13), (10, 3)])
async def test_every_size_and_ascii(tmp_path: Path, size: tuple[int, int]) -> None:
    record(tmp_path, "20261120-100000-demo", WHOLE)
    async with at_home(tmp_path, size, ascii_only=True) as (_, app):
        assert text(app).isascii()
        assert len(app.screen.walk_children()) < 60


@given(st.integers(60, 320), st.integers(14, 120), st.integers(1, 8), st.integers(1, 40))
def test_panes_lie_beside_each_other(width: int, height: int, tries: int, servers: int) -> None:
    laid = frame(width, height)
    panes = arrange_home(laid.body, tries, servers, compact=laid.compact)
    assert set(panes) <= set(FRAMED)
    cells = [
        (x, y)
        for rect in (*panes.values(), *laid.chrome.values())
        for x in range(rect.x, rect.x + rect.width)
        for y in range(rect.y, rect.y + rect.height)
    ]
    assert len(cells) == len(set(cells)) == width * height


def test_everything_to_try_is_a_command_that_there_is() -> None:
    for said, _ in TRIES:
        assert _parser().parse_args(said.split()).handler


def test_how_long_ago() -> None:
    assert age(0.0) == ""
    assert age(10e12) == "now"


async def test_a_look_that_finds_nothing_new_draws_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        record(tmp_path, name, WHOLE)
    async with at_home(tmp_path) as (pilot, app):
        await pilot.pause()
        drawn: list[str | None] = []
        monkeypatch.setattr(Choices, "refresh", lambda self, *_, **__: drawn.append(self.id))
        await app.find_runs()
        assert drawn == []
        record(tmp_path, "three", WHOLE)
        await app.find_runs()
        assert set(drawn) == {"runs"}
