"""Measures the README's table of strategies and writes it there: `make table`.

    python tests/tables/strategies.py [--problems 200] [--samples 16] [--keep FOLDER]

Each row is one `atts eval builtin` of the embedded pair, one after another, on the same held-out problems
with the same seed. With `--keep` the result of each row is left in a folder and not measured again: a table
that was interrupted goes on.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from atts_core.conformal.intervals import Estimate, percent_interval
from atts_core.percent import percent

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- begin: make table -->", "<!-- end: make table -->"
RATES = (0.2, 0.4, 0.6)


class Row(NamedTuple):
    """One run: how the table calls it, its asked rate, and its options."""

    name: str
    rate: float | None
    options: tuple[str, ...]


ROWS = (
    Row("`draft-only`", None, ("--strategy", "draft-only")),
    Row("`target-only`", None, ("--strategy", "target-only")),
    *(
        Row(name, rate, (*options, "--takeover-rate", str(rate)))
        for name, options in (
            ("`sync`", ("--strategy", "sync")),
            ("`atts`, `continue`", ("--takeover", "continue")),
            ("`atts`, `rewrite`", ("--takeover", "rewrite")),
        )
        for rate in RATES
    ),
)


def measure(row: Row, problems: int, samples: int, folder: Path) -> dict[str, Any]:
    """The result of a row's run with the load of the machine beside it."""
    slug = "-".join(option.strip("-") for option in row.options)
    kept = folder / f"{slug}-{problems}x{samples}.json"
    if not kept.exists():
        command = [sys.executable, "-m", "atts_tui.cli", "eval", "builtin", "--json", "--seed", "1"]
        command += ["--limit", str(problems), "--samples", str(samples), *row.options]
        began = time.monotonic()
        done = subprocess.run(
            command, env={**os.environ, "ATTS_HOME": str(folder)}, stdout=subprocess.PIPE, check=True
        )
        result = json.loads(done.stdout)
        del result["problems"]
        kept.write_text(json.dumps({**result, "load": os.getloadavg()[1]}))
        print(f"{slug}: {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def line(row: Row, result: dict[str, Any]) -> str:
    """A row of the table."""
    tokens, realised = result["tokens"], result["takeover"]["realised"]
    target = tokens["target"]
    cells = (
        row.name,
        "" if row.rate is None else percent(row.rate),
        "" if row.rate is None else percent(realised, 1),
        percent_interval(Estimate(**result["accuracy"]["sample"])),
        percent(result["accuracy"]["majority"]["value"], 1),
        f"{target:,}",
        percent(tokens["target_share"]["value"]),
        f"{result['seconds']:.0f} s",
    )
    return f"| {' | '.join(cells)} |"


def table(results: list[tuple[Row, dict[str, Any]]], problems: int, samples: int) -> str:
    """The table and what has to be said with it."""
    loads = [result["load"] for _, result in results]
    head = (
        "strategy", "take-over asked", "realised", "right, per sample", "by vote", "target tokens",
        "of all written", "time",
    )  # fmt: skip
    caption = (
        f"The embedded pair on {problems} held-out problems × {samples} samples, seed 1; 95 % intervals over "
        f"problems. Written by `make table`, on {os.cpu_count()} cores under a load of {min(loads):.1f} to "
        f"{max(loads):.1f}: times hold for that load, everything else repeats."
    )
    rows = [line(row, result) for row, result in results]
    return "\n".join([BEGIN, f"| {' | '.join(head)} |", "|" + "---|" * len(head), *rows, "", caption, END])


def main() -> None:
    """Measure what is not kept, and write the table between its two marks in the README."""
    parser = argparse.ArgumentParser(description="measure the README's table of strategies")
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--keep", type=Path, help="folder of the rows that are measured already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = [(row, measure(row, options.problems, options.samples, folder)) for row in ROWS]
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        sys.exit(f"{README} does not hold the marks {BEGIN} and {END}.")
    README.write_text(before + table(results, options.problems, options.samples) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
