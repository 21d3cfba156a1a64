"""Which processes are the servers: by their ids, their children, and the ports they listen on."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from atts_core.processes import listeners
from atts_core.telemetry.processes import is_local, owner, parent_process

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")


def test_processes_that_loop_or_are_gone_belong_to_nobody() -> None:
    loop = {1: 2, 2: 1}
    assert owner(1, {7: "draft"}, loop.get) is None
    assert owner(7, {7: "draft"}, loop.get) == "draft"
    assert owner(5, {7: "draft"}, {5: 6, 6: 7}.get) == "draft"


@needs_proc
def test_the_parent_of_a_real_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert parent_process(child.pid) == os.getpid()
    finally:
        child.communicate(b"\n")
    assert parent_process(child.pid) is None


@needs_proc
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_who_listens_on_a_port(family: socket.AddressFamily) -> None:
    with socket.socket(family) as listening, socket.socket(family) as idle:
        try:
            listening.bind(("localhost", 0))
            idle.bind(("localhost", 0))
        except OSError:
            pytest.skip("no such addresses here")
        listening.listen()
        port = listening.getsockname()[1]
        assert listeners([port, idle.getsockname()[1]]) == {port: os.getpid()}
    assert listeners([port]) == {}


def test_where_nothing_can_be_read_nothing_is_found(tmp_path: Path) -> None:
    assert listeners([80], tmp_path) == {}
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text("header\nnonsense\n0: x:zz y 0A\n")
    assert listeners([80], tmp_path) == {}


def test_which_hosts_are_this_machine() -> None:
    assert all(is_local(host) for host in ("localhost", "127.0.0.1", "::1", "[::1]", socket.gethostname()))
    assert not any(is_local(host) for host in ("gpu1", "10.0.0.1", ""))
