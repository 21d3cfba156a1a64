"""`atts web`: a real server, a real viewer behind a real socket, a real browser where there is one."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from chromium import PROGRAM, page

PATIENCE = 30


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with one finished run."""
    folder = tmp_path_factory.mktemp("web")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ATTS_")}
    environment |= {"ATTS_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PYTHONUNBUFFERED": "1"}
    demo = ["demo", "--headless", "--problems", "1", "--samples", "4", "--seed", "3"]
    subprocess.run(
        [sys.executable, "-m", "atts_tui.cli", *demo], env=environment, check=True, capture_output=True
    )
    return environment


@contextlib.asynccontextmanager
async def started(home: dict[str, str], *arguments: str) -> AsyncIterator[tuple[Process, str]]:
    """A server, and the address of its page as it printed it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "atts_tui.cli",
        "web",
        *arguments,
        env=home,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = (await process.stdout.readline()).decode()
        assert "http://" in line, line
        yield process, line.rpartition(" ")[2].strip()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def serving(home: dict[str, str], *arguments: str) -> AsyncIterator[str]:
    """The address of a page, whose server ends as it is told to."""
    async with started(home, *arguments) as (process, address):
        yield address
        process.terminate()
        async with asyncio.timeout(PATIENCE):
            _, errors = await process.communicate()
        assert process.returncode == 0
        assert b"Traceback" not in errors, errors.decode()


def origin(address: str) -> dict[str, str]:
    return {"Origin": "/".join(address.split("/", 3)[:3])}


async def shown(socket: aiohttp.ClientWebSocketResponse, *wanted: str) -> None:
    """Until the terminal has been sent all of these words."""
    seen = b""
    async with asyncio.timeout(PATIENCE):
        while not all(word.encode() in seen for word in wanted):
            message = await socket.receive()
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), (message, seen[-2000:])
            if message.type is aiohttp.WSMsgType.BINARY:
                seen += message.data


async def test_only_who_knows_the_secret_finds_anything(home: dict[str, str]) -> None:
    async with serving(home) as address, aiohttp.ClientSession() as session:
        root = address.rsplit("/", 2)[0]
        for path in ("/", "/static/js/textual.js", "/ws", "/wrong/", "/wrong/ws", "/%2e%2e/"):
            async with session.get(root + path) as answer:
                assert answer.status == 404, path
                assert "atts" not in await answer.text()
        async with session.get(address) as answer:
            assert answer.status == 200
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] == "no-store"
            assert "http" not in await answer.text()  # nothing comes from anywhere else


async def test_the_socket_shows_the_run_to_its_own_page_only(home: dict[str, str]) -> None:
    async with serving(home, "--viewers", "1") as address, aiohttp.ClientSession() as session:
        for stranger in ({"Origin": "http://evil.example"}, {}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{address}ws", headers=stranger)
            assert refused.value.status == 403
        async with session.ws_connect(f"{address}ws?width=120&height=40", headers=origin(address)) as socket:
            await shown(socket, "DONE", "answered")
            with pytest.raises(aiohttp.WSServerHandshakeError) as full:
                await session.ws_connect(f"{address}ws", headers=origin(address))
            assert full.value.status == 503


async def test_a_picture_goes_to_the_browser_and_not_to_this_machine(home: dict[str, str]) -> None:
    async with (
        serving(home) as address,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{address}ws?width=120&height=40", headers=origin(address)) as socket,
    ):
        await shown(socket, "DONE")
        await socket.send_str(json.dumps(["stdin", "e"]))
        async with asyncio.timeout(PATIENCE):
            while (message := await socket.receive()).type is not aiohttp.WSMsgType.TEXT:
                pass
        kind, key = json.loads(message.data)
        assert kind == "deliver_file_start"
        root = "/".join(address.split("/", 3)[:3])
        async with session.get(f"{root}/download/{key}") as answer:
            assert "<svg" in await answer.text()
        async with session.get(f"{root}/download/{key[::-1]}") as answer:
            assert answer.status == 404


def children(pid: int) -> list[int]:
    """Processes that this one has begun, and those that they have."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found += [int(stat.parent.name), *children(int(stat.parent.name))]
    return found


async def ended(pid: int) -> None:
    """Until a process that is nobody's child here has ended."""
    descriptor, over = os.pidfd_open(pid), asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)  # one that stayed is not left behind
        os.close(descriptor)


@pytest.mark.parametrize("option", [(), ("--replay",)])  # one that stands still, one that writes
async def test_a_viewer_ends_with_its_server_however_that_ends(
    home: dict[str, str], option: tuple[str, ...]
) -> None:
    async with (
        started(home, *option) as (process, address),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{address}ws?width=120&height=40", headers=origin(address)) as socket,
    ):
        await shown(socket, "REPLAY" if option else "DONE")
        viewers = children(process.pid)
        assert viewers
        ends = [asyncio.create_task(ended(viewer)) for viewer in viewers]
        await asyncio.sleep(0)  # each holds on to its process
        process.kill()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*ends)


@pytest.fixture
def running(home: dict[str, str]) -> Iterator[str]:
    """The name of a run that takes its time."""
    slow = ["demo", "--detach", "--problems", "1", "--samples", "2", "--pace", "2", "--seed", "3"]
    command = [sys.executable, "-m", "atts_tui.cli"]
    done = subprocess.run([*command, *slow], env=home, check=True, capture_output=True, text=True)
    name = next(Path(word).stem for word in done.stdout.split() if word.endswith(".atts"))
    yield name
    subprocess.run([*command, "watch", name, "--stop"], env=home, check=False, capture_output=True)


@pytest.mark.parametrize(("option", "words"), [((), "nobody"), (("--control",), "PAUSED")])
async def test_the_run_is_paused_only_by_who_was_let(
    home: dict[str, str], running: str, option: tuple[str, ...], words: str
) -> None:
    async with (
        serving(home, running, *option) as address,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{address}ws?width=140&height=40", headers=origin(address)) as socket,
    ):
        await shown(socket, "LIVE")
        await socket.send_str(json.dumps(["stdin", "p"]))
        await shown(socket, words)


@pytest.mark.skipif(PROGRAM is None, reason="no chromium on this machine")
async def test_a_browser_draws_the_screen_and_says_when_it_ends(home: dict[str, str], tmp_path: Path) -> None:
    async with serving(home) as address, page(address, tmp_path) as tab:
        await tab.until("document.body.classList.contains('-first-byte')")
        loaded = await tab.value("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert all(name.startswith(address.rsplit("/", 2)[0]) for name in loaded)
        await tab.value("document.querySelector('.xterm-helper-textarea').focus()")
        async with asyncio.timeout(PATIENCE):
            while len(await tab.picture()) < 20_000:  # an empty terminal is a few kilobytes
                pass
        await tab.press("q")
        await tab.until("document.body.classList.contains('-closed')")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "70000"], "between 1 and 65535"),
        (["--viewers", "0"], "at least one"),
        (["--replay", "--control"], "nothing to control"),
        (["--host", "203.0.113.7"], "cannot be served on"),
        (["no-such-run"], "no-such-run"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_sentence(
    home: dict[str, str], arguments: list[str], words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "atts_tui.cli", "web", *arguments],
        env=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
