"""Reports: well-formed, self-contained pages whatever runs hold, and plots that put things in place."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from atts_core import events as ev
from atts_core.errors import SettingsError
from atts_core.reports import html, plots
from atts_core.reports.compare import Named
from atts_core.reports.html import report
from atts_core.reports.svg import Axis, Plot
from atts_core.state import RunState

sys.path.insert(0, str(Path(__file__).parents[1] / "tui"))

import synthetic

EVIL = "<script>alert('x')</script>\"'&]]><img src=http://evil onerror=x>"
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "table", "tr", "th", "td", "p",
    "span", "i", "svg", "g", "circle", "path", "polyline", "rect", "text",
}  # fmt: skip


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def run(name: str = "one", **settings: int) -> Named:
    return Named(name, RunState().fold(synthetic.events(**settings)))


def hostile() -> Named:
    stamps = synthetic.events(problems=2, samples=4)
    made = []
    for stamped in stamps:
        event = stamped.event
        if isinstance(event, ev.RunStarted):
            assert event.calibration is not None
            card = msgspec.structs.replace(
                event.calibration, source=EVIL, promise=EVIL, identity={EVIL: EVIL}
            )
            event = msgspec.structs.replace(
                event, run=EVIL, dataset=EVIL, strategy=EVIL, settings={EVIL: EVIL}, calibration=card
            )
        elif isinstance(event, ev.ProblemAdded):
            event = msgspec.structs.replace(event, id=f"{event.problem}{EVIL}", question=EVIL)
        made.append(ev.Stamped(stamped.seq, stamped.at, event))
    made.append(ev.Stamped(made[-1].seq + 1, made[-1].at, ev.Warned(message=EVIL)))
    judged = ev.AnswerJudged(problem=0, sample=0, judge=EVIL, url=EVIL, sees="answer", verdict="right")
    made.append(ev.Stamped(made[-1].seq + 1, made[-1].at, judged))
    return Named(EVIL, RunState().fold(made))


@pytest.mark.parametrize(
    "runs",
    [
        [run(problems=3)],
        [run(problems=3), run("two", problems=3, samples=8)],
        [hostile(), hostile()],
        [Named("live", RunState().fold(synthetic.events(until=2.0, problems=1)))],
        [Named("begun", RunState().fold(synthetic.events(until=0.0, problems=1)))],
    ],
)
def test_a_page_holds_nothing_but_its_own_tags_and_loads_nothing(runs: list[Named]) -> None:
    page = report(runs)
    parser = Tags()
    parser.feed(page)
    assert {tag for tag, _ in parser.found} <= TAGS
    for _, attributes in parser.found:
        assert not {"src", "href", "onerror", "onload"} & set(attributes)
    assert "url(" not in page
    assert "@import" not in page
    for piece in page.split("<svg ")[1:]:
        svg = "<svg " + piece.split("</svg>")[0] + "</svg>"
        ElementTree.fromstring(svg)  # noqa: S314  # our own; raises where it is not well-formed


def test_a_finished_run_has_every_plot_and_what_the_run_says() -> None:
    page = report([run(problems=3)])
    for said in (
        "Accuracy against target tokens", "PPL against the threshold", "Taken over by turn",
        "What every sample did when", "Throughput", "Calibration", "Settings", "288 verified steps",
        "Measures", "pass@16", "Problems", "mean PPL",
    ):  # fmt: skip
        assert said in page
    assert "Against the first" not in page
    both = report([run(problems=3), run("two", problems=3, samples=8)])
    assert "Against the first" in both
    assert "16 samples in one and 8 in two" in both
    with pytest.raises(SettingsError, match="no beginning"):
        report([Named("none", RunState())])


def test_judges_stand_beside_our_own_verdicts() -> None:
    made = run(problems=3)
    assert "Judges" not in report([made])
    samples = [(p.index, s.index) for p in made.state.problems for s in p.samples if s.correct is not None]
    seq = made.state.seq
    for number, (problem, sample) in enumerate(samples, start=1):
        verdict: ev.Opinion = "unclear" if number == 1 else "right"
        said = ev.AnswerJudged(
            problem=problem, sample=sample, judge="gpt-oss", url="http://j", sees="chain", verdict=verdict
        )
        made.state.apply(ev.Stamped(seq + number, made.state.now, said))
    right = sum(made.state.sample(*place).correct is True for place in samples[1:])
    page = report([made])
    assert f"<td>{right:,} of {len(samples) - 1:,}</td>" in page
    for said_of_it in ("gpt-oss", "the end of the chain", "<td>1</td>"):
        assert said_of_it in page


def test_every_problem_has_a_row_up_to_a_limit_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(problems=3)
    page = report([made])
    assert all(f'<td class="name">{problem.id}</td>' in page for problem in made.state.problems)
    monkeypatch.setattr(html, "MOST_PROBLEMS", 2)
    page = report([made])
    assert "The first 2 of 3 problems." in page
    assert f'<td class="name">{made.state.problems[2].id}</td>' not in page


def test_many_steps_are_thinned_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "MOST_DOTS", 100)
    svg, said = plots.ppl_plot(run(problems=3).state)
    assert said == "288 verified steps, one in 3 shown"
    assert svg.count("<circle") == 96


@given(some.floats(1e-3, 1e5), some.floats(1.001, 1e6), some.booleans())
def test_ticks_are_few_and_on_the_axis(low: float, factor: float, log: bool) -> None:
    axis = Axis(low, low * factor, "", log=log)
    ticks = axis.ticks()
    assert len(ticks) <= 60
    slack = 1e-6 * (axis.high - axis.low)
    assert all(axis.low - slack <= tick <= axis.high + slack for tick in ticks)
    assert ticks == sorted(ticks)
    shares = [axis.share(tick) for tick in ticks]
    assert shares == sorted(shares)


def test_points_lie_where_their_axes_say() -> None:
    plot = Plot(Axis(0, 10, "x"), Axis(1, 100, "y", log=True))
    assert plot.at(0, 1) == (64, 216)
    assert plot.at(10, 100) == (744, 12)
    across, up = plot.at(5, 10)
    assert (across, up) == (404, pytest.approx(114))
    assert plot.at(-5, 1000) == (64, 12), "beyond the axis is at its end"


@given(some.floats(0.1, 100), some.floats(0, 19), some.floats(0, 19))
def test_throughput_keeps_every_token(amount: float, first: float, length: float) -> None:
    into = [0.0] * 20
    plots._spread(into, amount, first, min(first + length, 20.0))
    assert sum(into) == pytest.approx(amount)
