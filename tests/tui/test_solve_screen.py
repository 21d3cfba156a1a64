"""What a person does on the Solve screen, by keys and mouse, and what the screen then shows."""

from pathlib import Path

import pytest
import synthetic
from driving import Hand, frame, lines, running, text, until
from rich.cells import cell_len
from textual._styles_cache import StylesCache

from atts_core import events as ev
from atts_core.bus import Bus
from atts_tui.app import AttsApp
from atts_tui.screens.confirm import ConfirmQuit
from atts_tui.screens.help import HelpScreen
from atts_tui.screens.solve import SolveScreen
from atts_tui.widgets.scroll_rows import ScrollRows
from atts_tui.widgets.threshold_chart import ThresholdChart


def mid() -> list[ev.Stamped]:
    return synthetic.events(until=3.2, problems=1)


async def test_selecting_by_keys_and_mouse() -> None:
    async with running(mid()) as (pilot, app, _):
        app.view.select(0)
        await pilot.press("down", "j", "j", "k")
        assert app.view.sample_index == 2
        assert "▸  3" in text(app)
        assert "─ Sample 3 " in text(app)
        await pilot.click("#lanes-rows", offset=(10, 7))
        assert app.view.sample_index == 7
        assert "▸  8" in text(app)


async def test_lanes_scroll_with_the_selection() -> None:
    async with running(synthetic.events(until=2.0, problems=1, samples=64), size=(80, 24)) as (pilot, app, _):
        app.view.select(0)
        await frame(pilot)
        assert not any(line.startswith("  40 ") for line in lines(app))
        for _ in range(39):
            await pilot.press("down")
        assert "▸ 40 " in text(app)


async def test_following_can_be_left_and_taken_up_again() -> None:
    async with running(synthetic.events(until=2.0, problems=1)) as (pilot, app, source):
        assert app.view.follow
        await pilot.press("down")
        assert not app.view.follow
        chosen = app.view.sample_index
        source.add(synthetic.events(until=5.0, problems=1)[app.state.seq :])
        await frame(pilot)
        assert app.view.sample_index == chosen
        await pilot.press("f")
        newest = app.state.last_take_over
        assert newest is not None
        assert app.view.sample_index == newest[1]
        assert f"─ Sample {newest[1] + 1}, following" in text(app)


async def test_freezing_keeps_the_display_and_loses_nothing() -> None:
    whole = synthetic.events(problems=1)
    async with running(mid()) as (pilot, app, source):
        seen = lines(app)[4:-2]
        await pilot.press("space")
        rest = whole[app.state.seq :]
        source.add(list(rest))
        for _ in range(app._fps):
            app._tick()
        await pilot.pause()
        assert lines(app)[4:-2] == seen
        assert "FROZEN" in lines(app)[0]
        assert f"{len(rest):,} events wait" in lines(app)[0]
        await pilot.press("space")
        await frame(pilot)
        assert app.state.seq == whole[-1].seq
        assert "DONE" in lines(app)[0]


async def test_problems_are_switched_by_keys() -> None:
    async with running(synthetic.events(problems=3)) as (pilot, app, _):
        questions = [problem.question for problem in app.state.problems]
        await pilot.press("right", "right", "right")
        assert "problem 3 of 3" in lines(app)[0]
        assert questions[2][:40] in text(app)
        await pilot.press("left")
        assert questions[1][:40] in text(app)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_resizing_while_text_streams(size: tuple[int, int]) -> None:
    whole = synthetic.events(problems=1)
    sizes = [(200, 60), (60, 14), (59, 13), (10, 3), (1, 1), (101, 30), (99, 29), (72, 24), size]
    async with running(whole[:200], size=size) as (pilot, app, source):
        for number, (width, height) in enumerate(sizes):
            source.add(whole[200 + 50 * number : 250 + 50 * number])
            await pilot.resize_terminal(width, height)
            await frame(pilot)
            assert [cell_len(line) for line in lines(app)] == [width] * height
        assert "16 samples" in text(app) or "accepted" in text(app)


async def test_a_small_terminal_shows_a_list_and_says_what_would_show_more() -> None:
    async with running(mid(), size=(50, 20)) as (_, app, _):
        assert "60 x 14 cells show more" in text(app)
        assert "LIVE" in text(app)


