"""The log: searched while it grows, followed only from its end, and a way to the sample of a line."""

import synthetic
from driving import frame, lines, running, text

from atts_core import events as ev
from atts_core.events import Stamped
from atts_tui.screens.log import LogScreen
from atts_tui.widgets.log_lines import LogLines

WHOLE = synthetic.events(problems=2)


def warned(after: list[Stamped], *said: str) -> list[Stamped]:
    last = after[-1]
    return [Stamped(last.seq + n, last.at, ev.Warned(message=words)) for n, words in enumerate(said, 1)]


async def test_a_filter_narrows_with_each_letter_counts_and_is_left_by_escape() -> None:
    async with running(WHOLE, size=(80, 24)) as (pilot, app, _):
        await pilot.press("6")
        await frame(pilot)
        rows = app.screen.query_one(LogLines)
        everything = len(rows.lines())
        await pilot.press("slash", *"sample 1", "q")
        await frame(pilot)
        assert rows.lines() == []
        assert "No line holds that" in text(app)
        await pilot.press("backspace", "4")
        await frame(pilot)
        assert isinstance(app.screen, LogScreen), "digits and q are typed, not obeyed"
        assert {line.sample for line in rows.lines()} == {13}
        assert f"{len(rows.lines()):,} of {everything:,}" in text(app)
        await pilot.press("enter", "up")
        await frame(pilot)
        assert app.screen.filter == "sample 14", "enter keeps the filter and gives the keys back"
        assert len(rows.lines()) < everything
        await pilot.press("escape")
        await frame(pilot)
        assert len(rows.lines()) == everything
        assert "esc clears" not in text(app)


async def test_it_follows_only_from_its_end_and_says_how_many_came_below() -> None:
    async with running(WHOLE[:1000], size=(80, 24)) as (pilot, app, source):
        await pilot.press("6")
        await frame(pilot)
        rows = app.screen.query_one(LogLines)
        assert rows.at_end
        source.add(WHOLE[1000:1300])
        await frame(pilot)
        assert rows.at_end
        assert rows.selected is rows.lines()[-1]
        await pilot.press("up", "up", "up")
        held, top = rows.selected, rows.lines()[rows.top]
        before = len(rows.lines())
        source.add(WHOLE[1300:])
        await frame(pilot)
        assert rows.selected == held
        assert rows.lines()[rows.top] == top
        assert f"{len(rows.lines()) - before} new below" in lines(app)[1]
        await pilot.press("end")
        await frame(pilot)
        assert rows.at_end
        assert "new below" not in text(app)


async def test_unread_warnings_are_counted_on_the_tab_until_they_were_seen() -> None:
    mid = WHOLE[:500]
    async with running([*mid, *warned(mid, "one", "two")]) as (pilot, app, source):
        assert "6 Log  2!" in lines(app)[-1]
        await pilot.press("6")
        await frame(pilot)
        assert "!" not in lines(app)[-1]
        await pilot.press("1")
        source.add(warned(warned(mid, "one", "two"), "[three]\x1b[31m"))
        await frame(pilot)
        assert "6 Log  1!" in lines(app)[-1]
        await pilot.press("6")
        await frame(pilot)
        rows = [line for line in lines(app) if "warning" in line]
        assert [line[2] for line in rows] == [" ", " ", "▸"]
        await pilot.press("home")
        await frame(pilot)
        assert next(line for line in lines(app) if "warning" in line and "[three]" in line)[2] == "•"


async def test_enter_goes_to_the_sample_and_escape_comes_back() -> None:
    async with running(WHOLE) as (pilot, app, _):
        await pilot.press("6")
        await frame(pilot)
        rows = app.screen.query_one(LogLines)
        while rows.selected is None or rows.selected.sample is None:
            await pilot.press("up")
        line = rows.selected
        await pilot.press("enter")
        await frame(pilot)
        assert app.run_screen.PAGE == "solve"
        assert (app.view.problem_index, app.view.sample_index) == (line.problem, line.sample)
        await pilot.press("escape")
        await frame(pilot)
        assert app.run_screen.PAGE == "log"
        assert rows.selected == line


async def test_levels_from_everything_to_errors_and_copy_takes_what_is_shown() -> None:
    async with running([*WHOLE, *warned(WHOLE, "careful")]) as (pilot, app, _):
        await pilot.press("6")
        counts = []
        for _ in range(4):
            await frame(pilot)
            counts.append(len(app.screen.query_one(LogLines).lines()))
            await pilot.press("v")
        assert counts[3] > counts[0] > counts[1] > counts[2] == 1
        await pilot.press("v", "v", "y")
        await pilot.pause()
        assert app.clipboard.endswith("warning    careful")


async def test_a_narrow_line_leaves_out_what_its_level_says() -> None:
    for size, said in (((120, 40), True), ((80, 24), False)):
        async with running(synthetic.events(until=3.0, problems=1), size=size) as (pilot, app, _):
            await pilot.press("6")
            await frame(pilot)
            taken = [line for line in text(app).splitlines() if "◆ take-over" in line]
            assert taken
            assert all(("→" in line) is said and "> 0.60" in line for line in taken)


async def test_a_click_selects_and_a_second_one_opens() -> None:
    async with running(WHOLE) as (pilot, app, _):
        await pilot.press("6", "home")
        await frame(pilot)
        await pilot.click("#lines", offset=(20, 4))
        rows = app.screen.query_one(LogLines)
        assert rows.selected is rows.lines()[3]
        assert not rows.follows
        await pilot.click("#lines", offset=(20, 4))
        await pilot.pause()
        assert app.run_screen.PAGE == "solve"
