"""An evaluation on the pair `real`, which run.py started by `atts servers up --restart`, and what strikes it.

The pair's processes are found by its state file. The keeper, which starts again what died, is held until the
evaluation itself has noticed.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from atts_core.processes import command_line
from atts_core.servers.state import PairState, Server, read_state

PROBLEMS, SAMPLES = 8, 4
EVALUATION = (
    *("eval", "builtin", "--events", "--limit", str(PROBLEMS), "--samples", str(SAMPLES)),
    *("--seed", "11", "--mode", "marginal", "--patience", "600"),
)


class Evaluation:
    """It runs as a program of its own; in the end it is gone, and what was held goes on."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "atts_tui.cli", *EVALUATION, "--runs-dir", str(folder), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.verifying = 0
        """Steps under verification, by the events so far."""
        self.lost: set[str] = set()
        """URLs of servers that are lost, by the events so far."""
        self.ends: dict[tuple[int, int], dict[str, Any]] = {}
        """How the samples ended: problem and sample → `SampleFinished`."""
        self._events = self._told()
        self._held: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.let_go()

    def _told(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)["event"]
            match event["type"]:
                case "VerificationStarted":
                    self.verifying += 1
                case "VerdictReached":
                    self.verifying -= 1
                case "ServerLost":
                    self.lost.add(event["url"])
                case "ServerFound":
                    self.lost.discard(event["url"])
                case "SampleFinished":
                    self.ends[event["problem"], event["sample"]] = event
            yield event

    def until(self, *types: str, when: Callable[[], object] = lambda: True) -> dict[str, Any]:
        """The next event of one of these types (none: of any) at which something holds."""
        for event in self._events:
            if (not types or event["type"] in types) and when():
                return event
        raise AssertionError(f"the run ended before {types or when}")

    def finish(self) -> int:
        """Its exit status, after all that is left of it."""
        for _ in self._events:
            pass
        return self.process.wait(60)

    def strike(self, victim: Server, number: signal.Signals = signal.SIGKILL, part: str = "") -> None:
        """Hold the keeper, and signal those processes of a server that call themselves `part`."""
        struck = [pid for pid in victim.members() if part in command_line(pid)]
        assert struck
        keeper = state().keeper
        assert keeper is not None
        assert keeper.alive
        self._held = [keeper.pid, *(struck if number == signal.SIGSTOP else [])]
        os.kill(keeper.pid, signal.SIGSTOP)
        for pid in struck:
            os.kill(pid, number)

    def let_go(self) -> None:
        """The keeper, and what was stopped, goes on."""
        for pid in self._held:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._held = []


def state() -> PairState:
    found = read_state("real")
    assert found is not None
    return found


def server(label: str) -> Server:
    return next(entry for entry in state().servers if entry.label == label)
