"""`atts runs compare`: runs by themselves, each against the first, and what the numbers cannot say."""

import argparse
import contextlib
import sys
import textwrap
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from atts_core.conformal.intervals import Estimate
from atts_core.reports.compare import Comparison, Difference, Named, Pairing, RunFacts, compare
from atts_core.runs.folder import find_run
from atts_core.runs.reader import RunReader
from atts_tui import words
from atts_tui.text import clean_line


def compare_runs(arguments: argparse.Namespace, folder: Path) -> int:
    """The whole command; returns the exit status."""
    comparison = compare([load(find_run(name, folder)) for name in arguments.runs])
    if arguments.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(comparison)).decode() + "\n")
        return 0
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; do not fold for one
    console.print(_facts_table(comparison))
    for pair in comparison.pairs:
        console.print(_differences_table(pair))
        for said in said_of(pair):
            console.print(textwrap.fill(said, min(console.width, 110), subsequent_indent="  "))
    return 0


def load(path: Path) -> Named:
    """A run file as it stands. Raises SettingsError where it is none."""
    with contextlib.closing(RunReader.open(path)) as reader:
        return Named(path.stem, reader.state, reader.about.origin)


def said_of(pair: Pairing) -> list[str]:
    """What differs between two runs and what their comparison cannot say, a line each, made safe to show."""
    found = []
    if pair.differs:
        listed = "; ".join(f"{name} {first} → {second}" for name, first, second in pair.differs)
        found.append(f"What differs: {listed}.")
    else:
        found.append("What differs: nothing in settings, models or calibration.")
    return [clean_line(said) for said in [*found, *(f"! {caution}" for caution in pair.cautions)]]


def difference_words(found: Difference) -> tuple[str, str, str, str, str]:
    """A measure in words: its name, that of both runs, the difference, and its interval."""
    name = found.name
    if found.unit == "points":
        first, second, value = _percent(found.first), _percent(found.second), _points(found.value)
        value += " points"
        interval = _interval(_points(found.low), _points(found.high))
    elif found.unit == "saved":
        first, second = (words.number(total or 0) for total in (found.first, found.second))
        value = _less(found.value)
        interval = _interval(_less(found.low), _less(found.high))
    else:
        first, second = (f"{seconds or 0:.1f} s" for seconds in (found.first, found.second))
        value = "–" if found.value is None else f"{found.value:.2f} ×"
        interval = _interval(*("" if edge is None else f"{edge:.2f}" for edge in (found.low, found.high)))
    return name, first, second, value, interval


def _facts_table(comparison: Comparison) -> Table:
    table = _table("", *(clean_line(run.run) for run in comparison.runs))
    rows = [[*_facts(run)] for run in comparison.runs]
    for lines in zip(*rows, strict=True):
        name = lines[0][0]
        values = [clean_line(value) for _, value in lines]
        style = "bold" if any(value != values[0] for value in values) else "dim"
        table.add_row(Text(name, style), *(Text(value, style) for value in values))
    return table


def _facts(run: RunFacts) -> list[tuple[str, str]]:
    return [
        ("status", run.end),
        ("data set", run.dataset or "–"),
        ("models", f"{run.draft} → {run.target}"),
        ("strategy", f"{run.strategy}, {run.takeover}"),
        ("decides by", run.mode + (f", alpha {run.alpha:g}" if run.alpha is not None else "")),
        ("samples; seed", f"{run.samples} a problem; {run.seed}"),
        (
            "problems finished",
            f"{run.problems_finished:,} of {run.problems:,}"
            + (f", {run.samples_failed} samples failed" if run.samples_failed else ""),
        ),
        ("accuracy per sample", _estimate(run.accuracy)),
        ("accuracy by vote", _estimate(run.majority)),
        (
            "taken over",
            _estimate(run.realised) + (f", nominal {run.nominal:.0%}" if run.nominal is not None else ""),
        ),
        (
            "tokens",
            ", ".join(
                f"{words.number(count)} {name}"
                for count, name in (
                    (run.draft_tokens, "draft"),
                    (run.target_tokens, "target"),
                    (run.verified_tokens, "verified"),
                )
            ),
        ),
        ("time", words.clock(run.seconds)),
    ]


def _differences_table(pair: Pairing) -> Table:
    title = (
        f"{clean_line(pair.second)} against {clean_line(pair.first)}, over {pair.common:,} problems in both"
    )
    table = _table("", "first", "second", "second against first", "95 % interval", "problems")
    table.title, table.title_justify, table.title_style = Text(title), "left", "bold"
    for found in pair.differences:
        style = "bold" if found.sure else ""
        cells = [*difference_words(found), f"{found.problems:,}"]
        table.add_row(*(Text(cell, style) for cell in cells))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return table


def _estimate(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "–"
    return f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def _less(saved: float | None) -> str:
    if saved is None:
        return "–"
    return f"{abs(saved):.1%} {'less' if saved >= 0 else 'more'}"


def _interval(low: str, high: str) -> str:
    return f"[{low}, {high}]" if low and high and "–" not in (low, high) else "–"
