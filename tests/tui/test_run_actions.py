"""What a person asks of the run, always after a question; and what the run warns of."""

import synthetic
from driving import Hand, frame, running, text

from atts_core import events as ev
from atts_core.errors import RunError
from atts_core.events import Stamped
from atts_tui.screens.confirm import Confirm


def mid() -> list[ev.Stamped]:
    return synthetic.events(until=2.0, problems=1)


def after(stamps: list[ev.Stamped], *events: ev.AnyEvent) -> list[ev.Stamped]:
    """The same and more."""
    last = stamps[-1]
    return [
        *stamps,
        *(Stamped(last.seq + n, last.at + n / 10, event) for n, event in enumerate(events, start=1)),
    ]


async def test_ending_a_sample_asks_first() -> None:
    hand = Hand()
    async with running(mid(), control=hand) as (pilot, app, _):
        app.view.select(3)
        await pilot.press("x")
        await frame(pilot)
        assert isinstance(app.screen, Confirm)
        assert "Sample 4 ends before its next request" in text(app)
        await pilot.press("n")
        assert hand.told == []
        await pilot.press("x", "y")
        await pilot.pause()
        assert hand.told == ["stop sample 0 3"]


async def test_only_a_failed_sample_is_tried_again() -> None:
    hand = Hand()
    failed = ev.SampleFinished(problem=0, sample=2, end="failed", message="the server\x1b[31m is gone")
    async with running(after(mid(), failed), control=hand) as (pilot, app, _):
        app.view.select(1)
        await pilot.press("r")
        await pilot.pause()
        assert not isinstance(app.screen, Confirm)
        app.view.select(2)
        await pilot.press("r")
        await frame(pilot)
        assert "Sample 3 failed (the server is gone)" in text(app).replace("[31m", "")
        await pilot.press("y")
        await pilot.pause()
        assert hand.told == ["retry sample 0 2"]


async def test_ending_the_run_asks_first() -> None:
    hand = Hand()
    async with running(mid(), control=hand) as (pilot, app, _):
        await pilot.press("X")
        await pilot.pause()
        assert isinstance(app.screen, Confirm)
        await pilot.press("y")
        await pilot.pause()
        assert hand.told == ["stop"]


async def test_an_engine_that_cannot_hear_is_said_and_ends_nothing() -> None:
    class Deaf(Hand):
        def pause(self) -> None:
            raise RunError("The engine of this run is gone.")

    async with running(mid(), control=Deaf()) as (pilot, app, _):
        await pilot.press("p")
        await pilot.pause()
        assert [note.message for note in app._notifications] == ["The engine of this run is gone."]
        assert app.is_running


async def test_warnings_and_drift_are_shown_once() -> None:
    drift = ev.DriftDetected(
        message="Calibration and run do not belong together.",
        direction="higher", evidence=3.0, decisions=10, false_alarm=0.01,
    )  # fmt: skip
    async with running(after(mid(), ev.Warned(message="Careful [now]."), drift)) as (pilot, app, _):
        await frame(pilot)
        said = [note.message for note in app._notifications]
        assert said == ["Careful [now].", "Calibration and run do not belong together."]
        await pilot.press("3")
        await frame(pilot)
        assert "do not belong together" in text(app)
