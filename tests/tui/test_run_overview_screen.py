"""The Run screen: the table, its order and filter, what needs a look, and the way down to a step."""

import itertools

import evaluations
import pytest
from driving import frame, lines, running, text
from hypothesis import given
from hypothesis import strategies as st

from atts_core import events as ev
from atts_core.forecast import forecast
from atts_core.state import RunState
from atts_tui.layout.frame import frame as laid_out
from atts_tui.layout.run import arrange_run
from atts_tui.problem_list import PROBLEM_ORDERS, ProblemList
from atts_tui.screens.run import RunOverview
from atts_tui.widgets.problem_table import columns

EVENTS = list(evaluations.stamps(problems=100, pieces=1, words=6))
MID = len(EVENTS) // 2


def folded(count: int = MID) -> RunState:
    return RunState().fold(EVENTS[:count])


def listed(state: RunState, wanted: str = "", sort: str = "newest first") -> list[int]:
    found = ProblemList()
    found.wanted, found.sort = wanted, sort  # type: ignore[assignment]
    found.update(state, 0)
    return found.rows


def test_running_problems_come_first_and_those_that_wait_last() -> None:
    state = folded()
    rows = listed(state)
    assert sorted(rows) == list(range(100))
    running_now = len(state.overview.running)
    assert set(rows[:running_now]) == set(state.overview.running)
    finished = [state.problems[index].finished_at for index in rows if state.problems[index].finished]
    assert finished == sorted(finished, reverse=True)
    assert all(state.problems[index].started_at is None for index in rows[running_now + len(finished) :])


@pytest.mark.parametrize("sort", PROBLEM_ORDERS)
def test_every_order_holds_every_problem(sort: str) -> None:
    assert sorted(listed(folded(), sort=sort)) == list(range(100))


def test_the_filter_takes_states_and_text() -> None:
    state = folded()
    failed = listed(state, "failed")
    assert failed
    assert all(state.problems[index].failed for index in failed)
    assert set(listed(state, "look")) == set(state.overview.looks)
    assert all(state.problems[index].correct is False for index in listed(state, "wrong"))
    assert listed(state, "test/00007") == [7]
    assert listed(state, "TEST/00007 right") == ([7] if state.problems[7].correct else [])
    assert listed(state, "no problem says this") == []


def test_a_long_list_is_not_sorted_at_every_frame() -> None:
    state = RunState().fold(itertools.islice(evaluations.stamps(problems=600, pieces=1, words=1), 1500))
    found = ProblemList()
    assert found.update(state, 0)
    state.apply(ev.Stamped(state.seq + 1, state.now, ev.SampleStarted(problem=599, sample=0)))
    assert [found.update(state, 0) for _ in range(3)] == [False, False, True]


@given(st.integers(60, 300), st.integers(1, 2000))
def test_columns_fill_no_more_than_the_row(width: int, samples: int) -> None:
    cut = columns(width, samples)
    fixed = 2 + 6 + 3
    assert fixed + sum(getattr(cut, name) for name in cut.__slots__) <= max(width, 70)


@given(st.integers(60, 300), st.integers(14, 120), st.booleans())
def test_no_pane_leaves_the_body_or_covers_another(width: int, height: int, transport: bool) -> None:
    laid = laid_out(width, height, transport=transport)
    cells = [
        (x, y)
        for rect in (*laid.chrome.values(), *arrange_run(laid.body, compact=laid.compact).values())
        for y in range(rect.y, rect.y + rect.height)
        for x in range(rect.x, rect.x + rect.width)
    ]
    assert len(cells) == len(set(cells)) == width * height


async def test_from_the_run_to_a_problem_and_back() -> None:
    async with running(EVENTS[:MID]) as (pilot, app, _):
        app.draw()
        await pilot.press("2", "down", "down")
        await frame(pilot)
        chosen = app.view.problem_index
        assert f"{chosen + 1} " in next(line for line in lines(app) if "▸" in line)
        await pilot.press("enter")
        await frame(pilot)
        assert app.run_screen.PAGE == "solve"
        assert app.view.problem_index == chosen
        await pilot.press("escape")
        await frame(pilot)
        assert app.run_screen.PAGE == "run"
        assert app.view.problem_index == chosen


