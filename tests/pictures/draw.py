"""Draws the README's pictures again: real screens of a real run of the embedded pair, by `make pictures`.

The run is recorded on the spot at a pace of large models, and each screen is shown what the run file tells of
the moment that says most there. Compare sets a run of the same problems in turns (`sync`) beside it. Only the
eight GPUs of the machines' picture are invented, by `tests/tui/machine_events.py`: its caption must say so.
"""

import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from textual.app import App

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import Given
from atts_core.runs.folder import run_files
from atts_core.runs.player import Player
from atts_core.state import RunState
from atts_tui.app import AttsApp
from atts_tui.commands.compare import load
from atts_tui.home.app import HomeApp
from atts_tui.look import Look

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tui"))

import machine_events  # noqa: E402

ASYNC = ("demo", "--problems", "8", "--seed", "3", "--pace", "60")
SYNC = (*ASYNC, "--strategy", "sync")
SIZE = (120, 40)

Moment = Callable[[list[ev.Stamped]], int]


def record(folder: Path, command: tuple[str, ...]) -> tuple[Path, list[ev.Stamped]]:
    """Run a command; returns its run file and its events."""
    before = set(run_files(folder))
    line = [sys.executable, "-m", "atts_tui.cli", *command, "--runs-dir", str(folder), "--events"]
    done = subprocess.run(line, stdout=subprocess.PIPE, check=True)
    (made,) = set(run_files(folder)) - before
    return made, [ev.decode(said) for said in done.stdout.splitlines()]


def when(kind: type[ev.AnyEvent], share: float, problem: int | None = None) -> Moment:
    """The moment by which that share of a kind of event (of a problem) has come."""

    def find(stamps: list[ev.Stamped]) -> int:
        places = [
            place
            for place, stamped in enumerate(stamps)
            if isinstance(stamped.event, kind) and problem in (None, getattr(stamped.event, "problem", None))
        ]
        return places[int((len(places) - 1) * share)]

    return find


@dataclass(frozen=True)
class Picture:
    """One page of the run at one moment, after some keys."""

    name: str
    moment: Moment
    keys: tuple[str, ...] = ()


PICTURES = (
    # A third of the first problem's samples have ended: lanes race, and the vote forms.
    Picture("solve", when(ev.VoteChanged, 0.33, problem=0)),
    Picture("run", when(ev.ProblemFinished, 0.75), ("2",)),
    Picture("calibration", when(ev.RunFinished, 1.0), ("3", "shift+left")),
    Picture("pipeline", when(ev.VoteChanged, 0.9, problem=0), ("4",)),
    Picture("log", when(ev.VoteChanged, 0.5), ("6",)),
    Picture("sample", when(ev.VoteChanged, 0.6, problem=0), ("enter",)),
)


async def shot(app: App[object], keys: Iterable[str] = (), size: tuple[int, int] = SIZE) -> str:
    """What the app shows after the keys, as SVG."""
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
        if isinstance(app, AttsApp):
            app.draw()
        elif isinstance(app, HomeApp):
            await app.find_runs()
        await pilot.pause()
        return small(app.export_screenshot(title="atts"))


def small(svg: str) -> str:
    """The same picture in fewer bytes: short names, spaces as themselves, and no clipping of each line."""
    svg = re.sub(r"terminal-\d+", "t", svg).replace("&#160;", "\N{NO-BREAK SPACE}")
    svg = re.sub(r' clip-path="url\(#t-line-\d+\)"', "", svg)
    return re.sub(r'<clipPath id="t-line-\d+">\s*<rect [^>]*/>\s*</clipPath>\s*', "", svg)


def at_moment(run: Path, stamped: ev.Stamped, **look: Unpack[Look]) -> AttsApp:
    """The app as it is while the run is at that event."""
    with contextlib.closing(Player.open(run)) as player:
        player.seek(stamped.at)
        return AttsApp(Bus().subscribe(), state=player.state, title="demo", **look)


@dataclass(frozen=True)
class Recorded:
    """What the pictures are of."""

    folder: Path
    run: Path
    stamps: list[ev.Stamped]
    in_turns: Path


def recorded(folder: Path) -> Recorded:
    """Both runs."""
    run, stamps = record(folder, ASYNC)
    return Recorded(folder, run, stamps, record(folder, SYNC)[0])


async def drawn(
    seen: Recorded, size: tuple[int, int] = SIZE, **look: Unpack[Look]
) -> AsyncIterator[tuple[str, str]]:
    """Every screen: its name, and its picture."""
    for picture in PICTURES:
        app = at_moment(seen.run, seen.stamps[picture.moment(seen.stamps)], **look)
        yield picture.name, await shot(app, picture.keys, size)
    first, second = load(seen.in_turns), load(seen.run)
    nothing, beside = Bus().subscribe(), (first, second)
    app = AttsApp(nothing, state=first.state, title="compare", first="compare", beside=beside, **look)
    yield "compare", await shot(app, (), size)
    eight = RunState().fold(machine_events.events())
    app = AttsApp(nothing, state=eight, title="eval", first="machines", **look)
    yield "machines", await shot(app, (), size)
    yield "home", await shot(HomeApp(seen.folder, Given(), **look), (), size)


async def draw_all(seen: Recorded, out: Path, size: tuple[int, int] = SIZE, **look: Unpack[Look]) -> None:
    """Every screen, each into its file."""
    async for name, svg in drawn(seen, size, **look):
        await asyncio.to_thread((out / f"{name}.svg").write_text, svg, "utf-8")


def main() -> None:
    """All pictures, into this folder."""
    with tempfile.TemporaryDirectory(prefix="atts-pictures-") as folder, contextlib.chdir(folder):
        asyncio.run(draw_all(recorded(Path("runs")), HERE))


if __name__ == "__main__":
    main()
