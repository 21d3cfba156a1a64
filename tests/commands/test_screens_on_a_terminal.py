"""Screens on a real pseudo-terminal: whatever ends them, the terminal is as it was, and the run is kept."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from atts_core.errors import SettingsError
from atts_core.runs.file import RunFile
from atts_core.runs.folder import run_files
from atts_core.state import RunState
from atts_tui.cli import _parser
from atts_tui.look import look_of

PATIENCE = 30.0
ENTERED, LEFT, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """`atts` on a terminal of its own."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 120))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [sys.executable, "-m", "atts_tui.cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "ATTS_HOME": str(home), "TERM": "xterm-256color"},
        )
        self.said = b""

    def wait_for(self, *wanted: bytes) -> None:
        """Read until all of it was written."""
        until = time.monotonic() + PATIENCE
        while not all(part in self.said for part in wanted):
            assert time.monotonic() < until, self.seen()
            self.read(0.5)

    def read(self, patience: float) -> bool:
        """Take what it writes; says whether there was something."""
        if not select.select([self.master], [], [], patience)[0]:
            return False
        try:
            self.said += os.read(self.master, 65536)
        except OSError:
            return False
        return True

    def seen(self) -> str:
        """The end of what it wrote, without sequences."""
        return re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", self.said)[-3000:].decode(errors="replace")

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def ended(self) -> int:
        """Its exit status, all that it wrote read meanwhile."""
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < until, self.seen()
            self.read(0.1)
        while self.read(0.1):
            pass
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


def is_restored(terminal: Terminal) -> bool:
    """Out of the other screen, with a cursor, and with the modes that it had."""
    left = terminal.said.rfind(LEFT) > terminal.said.rfind(ENTERED)
    return left and CURSOR in terminal.said and termios.tcgetattr(terminal.slave) == terminal.before


def recorded(home: Path) -> RunState:
    file = RunFile.open(run_files(home / "runs")[0])
    try:
        return file.state(file.last())
    finally:
        file.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_ended_by_a_signal_restores_the_terminal_and_is_interrupted(
    tmp_path: Path, number: signal.Signals
) -> None:
    terminal = Terminal(tmp_path, "demo", "--pace", "15", "--title")
    try:
        terminal.wait_for(ENTERED, b"LIVE")
        until = time.monotonic() + PATIENCE
        while recorded(tmp_path).overall.decisions == 0 and time.monotonic() < until:
            terminal.read(0.1)
        terminal.process.send_signal(number)
        assert terminal.ended() == 130
        assert is_restored(terminal)
        assert b"Traceback" not in terminal.said
        assert b"\x1b]2;atts demo: live" in terminal.said
        state = recorded(tmp_path)
        assert state.finished is not None
        assert state.finished.end == "interrupted"
        assert state.overall.decisions > 0
    finally:
        terminal.close()


def test_home_solves_with_one_key_comes_back_and_is_left(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    try:
        terminal.wait_for(ENTERED, b"No runs yet")
        terminal.type(b"\r")
        terminal.wait_for(b"DONE")
        terminal.said = b""
        terminal.type(b"q")
        terminal.wait_for(ENTERED, b"Recent runs", b"100 % right")
        terminal.type(b"\x03")
        assert terminal.ended() == 0
        assert is_restored(terminal)
        assert recorded(tmp_path).finished is not None
    finally:
        terminal.close()


def test_home_told_to_end_from_outside_is_not_opened_again(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    try:
        terminal.wait_for(ENTERED, b"No runs yet")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 128 + signal.SIGTERM
        assert is_restored(terminal)
    finally:
        terminal.close()


@pytest.mark.parametrize("command", ["watch", "replay"])
def test_frames_a_second_are_taken_from_the_command_line_and_checked(command: str) -> None:
    parse = _parser().parse_args
    assert look_of(parse([command, "--fps", "4"]))["fps"] == 4
    assert look_of(parse([command]))["fps"] == 10
    for wrong in ("0", "61"):
        with pytest.raises(SettingsError, match=f"--fps {wrong}: frame rate must lie between 1 and 60"):
            look_of(parse([command, "--fps", wrong]))
