"""A home for state files, free ports, and a Python that has as much of sglang as a test wants."""

import os
import random
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE = 60.0
Atts = Callable[..., subprocess.CompletedProcess[str]]
Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`ATTS_HOME` of this process and of those that it starts."""
    monkeypatch.setenv("ATTS_HOME", str(tmp_path / "atts"))
    return tmp_path / "atts"


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """So many ports in a row that are free now, below those that outgoing connections take."""

    def free(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    def find(count: int) -> list[int]:
        while True:
            row = list(range(first := random.randrange(20000, 32000), first + count))
            if all(map(free, row)):
                return row

    return find


@pytest.fixture
def ports(free_ports: Callable[[int], list[int]]) -> tuple[int, int]:
    """Two of them."""
    one, other = free_ports(2)
    return one, other


@pytest.fixture
def atts(home: Path) -> Iterator[Atts]:
    """Runs `atts …` as a program; whatever servers it leaves up are stopped in the end, or when we die."""

    def run(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "atts_tui.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    # Lasting servers outlive a test run that is killed, so what stops them waits for its end outside of it.
    down = shlex.join([sys.executable, "-m", "atts_tui.cli", "servers", "down", "--all", "--patience", "5"])
    servers = shlex.quote(str(home / "servers"))
    cleaner = subprocess.Popen(
        ["/bin/sh", "-c", f"read -r _; [ ! -d {servers} ] || exec {down}"],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    yield run
    cleaner.communicate(timeout=PATIENCE)
    assert cleaner.returncode == 0


@pytest.fixture
def begin(home: Path) -> Iterator[Begin]:
    """Starts `atts …` as a program that stays; it is gone in the end, whatever the test came to."""
    begun: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "atts_tui.cli", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        begun.append(subprocess.Popen(command, text=True, **pipes))
        return begun[-1]

    yield run
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def embedded(ports: tuple[int, int]) -> tuple[str, ...]:
    """Options of `up` for the embedded pair on free ports."""
    return "--preset", "embedded", "--draft-port", str(ports[0]), "--target-port", str(ports[1])


@pytest.fixture
def pretend_python(tmp_path: Path) -> Callable[..., Path]:
    """A program in place of a Python that has sglang: it tells the releases given, and where a server is to
    be started runs the shell lines given. Stands for what only a GPU host has: failing starts."""

    def make(*, sglang: str = "0.5.23", router: str = "", does: str = "exec sleep 600") -> Path:
        path = tmp_path / "bin" / "python-with-sglang"
        path.parent.mkdir(exist_ok=True)
        answer = f'{{"sglang": "{sglang}", "router": "{router}"}}'
        path.write_text(f"#!/bin/bash\nif [ \"$1\" = -c ]; then echo '{answer}'; exit; fi\n{does}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that none of ours may touch."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
