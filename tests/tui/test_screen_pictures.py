"""Pictures of the screen in each state that a person can reach; `--snapshot-update` accepts new ones."""

from collections.abc import Callable
from typing import Any

import machine_events
import pytest
import synthetic
from driving import frame
from textual.pilot import Pilot

from atts_core import events as ev
from atts_core.reports.compare import Named
from atts_core.state import RunState
from atts_tui.app import AttsApp

SIZES = [(120, 40), (80, 24)]

Compare = Callable[..., bool]


def _app(events: list[ev.Stamped], **settings: Any) -> AttsApp:
    return AttsApp(synthetic.Recorded(events), title="demo", **settings)


def _mid() -> list[ev.Stamped]:
    return synthetic.events(until=4.0, problems=2)


def _pressing(*keys: str) -> Callable[[Pilot[None]], Any]:
    async def run_before(pilot: Pilot[None]) -> None:
        await frame(pilot)
        for key in keys:
            await pilot.press(key)
        await frame(pilot)

    return run_before


@pytest.mark.parametrize("size", SIZES)
def test_mid_run(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(_app(_mid()), terminal_size=size, run_before=_pressing())


@pytest.mark.parametrize("size", SIZES)
def test_finished(snap_compare: Compare, size: tuple[int, int]) -> None:
    finished = _app(synthetic.events(problems=2))
    assert snap_compare(finished, terminal_size=size, run_before=_pressing("down", "down"))


@pytest.mark.parametrize("size", SIZES)
def test_help(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(_app(_mid()), terminal_size=size, run_before=_pressing("question_mark"))


@pytest.mark.parametrize("size", SIZES)
def test_waiting(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(_app([]), terminal_size=size, run_before=_pressing())


@pytest.mark.parametrize("size", SIZES)
def test_server_lost(snap_compare: Compare, size: tuple[int, int]) -> None:
    lost = ev.ServerLost(role="draft", message="connection refused at http://127.0.0.1:30001")
    app = _app([*_mid(), ev.Stamped(9000, 4.1, lost)])
    assert snap_compare(app, terminal_size=size, run_before=_pressing())


@pytest.mark.parametrize("size", SIZES)
def test_calibration(snap_compare: Compare, size: tuple[int, int]) -> None:
    finished = _app(synthetic.events(problems=2))
    assert snap_compare(finished, terminal_size=size, run_before=_pressing("3", "shift+left"))


@pytest.mark.parametrize("size", SIZES)
def test_pipeline(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(_app(_mid()), terminal_size=size, run_before=_pressing("4"))


def test_compare(snap_compare: Compare) -> None:
    runs = (synthetic.events(problems=2), synthetic.events(problems=2, samples=8))
    first, second = (
        Named(name, RunState().fold(run)) for name, run in zip(("one", "two"), runs, strict=True)
    )
    app = AttsApp(synthetic.Recorded([]), state=first.state, first="compare", beside=(first, second))
    assert snap_compare(app, terminal_size=(120, 40), run_before=_pressing())


def test_wide_with_gpus(snap_compare: Compare) -> None:
    app = _app([*_mid(), ev.Stamped(9000, 4.1, synthetic.gpus())])
    assert snap_compare(app, terminal_size=(200, 60), run_before=_pressing())


def test_asking_to_quit(snap_compare: Compare) -> None:
    from driving import Hand

    app = _app(_mid(), control=Hand())
    assert snap_compare(app, terminal_size=(120, 40), run_before=_pressing("q"))


def test_maximised_text(snap_compare: Compare) -> None:
    assert snap_compare(_app(_mid()), terminal_size=(120, 40), run_before=_pressing("tab", "m"))


def test_below_sixty_columns(snap_compare: Compare) -> None:
    assert snap_compare(_app(_mid()), terminal_size=(50, 20), run_before=_pressing())


@pytest.mark.parametrize("theme", ["atts-light", "atts-contrast", "atts-colour-blind", "ansi"])
def test_themes(snap_compare: Compare, theme: str) -> None:
    assert snap_compare(_app(_mid(), theme=theme), terminal_size=(120, 40), run_before=_pressing())


def test_no_color(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(_app(_mid()), terminal_size=(120, 40), run_before=_pressing())


@pytest.mark.parametrize("size", SIZES)
def test_ascii(snap_compare: Compare, size: tuple[int, int]) -> None:
    app = _app(_mid(), ascii_only=True)
    assert snap_compare(app, terminal_size=size, run_before=_pressing())


@pytest.mark.parametrize("size", [(200, 60), (120, 40), (80, 24)])
def test_machines_of_eight_gpus(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(_app(machine_events.events()), terminal_size=size, run_before=_pressing("5"))


def test_machines_without_a_gpu_ascii(snap_compare: Compare) -> None:
    app = _app(_mid(), ascii_only=True)
    assert snap_compare(app, terminal_size=(80, 24), run_before=_pressing("5"))
