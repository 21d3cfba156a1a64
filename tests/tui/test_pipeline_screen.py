"""The Pipeline screen: lanes that show what happened when, zoomed, moved, condensed, and behind a barrier."""

import pytest
import synthetic
from driving import frame, lines, running, text
from hypothesis import given
from hypothesis import strategies as some

from atts_core import events as ev
from atts_core.reports.barrier import barrier_cost
from atts_core.reports.timeline import StageTally
from atts_core.state import ProblemState, RunState
from atts_tui.screens.pipeline import PipelineScreen
from atts_tui.widgets.swim_lanes import time_marks
from atts_tui.widgets.time_axis import Window, whole
from atts_tui.widgets.time_lens import TimeLens

MOVES = ("in", "out", "back", "on", "follow")


async def opened(pilot, app) -> PipelineScreen:
    await pilot.press("4")
    await frame(pilot)
    assert isinstance(app.screen, PipelineScreen)
    return app.screen


def lane(app, number: int) -> str:
    """The lane of a sample as text."""
    return next(line for line in lines(app) if line[1:].lstrip(" ▸>│|").startswith(f"{number} "))


async def test_lanes_show_all_four_doings_and_the_figures_are_the_core_s() -> None:
    async with running(synthetic.events(problems=2)) as (pilot, app, _):
        screen = await opened(pilot, app)
        shown = lane(app, 1)
        assert all(glyph in shown for glyph in "▄░▇")
        times = StageTally().update(app.state)
        assert screen.figures.times == times
        for words in ("draft writes", "target checks", "target writes", "waits", "What a barrier would cost"):
            assert words in text(app)
        assert f"at most {times.intensity:.1f}" in text(app)
        places = app.state.samples_total
        cost = barrier_cost(app.state.problems, places, places)
        assert f"{cost.speed_up:.2f} times" in text(app)