async def test_quitting_an_unfinished_run_asks_first() -> None:
    async with running(mid(), control=Hand()) as (pilot, app, _):
        await pilot.press("q")
        assert isinstance(app.screen, ConfirmQuit)
        assert "16 of 16 samples have not ended" in text(app)
        await pilot.press("n")
        assert isinstance(app.screen, SolveScreen)
        await pilot.press("q", "escape")
        assert isinstance(app.screen, SolveScreen)
        assert app.is_running
        await pilot.press("ctrl+c", "y")
        await pilot.pause()
        assert app._exit


async def test_a_screen_that_was_left_is_held_by_no_cache() -> None:
    async with running(mid()):
        assert StylesCache.get_inner_outer.cache_info().currsize > 0
    assert StylesCache.get_inner_outer.cache_info().currsize == 0


async def test_asking_twice_quits() -> None:
    async with running(mid(), control=Hand()) as (pilot, app, _):
        await pilot.press("ctrl+c", "ctrl+c")
        await pilot.pause()
        assert app._exit


@pytest.mark.parametrize("finished", [True, False])
async def test_quitting_does_not_ask_where_it_ends_nothing(finished: bool) -> None:
    source = synthetic.events(problems=1) if finished else mid()
    async with running(source, control=Hand() if finished else None) as (pilot, app, _):
        await pilot.press("q")
        await pilot.pause()
        assert app._exit


async def test_pausing_goes_to_the_run_and_comes_back_as_an_event() -> None:
    hand = Hand()
    async with running(mid(), control=hand) as (pilot, app, source):
        await pilot.press("p")
        assert hand.told == ["pause"]
        source.add([ev.Stamped(app.state.seq + 1, app.state.now, ev.RunPaused())])
        await frame(pilot)
        assert "PAUSED" in lines(app)[0]
        await pilot.press("p")
        assert hand.told == ["pause", "resume"]


async def test_help_lists_every_key_and_closes_by_the_key_that_opened_it() -> None:
    async with running(mid(), size=(120, 90)) as (pilot, app, _):
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert "perplexity" in text(app)
        assert "pause the run" in text(app).lower()
        await pilot.press("question_mark")
        assert isinstance(app.screen, SolveScreen)
        await pilot.press("question_mark", "q")
        assert isinstance(app.screen, SolveScreen)


async def test_a_pane_is_maximised_and_restored() -> None:
    async with running(mid()) as (pilot, app, _):
        await pilot.press("tab", "m")
        assert "─ Sample 7" in text(app)
        assert "Surprise" not in text(app)
        assert "target takes over" in text(app)
        await pilot.press("m")
        assert "Surprise" in text(app)


async def test_text_follows_its_end_only_while_the_end_is_in_sight() -> None:
    whole = synthetic.events(problems=1, steps=12)
    half = len(whole) // 2
    async with running(whole[:half], size=(80, 24)) as (pilot, app, source):
        app.view.select(3)
        await frame(pilot)
        pane = app.query_one("#text-rows", ScrollRows)
        assert pane.at_end
        await pilot.press("home")
        assert pane.top == 0
        source.add(whole[half:])
        await frame(pilot)
        assert pane.top == 0
        await pilot.press("end")
        assert pane.at_end
        assert "answered" in text(app)


async def test_a_lost_server_is_said_at_every_size() -> None:
    lost = ev.ServerLost(role="target", message="connection refused at http://127.0.0.1:30002")
    for size in ((120, 40), (80, 24), (50, 20)):
        async with running([*mid(), ev.Stamped(9000, 3.3, lost)], size=size) as (_, app, _):
            assert "target server does not answer: connect" in text(app)


async def test_few_widgets_however_many_samples() -> None:
    async with running(synthetic.events(until=0.5, problems=1, samples=1024)) as (_, app, _):
        assert len(app.screen.walk_children()) < 40


