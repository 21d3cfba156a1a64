"""Hundreds of samples in one cell each, and the chart of decisions by PPL."""

import synthetic
from driving import frame, lines, running, text

from atts_core import events as ev
from atts_tui.screens.solve import SolveScreen
from atts_tui.widgets.threshold_chart import ThresholdChart, _on_scale, _top


async def test_many_samples_have_a_cell_each_and_few_a_row() -> None:
    many = synthetic.events(until=3.0, problems=1, samples=200)
    async with running(many) as (pilot, app, _):
        app.draw()
        await frame(pilot)
        assert "200 samples, one cell each" in text(app)
        assert "  151 " in text(app)
        await pilot.press("h")
        await frame(pilot)
        assert "who wrote each turn" in text(app)
        assert len(app.screen.walk_children()) < 60
    async with running(synthetic.events(until=1.0, problems=1)) as (pilot, app, _):
        assert "one cell each" not in text(app)
        await pilot.press("h")
        await frame(pilot)
        assert "16 samples, one cell each" in text(app)


async def test_the_selection_is_the_same_in_cells_and_rows_and_by_a_click() -> None:
    many = synthetic.events(until=3.0, problems=1, samples=200)
    async with running(many) as (pilot, app, _):
        app.draw()
        app.view.select(0)
        await pilot.press("down", "down", "down")
        await frame(pilot)
        assert app.view.sample_index == 3
        assert "─ Sample 4 " in text(app)
        await pilot.click("#heat-map", offset=(6 + 11, 1))
        assert app.view.sample_index == 60
        await pilot.click("#heat-map", offset=(6 + 10, 1))
        assert app.view.sample_index == 60, "a gap is no sample"
        await pilot.press("h")
        await frame(pilot)
        assert any("▸ 61" in line for line in lines(app))


async def test_u_shows_ppl_on_a_scale_that_holds_every_decision() -> None:
    run = synthetic.events(until=3.0, problems=1)
    ppls = [s.event.ppl for s in run if isinstance(s.event, ev.VerdictReached) and s.event.ppl]
    async with running(run) as (pilot, app, _):
        app.draw()
        await frame(pilot)
        by_p = text(app)
        assert "Surprise (p) of every step" in by_p
        await pilot.press("u")
        await frame(pilot)
        shown = text(app)
        assert "Surprise (PPL) of every step" in shown
        assert "1.04" in shown, "the threshold as PPL"
        screen = app.run_screen
        assert isinstance(screen, SolveScreen)
        chart = screen.query_one(ThresholdChart)
        assert sum(map(sum, chart._cells.values())) == len(ppls)
        top = _top(app.state.decisions)
        assert max(ppls) <= top <= max(*ppls, 2) * 1.5
        assert [_on_scale(value, top) for value in (0.5, 1.0, top)] == [0.0, 0.0, 1.0]
        await pilot.press("u")
        await frame(pilot)
        assert "Surprise (p) of every step" in text(app)
