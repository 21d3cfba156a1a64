"""The Compare screen: the same problem of two runs on one axis, and the command's own table."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import synthetic
from driving import frame, text
from textual.pilot import Pilot

from atts_core.reports.compare import Named, pairing
from atts_core.reports.difference_words import difference_words
from atts_core.state import RunState
from atts_tui.app import AttsApp
from atts_tui.screens.compare import CompareScreen


@asynccontextmanager
async def comparing(
    first: RunState, second: RunState, size: tuple[int, int] = (120, 40), **settings: Any
) -> AsyncIterator[tuple[Pilot[None], AttsApp, CompareScreen]]:
    beside = (Named("one", first), Named("two [b]", second))
    app = AttsApp(synthetic.Recorded([]), state=first, first="compare", beside=beside, **settings)
    async with app.run_test(size=size, notifications=True) as pilot:
        await frame(pilot)
        assert isinstance(app.screen, CompareScreen)
        yield pilot, app, app.screen


def run(**settings: int) -> RunState:
    return RunState().fold(synthetic.events(**settings))


async def test_both_runs_stand_on_one_axis_and_the_table_is_the_command_s() -> None:
    first, second = run(problems=3), run(problems=3, samples=8)
    async with comparing(first, second) as (pilot, app, screen):
        shown = text(app)
        assert "first: one" in shown
        assert "second: two (b]" in shown
        spans = [lanes.rows.shown.span for lanes in screen.lanes if lanes.rows.shown is not None]
        assert spans[0] == spans[1]
        found = pairing(Named("one", first), Named("two [b]", second))
        assert found.differences
        for difference in found.differences:
            name, _, _, value, _ = difference_words(difference)
            assert name in shown
            assert value in shown
        assert "16 samples in one" in shown
        await pilot.press("right")
        await frame(pilot)
        assert "word-0002" in text(app)
        assert [lanes.rows._problem.index for lanes in screen.lanes if lanes.rows._problem] == [1, 1]
        await pilot.press("left", "left")
        await frame(pilot)
        assert [note.message for note in app._notifications] == [
            "There is no other common problem in this direction."
        ]
        await pilot.press("plus", "plus", "shift+left")
        await frame(pilot)
        zoomed = [lanes.rows.shown for lanes in screen.lanes]
        begun = [state.problems[0].started_at for state in (first, second)]
        offsets = [
            window.start - at for window, at in zip(zoomed, begun, strict=True) if window and at is not None
        ]
        assert abs(offsets[0] - offsets[1]) < 1e-9
        assert zoomed[0] is not None
        assert zoomed[0].span < spans[0]
        await pilot.press("1", "escape")
        assert app.run_screen.PAGE == "solve"


async def test_problems_are_paired_by_id_and_strangers_are_said() -> None:
    async with comparing(run(problems=1), run(problems=1, seed=9), size=(80, 24)) as (pilot, app, _):
        await pilot.press("m", "end")
        await frame(pilot)
        assert "No problem was finished in both" in text(app)


async def test_without_a_second_run_it_says_how() -> None:
    async with comparing(run(problems=1), RunState()) as (_, app, _screen):
        assert "No problem was finished in both" in text(app) or "How they differ" in text(app)
    app = AttsApp(synthetic.Recorded(synthetic.events(problems=1)), first="compare")
    async with app.run_test(size=(120, 40)) as pilot:
        await frame(pilot)
        assert "atts runs compare A B --screen" in text(app)