async def test_the_filter_is_typed_and_taken_away_by_escape() -> None:
    async with running(EVENTS[:MID]) as (pilot, app, _):
        app.draw()
        await pilot.press("2", "slash", *"failed", "enter")
        await frame(pilot)
        shown = text(app)
        assert "failed" in shown
        assert f"{len(listed(app.state, 'failed'))} of 100 problems" in shown
        await pilot.press("escape")
        await frame(pilot)
        assert "100 problems, newest first" in text(app)


async def test_the_line_on_top_counts_what_the_screen_counts() -> None:
    async with running(EVENTS[:MID]) as (pilot, app, _):
        app.draw()
        await pilot.press("2")
        await frame(pilot)
        kept, share = app.state.overview, forecast(app.state).share
        top, shown = lines(app)[0], "\n".join(lines(app)[2:])
        assert f"{kept.finished} of 100 problems finished" in top
        assert f"{kept.by_vote.hits} of {kept.by_vote.size} right" in top
        assert f"{kept.by_vote.hits / kept.by_vote.size * 100:.1f} %" in shown
        assert f"{share:.0%}".replace("%", " %") in top
        assert f"{share:.0%}".replace("%", " %") in shown


async def test_n_goes_through_what_needs_a_look() -> None:
    async with running(EVENTS[:MID]) as (pilot, app, _):
        app.draw()
        await pilot.press("2")
        seen = []
        for _ in app.state.overview.looks:
            await pilot.press("n")
            seen.append(app.view.problem_index)
        assert set(seen) == set(app.state.overview.looks)


async def test_only_rows_in_sight_are_made() -> None:
    whole = list(itertools.islice(evaluations.stamps(problems=3000, pieces=1, words=1), 9000))
    async with running(whole[:8000]) as (pilot, app, source):
        app.draw()
        await pilot.press("2")
        await frame(pilot)
        screen = app.run_screen
        assert isinstance(screen, RunOverview)
        table = screen._table.table
        before = table.built
        source.add(whole[8000:])
        await frame(pilot)
        height = table.extent.height
        assert 0 < table.built - before <= 3 * height  # a frame is drawn up to three times here
        await pilot.press("end")
        await frame(pilot)
        assert "3000" in text(app)
        assert len(app.screen.walk_children()) < 60


async def test_rows_stay_where_they_are_while_others_finish_above_them() -> None:
    async with running(EVENTS[:MID]) as (pilot, app, source):
        app.draw()
        await pilot.press("2")
        app.view.follow = False
        screen = app.run_screen
        assert isinstance(screen, RunOverview)
        table = screen._table.table
        table.move_to(25)
        await frame(pilot)
        anchor = table.list.rows[25]
        source.add(EVENTS[MID : MID + 3000])
        app.draw()
        await frame(pilot)
        assert table.list.rows[table.top] == anchor
        assert table.top != 25, "the run went on: otherwise this shows nothing"


# The forecast.


def test_there_is_no_forecast_before_the_first_turn() -> None:
    assert forecast(RunState()) is None
    assert forecast(RunState().fold(EVENTS[:50])) is None


def test_the_time_left_is_right_within_its_range_and_the_range_narrows() -> None:
    end = EVENTS[-1].at
    widths = []
    for share in (0.1, 0.25, 0.5, 0.75):
        state = folded(int(len(EVENTS) * share))
        found = forecast(state)
        assert found is not None
        assert found.seconds is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.seconds <= found.high
        assert found.low * 0.8 <= end - state.now <= found.high * 1.25
        assert abs(found.share - share) < 0.1
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)


def test_at_the_end_nothing_is_left() -> None:
    found = forecast(RunState().fold(EVENTS))
    assert found is not None
    assert (found.left, found.share, found.seconds) == (0, 1.0, None)


def test_early_on_the_range_reaches_to_the_turn_limit() -> None:
    state = next(
        state
        for count in range(100, MID, 20)
        if (state := folded(count)).samples_ended >= 3 and state.overview.turns_done >= 10
    )
    found = forecast(state)
    assert found is not None
    assert found.high is not None
    assert state.overview.finished < 2
    turns = state.overview.samples * 15 - found.done
    assert found.high * found.pace == pytest.approx(turns, rel=0.25)
