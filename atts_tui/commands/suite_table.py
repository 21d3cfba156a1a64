"""The table at the end of a suite: every run by itself, and against the baseline over the same problems."""

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from atts_core.conformal.intervals import percent_interval
from atts_core.errors import AttsError, RunError
from atts_core.percent import percent
from atts_core.reports.compare import Difference, Named, Pairing, RunFacts, facts, pairing
from atts_tui.commands.compare import load
from atts_tui.commands.printing import print_json
from atts_tui.text import clean_line

ACCURACY, TARGET_TOKENS, SPEED_UP = "accuracy per sample", "target tokens", "speed-up of the run"
"""The differences of `pairing` that the table shows."""


class Line(msgspec.Struct, frozen=True):
    """One run of a suite."""

    name: str
    file: str
    facts: RunFacts
    against: Pairing | None
    """Against the baseline; None for the baseline itself."""


def read_lines(files: Mapping[str, Path], baseline: str) -> tuple[list[Line], list[str]]:
    """The runs that can be read, in order, and a sentence for each that cannot."""
    named: dict[str, Named] = {}
    failures: list[str] = []
    for name, path in files.items():
        try:
            found = load(path)
            if found.state.run is None:
                raise RunError(f"{path} holds no beginning of a run.")
        except AttsError as error:
            failures.append(f"{name}: {error}")
        else:
            named[name] = msgspec.structs.replace(found, name=name)
    first = named.get(baseline)
    lines = [
        Line(
            name,
            str(files[name]),
            facts(run),
            pairing(first, run) if first is not None and run is not first else None,
        )
        for name, run in named.items()
    ]
    return lines, failures


def suite_table(files: Mapping[str, Path], *, baseline: str, folder: Path, as_json: bool) -> None:
    """Prints the table, or JSON, on stdout, and leaves it as Markdown in `folder`."""
    lines, failures = read_lines(files, baseline)
    for failure in failures:
        sys.stderr.write(f"atts: {clean_line(failure)}\n")
    if not lines:
        return
    path = folder / "table.md"
    try:
        path.write_text(markdown(lines, baseline), encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"atts: {path} cannot be written: {error.strerror}\n")
    if as_json:
        told = {"baseline": baseline, "runs": lines}
        print_json(told)
        return
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; do not fold for one
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(_columns(baseline)):
        table.add_column(Text(column), justify="right" if number else "left", overflow="fold")
    for line in lines:
        table.add_row(*(Text(clean_line(cell)) for cell in _cells(line)))
    console.print(table)
    cautions = {caution for line in lines if line.against for caution in line.against.cautions}
    for caution in sorted(cautions):
        console.print(f"! {clean_line(caution)}")
    sys.stderr.write(f"atts: the same as Markdown: {path}\n")


def markdown(lines: list[Line], baseline: str) -> str:
    """The table for a README."""
    columns = _columns(baseline)
    rows = [columns, ["---", *["--:"] * (len(columns) - 1)], *(_cells(line) for line in lines)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def _columns(baseline: str) -> list[str]:
    return [
        "run",
        "right per sample",
        "right by vote",
        "taken over",
        "target tokens",
        "of all text",
        "time",
        f"accuracy against {clean_line(baseline)}",
        "target tokens saved",
        "speed-up",
    ]


def _cells(line: Line) -> list[str]:
    run = line.facts
    return [
        clean_line(line.name) + ("" if run.end == "done" else f" ({run.end})"),
        percent_interval(run.accuracy),
        percent(run.majority.value, 1),
        percent(run.realised.value, 1) if run.decisions else "–",
        f"{run.target_tokens:,}",
        percent(run.target_share.value, 1),
        f"{run.seconds:,.0f} s",
        *(_difference(line.against, name) for name in (ACCURACY, TARGET_TOKENS, SPEED_UP)),
    ]


def _difference(against: Pairing | None, name: str) -> str:
    if against is None:
        return ""
    found = next((one for one in against.differences if one.name == name), None)
    return "–" if found is None or found.value is None else _said(found)


def _said(found: Difference) -> str:
    def one(value: float | None) -> str:
        if value is None:
            return "–"
        if found.unit == "times":
            return f"{value:.2f}"
        return f"{100 * value:+.1f}".replace("-", "−")

    interval = "" if found.low is None else f" [{one(found.low)}, {one(found.high)}]"
    unit = {"times": " ×", "saved": " %", "points": ""}[found.unit]
    return one(found.value) + unit + interval
