"""A user's own keys, refused in one sentence where they cannot be; what a person is told unasked."""

from pathlib import Path

import pytest
import synthetic
from driving import frame, lines, running, text
from hypothesis import given
from hypothesis import strategies as st

from atts_core import config
from atts_core import events as ev
from atts_core.errors import SettingsError
from atts_core.events import Stamped
from atts_core.state import RunState
from atts_tui.actions import ACTIONS, KeyMap
from atts_tui.alerts import ERRORS_AT_ONCE, Alerts
from atts_tui.keymap import read_keymap
from atts_tui.look import look
from atts_tui.themes import Themes, find_themes


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"folow": "F"}, "keys.folow: there is no such action; is follow meant?"),
        ({"zzz": "F"}, "keys.zzz: there is no such action; the palette"),
        ({"follow": "hyperspace"}, "keys.follow = 'hyperspace': there is no such key"),
        ({"follow": "super+f"}, "keys.follow = 'super+f': there is no such key"),
        ({"follow": "ctrl+c"}, "this key always quits"),
        ({"follow": "s"}, "keys.follow = 's': on Solve that is the key of sort as well"),
        ({"help": ["/"]}, "keys.help = '/': on Run that is the key of filter as well"),
    ],
)
def test_a_key_map_that_cannot_be_is_one_sentence(table: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_keymap(table, "atts.toml: keys")
    assert complaint in str(raised.value)
    assert str(raised.value).startswith("atts.toml: keys.")


def test_keys_may_change_places_be_several_or_none() -> None:
    keymap = read_keymap({"follow": "s", "sort": "f", "theme": "", "export": ["E", "ctrl+e", "@"]}, "keys")
    keys = {bound.action.id: bound.keys for bound in keymap.actions_of("solve", replay=False)}
    assert keys["follow"] == ("s",)
    assert keys["sort"] == ("f",)
    assert keys["theme"] == ()
    assert keys["export"] == ("E", "ctrl+e", "at")


@given(st.sampled_from([action.id for action in ACTIONS]), st.characters(min_codepoint=33, max_codepoint=126))
def test_any_key_is_either_bound_to_one_action_or_refused(name: str, key: str) -> None:
    try:
        keymap = read_keymap({name: key}, "keys")
    except SettingsError:
        return
    for replay in (False, True):
        bound = [key for b in keymap.actions_of("solve", replay=replay) for key in b.keys]
        assert len(bound) == len(set(bound))


def test_the_key_map_comes_from_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "atts.toml").write_text('bell = true\n[keys]\nfollow = "F"\n')
    seen = look(config.load(config.Given(), {}))
    assert seen["keymap"] == KeyMap({"follow": ("F",)})
    assert seen["bell"]
    (tmp_path / "atts.toml").write_text('[keys]\nfollow = "s"\n')
    with pytest.raises(SettingsError, match=r"atts\.toml: keys\.follow = 's'"):
        look(config.load(config.Given(), {}))
    (tmp_path / "atts.toml").write_text("[keys]\nfollow = 3\n")
    with pytest.raises(SettingsError, match=r"atts\.toml: .*keys"):
        config.load(config.Given(), {})
    (tmp_path / "atts.toml").unlink()
    with pytest.raises(SettingsError, match="ATTS_KEYS means nothing"):
        config.load(config.Given(), {"ATTS_KEYS": "x"})


async def test_a_changed_key_works_and_footer_and_help_show_it() -> None:
    keymap = read_keymap({"follow": "F", "help": "f2"}, "keys")
    async with running(synthetic.events(until=3.0, problems=1), size=(160, 70), keymap=keymap) as (
        pilot,
        app,
        _,
    ):
        assert "F stop following" in lines(app)[-1]
        await pilot.press("F")
        assert not app.view.follow
        await pilot.press("f2")
        await frame(pilot)
        assert "Follow the newest take-over" in text(app)


def stamps(*events: ev.AnyEvent) -> list[Stamped]:
    return [Stamped(n, float(n), event) for n, event in enumerate(events, 1)]


