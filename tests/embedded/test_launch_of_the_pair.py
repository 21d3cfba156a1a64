"""The server's command line, and the pair as child processes: ready, stopped, and never left behind."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from server_child import command, running_server
from tiny_llama import write_folder

from atts_core.embedded import launch
from atts_core.embedded.launch import EmbeddedServer, EmbeddedServers
from atts_core.errors import RunError

MODELS = Path(launch.__file__).parent / "models"
SHIPPED = ("draft", "target")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_folder(tmp_path_factory.mktemp("models") / "tiny"))


def gone(pid, seconds=0.0):
    """Whether the process has ended, or does so within these seconds; one that nobody waited for has, too."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], seconds)[0])
    finally:
        os.close(watch)


pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are watched as Linux can")


# ---------------------------------------------------------------------- EmbeddedServers


async def test_the_pair_serves_and_is_gone_afterwards(folder):
    async with EmbeddedServers(folder, folder) as servers:
        async with httpx2.AsyncClient(trust_env=False) as client:
            for url in (servers.draft_url, servers.target_url):
                assert (await client.get(url + "/health_generate")).status_code == 200
        assert servers.draft_url != servers.target_url
        assert str(servers.draft_folder) == str(servers.target_folder) == folder
        pids = servers.pids
        assert not any(map(gone, pids))
    assert all(map(gone, pids))
    assert not servers.draft.running


async def test_an_interrupt_is_for_whoever_started_them_to_heed(folder):
    async with EmbeddedServers(folder, folder) as servers:
        for pid in servers.pids:
            os.kill(pid, signal.SIGINT)
        assert not any(gone(pid, 1.0) for pid in servers.pids)
        async with httpx2.AsyncClient(trust_env=False) as client:
            for url in (servers.draft_url, servers.target_url):
                assert (await client.get(url + "/health_generate")).status_code == 200


@pytest.mark.skipif(not all((MODELS / name).is_dir() for name in SHIPPED), reason="the pair is not here")
async def test_without_names_it_is_the_shipped_pair_and_one_seed_is_one_text():
    body = {
        "messages": [{"role": "user", "content": "Let a = 38 + 17. What is a?"}],
        "max_tokens": 40,
        "seed": 3,
        "logprobs": True,
    }

    async def ask():
        async with EmbeddedServers() as servers, httpx2.AsyncClient(trust_env=False) as client:
            paths = [f"{url}/v1/chat/completions" for url in (servers.draft_url, servers.target_url)]
            return [(await client.post(path, json=body)).json()["choices"] for path in paths]

    draft, target = await ask()
    assert draft[0]["message"]["content"]
    assert draft != target
    assert await ask() == [draft, target]


async def test_an_error_in_the_block_stops_them(folder):
    with pytest.raises(ZeroDivisionError):
        async with EmbeddedServers(folder, folder) as servers:
            raise ZeroDivisionError
    assert all(map(gone, servers.pids))


async def test_they_stop_in_the_middle_of_a_request(folder):
    async with EmbeddedServers(folder, folder) as servers, httpx2.AsyncClient(trust_env=False) as client:
        body = {"input_ids": [[5, 6]] * 200, "sampling_params": {"max_new_tokens": None, "ignore_eos": True}}
        asking = asyncio.create_task(client.post(servers.draft_url + "/generate", json=body, timeout=30))
        async with asyncio.timeout(20):
            while "num_running_reqs{" not in (
                page := (await client.get(servers.draft_url + "/metrics")).text
            ) or ('num_running_reqs{engine_type="unified",model_name="tiny"} 0.0' in page):
                pass
        await servers.draft.stop()
        assert gone(servers.draft.pid)
        await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize("when", ["starting", "running"])
async def test_cancellation_leaves_nothing_running(folder, when):
    servers = EmbeddedServers(folder, folder)
    entered = asyncio.Event()

    async def use():
        async with servers:
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    if when == "running":
        await entered.wait()
    else:
        while not (servers.draft.pid and servers.target.pid):  # noqa: ASYNC110 - there is nothing to wait on
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(map(gone, servers.pids))


async def test_one_that_cannot_start_takes_the_other_with_it(folder, tmp_path):
    servers = EmbeddedServers(folder, str(tmp_path / "nowhere"))
    with pytest.raises(RunError, match=r"nowhere.*ended before it was ready.*There is no model folder"):
        async with servers:
            pytest.fail("it cannot be ready")
    assert all(map(gone, servers.pids))


async def test_one_that_is_not_ready_in_time_is_stopped(folder):
    server = EmbeddedServer(folder, ready_timeout=0.001)
    with pytest.raises(RunError, match=r"not ready within 0\.001 s"):
        await server.start()
    assert gone(server.pid)


async def test_stopping_twice_or_before_the_start_is_harmless(folder):
    server = EmbeddedServer(folder)
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()


PARENT = """
import asyncio, json, sys
from atts_core.embedded.launch import EmbeddedServers

async def main():
    async with EmbeddedServers(sys.argv[1], sys.argv[1]) as servers:
        print(json.dumps([servers.pids, servers.draft_url, servers.target_url]), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_children_die_with_their_parent(folder, how):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    pids, *urls = json.loads(parent.stdout.readline())
    assert not any(map(gone, pids))
    parent.send_signal(how)
    parent.wait(20)
    parent.stdout.close()
    assert all(gone(pid, 20) for pid in pids)
    for url in urls:
        host, port = url.removeprefix("http://").split(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=20)


# ---------------------------------------------------------------------- the command line


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=30, check=False)


def test_help_has_examples():
    done = run("--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "no/such/folder"], "There is no model folder"),
        (["--model", "."], "is no model folder"),
        (["--model", "FOLDER", "--host", "not a host"], "Cannot listen on not a host"),
        (["--model", "FOLDER", "--host", "192.0.2.1"], "Cannot listen on 192.0.2.1"),
        (["--model", "FOLDER", "--port", "70000"], "0 to 65535"),
        (["--model", "FOLDER", "--max-running", "0"], "1 to 48"),
        ([], "--model"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_sentence(folder, arguments, message):
    done = run(*[folder if argument == "FOLDER" else argument for argument in arguments])
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_port_in_use_is_said_in_a_sentence(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--model", folder, "--port", port)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: Port {port} on 127.0.0.1 is in use: choose another with --port, or 0 for any free one.\n"
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_finish_and_ends_with_status_0(folder, how):
    with running_server(folder, watch_parent=False) as (client, process):
        body = {
            "input_ids": [5, 6],
            "stream": True,
            "sampling_params": {"max_new_tokens": 150, "ignore_eos": True},
        }
        with client.stream("POST", "/generate", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(how)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        last = json.loads(rest[-2].removeprefix("data: "))["meta_info"]
        assert last["finish_reason"] == {"type": "length", "length": 150}
        client.close()
        assert process.wait(20) == 0


def test_the_ready_line_names_the_port_that_was_asked_for(folder):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running_server(folder, "--port", port) as (client, _):
        assert client.base_url.port == port
        assert client.get("/health").status_code == 200
