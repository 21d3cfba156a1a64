"""From screen to screen: keys, tabs, and back to where one came from; only what is seen is drawn."""

import pytest
import synthetic
from driving import frame, lines, running, text

from atts_tui.pages import PAGES, page, tabs
from atts_tui.screens.calibration import CalibrationScreen
from atts_tui.screens.run_screen import RunScreen
from atts_tui.screens.solve import SolveScreen


async def test_every_page_is_reached_by_its_key_and_says_where_one_is() -> None:
    async with running(synthetic.events(problems=2)) as (pilot, app, _):
        for tab in (*tabs(), *reversed(tabs())):
            await pilot.press(tab.key)
            await frame(pilot)
            assert tab.id == app.run_screen.PAGE
            assert f" {tab.key} {tab.title} " in lines(app)[-1]
            assert len(app.screen_stack) <= 2
            assert len(app.screen.walk_children()) < 60


async def test_a_page_is_made_when_first_opened_and_then_kept_as_it_was() -> None:
    async with running(synthetic.events(problems=1)) as (pilot, app, _):
        solve = app.screen
        assert "calibration" not in app._pages
        await pilot.press("tab", "m", "3")
        calibration = app.screen
        assert isinstance(calibration, CalibrationScreen)
        await pilot.press("1")
        assert app.screen is solve
        assert isinstance(solve, SolveScreen)
        assert solve.maximised == "text"
        await pilot.press("3")
        assert app.screen is calibration


async def test_only_the_screen_that_is_seen_is_shown_the_run() -> None:
    whole = synthetic.events(problems=1)
    async with running(whole[:300]) as (pilot, app, source):
        await pilot.press("3", "1")
        hidden = app.page_screen("calibration")
        shown = []
        hidden.sync = lambda view: shown.append(view.state.seq)  # type: ignore[method-assign]
        source.add(whole[300:400])
        await frame(pilot)
        assert shown == []
        await pilot.press("3")
        await frame(pilot)
        assert shown[-1] == whole[399].seq


async def test_back_undoes_what_was_opened_last() -> None:
    async with running(synthetic.events(problems=1)) as (pilot, app, _):
        assert isinstance(app.screen, RunScreen)
        app.screen.open("calibration")
        await pilot.pause()
        await pilot.press("m", "escape")
        assert app.run_screen.PAGE == "calibration"
        await pilot.press("escape")
        assert app.run_screen.PAGE == "solve"
        await pilot.press("escape")
        assert app.run_screen.PAGE == "solve"
        app.screen.open("calibration")
        await pilot.pause()
        await pilot.press("1", "escape")
        assert app.run_screen.PAGE == "solve", "a tab forgets where one came from"


async def test_help_explains_the_page_that_is_open() -> None:
    async with running(synthetic.events(problems=1), size=(120, 70)) as (pilot, app, _):
        await pilot.press("3", "question_mark")
        await frame(pilot)
        assert page("calibration").help in " ".join(text(app).replace("│", " ").split())
        assert "newest take-over" not in text(app)
        await pilot.press("escape", "1", "question_mark")
        await frame(pilot)
        assert "newest take-over" in text(app)


async def test_a_click_on_a_tab_opens_it() -> None:
    async with running(synthetic.events(problems=1)) as (pilot, app, _):
        await pilot.click("#keys", offset=(lines(app)[-1].index("Calibration"), 0))
        await pilot.pause()
        assert app.run_screen.PAGE == "calibration"


@pytest.mark.parametrize("name", [page.id for page in PAGES if page.id != "compare"])
async def test_every_page_of_a_run_can_be_the_first_one(name: str) -> None:
    """Textual draws it once before it was shown the run."""
    async with running(synthetic.events(problems=1), first=name) as (_, app, _):
        assert name == app.run_screen.PAGE
