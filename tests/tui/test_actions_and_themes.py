"""One registry feeds keys, footer, help and palette; theme files are read with readable errors."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.color import ColorSystem

from atts_core.errors import SettingsError
from atts_tui.actions import ACTIONS, KeyMap
from atts_tui.app import AttsApp
from atts_tui.home.app import HomeApp
from atts_tui.pages import HOME, PAGES
from atts_tui.palette import Palette, palette_from
from atts_tui.themes import Themes, find_themes, read_theme, shipped_folder, to_textual


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize("page", [page.id for page in PAGES])
def test_each_key_does_one_thing_on_a_page(page: str, replay: bool) -> None:
    keys = [key for bound in KeyMap().actions_of(page, replay=replay) for key in bound.keys]
    assert len(keys) == len(set(keys))


def test_each_action_and_each_page_is_there_once() -> None:
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)
    assert len({page.id for page in PAGES}) == len({page.screen for page in PAGES}) == len(PAGES)
    assert [page.key for page in PAGES if page.key] == sorted(page.key for page in PAGES if page.key)


def test_each_action_has_its_method_wherever_it_can_be_done() -> None:
    pages = (*PAGES, HOME)
    assert {page for action in ACTIONS for page in action.pages} <= {page.id for page in pages}
    for page in pages:
        screen = pkgutil.resolve_name(page.screen)
        assert page.id == screen.PAGE
        for replay in (False, True):
            for bound in KeyMap().actions_of(page.id, replay=replay):
                owner, _, method = bound.action.call.partition(".")
                where = {"app": HomeApp if page is HOME else AttsApp, "screen": screen}[owner]
                assert hasattr(where, f"action_{method.partition('(')[0]}"), bound.action.id


@pytest.mark.parametrize("module", ["actions", "themes", "words", "pages", "layout.solve"])
def test_settings_can_be_checked_without_a_screen(module: str) -> None:
    code = f"import atts_tui.{module}, sys; assert 'textual' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_shipped_themes_are_read() -> None:
    themes = find_themes()
    assert not themes.failures
    assert {"atts-dark", "atts-light", "ansi"} <= set(themes.found)


@pytest.mark.parametrize("name", ["atts-dark", "atts-light"])
def test_accept_and_take_over_differ_in_256_colours_as_well(name: str) -> None:
    theme = to_textual(find_themes().pick(name))
    palette = palette_from({**theme.to_color_system().generate(), **theme.variables})
    assert isinstance(palette, Palette)

    def reduced(styles: tuple[object, ...]) -> set[object]:
        return {style.color.downgrade(ColorSystem.EIGHT_BIT).number for style in styles}  # type: ignore[attr-defined]

    assert not reduced(palette.accept) & reduced(palette.take_over)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = 'x'\nprimary = 'no colour'", "primary = 'no colour' is no colour"),
        (
            "name = 'x'\nprimary = '#fff'\n[variables]\natts-accept = 'bluish'",
            "variables.atts-accept = 'bluish'",
        ),
        ("name = 'x'", "missing required field `primary`"),
        ("name = 'x'\nprimary = '#fff'\ncolour = 1", "unknown field `colour`"),
        ("name = ", "is not TOML"),
        ("name = 'x'\nprimary = 3", "Expected `str`, got `int` - at `$.primary`"),
    ],
)
def test_a_bad_theme_file_is_named_and_left_out(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        read_theme(path)
    assert complaint in str(raised.value)
    assert str(path) in str(raised.value)
    themes = find_themes([tmp_path])
    assert themes.failures == [str(raised.value)]
    assert "atts-dark" in themes.found


def test_a_theme_that_does_not_exist_is_a_mistake_of_the_user() -> None:
    with pytest.raises(SettingsError, match="no theme is called 'neon'; themes found: ansi, atts-"):
        find_themes().pick("neon")
    with pytest.raises(SettingsError):
        Themes().pick("atts-dark")


def test_themes_come_from_the_repository_where_nothing_is_installed() -> None:
    assert (shipped_folder() / "atts-dark.toml").is_file()
