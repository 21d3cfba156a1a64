"""A headless Chromium (Debian's) driven through its debugging protocol, as far as these tests need it."""

import asyncio
import base64
import contextlib
import itertools
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1300,860",
)
PATIENCE = 30


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def ask(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol and its answer; events in between are passed over."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self._socket.receive_json()
                if message.get("id") == number:
                    assert "error" not in message, message["error"]
                    return message["result"]

    async def go(self, url: str) -> None:
        """Opens an address; returns once it has loaded."""
        await self.ask("Page.enable")
        await self.ask("Page.navigate", url=url)
        async with asyncio.timeout(PATIENCE):
            while (await self._socket.receive_json()).get("method") != "Page.loadEventFired":
                pass

    async def value(self, expression: str) -> Any:
        """What an expression of the page gives; promises are awaited."""
        answer = await self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Waits until the page itself finds the condition true, looking at each of its frames."""
        await self.value(
            f"new Promise(done => {{ const look = () => ({condition}) ? done(true) : "
            "requestAnimationFrame(look); look(); })"
        )

    async def press(self, key: str) -> None:
        """Types one character."""
        await self.ask("Input.insertText", text=key)

    async def picture(self) -> bytes:
        """The page as PNG."""
        answer = await self.ask("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])


@contextlib.asynccontextmanager
async def page(url: str, folder: Path) -> AsyncIterator[Page]:
    """A fresh browser at `url`, with its profile in `folder`."""
    assert PROGRAM is not None
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while b"DevTools listening on ws://" not in (line := await process.stderr.readline()):
                assert line, "chromium ended"
        host = line.decode().partition("ws://")[2].partition("/")[0]
        drain = asyncio.create_task(_drain(process.stderr))
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{host}/json") as answer:
                tab = next(target for target in await answer.json() if target["type"] == "page")
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                opened = Page(socket)
                await opened.go(url)
                yield opened
        drain.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass
