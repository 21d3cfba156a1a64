"""What all our applications share: themes that are read again while they run, palette, bell."""

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from typing import ClassVar, Unpack

from textual._styles_cache import StylesCache
from textual.app import App
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.filter import LineFilter

from atts_tui.actions import ALWAYS_QUIT, KeyMap
from atts_tui.look import DEFAULT_FPS, Look
from atts_tui.palette import ASCII_GLYPHS, UNICODE_GLYPHS, Palette, palette_from
from atts_tui.themes import DEFAULT_THEME, ThemeFolder, Themes, find_themes, to_textual, user_folder

RELOAD_SECONDS = 1.0
"""How often the user's theme files are looked at."""


class Themed(App[tuple[str, ...]]):
    """An application in one of our themes. What it returns is a command line to go on with, if any."""

    CSS = """
    Toast { background: $panel; color: $foreground; }
    ToastRack { align-horizontal: right; margin-bottom: 3; }
    Themed.-ascii-only Toast { border: none; }
    Themed.-ascii-only SearchIcon { display: none; }
    Themed.-ascii-only .framed { border: ascii $border-blurred; }
    Themed.-ascii-only .framed:focus-within { border: ascii $border; }
    Themed.-ascii-only .framed.-compact { border: none; border-top: ascii $border-blurred; }
    Themed.-ascii-only VerticalScroll { scrollbar-size-vertical: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding(ALWAYS_QUIT, "leave", "quit", show=False, priority=True)]
    ENABLE_COMMAND_PALETTE = True
    AUTO_FOCUS: ClassVar[str | None] = None

    _ended: ClassVar[bool] = False

    def __init__(self, *, themes: Themes | None = None, **look: Unpack[Look]) -> None:
        """Raises `SettingsError` for a theme that does not exist."""
        super().__init__()
        self.title = "atts"
        self.keymap = look.get("keymap") or KeyMap()
        self._fps = look.get("fps", DEFAULT_FPS)
        self._ascii = look.get("ascii_only", False)
        self.home = look.get("home", False)
        """Whether leaving comes back to the home screen."""
        self._bell = look.get("bell", False)
        self._entitled = ""
        self._window_title = look.get("window_title", False)
        self._folder = ThemeFolder(user_folder())
        self._themes = themes if themes is not None else find_themes([self._folder.path])
        wanted = self._themes.pick(look.get("theme") or DEFAULT_THEME).name
        for found in self._themes.found.values():
            self.register_theme(to_textual(found))
        self.theme = wanted
        self.glyphs = ASCII_GLYPHS if self._ascii else UNICODE_GLYPHS

    def on_mount(self) -> None:
        """Classes of the mode, and eyes on the themes."""
        self._heed_signals()
        if self._ascii:
            self.add_class("-ascii-only")
        self.theme_changed_signal.subscribe(self, lambda _: self.repaint())
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))
        self.set_interval(RELOAD_SECONDS, self.reload_themes, name="theme files")
        for failure in self._themes.failures:
            self.notify(
                self.glyphs.safe(failure), title="A theme was left out", severity="warning", markup=False
            )

    def on_unmount(self) -> None:
        """A cache of Textual holds up to 1,024 drawn widgets of screens that are gone: free them."""
        StylesCache.get_inner_outer.cache_clear()

    def _heed_signals(self) -> None:
        """A terminal that goes away, or a kind kill, ends the screen as a key would: it is restored first."""
        if self.is_headless:
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                    loop.add_signal_handler(number, self._end, number)

    def _end(self, number: int) -> None:
        Themed._ended = True
        self.exit(return_code=128 + number)

    def get_driver_class(self) -> type[Driver]:
        """On a terminal ours, which waits for nobody; for a browser ours, which ends with its server;
        elsewhere Textual's."""
        found = super().get_driver_class()
        if found.__name__ == "WebDriver":
            from atts_tui.web.driver import ViewerDriver  # noqa: PLC0415  # only a web server's child has one

            return ViewerDriver
        if found.__name__ != "LinuxDriver":
            return found
        from atts_tui.driver import TerminalDriver  # noqa: PLC0415  # not every system has such terminals

        return TerminalDriver

    def on_terminal_gone(self) -> None:
        """Nobody is left to see it, whether or not a signal says so."""
        self._end(signal.SIGHUP)

    def on_terminal_caught_up(self) -> None:
        """Pictures were left out: draw all of it."""
        self.refresh(layout=True)

    @staticmethod
    def ended_from_outside() -> bool:
        """Whether any screen of this process was told from outside to end: none is to open after it."""
        return Themed._ended

    def palette(self) -> Palette:
        """Colours by meaning of the theme as it is now."""
        return palette_from(self.get_css_variables())

    def repaint(self) -> None:
        """Colours changed: draw everything again."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own variables for themes that do not set them."""
        theme = self.current_theme
        return {
            "atts-accept": theme.primary,
            "atts-take-over": theme.warning or theme.primary,
            "atts-title": theme.foreground or theme.primary,
        }

    def get_line_filters(self) -> Sequence[LineFilter]:
        """No filter where no colour needs one: our own themes name true colours, or the terminal's own."""
        if self.no_color or self.theme not in self._themes.found:
            return super().get_line_filters()
        return ()

    def reload_themes(self) -> None:
        """Take over what has changed in the user's theme files; a bad one is said, and the old one stays."""
        changed = self._folder.changed()
        for failure in changed.failures:
            said = self.glyphs.safe(f"{failure}. The theme stays as it was.")
            self.notify(said, title="Bad theme", severity="error", markup=False, timeout=15)
        for name, found in changed.found.items():
            self._themes.found[name] = found
            self.register_theme(to_textual(found))
            if name == self.theme:
                self.mutate_reactive(App.theme)

    def action_suspend(self) -> None:
        """Put the screen aside until the shell brings it back."""
        put_aside = getattr(self._driver, "put_aside", None)
        if put_aside is None:
            self._say("Only the screen of a terminal can be put aside.")
        else:
            put_aside()

    def action_theme(self) -> None:
        """Change to the next of our themes."""
        names = sorted(self._themes.found)
        place = names.index(self.theme) + 1 if self.theme in names else 0
        self.theme = names[place % len(names)]
        self.clear_notifications()
        self._say(f"Theme {self.theme} ({place % len(names) + 1} of {len(names)}).")

    def _say(self, message: str) -> None:
        self.notify(self.glyphs.safe(message), markup=False)

    def _ring(self) -> None:
        """The terminal's bell, where it is wanted."""
        if self._bell:
            self.bell()

    def _entitle(self, said: str) -> None:
        """The terminal's own title, where it is wanted; takes words that were cleaned."""
        entitle = getattr(self._driver, "entitle", None)
        if self._window_title and said != self._entitled and entitle is not None:
            self._entitled = said
            entitle(said)
