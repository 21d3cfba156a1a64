"""What becomes of an evaluation when parts of the real server die or hang under it.

Opt-in (`make test-sglang SGLANG=--faults`): it kills processes of the pair. The keeper is held until the
evaluation itself has noticed, by its time-outs where the server goes on listening; then it starts the server
again and the evaluation goes on.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from struck import PROBLEMS, SAMPLES, Evaluation, server

pytestmark = pytest.mark.real_sglang

FIRST, BETWEEN = 15.0, 10.0
"""Time-outs of the evaluation, seconds."""
PROBE = 30.0
"""After a time-out the server is asked for one token before it is given up, seconds."""
BEFORE = 20
"""Verdicts before it is struck."""


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


@pytest.mark.parametrize("name", FAULTS)
def test_it_is_noticed_named_and_costs_no_sample(
    name: str, home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not os.environ.get("ATTS_REAL_SGLANG_FAULTS"):
        pytest.skip("ATTS_REAL_SGLANG_FAULTS is not set: it kills servers")
    fault = FAULTS[name]
    timeouts = ("--timeout-first-token", f"{FIRST:g}", "--timeout-between-tokens", f"{BETWEEN:g}")
    with Evaluation(tmp_path, "--servers", "real", *timeouts) as run:
        for _ in range(BEFORE):
            run.until("VerdictReached")
        at = time.monotonic()
        run.strike(server(fault.role), fault.number, fault.part)
        message = run.until("ServerLost", "RequestRetried")["message"]
        noticed = time.monotonic() - at
        run.let_go()
        assert run.finish() == 0
    with capsys.disabled():
        print(f"\n{name}: noticed after {noticed:.1f} s: {message}")  # noqa: T201
    assert noticed < max(FIRST, BETWEEN) + PROBE
    assert fault.role in message
    assert len(run.ends) == PROBLEMS * SAMPLES
    assert not {"failed", "stopped"} & {end["end"] for end in run.ends.values()}
