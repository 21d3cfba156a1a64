"""Draws the README's pictures again: real screens of a real run of the embedded pair, by `make pictures`.

The run is made on the spot, at a pace of large models; the screen is shown the events up to a moment in the
middle, so the picture is what a person sees there.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

from atts_core import events as ev
from atts_core.bus import Bus
from atts_tui.app import AttsApp

HERE = Path(__file__).parent
COMMAND = ("demo", "--problems", "2", "--seed", "3", "--pace", "60", "--events")
SIZE = (120, 40)


def recorded() -> list[ev.Stamped]:
    """The events of a paced demo."""
    done = subprocess.run(
        [sys.executable, "-m", "atts_tui.cli", *COMMAND], stdout=subprocess.PIPE, check=True
    )
    return [ev.decode(line) for line in done.stdout.splitlines()]


def middle(stamps: list[ev.Stamped]) -> list[ev.Stamped]:
    """Up to when a third of the first problem's samples have ended: lanes race, and the vote forms."""
    ends = [n for n, s in enumerate(stamps) if isinstance(s.event, ev.VoteChanged) and s.event.problem == 0]
    return stamps[: ends[len(ends) // 3] + 1]


async def draw(stamps: list[ev.Stamped], name: str, theme: str) -> None:
    """One picture."""
    bus = Bus()
    subscription = bus.subscribe()
    app = AttsApp(subscription, theme=theme, title="demo")
    async with app.run_test(size=SIZE) as pilot:
        for stamped in stamps:
            subscription._push(stamped)
        app.draw()
        await pilot.pause()
        (HERE / f"{name}.svg").write_text(app.export_screenshot(title="atts demo"), "utf-8")


def main() -> None:
    """All pictures."""
    stamps = middle(recorded())
    asyncio.run(draw(stamps, "solve", "atts-dark"))


if __name__ == "__main__":
    main()