async def test_a_chart_of_ten_thousand_decisions_keeps_sides() -> None:
    run = mid()
    verdict = next(s.event for s in run if isinstance(s.event, ev.VerdictReached))
    many = [
        ev.Stamped(
            5000 + k,
            3.2 + k * 0.01,
            ev.VerdictReached(
                problem=0, sample=k % 16, turn=0, verdict="accept" if k % 100 <= 60 else "take-over", ppl=1.1,
                p=(k % 100) / 100, alpha=0.6, threshold=1.04, mode=verdict.mode, rule=verdict.rule, size=1600,
                tokens=9, seconds=0.1,
            ),
        )
        for k in range(10_000)
    ]  # fmt: skip
    async with running([*run, *many]) as (pilot, app, _):
        for _ in range(4):
            await frame(pilot)
        assert app.state.seq == many[-1].seq
        chart = app.query_one(ThresholdChart)
        plot = ["".join(part for part, _ in row[2:]) for row in chart._rows[:-2]]
        line = next(number for number, row in enumerate(plot) if "╌" in row)
        assert any("◆" in row for row in plot[:line])
        assert any("•" in row for row in plot[line + 1 :])
        assert not any("•" in row for row in plot[:line])
        assert not any("◆" in row for row in plot[line + 1 :])


async def test_copy_and_picture_say_what_happened(tmp_path: Path) -> None:
    async with running(mid(), export_folder=tmp_path / "new") as (pilot, app, _):
        await pilot.press("y")
        sample = app.view.sample
        assert sample is not None
        assert app.clipboard == sample.text.strip()
        await pilot.press("e", "e")
        await pilot.pause()
        files = sorted((tmp_path / "new").iterdir())
        assert [file.name for file in files] == [
            f"atts-20261120-104512-demo-screen-{number}.svg" for number in (1, 2)
        ]
        assert files[0].read_text().startswith("<svg")
        assert str(files[1]) in text(app).replace("\n", "") or "written to" in text(app)


async def test_a_picture_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with running(mid(), export_folder=tmp_path / "file" / "in") as (pilot, app, _):
        await pilot.press("e")
        await pilot.pause()
        assert "could not be written" in text(app)


async def test_themes_change_colours_and_nothing_else() -> None:
    async with running(mid()) as (pilot, app, _):
        before, palette = lines(app), app.view.palette
        await pilot.press("t")
        await frame(pilot)
        assert app.theme == "atts-light"
        assert app.view.palette != palette
        app.clear_notifications()
        await pilot.pause()
        assert lines(app) == before


async def test_ascii_mode_writes_only_ascii() -> None:
    for size in ((120, 40), (80, 24), (50, 20)):
        async with running(synthetic.events(until=6.0, problems=2), size=size, ascii_only=True) as (
            pilot,
            app,
            _,
        ):
            assert text(app).isascii()
            await pilot.press("question_mark")
            assert text(app).isascii()


async def test_before_the_run_the_screen_says_what_is_prepared() -> None:
    async with running([]) as (pilot, app, source):
        assert "waiting for the run to begin" in text(app)
        app.say("starting the [embedded] pair")
        await pilot.pause()
        assert "starting the [embedded] pair" in text(app)
        source.add([ev.Stamped(1, 0.1, ev.ScoreCollected(
            ppl=1.2, draft_tokens=3, verified_tokens=3, collected=4, total=9))])  # fmt: skip
        await frame(pilot)
        assert "collecting calibration scores of first steps: 4 of 9" in text(app)


async def test_the_clock_stands_still_in_silence_and_wakes_with_the_next_event() -> None:
    bus = Bus()
    app = AttsApp(bus.subscribe())
    async with app.run_test(size=(120, 40)):
        await until(app._quiet.is_set)
        assert app._clock is not None
        assert not app._clock._active.is_set()
        bus.publish(ev.Warned(message="awake"))
        await until(lambda: app.state.warnings == ["awake"])


async def test_the_clock_of_a_frozen_screen_stands_still_too_and_still_counts_what_comes() -> None:
    bus = Bus()
    app = AttsApp(bus.subscribe())
    async with app.run_test(size=(120, 40)) as pilot:
        bus.publish(ev.Warned(message="seen"))
        await until(lambda: app.state.warnings == ["seen"])
        await pilot.press("space")
        for count in (0, 1, 2):
            await until(lambda: app._clock is not None and not app._clock._active.is_set())
            await until(lambda wanted=count: app.view.waiting == wanted)
            bus.publish(ev.Warned(message="late"))
        await pilot.press("space")
        assert app.state.warnings == ["seen", "late", "late", "late"]


async def test_events_left_when_the_app_ends_can_be_folded() -> None:
    async with running(mid()) as (pilot, app, source):
        await pilot.press("space")
        source.add(synthetic.events(problems=1)[app.state.seq :])
    app.state.fold(app.remaining())
    assert app.state.finished is not None
