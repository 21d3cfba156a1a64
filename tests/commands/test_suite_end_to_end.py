"""`atts eval --suite`: real runs of the embedded pair, interrupted, gone on with, and compared at the end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from atts_core.suites import CalibrationSpec, Cell
from atts_tui.arguments.running import eval_options
from atts_tui.commands.suite import calibration_words

PATIENCE = 120.0
SUITE = """
baseline = "draft-only"
[settings]
dataset = "builtin"
limit = 2
samples = 2
[calibration]
limit = 3
samples = 1
[[run]]
strategy = "draft-only"
name = "draft-only"
[[run]]
name = "broken"
mode = "sideways"
[[run]]
name = "atts"
takeover_rate = 0.3
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SUITE)
    return path


def test_scores_are_of_the_models_that_a_run_asks() -> None:
    wanted, options = CalibrationSpec(limit=3, samples=1), eval_options()

    def words(**said: str | float) -> list[str]:
        cell = Cell(name="r", pair=None, options={"dataset": "builtin", **said})
        return calibration_words(cell, wanted, "builtin", options)

    assert words(strategy="self-refine")[-2:] == ["--strategy", "self-refine"]
    assert words(strategy="self-refine") != words(strategy="self-reject")
    assert words() == words(strategy="atts") == words(takeover_rate=0.4, mode="conditional")
    assert words(takeover="rewrite", temperature=0.7) == words(temperature=0.7, takeover="rewrite") != words()


def start(suite: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "atts_tui.cli", "eval", "--suite", str(suite), *more],
        env={**os.environ, "ATTS_HOME": str(suite.parent), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def remembered(suite: Path) -> dict[str, Any]:
    kept = json.loads((suite.parent / "runs" / "suites" / "small" / "suite.json").read_text())
    return {run["name"]: run for run in kept["runs"].values()}


def test_an_interrupt_that_a_starting_run_does_not_hear_ends_the_suite_after_it(suite: Path) -> None:
    with start(suite) as process:
        assert process.stderr is not None
        lines = iter(process.stderr)
        assert any("collecting calibration" in line for line in lines)
        next(lines)  # of the run that collects it
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
    assert "run 3" not in said
    assert "atts" not in [name for name, run in remembered(suite).items() if run["status"] == 0]


def test_it_goes_on_after_an_interrupt_fails_alone_and_ends_with_a_table(suite: Path) -> None:
    with start(suite) as process:
        assert process.stderr is not None
        for line in process.stderr:  # once the run that begins without a calibration collects one
            if "collecting calibration" in line:
                os.killpg(process.pid, signal.SIGINT)
                break
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
    first = remembered(suite)["draft-only"]
    assert first["status"] == 0
    with start(suite, "--json") as process:
        out, said = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in said
    assert process.returncode == 1, "one run failed"
    told = json.loads(out)
    assert [run["name"] for run in told["runs"]] == ["draft-only", "atts"]
    assert told["runs"][1]["against"]["common"] == 2
    assert told["runs"][1]["facts"]["nominal"] == pytest.approx(0.3)
    done = remembered(suite)
    assert done["draft-only"] == first, "what is done is not done again"
    assert done["broken"]["status"] == 2
    assert "sideways" in done["broken"]["said"]
    assert done["atts"]["status"] == 0
    table = (suite.parent / "runs" / "suites" / "small" / "table.md").read_text()
    assert table.count("\n") == 4
    assert len(list((suite.parent / "runs" / "suites" / "small" / "calibrations").glob("*.npz"))) == 1


def test_a_dry_run_says_what_would_run_and_runs_nothing(suite: Path) -> None:
    with start(suite, "--dry-run", "--limit", "7") as process:
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "atts eval builtin --limit 7 --samples 2 --strategy draft-only" in out
    assert not (suite.parent / "runs" / "suites").exists()


@pytest.mark.parametrize("more", [["--samples", "3"], ["--seed", "1"], ["--detach"]])
def test_settings_of_a_suite_stand_in_its_file(suite: Path, more: list[str]) -> None:
    with start(suite, *more) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert more[0] in said
    assert "write it there" in said
