"""`atts servers` with real processes: up, used, looked at, restarted, stopped; and nothing else touched."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from atts_core.processes import boot_identity, listeners, process_space, process_start
from atts_core.servers.state import PairState, Process, Server, read_state, write_state

PATIENCE = 60.0
Atts = Callable[..., subprocess.CompletedProcess[str]]
Begin = Callable[..., "subprocess.Popen[str]"]


def state_of(name: str = "main") -> PairState:
    state = read_state(name)
    assert state is not None
    return state


def pids(name: str = "main") -> list[int]:
    return [server.process.pid for server in state_of(name).servers]


def gone(pid: int) -> bool:
    return process_start(pid) is None


def until(what: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.05)


def line_of(process: "subprocess.Popen[str]") -> str:
    """The next line that a program writes; a test that waits in vain fails, and does not hang."""
    assert process.stdout is not None
    silent = threading.Timer(PATIENCE, process.kill)
    silent.start()
    try:
        return process.stdout.readline()
    finally:
        silent.cancel()


def test_up_used_looked_at_and_down(atts: Atts, embedded: tuple[str, ...], home: Path) -> None:
    said = atts("servers", "up", *embedded).stdout
    draft, target = pids()
    assert os.getsid(draft) == draft != os.getsid(0)  # no terminal takes it down
    assert f"--draft http://127.0.0.1:{embedded[3]} --target" in said

    found = json.loads(atts("servers", "status", "--json").stdout)
    assert found["ok"]
    assert [s["condition"] for s in found["pairs"][0]["servers"]] == ["answers", "answers"]
    assert "atts-embedded" in atts("servers").stdout

    result = json.loads(
        atts("solve", "What is 3 + 4 * 2?", "--samples", "2", "--servers", "main", "--json").stdout
    )
    assert result["samples"]["finished"] == 2

    assert '"event": "ready"' in atts("servers", "logs", "draft").stdout
    assert "there are draft, target" in atts("servers", "logs", "dratf", status=2).stderr
    assert oct(home.joinpath("servers/main/state.json").stat().st_mode)[-3:] == "600"

    again = atts("servers", "up", *embedded, status=2).stderr
    assert "main is up already" in again
    other = atts("servers", "up", *embedded, "--name", "other", status=2).stderr
    assert f"Port {embedded[3]} on 127.0.0.1 is in use by process {draft} (" in other

    atts("servers", "down")
    assert gone(draft)
    assert gone(target)
    assert "No servers are up" in atts("servers", "status").stdout
    assert "no pair main" in atts("servers", "down", status=2).stderr
    assert "no pair of that name" in atts("solve", "What is 1 + 1?", "--servers", "main", status=2).stderr


def test_several_workers(atts: Atts, free_ports: Callable[[int], list[int]]) -> None:
    port = free_ports(4)[0]
    ports = ("--draft-port", str(port), "--target-port", str(port + 2))
    said = atts("servers", "up", "--preset", "embedded", "--workers", "2", *ports).stdout
    assert f"--draft http://127.0.0.1:{port},http://127.0.0.1:{port + 1} --target" in said
    assert [server.label for server in state_of().servers] == ["draft-1", "draft-2", "target-1", "target-2"]
    assert "draft-2 |" in atts("servers", "logs", "draft", "--lines", "1").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_starting_it_stops_what_it_started(
    atts: Atts,
    begin: Begin,
    ports: tuple[int, int],
    pretend_python: Callable[..., Path],
    bystander: "subprocess.Popen[bytes]",
    number: signal.Signals,
) -> None:
    python = pretend_python(does="sleep 600 & exec -a sglang-main sleep 600")
    up = begin(
        *("servers", "up", "--python", str(python), "--draft-model", "a", "--target-model", "b"),
        *("--draft-port", str(ports[0]), "--target-port", str(ports[1])),
    )
    until(lambda: (state := read_state("main")) is not None and len(state.servers) == 2)
    until(lambda: all(len(server.members()) == 2 for server in state_of().servers))
    members = [pid for server in state_of().servers for pid in server.members()]
    assert (
        json.loads(atts("servers", "status", "--json", status=1).stdout)["pairs"][0]["servers"][0][
            "condition"
        ]
        == "starting"
    )
    up.send_signal(number)
    _, err = up.communicate(timeout=PATIENCE)
    assert up.returncode == 130, err
    assert all(gone(pid) for pid in members)
    assert read_state("main") is None
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (
            "echo 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 270.00 MiB.'; exit 1",
            "ended with status 1; its log",
        ),
        (
            'echo "OSError: x is not a local folder and is not a valid model identifier"; exit 1',
            "not a valid",
        ),
        ("kill -9 $$", "was ended by SIGKILL"),
    ],
)
def test_a_server_that_ends_is_reported_with_its_own_words(
    atts: Atts, ports: tuple[int, int], pretend_python: Callable[..., Path], does: str, words: str
) -> None:
    other = 'if [ "$4" = b ]; then exec -a sglang sleep 600; fi'
    python = pretend_python(does=f"{other}\n{does}")
    done = atts(
        *("servers", "up", "--python", str(python), "--draft-model", "a", "--target-model", "b"),
        *("--draft-port", str(ports[0]), "--target-port", str(ports[1])),
        status=1,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("atts: The draft server ")
    assert words in last
    if "echo" in does:
        assert does.split("'" if "'" in does else '"')[1].rstrip(".") in last
    assert read_state("main") is None


def test_a_server_of_somebody_else_that_took_the_port_meanwhile_is_not_ours(
    atts: Atts, ports: tuple[int, int], pretend_python: Callable[..., Path]
) -> None:
    """Two users who start servers on the default ports at the same time: the slower one must not use the
    other's."""
    serve = (
        "from http.server import *\n"
        "class H(SimpleHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        'HTTPServer(("127.0.0.1", int(__import__("sys").argv[1])), H).serve_forever()'
    )
    other = f"setsid --fork {sys.executable} -c {shlex.quote(serve)} $8"
    python = pretend_python(does=f"{other} & echo $8 >&2; exec -a sglang sleep 600")
    try:
        done = atts(
            *("servers", "up", "--python", str(python), "--draft-model", "a", "--target-model", "b"),
            *("--draft-port", str(ports[0]), "--target-port", str(ports[1])),
            status=1,
        )
    finally:
        for pid in listeners(ports).values():
            os.kill(pid, signal.SIGKILL)
    assert "server that was started: another program took the port meanwhile" in done.stderr


