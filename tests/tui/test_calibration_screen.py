"""The Calibration screen: promise, rates, drift, signal, and what another alpha would have decided."""

import pytest
import synthetic
from driving import frame, lines, running, text

from atts_core import events as ev
from atts_core.conformal.live import DecisionTally
from atts_core.state import RunState
from atts_tui.screens import measured
from atts_tui.screens.calibration import CalibrationScreen
from atts_tui.widgets.alpha_slider import ENDS, AlphaSlider


async def opened(pilot, app) -> CalibrationScreen:
    await pilot.press("3")
    await frame(pilot)
    assert isinstance(app.screen, CalibrationScreen)
    return app.screen


async def test_it_says_promise_rates_drift_and_signal() -> None:
    async with running(synthetic.events(problems=2)) as (pilot, app, _):
        await opened(pilot, app)
        shown = text(app)
        for words in ("accepted", "threshold", "turn 1", "no drift seen", "Does PPL tell wrong chains"):
            assert words in shown
        assert "1,600 of 100 problems" in shown
        assert f"0 of {app.state.overall.decisions:,} decisions would change" in shown


async def test_a_long_run_is_taken_in_by_parts_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DecisionTally, "AT_ONCE", 1)
    monkeypatch.setattr(measured, "SLICE_SECONDS", 1e6)  # the test says when
    events = synthetic.events(problems=6, samples=2)
    async with running(events) as (pilot, app, _):
        app.draw()
        newest = app.state.decisions.pop()
        app.state.decisions.clear()
        app.state.decisions.append(newest)  # as if far more had been decided than are remembered
        screen = await opened(pilot, app)
        assert "Still adding up" in text(app)
        assert "accepted" not in text(app)
        while screen.figures.behind:
            screen._go_on()
        await frame(pilot)
        whole = DecisionTally()
        whole.update(RunState().fold(events))
        assert screen.figures.realised == whole.realised()
        assert screen.figures.what_if is not None
        assert screen.figures.what_if.decisions == app.state.overall.decisions
        assert "Still adding up" not in text(app)


async def test_before_a_run_it_says_so() -> None:
    async with running([]) as (pilot, app, _):
        await opened(pilot, app)
        assert "The run has not begun" in text(app)
        await pilot.press("left", "0", "shift+right")
        await frame(pilot)
        assert "Nothing is decided here" in text(app)


async def test_keys_ask_about_another_alpha_and_nothing_is_decided_anew() -> None:
    async with running(synthetic.events(problems=2)) as (pilot, app, _):
        screen = await opened(pilot, app)
        before = app.state.overall.taken_over
        await pilot.press("shift+left", "left", "minus")
        await frame(pilot)
        tally = DecisionTally()
        tally.update(app.state)
        expected = tally.what_if(0.48)
        assert expected.changed > 0
        assert screen.figures.what_if == expected
        assert "alpha 0.48" in text(app)
        assert f"{expected.changed:,} of {expected.decisions:,} decisions would change" in text(app)
        assert app.state.overall.taken_over == before
        await pilot.press("0")
        await frame(pilot)
        assert f"0 of {expected.decisions:,} decisions would change" in text(app)
        for _ in range(12):
            await pilot.press("shift+right")
        assert screen.figures.alpha == 1.0


async def test_the_mouse_moves_the_handle() -> None:
    async with running(synthetic.events(problems=1)) as (pilot, app, _):
        screen = await opened(pilot, app)
        slider = screen.query_one(AlphaSlider)
        content = slider.content_region
        cells = content.width - 2 * ENDS
        at = (content.x - slider.region.x + ENDS, content.y - slider.region.y)
        await pilot.mouse_down(slider, offset=at)
        await pilot.pause()
        assert screen.figures.alpha == 0.0
        await pilot.hover(slider, offset=(at[0] + (cells - 1) // 2, at[1] + 2))
        await pilot.pause()
        assert screen.figures.alpha is not None
        assert abs(screen.figures.alpha - 0.5) < 0.03
        await pilot.mouse_up(slider, offset=at)
        moved = screen.figures.alpha
        await pilot.hover(slider, offset=at)
        assert screen.figures.alpha == moved, "let go, it stays"
        await pilot.click(slider, offset=(at[0] + 1, at[1] + 2))
        assert screen.figures.alpha == moved, "only the line itself is clicked"


async def test_a_live_run_is_measured_again_when_something_happened() -> None:
    whole = synthetic.events(problems=1)
    async with running(whole[:300]) as (pilot, app, source):
        screen = await opened(pilot, app)
        first = screen.figures.tally.count
        source.add(whole[300:])
        await frame(pilot)
        screen.measure_again()
        assert screen.figures.tally.count == app.state.overall.decisions > first
        version = screen.figures.version
        screen.measure_again()
        assert screen.figures.version == version, "nothing happened, so nothing was computed"


async def test_a_run_without_a_known_histogram_shows_its_own_steps() -> None:
    stamps = synthetic.events(problems=1)
    begun = stamps[0].event
    assert isinstance(begun, ev.RunStarted)
    old = ev.decode(ev.encode(stamps[0]).replace(b'"histogram":', b'"forgotten":'))
    async with running([old, *stamps[1:]]) as (pilot, app, _):
        await opened(pilot, app)
        assert "this run" in text(app)
        assert not any(line.startswith("│ calibration") for line in lines(app))


async def test_sizes_from_wide_to_plain() -> None:
    async with running(synthetic.events(problems=1)) as (pilot, app, _):
        await opened(pilot, app)
        for size in ((200, 60), (80, 24), (60, 14), (50, 10), (120, 40)):
            await pilot.resize_terminal(*size)
            await frame(pilot)
        assert "What if alpha were different?" in text(app)


async def test_drift_is_said_in_its_words() -> None:
    drift = ev.DriftDetected(
        message="Calibration and run \x1b[31mdo not belong together.", direction="higher", evidence=3.0,
        decisions=10, false_alarm=0.01,
    )  # fmt: skip
    stamps = synthetic.events(until=2.0, problems=1)
    stamps.append(ev.Stamped(stamps[-1].seq + 1, stamps[-1].at, drift))
    async with running(stamps) as (pilot, app, _):
        await opened(pilot, app)
        assert "do not belong together" in text(app)
        assert "no drift seen" not in text(app)
