"""Themes: one TOML file a theme, read from beside the package, from the repository and from folders given.

A file holds `name`, `dark`, the colours that Textual knows (`primary`, `background`, …), and a `[variables]`
table, in which `atts-…` names are ours (see `palette.py`). Textual is imported only where a theme is made.
"""

import contextlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import platformdirs

from atts_core.errors import SettingsError

if TYPE_CHECKING:
    from textual.theme import Theme

DEFAULT_THEME = "atts-dark"

_BESIDE_PACKAGE = Path(__file__).parent / "themes"
_IN_REPOSITORY = Path(__file__).parent.parent / "themes"


class ThemeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a theme file may hold."""

    name: str
    primary: str
    dark: bool = True
    ansi: bool = False
    """Uses the terminal's own 16 colours."""
    secondary: str | None = None
    accent: str | None = None
    foreground: str | None = None
    background: str | None = None
    surface: str | None = None
    panel: str | None = None
    success: str | None = None
    warning: str | None = None
    error: str | None = None
    variables: dict[str, str] = {}

    def colours(self) -> Iterable[tuple[str, str]]:
        """Every setting whose value is a colour."""
        fields = ("primary", "secondary", "accent", "foreground", "background", "surface", "panel")
        for name in (*fields, "success", "warning", "error"):
            value = getattr(self, name)
            if value is not None:
                yield name, value
        for name, value in self.variables.items():
            if name.startswith("atts-"):
                yield f"variables.{name}", value


@dataclass(frozen=True)
class Themes:
    """What was found: themes by name, and one sentence for each file that could not be read."""

    found: dict[str, ThemeFile] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def read(self, path: Path) -> None:
        """Add the theme of a file, or what is wrong with it."""
        try:
            theme = read_theme(path)
        except SettingsError as error:
            self.failures.append(str(error))
        else:
            self.found[theme.name] = theme

    def pick(self, name: str) -> ThemeFile:
        """The theme of that name. Raises `SettingsError` where there is none."""
        if name not in self.found:
            known = ", ".join(sorted(self.found)) or "none"
            bad = f" ({self.failures[0]})" if self.failures else ""
            raise SettingsError(f"no theme is called {name!r}; themes found: {known}{bad}")
        return self.found[name]


def shipped_folder() -> Path:
    """Where the themes of the package are: beside it when installed, else in the repository."""
    return _BESIDE_PACKAGE if _BESIDE_PACKAGE.is_dir() else _IN_REPOSITORY


def find_themes(more: Iterable[Path] = ()) -> Themes:
    """All themes shipped and in the folders `more`; a later file replaces an earlier one of its name."""
    themes = Themes()
    for folder in (shipped_folder(), *more):
        for path in sorted(folder.glob("*.toml")):
            themes.read(path)
    return themes


def user_folder() -> Path:
    """Where a user's own themes are looked for; it need not exist."""
    return Path(platformdirs.user_config_dir("atts")) / "themes"


class ThemeFolder:
    """A folder of theme files that may change while a screen shows one of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._look()

    def _look(self) -> dict[Path, tuple[int, int]]:
        seen = {}
        for path in self.path.glob("*.toml"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                seen[path] = (stat.st_mtime_ns, stat.st_size)
        return seen

    def changed(self) -> Themes:
        """What has changed since the last call; a file that is gone changes nothing."""
        before, self._seen = self._seen, self._look()
        themes = Themes()
        for path in sorted(path for path, stamp in self._seen.items() if before.get(path) != stamp):
            themes.read(path)
        return themes


def read_theme(path: Path) -> ThemeFile:
    """One theme file. Raises `SettingsError` that says what is wrong where."""
    try:
        theme = msgspec.convert(tomllib.loads(path.read_text("utf-8")), ThemeFile)
    except OSError as error:
        raise SettingsError(f"theme file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"theme file {path} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise SettingsError(f"theme file {path}: {error}") from error
    _check_colours(theme, path)
    return theme


def _check_colours(theme: ThemeFile, path: Path) -> None:
    from textual.color import Color, ColorParseError  # noqa: PLC0415  # `atts --help` imports no screen

    for name, value in theme.colours():
        try:
            Color.parse(value)
        except ColorParseError as error:
            raise SettingsError(
                f"theme file {path}: {name} = {value!r} is no colour; write it like '#4f9cf9' or 'ansi_blue'"
            ) from error


def to_textual(theme: ThemeFile) -> "Theme":
    """The theme as Textual wants it."""
    from textual.theme import Theme  # noqa: PLC0415  # `atts --help` imports no screen

    return Theme(
        name=theme.name,
        primary=theme.primary,
        secondary=theme.secondary,
        accent=theme.accent,
        foreground=theme.foreground,
        background=theme.background,
        surface=theme.surface,
        panel=theme.panel,
        success=theme.success,
        warning=theme.warning,
        error=theme.error,
        dark=theme.dark,
        ansi=theme.ansi,
        variables=dict(theme.variables),
    )