def test_a_server_that_never_answers_is_given_up(
    atts: Atts, ports: tuple[int, int], pretend_python: Callable[..., Path]
) -> None:
    python = pretend_python(does="echo '[2026-11-20 10:00:00] Load weight begin.'; exec -a sglang sleep 600")
    done = atts(
        *("servers", "up", "--python", str(python), "--draft-model", "a", "--target-model", "b"),
        *("--draft-port", str(ports[0]), "--target-port", str(ports[1]), "--patience", "1"),
        status=1,
    )
    assert "did not answer within 1 s" in done.stderr
    assert "ends: Load weight begin" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--python", "/no/such/python"), "There is no Python at /no/such/python"),
        (("--python", sys.executable), "has no sglang"),
    ],
)
def test_a_python_without_sglang(atts: Atts, options: tuple[str, ...], words: str) -> None:
    refused = atts("servers", "up", "--preset", "r1-8b+qwq", *options, status=2).stderr
    assert words in refused
    assert len(refused.splitlines()) == 1


def test_an_old_sglang_or_router(atts: Atts, pretend_python: Callable[..., Path]) -> None:
    up = ("servers", "up", "--preset", "r1-8b+qwq", "--python")
    assert "atts speaks to 0.4.3" in atts(*up, str(pretend_python(sglang="0.4.2")), status=2).stderr
    old = atts(*up, str(pretend_python(router="0.1.9")), "--router", status=2).stderr
    assert "sglang-router 0.1.9, which drops the log-probabilities" in old
    assert "no sglang-router" in atts(*up, str(pretend_python()), "--router", status=2).stderr


def test_a_dry_run_starts_nothing(atts: Atts, home: Path) -> None:
    shown = atts("servers", "up", "--preset", "r1-1.5b+qwq", "--python", "/opt/x", "--dry-run").stdout
    assert "CUDA_VISIBLE_DEVICES=1,2 /opt/x -m sglang.launch_server --model-path Qwen/QwQ-32B" in shown
    assert not home.exists()


def test_one_that_dies_is_started_again(atts: Atts, embedded: tuple[str, ...]) -> None:
    atts("servers", "up", *embedded, "--restart")
    draft, target = pids()
    os.kill(draft, signal.SIGKILL)
    until(lambda: (server := state_of().servers[0]).ready and server.process.pid != draft)
    assert pids()[1] == target
    assert state_of().servers[0].restarts == 1
    assert "draft died" in atts("servers", "logs", "keeper").stdout
    assert "restart 1" in atts("servers", "status").stdout
    keeper = state_of().keeper
    assert keeper is not None
    after = [*pids(), keeper.pid]
    atts("servers", "down")
    assert all(gone(pid) for pid in after)