async def test_a_run_that_is_over_is_added_up_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts, while no event comes any more that would make the screen measure again."""
    monkeypatch.setattr(StageTally, "AT_ONCE", 1)
    events = synthetic.events(problems=6, samples=2)
    async with running(events) as (pilot, app, _):
        screen = await opened(pilot, app)
        for _ in range(200):
            await pilot.pause(0.01)
            if not screen.figures.behind:
                break
        await frame(pilot)
        monkeypatch.undo()
        assert screen.figures.times == StageTally().update(RunState().fold(events))
        assert "Still adding up" not in text(app)


async def test_a_strategy_that_decides_nothing_has_lanes_and_a_barrier_too() -> None:
    drafted = [
        stamped
        for stamped in synthetic.events(problems=1)
        if not isinstance(stamped.event, ev.VerificationStarted | ev.VerdictReached)
        and not isinstance(stamped.event, ev.TakeOverStarted | ev.TakeOverFinished)
        and getattr(stamped.event, "role", "draft") == "draft"
    ]
    async with running(drafted) as (pilot, app, _):
        await opened(pilot, app)
        assert app.state.overall.decisions == 0
        assert "times as fast without" in text(app)


async def test_before_a_run_nothing_is_claimed() -> None:
    async with running([]) as (pilot, app, _):
        await opened(pilot, app)
        assert "No problem has begun" in text(app)
        assert "No stage has finished" in text(app)
        await pilot.press("plus", "shift+left", "b", "z", "f", "left", "down")
        await frame(pilot)


async def test_zoom_moves_and_follows() -> None:
    async with running(synthetic.events(problems=2)) as (pilot, app, _):
        screen = await opened(pilot, app)
        rows = screen.lanes.rows
        every = rows.shown
        assert every is not None
        await pilot.press("shift+left")
        assert rows.shown == every, "all is in sight"
        await pilot.press("plus", "plus")
        assert rows.shown is not None
        assert rows.shown.span == every.span / 4
        assert rows.shown.start + rows.shown.span >= every.start + every.span - 1e-9, "it follows the end"
        late = rows.shown
        await pilot.press("shift+left")
        assert rows.shown.start == late.start - every.span / 16
        for _ in range(13):
            await pilot.press("shift+left")
        assert rows.shown.start == every.start
        await pilot.press("f")
        assert rows.shown == late
        await pilot.press("minus", "minus", "minus")
        assert rows.shown == every


async def test_a_barrier_is_shown_as_what_it_is() -> None:
    async with running(synthetic.events(problems=1)) as (pilot, app, _):
        screen = await opened(pilot, app)
        before = lane(app, 1)
        await pilot.press("b")
        await frame(pilot)
        assert "SIMULATED with a barrier" in text(app)
        assert lane(app, 1) != before
        layouts = screen.figures.layouts(app.view)
        assert layouts is not None
        assert layouts[1].makespan > layouts[0].makespan
        assert f"{layouts[1].makespan:.1f} s" in text(app)
        await pilot.press("b")
        await frame(pilot)
        assert lane(app, 1) == before
        assert "SIMULATED" not in text(app)


async def test_a_thousand_samples_scroll_or_share_rows() -> None:
    async with running(synthetic.events(problems=1, samples=1024, steps=1)) as (pilot, app, _):
        screen = await opened(pilot, app)
        rows = screen.lanes.rows
        assert rows.row_count() == 1024
        await pilot.press("up")
        app.view.select(1000)
        await frame(pilot)
        assert "1001 " in text(app)
        await pilot.press("z")
        await frame(pilot)
        assert rows.row_count() <= rows.extent.height
        assert f"{rows.group} samples a row" in text(app)
        assert len(rows._drawn) <= rows.extent.height
        assert len(app.screen.walk_children()) < 60
        await pilot.press("down")
        assert app.view.sample_index >= 1000


async def test_rows_of_ended_samples_are_not_painted_again_while_others_run() -> None:
    whole_run = synthetic.events(problems=1)
    async with running(whole_run[:700]) as (pilot, app, source):
        screen = await opened(pilot, app)
        drawn = {row: strip for row, (_, strip) in screen.lanes.rows._drawn.items()}
        assert drawn
        problem = app.state.problems[0]
        untouched = {sample.index: sample.touched for sample in problem.samples if sample.end is not None}
        source.add(whole_run[700:720])
        await frame(pilot)
        for index in untouched:
            assert screen.lanes.rows._drawn[index][1] is drawn[index]


async def test_sizes_themes_and_the_mouse() -> None:
    async with running(synthetic.events(problems=1), ascii_only=True) as (pilot, app, _):
        screen = await opened(pilot, app)
        assert text(app).isascii()
        for size in ((200, 60), (80, 24), (60, 14), (50, 10), (120, 40)):
            await pilot.resize_terminal(*size)
            await frame(pilot)
        await pilot.click(screen.lanes.rows, offset=(20, 4))
        assert app.view.sample_index == 4


@given(some.floats(0, 90_000), some.floats(0.1, 90_000), some.integers(1, 200))
def test_marks_stay_in_their_columns(start: float, span: float, columns: int) -> None:
    assert len(time_marks(Window(start, span), columns)) == columns


@given(some.floats(0, 1e5), some.floats(0, 1e5), some.booleans())
def test_a_whole_window_holds_now(start: float, length: float, ended: bool) -> None:
    found = whole(start + length, start, ended=ended)
    assert found.start == start
    assert found.start + found.span >= start + length - 1e-6


@given(
    some.lists(some.sampled_from(["in", "out", "back", "on", "follow"]), max_size=20), some.floats(1, 5000)
)
def test_a_lens_never_leaves_the_problem(moves: list[str], length: float) -> None:
    problem = ProblemState(0, "a", "?", None, "", [], started_at=3.0, finished_at=3.0 + length, finished=True)
    lens = TimeLens()
    for move in moves:
        shown = lens.window(problem, 9999.0)
        match move:
            case "in":
                lens.change(1, shown, 3.0)
            case "out":
                lens.change(-1, shown, 3.0)
            case "back":
                lens.move(-1, shown, 3.0)
            case "on":
                lens.move(1, shown, 3.0)
            case "follow":
                lens.follow()
    shown = lens.window(problem, 9999.0)
    assert shown.start >= 3.0 - 1e-9
    assert shown.start <= 3.0 + length + 1e-9
    assert 0 < shown.span <= length * (1 + 1e-9)
