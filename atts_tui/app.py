"""The Textual application: one frame clock between the events of a run and the screen.

Events wait in the source; the clock drains them, folds them into `RunState` and shows the screen the view.
The clock stands still while nothing happens.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Unpack

from textual.app import SystemCommand
from textual.screen import ModalScreen, Screen
from textual.timer import Timer

from atts_core.events import Stamped
from atts_core.reports.compare import Named
from atts_core.runs.details import Details
from atts_core.runs.player import Player
from atts_core.runs.presence import Life
from atts_core.state import RunState
from atts_tui import words
from atts_tui.alerts import Alert, Alerts
from atts_tui.control import Control, Source
from atts_tui.feed import Feed
from atts_tui.look import Look
from atts_tui.narrator import Narrator
from atts_tui.navigation import Navigation
from atts_tui.pages import FIRST
from atts_tui.run_actions import RunActions
from atts_tui.screens.confirm import ConfirmQuit
from atts_tui.screens.run_screen import RunScreen
from atts_tui.take_away import TakeAway
from atts_tui.text import clean_line
from atts_tui.themes import Themes
from atts_tui.view import View
from atts_tui.widgets.transport_bar import TransportBar

SLOW_HZ = 3
"""How often numbers and charts are drawn: faster than that nobody reads them."""

NOTE_SECONDS = {"information": 8.0, "warning": 12.0, "error": 20.0}
"""How long a passing note stays, by its weight."""

LIFE_SECONDS = 2.0
"""How often a screen that watches another process's run looks whether that is alive."""

FROZEN_HZ = 2
"""How often the count of waiting events is drawn while frozen."""

QUIET_FRAMES = 5
"""Empty frames after which the clock stands still until an event comes."""