def test_in_the_foreground_the_death_of_one_ends_both(
    atts: Atts, begin: Begin, embedded: tuple[str, ...]
) -> None:
    up = begin("servers", "up", *embedded, "--foreground")
    until(lambda: "ctrl-C stops them" in line_of(up))
    draft, target = pids()
    os.kill(target, signal.SIGKILL)
    _, err = up.communicate(timeout=PATIENCE)
    assert up.returncode == 1
    assert "The target server died: it was ended by SIGKILL" in err
    assert gone(draft)


def test_down_while_another_process_holds_them(atts: Atts, begin: Begin, embedded: tuple[str, ...]) -> None:
    up = begin("servers", "up", *embedded, "--foreground")
    until(lambda: "ctrl-C stops them" in line_of(up))
    before = pids()
    assert "stopped by the `atts servers up` that held it" in atts("servers", "down").stdout
    up.communicate(timeout=PATIENCE)
    assert up.returncode == 130
    assert all(gone(pid) for pid in before)


def test_a_number_that_is_another_process_now_is_left_alone(
    atts: Atts, home: Path, bystander: "subprocess.Popen[bytes]"
) -> None:
    """The state file is of a server that ended; its number is somebody else's now, or of another boot."""
    (home / "servers" / "main").mkdir(parents=True)
    real = Process(
        pid=bystander.pid,
        start=process_start(bystander.pid) or "",
        mark="sglang",
        boot=boot_identity(),
        space=process_space(),
    )
    for other in (
        real,  # the very number and start, but its command line is no server's
        msgspec.structs.replace(real, mark="sleep", start="1"),
        msgspec.structs.replace(real, mark="sleep", boot="another boot"),
    ):
        server = Server(
            label="draft",
            role="draft",
            kind="sglang",
            model="m",
            url="http://127.0.0.1:1",
            process=other,
            began=0.0,
            ready=True,
        )
        write_state(PairState(name="main", preset="", release="", servers=(server,)))
        assert '"condition": "gone"' in atts("servers", "status", "--json", status=1).stdout
        assert "was gone already" in atts("servers", "down").stdout
        assert bystander.poll() is None


def test_what_a_dead_leader_left_is_stopped(
    atts: Atts, begin: Begin, ports: tuple[int, int], pretend_python: Callable[..., Path], home: Path
) -> None:
    """SGLang's scheduler may outlive its server and hold the GPU's memory."""
    python = pretend_python(does="exec -a sglang::scheduler sleep 600 &\nexec -a sglang sleep 600")
    up = begin(
        *("servers", "up", "--python", str(python), "--draft-model", "a", "--target-model", "b"),
        *("--draft-port", str(ports[0]), "--target-port", str(ports[1])),
    )
    until(lambda: (s := read_state("main")) is not None and [len(x.members()) for x in s.servers] == [2, 2])
    state = state_of()
    up.kill()  # the launcher itself dies: nothing cleans up
    up.communicate()
    os.kill(state.servers[0].process.pid, signal.SIGKILL)
    until(lambda: len(state.servers[0].members()) == 1)
    left = [pid for server in state.servers for pid in server.members()]
    assert len(left) == 3
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert "1 of its processes left" in atts("servers", "status", status=1).stdout
    atts("servers", "down")
    assert all(gone(pid) for pid in left)


def test_a_log_is_followed_over_a_new_start(
    atts: Atts, begin: Begin, embedded: tuple[str, ...], home: Path
) -> None:
    atts("servers", "up", *embedded)
    follow = begin("servers", "logs", "draft", "-f", "--lines", "1")
    assert "ready" in line_of(follow)
    log = home / "servers/main/draft.log"
    with log.open("a") as file:
        file.write("more \x1b[2J\x07 words\n")
    assert line_of(follow) == "more words\n"
    log.write_text("anew\n")  # as a new start does
    assert line_of(follow) == "anew\n"
    follow.send_signal(signal.SIGINT)
    follow.communicate(timeout=PATIENCE)
    assert follow.returncode == 0


def test_servers_of_a_test_run_that_is_killed_are_stopped(home: Path, ports: tuple[int, int]) -> None:
    """What the fixtures promise: a test run that is killed leaves no server behind."""
    inner = home.parent / "test_inner.py"
    up = ["servers", "up", "--preset", "embedded", "--draft-port", ports[0], "--target-port", ports[1]]
    inner.write_text(
        "import os, signal\n"
        f"def test_it(atts):\n    atts(*map(str, {up}))\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    shutil.copy(Path(__file__).with_name("conftest.py"), inner.with_name("conftest.py"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp"]
    command += [str(home.parent / "kept"), str(inner)]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    left = next((home.parent / "kept").glob("*/atts/servers/main"))
    until(lambda: not (left / "state.json").exists())