def test_each_thing_is_told_once_and_a_flood_is_counted() -> None:
    state = RunState()
    alerts = Alerts(state)
    lost = [ev.ServerLost(role="draft", message=f"gone {n}\x1b[31m") for n in range(10)]
    state.fold(stamps(ev.Warned(message="careful"), *lost))
    told = [alert.message for alert in alerts.of(state)]
    assert told[0] == "careful"
    assert len(told) == 1 + ERRORS_AT_ONCE + 1
    assert told[-1] == f"{10 - ERRORS_AT_ONCE} more errors: the log (6) has them."
    assert "\x1b" not in "".join(told)
    assert alerts.of(state) == []
    state.apply(Stamped(99, 70.0, ev.RunFinished(end="incomplete", message="two samples failed")))
    assert [alert.message for alert in alerts.of(state)] == [
        "The run is incomplete after 1:10. two samples failed"
    ]
    assert Alerts(state).of(state) == [], "what was there before is in the past"


def test_an_engine_that_stalls_is_told_once_until_it_comes_back() -> None:
    alerts = Alerts(RunState())
    lives = ("alive", "stalled", "stalled", "alive", "stalled", "gone", "gone")
    assert [len(alerts.of_engine(life)) for life in lives] == [0, 1, 0, 0, 1, 1, 0]  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", [True, False])
async def test_the_bell_rings_for_an_error_where_it_is_wanted(wanted: bool) -> None:
    async with running(synthetic.events(until=2.0, problems=1), bell=wanted) as (pilot, app, source):
        rung = []
        app.bell = lambda: rung.append(True)  # type: ignore[method-assign]
        source.add([Stamped(9000, 3.0, ev.ServerLost(role="draft", message="gone"))])
        await frame(pilot)
        assert bool(rung) == wanted


async def test_escape_takes_notes_away_and_leaves_only_where_there_were_none() -> None:
    lost = ev.ServerLost(role="draft", message="gone for good")
    run = synthetic.events(until=2.0, problems=1)
    async with running(run, size=(80, 24), home=True) as (pilot, app, source):
        await pilot.press("enter")
        await frame(pilot)
        source.add([Stamped(9000, 3.0, lost)])
        await frame(pilot)
        assert app.screen.query("Toast")
        await pilot.press("escape")
        await frame(pilot)
        assert not app.screen.query("Toast")
        assert app.run_screen.PAGE == "solve"
        source.add([Stamped(9001, 3.1, lost)])
        await frame(pilot)
        assert app.screen.query("Toast")
        left: list[bool] = []
        app.action_leave = lambda: left.append(True)  # type: ignore[method-assign]
        await pilot.press("escape")
        await frame(pilot)
        assert not app.screen.query("Toast")
        assert left == []
        await pilot.press("escape")
        await frame(pilot)
        assert left == [True]


def _theme(path: Path, accept: str) -> None:
    path.write_text(f"name = 'mine'\nprimary = '#336699'\n[variables]\natts-accept = '{accept}'\n")


async def test_a_theme_file_is_read_again_while_the_screen_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atts_tui.themed.user_folder", lambda: tmp_path)
    _theme(tmp_path / "mine.toml", "#ff0000")
    async with running(synthetic.events(until=2.0, problems=1), theme="mine") as (pilot, app, _):
        app.reload_themes()
        assert app.view.palette.draft.color is not None
        assert app.view.palette.draft.color.name == "#ff0000"
        _theme(tmp_path / "mine.toml", "#00ff000")
        app.reload_themes()
        await pilot.pause()
        assert app.view.palette.draft.color.name == "#ff0000"
        said = [note.message for note in app._notifications]
        assert len(said) == 1
        assert "is no colour" in said[0]
        assert "stays as it was" in said[0]
        _theme(tmp_path / "mine.toml", "#0000ff")
        app.reload_themes()
        await frame(pilot)
        assert app.view.palette.draft.color.name == "#0000ff"
        (tmp_path / "new.toml").write_text("name = 'newer'\nprimary = '#123456'\n")
        app.reload_themes()
        assert "newer" in app.available_themes
        (tmp_path / "mine.toml").unlink()
        app.reload_themes()
        assert app.theme == "mine"


async def test_a_bad_file_of_the_user_does_not_keep_the_screen_from_opening() -> None:
    themes = Themes(found=find_themes().found, failures=["theme file x.toml is not TOML: [b]line 1[/b]"])
    async with running(synthetic.events(until=2.0, problems=1), themes=themes) as (_, app, _source):
        assert [note.message for note in app._notifications] == themes.failures
