"""Whole runs of the command line over real HTTP on loopback, with the embedded pair behind it."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from atts_core import events as ev
from atts_core.state import RunState

PROBLEM = "Let a = 12 + 7. Let b = a * 3. What is b?"
PATIENCE = 60.0


def atts(*arguments: str, status: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "atts_tui.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def result_of(*arguments: str) -> dict[str, Any]:
    return json.loads(atts(*arguments, "--json").stdout)


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    problems = [
        {key: value for key, value in each.items() if key != "seconds"} for each in result["problems"]
    ]
    return {key: value for key, value in result.items() if key not in ("seconds", "run")} | {
        "problems": problems
    }


def test_a_demo_repeats_exactly() -> None:
    first, second = (result_of("demo", "--seed", "1", "--problems", "2") for _ in range(2))
    assert timeless(first) == timeless(second)
    assert first["end"] == "done"
    assert first["takeover"]["decisions"] > 0
    assert first["samples"] == {"finished": 32, "failed": 0}
    assert {len(p["samples"]) for p in first["problems"]} == {16}
    other = result_of("demo", "--seed", "2", "--problems", "2")
    assert timeless(other)["problems"] != timeless(first)["problems"]


def test_servers_started_embedded_pair_give_what_the_default_gives(embedded_pair: tuple[str, str]) -> None:
    draft, target = embedded_pair
    alone = result_of("solve", PROBLEM, "--samples", "6", "--seed", "3")
    remote = result_of(
        "solve", PROBLEM, "--samples", "6", "--seed", "3", "--draft", draft, "--target", target
    )
    assert timeless(alone) == timeless(remote)
    assert alone["problems"][0]["gold"] == "57"


def test_the_contract_of_the_json_object() -> None:
    result = result_of("solve", PROBLEM, "--samples", "3")
    assert {"run", "strategy", "problems", "answer", "takeover", "tokens", "seconds"} <= result.keys()
    assert {"nominal", "realised", "decisions"} <= result["takeover"].keys()
    assert {"draft", "target", "verified"} <= result["tokens"].keys()
    assert {"finished", "failed"} <= result["samples"].keys()
    assert {"mode", "size", "fingerprint"} <= result["calibration"].keys()
    assert result["takeover"]["nominal"] == 0.4


def test_events_fold_to_the_result(embedded_pair: tuple[str, str]) -> None:
    draft, target = embedded_pair
    where = ("--draft", draft, "--target", target, "--samples", "4", "--seed", "5")
    printed = atts("solve", PROBLEM, *where, "--events").stdout
    state = RunState().fold(ev.decode(line) for line in printed.splitlines())
    result = result_of("solve", PROBLEM, *where)
    assert state.problems[0].answer == result["answer"]
    assert state.overall.decisions == result["takeover"]["decisions"]
    assert (state.draft_tokens, state.target_tokens) == (
        result["tokens"]["draft"],
        result["tokens"]["target"],
    )
    for sample in state.problems[0].samples:
        streamed = [step for step in sample.steps if not step.discarded]
        assert sample.text == "".join(step.text for step in streamed)
        assert all(step.complete for step in sample.steps)


@pytest.mark.parametrize("takeover", ["continue", "rewrite"])
def test_both_variants_of_a_take_over(embedded_pair: tuple[str, str], takeover: str) -> None:
    draft, target = embedded_pair
    where = ("--draft", draft, "--target", target, "--samples", "8", "--problems", "2")
    printed = atts("demo", *where, "--takeover", takeover, "--alpha", "0.02", "--events").stdout
    state = RunState().fold(ev.decode(line) for line in printed.splitlines())
    samples = [sample for problem in state.problems for sample in problem.samples]
    steps = [step for sample in samples for step in sample.steps]
    assert any(step.role == "target" for step in steps)
    assert any(step.discarded for step in steps) == (takeover == "rewrite")
    for sample in samples:
        for turn, state_of_turn in enumerate(sample.turns):
            taken = state_of_turn.verdict is not None and state_of_turn.verdict.verdict != "accept"
            wrote = [step for step in sample.steps if step.turn == turn and step.role == "target"]
            assert bool(wrote) == taken


def test_the_reference_rule_and_a_file_of_the_authors(embedded_pair: tuple[str, str], tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "flat.npy", np.linspace(1.0, 3.0, 32))
    draft, target = embedded_pair
    result = result_of(
        "solve", PROBLEM, "--draft", draft, "--target", target, "--samples", "4", "--rule", "reference",
        "--calibration", str(tmp_path / "flat.npy"),
    )  # fmt: skip
    assert (result["calibration"]["rule"], result["calibration"]["size"]) == ("reference", 32)
    percentiles = [p for sample in result["problems"][0]["samples"] for p in sample["p"]]
    assert all((p * 32) == int(p * 32) for p in percentiles)


def test_a_smoothed_p_value_records_its_random_number_and_repeats(embedded_pair: tuple[str, str]) -> None:
    draft, target = embedded_pair
    where = ("--draft", draft, "--target", target, "--samples", "3", "--smoothed", "--events")
    runs = []
    for _ in range(2):
        printed = atts("solve", PROBLEM, *where).stdout
        events = [ev.decode(line).event for line in printed.splitlines()]
        found = [event for event in events if isinstance(event, ev.VerdictReached)]
        runs.append({(event.sample, event.turn): (event.u, event.p, event.verdict) for event in found})
    assert runs[0] == runs[1]
    assert all(u is not None and 0 < u <= 1 for u, _, _ in runs[0].values())
    assert len({u for u, _, _ in runs[0].values()}) == len(runs[0])


def test_scores_are_collected_before_a_run_that_has_none(embedded_pair: tuple[str, str]) -> None:
    draft, target = embedded_pair
    where = ("--draft", draft, "--target", target, "--samples", "5")
    printed = atts("solve", PROBLEM, *where, "--mode", "conditional", "--events").stdout
    events = [ev.decode(line).event for line in printed.splitlines()]
    collected = [event for event in events if isinstance(event, ev.ScoreCollected)]
    assert [event.collected for event in collected] == [1, 2, 3, 4, 5]
    verdicts = [event for event in events if isinstance(event, ev.VerdictReached)]
    assert {event.size for event in verdicts} == {5}
    first = events.index(next(event for event in events if isinstance(event, ev.RunStarted)))
    assert events.index(collected[-1]) < first


def test_calibrate_then_use_it(tmp_path: Path) -> None:
    made = atts("calibrate", "builtin", "-o", "mine.npz", "--limit", "12", "--headless", cwd=tmp_path)
    assert re.search(r"wrote mine.npz: \d+ scores of 12 problems", made.stdout)
    used = atts("demo", "--problems", "1", "--calibration", "mine.npz", "--json", cwd=tmp_path)
    result = json.loads(used.stdout)
    assert result["calibration"]["source"] == "mine.npz"
    assert result["warnings"] == []
    other = ("demo", "--problems", "1", "--calibration", "mine.npz", "--temperature", "1", "--headless")
    strict = atts(*other, "--strict", cwd=tmp_path, status=2)
    assert "the temperature" in strict.stderr


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    """Not there, or dead and waiting for init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        select.select([], [], [], 0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)]
)
def test_an_interrupted_run_leaves_nothing_running(number: int, status: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "atts_tui.cli", "demo", "--problems", "200", "--events"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    while b'"VerdictReached"' not in process.stdout.readline():
        assert process.poll() is None
    children = children_of(process.pid)
    assert len(children) == 2
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert b"Traceback" not in err
    if status == 130:
        last = ev.decode(out.splitlines()[-1]).event
        assert isinstance(last, ev.RunFinished)
        assert last.end == "interrupted"
    wait_until(lambda: all(gone(child) for child in children), "the embedded servers outlived their parent")


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "atts_core.embedded.server", "--model", "draft", "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert done.returncode == 2
    assert str(port) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_check_finds_everything_in_order() -> None:
    report = json.loads(atts("check", "--json").stdout)
    assert report["ok"]
    assert {"draft server", "target server", "draft model", "target model", "calibration", "GPU"} <= {
        finding["what"] for finding in report["findings"]
    }
    bad = json.loads(atts("check", "--json", "--calibration", "none.npz", status=1).stdout)
    assert [finding["what"] for finding in bad["findings"] if finding["level"] == "problem"] == [
        "calibration"
    ]
