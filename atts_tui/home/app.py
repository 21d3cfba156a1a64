"""The application of the home screen: it finds runs and servers, and returns the command that was chosen."""

import asyncio
from pathlib import Path
from typing import Literal, Unpack

from textual.screen import Screen

from atts_core.config import Given
from atts_core.problems.builtin.readable import examples, readable
from atts_core.runs.folder import run_files
from atts_core.runs.manage import RunInfo, info_of
from atts_core.state import RunState
from atts_tui.home.choices import Choice
from atts_tui.home.listing import ALIVE
from atts_tui.home.prompt import Reading
from atts_tui.home.screen import HomeScreen
from atts_tui.home.servers import before, probe
from atts_tui.look import Look
from atts_tui.navigation import Navigation
from atts_tui.screens.confirm import Confirm
from atts_tui.take_away import TakeAway
from atts_tui.view import View

LOOK_SECONDS = 2.0
"""How often runs are looked at again."""
PROBE_EVERY = 10.0
RUNS_AT_MOST = 60
EXAMPLE = "Let a = 12 + 7. Let b = a * 3. What is b?"


class HomeApp(Navigation, TakeAway):
    """Returns a command line, or None to leave."""

    def __init__(
        self, folder: Path, given: Given, *, notice: str = "", trouble: bool = False,
        export_folder: Path | None = None, **look: Unpack[Look],
    ) -> None:  # fmt: skip
        """`given` are the settings that a run would have; `notice` is what the run before had to say, and
        `trouble` whether that is an error."""
        super().__init__(**look)
        self._trouble = trouble
        self._runs_folder, self._given, self._notice = folder, given, notice
        self._export_folder = export_folder
        self._player = None
        self.state = RunState()
        self.view = View(self.state, self.palette(), self.glyphs, title="home")
        self._known: dict[Path, tuple[tuple[float, ...], RunInfo]] = {}
        self.home_screen: HomeScreen

    def get_default_screen(self) -> Screen[None]:
        """The only one."""
        self.home_screen = HomeScreen(
            self.keymap, self._read, EXAMPLE, str(self._runs_folder), len(before(self._given))
        )
        self.home_screen.view = self.view
        return self.home_screen

    def on_mount(self) -> None:
        """Look for runs and servers; the screen is there first."""
        self.home_screen.servers.servers = before(self._given)
        self.run_worker(self._look_for_runs(), name="runs")
        self.run_worker(self._ask_servers(), name="servers")
        self.call_after_refresh(self._show, slow=True)
        if self._notice:
            severity: Literal["error", "information"] = "error" if self._trouble else "information"
            self.notify(self.glyphs.safe(self._notice), severity=severity, markup=False, timeout=20)

    def _show(self, *, slow: bool) -> None:
        if self.screen is self.home_screen:
            self.view.unhurried = slow
            self.home_screen.sync(self.view)

    def repaint(self) -> None:
        """Colours changed."""
        self.view.palette = self.palette()
        self._show(slow=True)

    async def _look_for_runs(self) -> None:
        while True:
            await self.find_runs()
            await asyncio.sleep(LOOK_SECONDS)

    async def find_runs(self) -> None:
        """Look at each run whose file has changed; big ones are read beside the screen, not in its way."""
        paths = (await asyncio.to_thread(run_files, self._runs_folder))[:RUNS_AT_MOST]
        for path in paths:
            stamp = _stamp(path)
            before_ = self._known.get(path)
            if before_ is None or before_[0] != stamp or before_[1].status in ALIVE:
                info = await asyncio.to_thread(info_of, path)
                if before_ is None or before_[1] != info:
                    self._known[path] = (stamp, info)
                    self._found(paths, complete=False)
        self._known = {path: self._known[path] for path in paths if path in self._known}
        self._found(paths, complete=True)

    def _found(self, paths: list[Path], *, complete: bool) -> None:
        infos = [self._known[path][1] for path in paths if path in self._known]
        self.home_screen.show_runs(infos, complete=complete)
        self._show(slow=True)

    async def _ask_servers(self) -> None:
        while self._given.draft or self._given.target:
            self.home_screen.servers.servers = await probe(self._given)
            self._show(slow=True)
            await asyncio.sleep(PROBE_EVERY)

    def _read(self, problem: str) -> Reading:
        """What the models would make of a problem."""
        if self._given.draft or self._given.target:
            return Reading("enter sends this to your servers", True)
        found = readable(problem)
        if found.unknown:
            named = ", ".join(f'"{word}"' for word in found.unknown[:4])
            said = f"The embedded models do not know {named}. They read problems like: {examples()[0]}"
            return Reading(said, False)
        if found.gold is None:
            return Reading("The embedded models know the words, but not this kind of problem.", None)
        return Reading(f"enter solves this, live; the right answer is {found.gold}", True)

    def on_home_screen_chosen(self, message: HomeScreen.Chosen) -> None:
        """Do it."""
        self.exit(message.command)

    def on_home_screen_resumable(self, message: HomeScreen.Resumable) -> None:
        """Go on with it, or look at it?"""
        choice: Choice = message.choice

        def answered(goes_on: bool | None) -> None:
            if goes_on is not None:
                self.exit(choice.resumes if goes_on else choice.command)

        said = "This run stopped before its end. It can go on from its last finished steps."
        self.push_screen(Confirm(self.view, "Go on?", said, "go on", "replay what there is"), answered)

    def action_leave(self) -> None:
        """Leave."""
        if isinstance(self.screen, HomeScreen):
            self.exit()
        else:
            self.screen.dismiss()


def _stamp(path: Path) -> tuple[float, ...]:
    """Changes when the run's file does."""
    times = []
    for part in (path, path.with_name(path.name + "-wal")):
        try:
            times.append(part.stat().st_mtime)
        except OSError:
            times.append(0.0)
    return tuple(times)
