"""What becomes of an evaluation when parts of the real server die or hang under it.

Opt-in (`make test-sglang SGLANG=--faults`): it kills processes of the pair that run.py started with `atts
servers up --restart`, found by its state file. The keeper is held until the evaluation itself has noticed, by
its time-outs where the server goes on listening; then it starts the server again and the evaluation goes on.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from atts_core.processes import command_line
from atts_core.servers.state import Server, read_state

pytestmark = pytest.mark.real_sglang

FIRST, BETWEEN = 15.0, 10.0
"""Time-outs of the evaluation, seconds."""
PROBE = 30.0
"""After a time-out the server is asked for one token before it is given up, seconds."""
PROBLEMS, SAMPLES = 8, 4


@dataclass(frozen=True)
class Fault:
    role: str
    part: str
    """What the process calls itself; empty: every process of the server."""
    number: signal.Signals = signal.SIGKILL


FAULTS = {
    "the draft's scheduler dies": Fault("draft", "sglang::scheduler"),
    "the target's detokenizer dies": Fault("target", "sglang::detokenizer"),
    "the whole target dies": Fault("target", ""),
    "the whole draft hangs": Fault("draft", "", signal.SIGSTOP),
}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> str:
    if not os.environ.get("ATTS_REAL_SGLANG_FAULTS"):
        pytest.skip("ATTS_REAL_SGLANG_FAULTS is not set: it kills servers")
    found = os.environ["ATTS_REAL_SGLANG_HOME"]
    monkeypatch.setenv("ATTS_HOME", found)
    return found


def server(role: str) -> Server:
    state = read_state("real")
    assert state is not None
    return next(entry for entry in state.servers if entry.role == role)


def keeper() -> int:
    state = read_state("real")
    assert state is not None
    assert state.keeper is not None
    assert state.keeper.alive
    return state.keeper.pid


def events_of(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def let_go(held: list[int]) -> None:
    for pid in held:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def kind(event: dict[str, Any]) -> str:
    return str(event.get("event", event).get("type", ""))


@pytest.mark.parametrize("name", FAULTS)
def test_it_is_noticed_named_and_costs_no_sample(
    name: str, home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = FAULTS[name]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "atts_tui.cli", "eval", "builtin", "--events", "--servers", "real"),
            *("--limit", str(PROBLEMS), "--samples", str(SAMPLES), "--mode", "marginal"),
            *("--timeout-first-token", f"{FIRST:g}", "--timeout-between-tokens", f"{BETWEEN:g}"),
            *("--patience", "600", "--runs-dir", str(tmp_path)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    struck: list[int] = []
    held: list[int] = []
    at = noticed = 0.0
    message, ends, verdicts = "", [], 0
    try:
        for event in events_of(process):
            body = event.get("event", event)
            match kind(event):
                case "VerdictReached":
                    verdicts += 1
                    if verdicts == 20:
                        victim = server(fault.role)
                        struck = [pid for pid in victim.members() if fault.part in command_line(pid)]
                        assert struck
                        held = [keeper(), *(struck if fault.number == signal.SIGSTOP else [])]
                        os.kill(keeper(), signal.SIGSTOP)
                        at = time.monotonic()
                        for pid in struck:
                            os.kill(pid, fault.number)
                case "ServerLost" | "RequestRetried" if struck and not noticed:
                    noticed, message = time.monotonic() - at, body["message"]
                    let_go(held)
                case "SampleFinished":
                    ends.append(body["end"])
        process.wait(60)
    finally:
        process.kill()
        let_go(held)
    with capsys.disabled():
        print(f"\n{name}: noticed after {noticed:.1f} s: {message}")  # noqa: T201
    assert process.returncode == 0
    assert 0 < noticed < max(FIRST, BETWEEN) + PROBE
    assert fault.role in message
    assert len(ends) == PROBLEMS * SAMPLES
    assert not {"failed", "stopped"} & set(ends)
