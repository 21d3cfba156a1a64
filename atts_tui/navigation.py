"""Going from screen to screen: each is made when it is first opened, kept, and alone shown the run."""

import pkgutil
from typing import Unpack

from atts_core.runs.player import Player
from atts_tui.actions import Bound
from atts_tui.look import Look
from atts_tui.pages import page
from atts_tui.screens.help import HelpScreen
from atts_tui.screens.run_screen import RunScreen
from atts_tui.themed import Themed
from atts_tui.themes import Themes
from atts_tui.view import View


class Navigation(Themed):
    """The part of the application that knows which page is open, and from where."""

    view: View
    _player: Player | None

    def __init__(self, *, themes: Themes | None = None, **look: Unpack[Look]) -> None:
        super().__init__(themes=themes, **look)
        self._pages: dict[str, RunScreen] = {}
        self._came_from: list[str] = []
        """Pages to go back to, the last first."""

    def _show(self, *, slow: bool) -> None:
        raise NotImplementedError

    def action_leave(self) -> None:
        """Leave."""
        raise NotImplementedError

    def page_screen(self, name: str) -> RunScreen:
        """The screen of a page, made where it is not there yet."""
        if name not in self._pages:
            made = pkgutil.resolve_name(page(name).screen)(self.keymap, replay=self._player is not None)
            assert isinstance(made, RunScreen)  # noqa: S101  # what the registry promises
            self._pages[name] = made
            self.install_screen(made, name)
        return self._pages[name]

    @property
    def run_screen(self) -> RunScreen:
        """The page that is open, which a question or the help may cover."""
        return next(screen for screen in reversed(self.screen_stack) if isinstance(screen, RunScreen))

    def _go_to(self, name: str) -> None:
        screen = self.page_screen(name)
        screen.view = self.view
        if screen is self.screen_stack[0]:
            self.pop_screen()
        elif len(self.screen_stack) == 1:
            self.push_screen(name)  # the lowest screen of a stack cannot be switched
        else:
            self.switch_screen(name)

    def action_page(self, name: str) -> None:
        """Open one of the pages that have a key."""
        if isinstance(self.screen, RunScreen) and name != self.screen.PAGE:
            self._came_from.clear()
            self._go_to(name)

    def on_run_screen_opened(self, message: RunScreen.Opened) -> None:
        """Go deeper, to come back with `back`."""
        self._came_from.append(self.run_screen.PAGE)
        self._go_to(message.page)

    async def action_back(self) -> None:
        """Take notes away and undo the last thing that was opened: within the page, or the page."""
        noted = bool(self.screen.query("Toast"))
        self.clear_notifications()
        if self.run_screen.back():
            return
        if self._came_from:
            self._go_to(self._came_from.pop())
        elif self.home and not noted:
            self.action_leave()

    def action_maximise(self) -> None:
        """Show the focused pane alone, or all again."""
        self.run_screen.toggle_maximised()

    def action_next_pane(self) -> None:
        """Focus the next pane."""
        self.screen.focus_next()

    def action_previous_pane(self) -> None:
        """Focus the pane before."""
        self.screen.focus_previous()

    def action_page_up(self) -> None:
        """Scroll up by a page."""
        if (rows := self.run_screen.scroller()) is not None:
            rows.page(-1)

    def action_page_down(self) -> None:
        """Scroll down by a page."""
        if (rows := self.run_screen.scroller()) is not None:
            rows.page(1)

    def action_start(self) -> None:
        """Go to the beginning."""
        if (rows := self.run_screen.scroller()) is not None:
            rows.show_start()

    def action_end(self) -> None:
        """Go to the end."""
        if (rows := self.run_screen.scroller()) is not None:
            rows.show_end()

    def actions_here(self) -> list[Bound]:
        """What can be done on the page that is open, and by which keys."""
        return self.keymap.actions_of(self.run_screen.PAGE, replay=self._player is not None)

    def action_help(self) -> None:
        """Explain the screen and its keys."""
        if isinstance(self.screen, RunScreen):
            shown = HelpScreen(self.view, self.screen.PAGE, self.actions_here(), self.size.width)
            self.push_screen(shown, lambda _: self._show(slow=True))