class AttsApp(RunActions, Navigation, TakeAway):
    """Shows a run from a source of events.

    With a `control` the screen owns the run: it can pause it, and quitting asks first while it is unfinished;
    `run_async` then returns, and who started the run ends it. Without a control, or where it does not own the
    run, it only watches: quitting ends nothing. `life` tells what became of an engine in another process;
    `player` is the source of a replay, and a `narrator` that of whatever is told to an audience. Raises
    `SettingsError` for a theme that does not exist.
    """

    def __init__(
        self,
        source: Source,
        *,
        state: RunState | None = None,
        control: Control | None = None,
        owns: bool = True,
        life: Callable[[], Life] | None = None,
        player: Player | None = None,
        details: Details | None = None,
        narrator: Narrator | None = None,
        title: str = "",
        first: str = FIRST,
        linger: float | None = None,
        beside: tuple[Named, Named] | None = None,
        themes: Themes | None = None,
        export_folder: Path | None = None,
        **look: Unpack[Look],
    ) -> None:
        """`state` is what the source's events go on from. `title` says what runs, such as `demo`; `first`
        is the page that opens; pictures go to `export_folder`, else the current one. `beside`: two runs to
        compare, the first of them that of `state`. `details` gives back what the state has put away. So many
        seconds after its run is done (`linger`) the screen leaves by itself, with `again` set."""
        self._first = first
        self._linger = linger
        self._leaving: Timer | None = None
        self.again = False
        """Once the screen is left: whether it was because its run was done."""
        super().__init__(themes=themes, **look)
        self.state = state if state is not None else RunState()
        self._control = control
        self._owns = owns
        self._life = life
        self._player = player
        self._export_folder = export_folder
        self._feed = Feed(source, self.state)
        self._clock: Timer | None = None
        self._frame = 0
        self._quiet_frames = 0
        self._quiet = asyncio.Event()
        self.shown = asyncio.Event()
        """Set once the first frame is on the screen."""
        self.lets_go = False
        """Once the screen is left: whether its run is to go on as a process of its own."""
        self._epoch = player.epoch if player is not None else 0
        self._alerts = Alerts(self.state)
        self.view = View(
            self.state,
            self.palette(),
            self.glyphs,
            title=title,
            player=player,
            narrator=narrator,
            epoch=self._epoch,
            beside=beside,
            details=player.details if player is not None else details,
        )

    def get_default_screen(self) -> Screen[None]:
        """The first page."""
        return self.page_screen(self._first)

    def on_mount(self) -> None:
        """Show what there is and what already waits, and start the clock."""
        self.view.advance()
        self._clock = self.set_interval(1 / self._fps, self._tick, name="frame clock")
        if self._player is None:
            self.run_worker(self._wake_on_events(), name="events", exit_on_error=True)
        if self._life is not None:
            self.set_interval(LIFE_SECONDS, self._look_for_engine, name="engine's life")
        self.call_after_refresh(self._tick)
        self.call_after_refresh(self.shown.set)

    # The frame clock.

    async def _wake_on_events(self) -> None:
        """Start the clock again when events come after a silence."""
        async for batch in self._feed.source.batches():
            self._feed.hold(batch)
            self._quiet_frames = 0
            self._quiet.clear()
            if self._clock is not None:
                self._clock.resume()
            await self._quiet.wait()

    def _tick(self) -> None:
        """One frame."""
        self._frame += 1
        folded = self._feed.advance()
        player = self._player
        if player is not None and player.epoch != self._epoch:
            self._jumped(player)
            folded += 1
        if self.view.frozen:
            if self._frame % max(self._fps // FROZEN_HZ, 1) == 0:
                if self.view.waiting == self._feed.waiting:
                    self._rest()
                self.view.waiting = self._feed.waiting
                self._show(slow=True)
            return
        if folded:
            self._tell(self._alerts.of(self.state))
            self._leave_in_time()
            self._quiet_frames = 0
            self.view.advance()
            self._show(slow=self._frame % max(self._fps // SLOW_HZ, 1) == 0)
            return
        if player is not None and player.playing and (player.loop or not player.ended):
            self._show(slow=self._frame % max(self._fps // SLOW_HZ, 1) == 0)
            return
        self._quiet_frames += 1
        if self._quiet_frames == 1:
            self._show(slow=True)
        elif self._quiet_frames >= QUIET_FRAMES and not self._feed.waiting:
            self._rest()

    def _rest(self) -> None:
        """Nothing comes: the clock stands still until something does."""
        if self._clock is not None:
            self._clock.pause()
            self._quiet.set()

    def _show(self, *, slow: bool) -> None:
        """Show the screen the view; one that lies under a page is shown it when the page closes."""
        # A last tick may come while the app closes, when there is no screen any more.
        screen = self.screen if self._clock is not None and self.screen_stack else None
        if isinstance(screen, RunScreen):
            self.view.unhurried = slow
            screen.sync(self.view)
        if slow:
            view = self.view
            self._entitle(words.window_title(clean_line(view.title), view.badge, view.state))

    def _tell(self, alerts: list[Alert]) -> None:
        """Show passing notes, and ring where that is wanted; a replay's are in its past."""
        for severity, title, message, _ in alerts if self._player is None else ():
            said = self.view.glyphs.safe(message)
            self.notify(said, title=title, severity=severity, markup=False, timeout=NOTE_SECONDS[severity])
        if self._player is None and any(alert.loud for alert in alerts):
            self._ring()

    def _leave_in_time(self) -> None:
        """A screen of many runs: the result of this one is looked at, and left; not while it is frozen."""
        finished = self.state.finished
        if self._linger is None or self._leaving is not None or finished is None or finished.end != "done":
            return

        def leave() -> None:
            if not self.view.frozen:
                self.again = True
                self.exit()

        self._leaving = self.set_interval(self._linger, leave, name="next run")

    def _jumped(self, player: Player) -> None:
        """A replay stands at another moment: everything goes on from its state there."""
        self._epoch, self.state = player.epoch, player.state
        self._feed.restart(player.state)
        self._alerts.skip(player.state)
        self.view.restart(player.state, player.epoch)

    def _look_for_engine(self) -> None:
        """While another process runs what is shown: is it still there?"""
        life = self._life() if self._life is not None else ""
        self.view.life = life if life in ("gone", "stalled") else ""
        if self.state.finished is None:
            self._tell(self._alerts.of_engine(life))
        self._show(slow=True)

    def repaint(self) -> None:
        """Colours changed."""
        self.view.palette = self.palette()
        self._show(slow=True)

    # For whoever runs the app.

    def say(self, message: str) -> None:
        """Tell the person something: in the status until the run has begun, then as a passing note."""
        if self.state.run is None:
            self.view.notice = message
            self._show(slow=True)
        else:
            self._say(message)

    def draw(self) -> None:
        """One frame now, of everything that waits."""
        while self._feed.advance():
            pass
        self.view.advance()
        self._show(slow=True)

    def remaining(self) -> list[Stamped]:
        """Events that came and were not folded when the app ended."""
        return self._feed.remaining()

    # What a person can do: one method for each entry of `actions.ACTIONS`.

    def action_freeze(self) -> None:
        """Freeze the display, or show everything that came meanwhile."""
        self.view.frozen = self._feed.frozen = not self.view.frozen
        self.view.waiting = self._feed.waiting
        self._quiet_frames = 0
        if self._clock is not None:
            self._clock.resume()
        if not self.view.frozen:
            self._feed.advance()
            self.view.waiting = 0
        self._show(slow=True)

    def action_play(self) -> None:
        """Play, or hold."""
        if self._player is not None:
            self._transport(self._player.toggle)

    def action_go_on(self) -> None:
        """The caption has been read."""
        if self.view.narrator is not None:
            self.view.narrator.go_on()
            self._transport(lambda: None)

    # A replay's transport. Only a replay has keys for it.

    def _transport(self, move: Callable[[], object]) -> None:
        if move() is False:
            self._say("There is none beyond this one.")
        self._quiet_frames = 0
        if self._clock is not None:
            self._clock.resume()
        self._tick()
        self._show(slow=True)

    def action_replay(self, move: str) -> None:
        """One of the player's own moves, by its name."""
        if self._player is not None:
            self._transport(getattr(self._player, move))

    def action_skip(self, seconds: float) -> None:
        """Go forward, or back, by so much."""
        if (player := self._player) is not None:
            self._transport(lambda: player.skip(seconds))

    def action_seek(self, percent: float) -> None:
        """Go to a share of the run."""
        if (player := self._player) is not None:
            self._transport(lambda: player.seek_percent(percent))

    def action_seek_by(self, percent: float) -> None:
        """Go forward, or back, by a share of the run."""
        if (player := self._player) is not None:
            self._transport(lambda: player.skip(player.duration * percent / 100))

    def on_transport_bar_sought(self, message: TransportBar.Sought) -> None:
        """The transport bar was clicked."""
        self.action_seek(message.percent)

    def action_loop(self) -> None:
        """Begin again at the end, or no longer."""
        if (player := self._player) is not None:
            player.loop = not player.loop
            self._transport(lambda: None)

    @property
    def holds_run(self) -> bool:
        """Whether an unfinished run goes on in this process, and ends with it."""
        return self._control is not None and self._owns and self.state.finished is None

    def action_suspend(self) -> None:
        """Put the screen aside, but not with a run: its requests would time out, its clock would go on."""
        if self.holds_run:
            self._say("This run would stand still. Quit (q) can let it go on by itself instead.")
        else:
            super().action_suspend()

    def action_leave(self) -> None:
        """Quit; ask first where that would end a run."""
        if isinstance(self.screen, ConfirmQuit):
            self.screen.dismiss(True)  # asked twice
        elif isinstance(self.screen, ModalScreen):
            self.screen.dismiss()
        elif not self.holds_run:
            self.exit()
        else:
            question = ConfirmQuit(self.view)

            def answered(quits: bool | None) -> None:
                if quits:
                    self.lets_go = question.lets_go
                    self.exit()
                else:
                    self._show(slow=True)

            self.push_screen(question, answered)

    def get_system_commands(self, _screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: the registry of actions, and every theme by name."""
        shown = self.run_screen
        for action, keys, written in self.actions_here():
            if action.id != "palette":
                title = (action.label or action.id.replace("_", " ")).capitalize()
                said = f"{action.help} ({written})" if keys else action.help
                yield SystemCommand(title, said, partial(shown.run_action, action.call))
        for name in sorted(self._themes.found):
            yield SystemCommand(
                f"Theme {name}", "Change to this theme.", lambda name=name: setattr(self, "theme", name)
            )
