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

KEPT, GIVEN_BACK = b"\x1b[22;0t", b"\x1b[23;0t"
"""The terminal is asked to keep its title, and to take that back."""
CRASH = """
import sys
from atts_tui.app import AttsApp
from atts_tui.cli import main

def crash(self):
    raise RuntimeError("a defect")

AttsApp.action_freeze = crash
sys.exit(main())
"""


class Terminal:
    """`atts` on a terminal of its own."""

    def __init__(
        self, home: Path, *arguments: str, program: tuple[str, ...] = ("-m", "atts_tui.cli")
    ) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 120))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        heeded = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it (nohup)
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "ATTS_HOME": str(home), "TERM": "xterm-256color"},
        )
        signal.signal(signal.SIGHUP, heeded)
        self.said = b""
        self.open = True

    def hang_up(self) -> None:
        """The terminal goes away; no signal says so, for it controls no session."""
        os.close(self.master)
        self.open = False

    def wait_for(self, *wanted: bytes) -> None:
        """Read until all of it was written."""
        until = time.monotonic() + PATIENCE
        while not all(part in self.said for part in wanted):
            assert time.monotonic() < until, self.seen()
            self.read(0.5)

    def wait_for_words(self, words: str) -> None:
        """Read until they stand somewhere, in whatever pieces they were written."""
        until = time.monotonic() + PATIENCE
        while words not in self.seen():
            assert time.monotonic() < until, self.seen()
            self.read(0.5)

    def read(self, patience: float) -> bool:
        """Take what it writes; says whether there was something."""
        if not self.open:
            time.sleep(patience)
            return False
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

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        if self.open:
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
    with Terminal(tmp_path, "demo", "--pace", "15", "--title") as terminal:
        terminal.wait_for(ENTERED, b"LIVE")
        until = time.monotonic() + PATIENCE
        while recorded(tmp_path).overall.decisions == 0 and time.monotonic() < until:
            terminal.read(0.1)
        terminal.process.send_signal(number)
        assert terminal.ended() == 130
        assert is_restored(terminal)
        assert b"Traceback" not in terminal.said
        assert b"\x1b]2;atts demo: live" in terminal.said
        assert terminal.said.index(KEPT) < terminal.said.index(b"\x1b]2;") < terminal.said.index(GIVEN_BACK)
        state = recorded(tmp_path)
        assert state.finished is not None
        assert state.finished.end == "interrupted"
        assert state.overall.decisions > 0


