"""`atts runs compare`: runs by themselves, each against the first, and what the numbers cannot say."""

import argparse
import contextlib
import textwrap
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from atts_core.conformal.intervals import percent_interval
from atts_core.errors import SettingsError
from atts_core.percent import percent
from atts_core.reports.compare import Comparison, Named, Pairing, RunFacts, compare
from atts_core.reports.difference_words import HEADINGS, difference_words, settings_words
from atts_core.runs.folder import find_run
from atts_core.runs.reader import RunReader
from atts_tui import words
from atts_tui.commands.printing import print_json
from atts_tui.commands.runs import has_screen
from atts_tui.look import look_of
from atts_tui.text import clean_line


def compare_runs(arguments: argparse.Namespace, folder: Path) -> int:
    """The whole command; returns the exit status."""
    if arguments.screen:
        return _on_screen(arguments, folder)
    comparison = compare([load(find_run(name, folder)) for name in arguments.runs])
    if arguments.json:
        print_json(comparison)
        return 0
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; do not fold for one
    console.print(_facts_table(comparison))
    for pair in comparison.pairs:
        console.print(_differences_table(pair))
        for said in (settings_words(pair), *(f"! {caution}" for caution in pair.cautions)):
            console.print(textwrap.fill(clean_line(said), min(console.width, 110), subsequent_indent="  "))
    return 0


def _on_screen(arguments: argparse.Namespace, folder: Path) -> int:
    if len(arguments.runs) != 2:
        raise SettingsError("--screen shows two runs; name two, or leave it out for a table of more.")
    if not has_screen():
        raise SettingsError("--screen needs a terminal; without it the comparison is printed.")
    from atts_core.bus import Bus  # noqa: PLC0415
    from atts_tui.app import AttsApp  # noqa: PLC0415  # imports Textual, which only a screen needs

    first, second = (load(find_run(name, folder)) for name in arguments.runs)
    nothing = Bus().subscribe()
    app = AttsApp(
        nothing,
        state=first.state,
        title="compare",
        first="compare",
        beside=(first, second),
        **look_of(arguments),
    )
    app.run()
    return 0


def load(path: Path) -> Named:
    """A run file as it stands. Raises SettingsError where it is none."""
    with contextlib.closing(RunReader.open(path)) as reader:
        return Named(path.stem, reader.state, reader.about.origin)


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
        ("accuracy per sample", percent_interval(run.accuracy)),
        ("accuracy by vote", percent_interval(run.majority)),
        (
            "taken over",
            percent_interval(run.realised)
            + (f", nominal {percent(run.nominal)}" if run.nominal is not None else ""),
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
    table = _table(*HEADINGS, "problems")
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
