"""Helpers to drive the app headless: frames on demand instead of on a clock, and what the screen shows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import synthetic
from textual.pilot import Pilot

from atts_core.events import Stamped
from atts_tui.app import AttsApp


class Hand:
    """A control that notes what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def stop(self) -> None:
        self.told.append("stop")

    def stop_sample(self, problem: int, sample: int) -> None:
        self.told.append(f"stop sample {problem} {sample}")

    def retry_sample(self, problem: int, sample: int) -> None:
        self.told.append(f"retry sample {problem} {sample}")


async def frame(pilot: Pilot[Any]) -> None:
    """One frame of the app, drawn."""
    await pilot.pause()
    assert isinstance(pilot.app, AttsApp)
    pilot.app._tick()
    pilot.app._show(slow=True)
    await pilot.pause()


async def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Let the app go on until something holds. Raises TimeoutError where it does not."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # nobody would set an event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    events: list[Stamped], size: tuple[int, int] = (120, 40), **settings: Any
) -> AsyncIterator[tuple[Pilot[None], AttsApp, synthetic.Recorded]]:
    """The app over events that wait, its first frame drawn."""
    source = synthetic.Recorded(events)
    app = AttsApp(source, title="demo", **settings)
    async with app.run_test(size=size, notifications=True) as pilot:
        await frame(pilot)
        yield pilot, app, source


def lines(app: AttsApp) -> list[str]:
    """The text of the screen, line by line."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def text(app: AttsApp) -> str:
    """The text of the screen."""
    return "\n".join(lines(app))
