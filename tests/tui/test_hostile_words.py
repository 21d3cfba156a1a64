"""Whatever models, servers and files say changes no cell but its own, on every screen."""

import unicodedata
from pathlib import Path

import machine_events
import msgspec
import pytest
import synthetic
from driving import frame, lines, text
from rich.cells import cell_len
from test_home_screen import at_home

from atts_core import events as ev
from atts_core.config import Given
from atts_core.events import Stamped
from atts_core.reports.compare import Named
from atts_core.runs.file import About
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState
from atts_core.telemetry.readings import GpuReading, ServerReading
from atts_tui.app import AttsApp
from atts_tui.home.app import HomeApp

HOSTILE = (
    "[bold red]not markup[/] \x1b[2J\x1b[31m\x9b1m \u202eright to left\u2066 "
    + "z\u0336" * 5 + "\u0301" * 200
    + " 日本語 👩\u200d👧 🇫🇷 \x07\x00\r\n\n [@click=app.leave]x[/] \x1b]52;c;c3RlYWw=\x1b\\ after"
)  # fmt: skip
LONG = HOSTILE + "x" * 100_000
SIZES = [(120, 40), (80, 24), (50, 20)]


def hostile_run() -> list[Stamped]:
    """A run in which every word from outside is hostile."""
    found: list[Stamped] = []
    for stamped in synthetic.events(until=3.2, problems=1):
        event: ev.AnyEvent = stamped.event
        if isinstance(event, ev.RunStarted):
            cards = tuple(
                msgspec.structs.replace(card, name=HOSTILE, release=HOSTILE, url=HOSTILE, tokenizer=HOSTILE)
                for card in event.models
            )
            assert event.calibration is not None
            calibration = msgspec.structs.replace(
                event.calibration, source=HOSTILE, fingerprint=HOSTILE, limits=HOSTILE, promise=HOSTILE,
                identity={"draft_model": HOSTILE, "dataset": HOSTILE, HOSTILE: HOSTILE},
            )  # fmt: skip
            event = msgspec.structs.replace(
                event, run=HOSTILE, command=HOSTILE, models=cards, calibration=calibration
            )
        elif isinstance(event, ev.ProblemAdded):
            event = ev.ProblemAdded(
                problem=0, id="\x1b[31m[b]id\u202e", question=LONG, gold="[/b]\x07" + HOSTILE, family=HOSTILE
            )
        elif isinstance(event, ev.DraftFinished) and event.sample == 0:
            said = LONG if event.turn == 0 else HOSTILE
            event = msgspec.structs.replace(event, text=said)
        found.append(Stamped(stamped.seq, stamped.at, event))
    card = GpuReading(index=0, name=HOSTILE, uuid=HOSTILE, instance=HOSTILE, memory_used=5, memory_total=9,
                      missing={"power": HOSTILE}, throttled=(HOSTILE,),
                      memory_by_role={HOSTILE: 3})  # fmt: skip
    reading = ServerReading(running=1, source=HOSTILE, unavailable=HOSTILE)
    more: list[ev.AnyEvent] = [
        ev.AnswerFound(problem=0, sample=1, turn=0, role="draft", answer=HOSTILE),
        ev.VoteChanged(problem=0, tally=((LONG, 2), ("[red]", 1)), voted=3, ended=3),
        ev.SampleFinished(problem=0, sample=2, end="failed", message=HOSTILE),
        ev.GpusRead(gpus=(card,), source=HOSTILE, kind=HOSTILE, unavailable=HOSTILE),
        ev.ServerRead(role="draft", url=HOSTILE, reading=reading),
        ev.Warned(message=LONG),
        ev.ServerLost(role="draft", message=HOSTILE),
        ev.ProblemFinished(problem=0, answer=HOSTILE, tied=True, correct=False),
    ]
    return found + [Stamped(9000 + k, 3.3, event) for k, event in enumerate(more)]


def in_their_cells(app: AttsApp | HomeApp, size: tuple[int, int]) -> None:
    """Every line is as wide as the screen, and holds nothing that a terminal obeys."""
    rows = lines(app)  # type: ignore[arg-type]
    assert len(rows) == size[1]
    assert {cell_len(row) for row in rows} == {size[0]}
    shown = "".join(rows)
    assert not {c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}}
    assert "\u0301\u0301\u0301" not in shown


@pytest.mark.parametrize("size", SIZES)
async def test_every_page_of_a_run(size: tuple[int, int], tmp_path: Path) -> None:
    state = RunState().fold(hostile_run())
    app = AttsApp(synthetic.Recorded([]), state=state, title=HOSTILE, export_folder=tmp_path)
    async with app.run_test(size=size, notifications=True) as pilot:
        app.view.select(0)
        await frame(pilot)
        in_their_cells(app, size)
        for key in ("home", "y", "enter", "v", "escape", "question_mark", "escape", *"23456"):
            await pilot.press(key)
            await frame(pilot)
            in_their_cells(app, size)
        assert app.is_running


async def test_notes_that_pop_up() -> None:
    app = AttsApp(synthetic.Recorded(hostile_run()), title=HOSTILE)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await frame(pilot)
        in_their_cells(app, (80, 24))
        assert "not markup" in text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_two_runs_side_by_side(size: tuple[int, int]) -> None:
    first = Named(HOSTILE, RunState().fold(hostile_run()), HOSTILE)
    second = Named("second", RunState().fold(machine_events.events(3)))
    app = AttsApp(
        synthetic.Recorded([]), state=first.state, title="compare", first="compare", beside=(first, second)
    )
    async with app.run_test(size=size) as pilot:
        await frame(pilot)
        in_their_cells(app, size)


@pytest.mark.parametrize("size", SIZES)
async def test_the_home_screen(size: tuple[int, int], tmp_path: Path) -> None:
    folder = tmp_path / "runs [b]\u202e\x1b[31m\x07日本"
    folder.mkdir()
    for number, name in enumerate(("20261120-100000-demo", "[b]\u202e\x1b[2J", "broken\x07")):
        path = folder / f"{name}.atts"
        if number == 2:
            path.write_bytes(b"no run file at all")
            continue
        about = About(run=HOSTILE, command=HOSTILE if number else "eval", created=0.0, version=HOSTILE,
                      dataset=HOSTILE)  # fmt: skip
        writer = RunWriter.create(path, about)
        writer.append(hostile_run())
        writer.close()
    given = Given(draft="http://[b]\u202e@127.0.0.1:9/\x1b[2J", target="http://127.0.0.1:9/[/b]")
    async with at_home(folder, size=size, given=given) as (pilot, app):
        in_their_cells(app, size)
        for key in ("down", "down", "down", "slash", "escape"):
            await pilot.press(key)
            await pilot.pause()
            in_their_cells(app, size)
