"""The sample page: every step with its numbers, going through them, taking them away."""

import synthetic
from driving import frame, lines, running, text

from atts_core import events as ev
from atts_core.state import RunState
from atts_tui.screens.sample import SampleScreen

WHOLE = synthetic.events(problems=1, samples=4, steps=5)


async def test_every_step_says_who_when_and_why() -> None:
    async with running(WHOLE, size=(120, 60)) as (pilot, app, _):
        app.draw()
        await pilot.press("down", "enter")
        await frame(pilot)
        sample = app.view.sample
        assert sample is not None
        shown = text(app)
        assert "sample 2 of 4" in shown
        for step in sample.steps:
            assert f"wrote {step.tokens:,} tokens" in shown
        for turn in sample.turns:
            assert turn.verdict is not None
            assert f"p {turn.verdict.p:.4f}" in shown
        assert "first token after 0.02 s" in shown
        await pilot.press("escape")
        assert app.run_screen.PAGE == "solve"


async def test_what_a_judge_says_stands_beside_the_answer() -> None:
    made = ev.AnswerJudged(
        problem=0, sample=1, judge="a [b]judge", url="http://j", sees="answer", verdict="wrong"
    )
    judged = [*WHOLE, ev.Stamped(WHOLE[-1].seq + 1, WHOLE[-1].at, made)]
    async with running(judged, size=(120, 40)) as (pilot, app, _):
        app.draw()
        await pilot.press("down", "enter")
        await frame(pilot)
        assert "a [b]judge says wrong" in text(app)


async def test_n_goes_from_take_over_to_take_over_and_back() -> None:
    async with running(WHOLE, size=(100, 20)) as (pilot, app, _):
        app.draw()
        at = next(s.index for s in app.state.problems[0].samples if s.taken_over >= 2)
        app.view.select(at)
        await pilot.press("enter", "home")
        await frame(pilot)
        screen = app.run_screen
        assert isinstance(screen, SampleScreen)
        await pilot.press("n")
        await frame(pilot)
        first = screen._steps.top
        assert "target took over and wrote" in lines(app)[4]
        await pilot.press("n", "N")
        await frame(pilot)
        assert screen._steps.top == first


async def test_a_step_or_the_whole_chain_is_copied() -> None:
    async with running(WHOLE) as (pilot, app, _):
        app.draw()
        await pilot.press("enter", "home")
        await frame(pilot)
        sample = app.view.sample
        assert sample is not None
        await pilot.press("Y")
        await pilot.pause()
        assert app.clipboard == sample.steps[0].text.strip()
        await pilot.press("y")
        await pilot.pause()
        assert app.clipboard == sample.text.strip()


async def test_v_shows_the_source() -> None:
    async with running(WHOLE, size=(120, 60)) as (pilot, app, _):
        app.draw()
        await pilot.press("enter")
        await frame(pilot)
        assert "\\boxed" not in text(app)
        await pilot.press("v")
        await frame(pilot)
        assert "\\boxed{" in text(app)


async def test_a_problem_put_away_is_read_back_and_said_where_it_cannot_be() -> None:
    async with running(WHOLE) as (pilot, app, _):
        app.draw()
        problem = app.state.problems[0]
        problem.put_away = True
        for sample in problem.samples:
            sample.put_away()
        await pilot.press("enter")
        await frame(pilot)
        assert "in the run file only" in text(app)
        whole = RunState().fold(WHOLE).problems[0]
        whole.touched = problem.touched
        app.view.details = lambda _, index: whole if index == 0 else None
        app.view._whole = None
        await pilot.press("right")
        await frame(pilot)
        assert "draft wrote" in text(app)


async def test_a_step_of_a_hundred_thousand_letters_scrolls() -> None:
    long = "".join(chr(ord("a") + n % 26) for n in range(100_000)) + "☃"
    more = [
        ev.DraftStarted(problem=0, sample=0, turn=9),
        ev.TokensStreamed(problem=0, sample=0, turn=9, role="draft", text=long, tokens=9),
    ]
    start = WHOLE[: next(n for n, s in enumerate(WHOLE) if isinstance(s.event, ev.DraftFinished))]
    last = start[-1]
    stamps = [ev.Stamped(last.seq + n, last.at, event) for n, event in enumerate(more, 1)]
    async with running([*start, *stamps], size=(100, 30)) as (pilot, app, _):
        app.draw()
        app.view.select(0)
        await pilot.press("enter", "end")
        await frame(pilot)
        assert "☃" in text(app)
        await pilot.press("pageup", "pageup")
        await frame(pilot)
        assert "☃" not in text(app)