def test_home_solves_with_one_key_comes_back_and_is_left(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
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


def atts(home: Path, *arguments: str) -> str:
    """What a command without a terminal says."""
    done = subprocess.run(
        [sys.executable, "-m", "atts_tui.cli", *arguments],
        capture_output=True, text=True, env={**os.environ, "ATTS_HOME": str(home)}, timeout=120,
        stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("command", ["calibrate", "home"])
def test_a_run_let_go_of_goes_on_by_itself_to_its_end(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "mine.npz"
    arguments = ["calibrate", "builtin", "--limit", "4", "--samples", "2", "-o", str(output)]
    monkeypatch.setenv("ATTS_SAMPLES", "64")  # Home's problem takes a while with so many
    with Terminal(tmp_path, *(arguments if command == "calibrate" else ())) as terminal:
        if command == "home":
            terminal.wait_for(ENTERED, b"No runs yet")
            terminal.type(b"\r")
        terminal.wait_for(b"LIVE")
        terminal.type(b"q")
        terminal.wait_for(b"let it go on by itself")
        terminal.said = b""
        terminal.type(b"d")
        if command == "home":
            terminal.wait_for(ENTERED, b"goes on by itself.")
            terminal.type(b"\x03")
        assert terminal.ended() == 0
        assert is_restored(terminal)
        (path,) = run_files(tmp_path / "runs")
        assert f"atts watch {path.stem}".encode() in terminal.said
        assert "tokens: draft" in atts(tmp_path, "watch", path.stem, "--headless")
        state = recorded(tmp_path)
        assert state.finished is not None
        assert state.finished.end == "done"
        assert output.exists() == (command == "calibrate")


def test_a_demo_that_loops_shows_one_run_after_another_and_keeps_the_newest(tmp_path: Path) -> None:
    with Terminal(
        tmp_path, "demo", "--loop", "--pace", "0", "--problems", "1", "--samples", "2", "--seed", "4"
    ) as terminal:
        terminal.wait_for(b"DONE")
        first = recorded(tmp_path)
        terminal.said = b""
        terminal.wait_for(ENTERED, b"DONE")
        terminal.type(b"q")
        assert terminal.ended() == 0
        assert is_restored(terminal)
        (path,) = run_files(tmp_path / "runs")
        second = recorded(tmp_path)
        assert first.run is not None
        assert second.run is not None
        assert (first.run.settings["seed"], second.run.settings["seed"]) == (4, 5)
        assert path.name.encode() in terminal.said


def test_home_told_to_end_from_outside_is_not_opened_again(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
        terminal.wait_for(ENTERED, b"No runs yet")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 128 + signal.SIGTERM
        assert is_restored(terminal)


def test_a_defect_of_the_screen_restores_the_terminal_and_the_run_is_interrupted(tmp_path: Path) -> None:
    with Terminal(tmp_path, "demo", "--pace", "15", program=("-c", CRASH)) as terminal:
        terminal.wait_for(ENTERED, b"LIVE")
        terminal.type(b" ")
        assert terminal.ended() != 0
        assert is_restored(terminal)
        assert terminal.said.rfind(b"a defect") > terminal.said.rfind(LEFT)
        finished = recorded(tmp_path).finished
        assert finished is not None
        assert finished.end == "interrupted"


def test_a_run_whose_terminal_goes_away_without_a_signal_ends_interrupted(tmp_path: Path) -> None:
    with Terminal(tmp_path, "demo", "--pace", "15") as terminal:
        terminal.wait_for(ENTERED, b"LIVE")
        terminal.hang_up()
        assert terminal.ended() == 128 + signal.SIGHUP
        finished = recorded(tmp_path).finished
        assert finished is not None
        assert finished.end == "interrupted"
    for command, shown in ((), b"Recent runs"), (("watch",), b"atts"), (("replay",), b"REPLAY"):
        with Terminal(tmp_path, *command) as terminal:
            terminal.wait_for(ENTERED, shown)
            terminal.hang_up()
            terminal.ended()


def test_a_run_goes_on_under_a_terminal_that_reads_nothing_and_still_heeds_signals(tmp_path: Path) -> None:
    with Terminal(tmp_path, "demo", "--pace", "0", "--problems", "2", "--seed", "3") as terminal:
        terminal.wait_for(ENTERED, b"LIVE")
        until = time.monotonic() + PATIENCE
        while recorded(tmp_path).finished is None and time.monotonic() < until:
            time.sleep(0.1)  # and reads nothing
        finished = recorded(tmp_path).finished
        assert finished is not None
        assert finished.end == "done"
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 0


@pytest.mark.parametrize("command", ["watch", "replay"])
def test_frames_a_second_are_taken_from_the_command_line_and_checked(command: str) -> None:
    parse = _parser().parse_args
    assert look_of(parse([command, "--fps", "4"]))["fps"] == 4
    assert look_of(parse([command]))["fps"] == 10
    for wrong in ("0", "61"):
        with pytest.raises(SettingsError, match=f"--fps {wrong}: frame rate must lie between 1 and 60"):
            look_of(parse([command, "--fps", wrong]))


SHELL = """
import os, signal, subprocess, sys
job = subprocess.Popen([sys.executable, "-m", "atts_tui.cli", *sys.argv[1:]], process_group=0)
_, status = os.waitpid(job.pid, os.WUNTRACED)
assert os.WIFSTOPPED(status)
os.write(1, b"put aside")
os.read(0, 1)
os.killpg(job.pid, signal.SIGCONT)
sys.exit(job.wait())
"""
"""What a shell does with a job."""


def test_ctrl_z_puts_the_screen_aside_and_the_shell_brings_it_back(tmp_path: Path) -> None:
    with Terminal(tmp_path, program=("-c", SHELL)) as terminal:
        terminal.wait_for(ENTERED, b"No runs yet")
        terminal.type(b"\x1a")
        terminal.wait_for(b"put aside")
        assert is_restored(terminal)
        terminal.said = b""
        terminal.type(b"\n")
        terminal.wait_for(ENTERED, b"No runs yet")
        terminal.type(b"\x03")
        assert terminal.ended() == 0
        assert is_restored(terminal)


def test_ctrl_z_puts_no_run_of_its_own_aside(tmp_path: Path) -> None:
    with Terminal(tmp_path, "demo", "--pace", "15") as terminal:
        terminal.wait_for(ENTERED, b"LIVE")
        terminal.type(b"\x1a")
        terminal.wait_for_words("This run would stand still")
        assert LEFT not in terminal.said
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 130
        assert is_restored(terminal)


def test_ctrl_z_stops_nothing_where_no_shell_could_go_on(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
        terminal.wait_for(ENTERED, b"No runs yet")
        terminal.said = b""
        terminal.type(b"\x1a")
        terminal.wait_for(LEFT, ENTERED, b"No runs yet")
        terminal.type(b"\x03")
        assert terminal.ended() == 0
        assert is_restored(terminal)
