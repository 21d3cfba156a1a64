"""Pictures of every screen: at three sizes, in each theme, without colour, in ASCII, and in its other states;
`--snapshot-update` accepts new ones. Look at them before: they open in any browser.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import evaluations
import machine_events
import pytest
import synthetic
from driving import Hand, frame
from textual.app import App
from textual.pilot import Pilot

from atts_core import events as ev
from atts_core.config import Given
from atts_core.reports.compare import Named
from atts_core.runs.file import About
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState
from atts_tui.app import AttsApp
from atts_tui.home import listing
from atts_tui.home.app import HomeApp

SIZES = [(200, 60), (120, 40), (80, 24)]

Compare = Callable[..., bool]


def _app(events: list[ev.Stamped], **settings: Any) -> AttsApp:
    return AttsApp(synthetic.Recorded(events), title="demo", **settings)


def _opened(events: list[ev.Stamped], **settings: Any) -> AttsApp:
    """A screen that comes to a run under way: no note covers anything."""
    state = RunState().fold(events)
    return AttsApp(synthetic.Recorded([]), state=state, title="demo", **settings)


def _mid() -> list[ev.Stamped]:
    return synthetic.events(until=4.0, problems=2)


def _evaluation() -> list[ev.Stamped]:
    events = list(evaluations.stamps(problems=60, pieces=1, words=6))
    return events[: len(events) // 2]


def _pressing(*keys: str) -> Callable[[Pilot[None]], Any]:
    async def run_before(pilot: Pilot[None]) -> None:
        await frame(pilot)
        for key in keys:
            await pilot.press(key)
        await frame(pilot)

    return run_before


PAGES: dict[str, tuple[Callable[[], list[ev.Stamped]], tuple[str, ...]]] = {
    "solve": (_mid, ()),
    "run": (_evaluation, ("2", "n", "n")),
    "calibration": (lambda: synthetic.events(problems=2), ("3", "shift+left")),
    "pipeline": (_mid, ("4",)),
    "machines": (machine_events.events, ("5",)),
    "log": (_mid, ("6",)),
    "sample": (_mid, ("enter",)),
}
"""What each page is shown of, and the keys that lead there."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", PAGES)
def test_page(snap_compare: Compare, page: str, size: tuple[int, int]) -> None:
    events, keys = PAGES[page]
    assert snap_compare(_opened(events()), terminal_size=size, run_before=_pressing(*keys))


@pytest.mark.parametrize("size", SIZES)
def test_compare(snap_compare: Compare, size: tuple[int, int]) -> None:
    runs = (synthetic.events(problems=2), synthetic.events(problems=2, samples=8))
    first, second = (
        Named(name, RunState().fold(run)) for name, run in zip(("one", "two"), runs, strict=True)
    )
    app = AttsApp(synthetic.Recorded([]), state=first.state, first="compare", beside=(first, second))
    assert snap_compare(app, terminal_size=size, run_before=_pressing())


async def _at_home(pilot: Pilot[Any]) -> None:
    app: App[Any] = pilot.app
    assert isinstance(app, HomeApp)
    await pilot.pause()
    await app.find_runs()
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
def test_home(
    snap_compare: Compare, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = synthetic.events(problems=2)
    for hour, (kind, data, events) in enumerate(
        (("demo", "builtin", whole), ("eval", "aime24", whole[:900]), ("solve", "", whole[:9]))
    ):
        path = Path("runs") / f"20261120-1{hour}0000-{kind}.atts"
        monkeypatch.chdir(tmp_path)
        path.parent.mkdir(exist_ok=True)
        writer = RunWriter.create(
            path, About(run=path.stem, command=kind, created=0.0, version="0", dataset=data)
        )
        writer.append(events)
        writer.close()
    monkeypatch.setattr(listing, "age", lambda _: "2 h")  # else it would change with the day
    assert snap_compare(HomeApp(Path("runs"), Given()), terminal_size=size, run_before=_at_home)


def test_home_without_runs(snap_compare: Compare) -> None:
    app = HomeApp(Path("/nowhere/runs"), Given())
    assert snap_compare(app, terminal_size=(120, 40), run_before=_at_home)


@pytest.mark.parametrize(
    ("theme", "page"),
    [("atts-light", "solve"), ("atts-contrast", "pipeline"), ("atts-colour-blind", "calibration"),
     ("ansi", "run")],
)  # fmt: skip
def test_theme(snap_compare: Compare, theme: str, page: str) -> None:
    events, keys = PAGES[page]
    assert snap_compare(_opened(events(), theme=theme), terminal_size=(120, 40), run_before=_pressing(*keys))


def test_no_color(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(_app(_mid()), terminal_size=(120, 40), run_before=_pressing())


@pytest.mark.parametrize(("page", "size"), [("solve", (120, 40)), ("pipeline", (80, 24)), ("run", (80, 24))])
def test_ascii(snap_compare: Compare, page: str, size: tuple[int, int]) -> None:
    events, keys = PAGES[page]
    app = _opened(events(), ascii_only=True)
    assert snap_compare(app, terminal_size=size, run_before=_pressing(*keys))


def test_machines_without_a_gpu_ascii(snap_compare: Compare) -> None:
    app = _app(_mid(), ascii_only=True)
    assert snap_compare(app, terminal_size=(80, 24), run_before=_pressing("5"))


def test_finished(snap_compare: Compare) -> None:
    finished = _app(synthetic.events(problems=2))
    assert snap_compare(finished, terminal_size=(120, 40), run_before=_pressing("down", "down"))


@pytest.mark.parametrize("size", SIZES[1:])
def test_help(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(_app(_mid()), terminal_size=size, run_before=_pressing("question_mark"))


def test_waiting(snap_compare: Compare) -> None:
    assert snap_compare(_app([]), terminal_size=(80, 24), run_before=_pressing())


def test_server_lost(snap_compare: Compare) -> None:
    lost = ev.ServerLost(role="draft", message="connection refused at http://127.0.0.1:30001")
    app = _app([*_mid(), ev.Stamped(9000, 4.1, lost)])
    assert snap_compare(app, terminal_size=(80, 24), run_before=_pressing())


def test_solve_with_gpus(snap_compare: Compare) -> None:
    app = _app([*_mid(), ev.Stamped(9000, 4.1, synthetic.gpus())])
    assert snap_compare(app, terminal_size=(120, 40), run_before=_pressing())


def test_filtering_the_log(snap_compare: Compare) -> None:
    keys = ("6", "slash", *"answer")
    assert snap_compare(_app(_mid()), terminal_size=(80, 24), run_before=_pressing(*keys))


def test_asking_to_quit(snap_compare: Compare) -> None:
    app = _app(_mid(), control=Hand())
    assert snap_compare(app, terminal_size=(120, 40), run_before=_pressing("q"))


def test_maximised_text(snap_compare: Compare) -> None:
    assert snap_compare(_app(_mid()), terminal_size=(120, 40), run_before=_pressing("tab", "m"))


def test_below_sixty_columns(snap_compare: Compare) -> None:
    assert snap_compare(_app(_mid()), terminal_size=(50, 20), run_before=_pressing())
