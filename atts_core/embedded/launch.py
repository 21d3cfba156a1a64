"""The embedded pair as two child processes that never outlive the program that started them."""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from atts_core.errors import RunError

READY_TIMEOUT: Final = 30.0
_STOP_TIMEOUT: Final = 3.0
_KEPT_LINES: Final = 20


class _Ready(msgspec.Struct):
    event: str
    url: str
    model: str


class EmbeddedServer:
    """One child process serving one model on a free port of the loopback interface.

    The child stops by itself when the pipe to its standard input closes, so it does not even outlive a parent
    that is killed. It is out of reach of the terminal's Ctrl-C: whoever started it decides when it ends.
    """

    def __init__(
        self,
        model: str,
        *,
        max_running: int = 32,
        pace: float | None = None,
        ready_timeout: float = READY_TIMEOUT,
    ) -> None:
        """`pace` holds every stream to so many tokens a second."""
        self.model = model
        self.url = ""
        self._max_running = max_running
        self._pace = pace
        self._ready_timeout = ready_timeout
        self._process: asyncio.subprocess.Process | None = None
        self._errors: deque[str] = deque(maxlen=_KEPT_LINES)
        self._readers: list[asyncio.Task[None]] = []

    @property
    def folder(self) -> Path:
        """Where the model and its tokenizer are."""
        # Only here, because this import brings numpy with it.
        from atts_core.embedded.loading import find_folder  # noqa: PLC0415

        return find_folder(self.model)[0]

    @property
    def pid(self) -> int:
        """The child's process id; 0 while there is none."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether the child lives."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Starts the child and waits until it serves.

        Raises:
            RunError: it ended before that, or was not ready in time; the message holds its last words.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "atts_core.embedded.server",
            "--model",
            self.model,
            "--max-running",
            str(self._max_running),
            "--watch-parent",
            *(("--pace", str(self._pace)) if self._pace else ()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=_environment(),
        )
        self._process = process
        assert process.stdout is not None  # noqa: S101 - both are pipes, as asked for above
        assert process.stderr is not None  # noqa: S101
        self._readers.append(asyncio.create_task(self._keep_errors(process.stderr)))
        try:
            async with asyncio.timeout(self._ready_timeout):
                self.url = await _await_ready(process.stdout)
        except TimeoutError:
            await self._fail(f"was not ready within {self._ready_timeout:g} s")
        except EOFError:
            await self._fail("ended before it was ready")
        self._readers.append(asyncio.create_task(_drain(process.stdout)))

    async def _fail(self, problem: str) -> None:
        await self.stop()
        words = " ".join(line.strip() for line in self._errors if line.strip())
        said = f" It said: {words}" if words else ""
        raise RunError(f"The embedded server of the {self.model} model {problem}.{said}")

    async def _keep_errors(self, stream: asyncio.StreamReader) -> None:
        while line := await _line(stream):
            self._errors.append(line.decode(errors="replace"))

    async def stop(self) -> None:
        """Ends the child and waits for it; harmless when it has ended already, or never began."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await asyncio.gather(*self._readers, return_exceptions=True)


class EmbeddedServers:
    """The pair, draft and target, or one of them: `async with EmbeddedServers() as servers`.

    They are ready inside the block and gone after it, however it is left.
    """

    def __init__(
        self,
        draft: str = "draft",
        target: str = "target",
        *,
        started: Collection[str] = ("draft", "target"),
        max_running: int = 32,
        pace: float | None = None,
        ready_timeout: float = READY_TIMEOUT,
    ) -> None:
        """`draft` and `target` name a shipped model or a Llama folder, `started` those of the two that are
        wanted; `pace` as for one server."""
        self.draft, self.target = (
            EmbeddedServer(model, max_running=max_running, pace=pace, ready_timeout=ready_timeout)
            for model in (draft, target)
        )
        both = {"draft": self.draft, "target": self.target}
        self._started = [server for role, server in both.items() if role in started]

    @property
    def draft_url(self) -> str:
        """Base URL of the draft's server."""
        return self.draft.url

    @property
    def target_url(self) -> str:
        """Base URL of the target's server."""
        return self.target.url

    @property
    def draft_folder(self) -> Path:
        """The draft's model folder, with its tokenizer."""
        return self.draft.folder

    @property
    def target_folder(self) -> Path:
        """The target's model folder, with its tokenizer."""
        return self.target.folder

    @property
    def pids(self) -> tuple[int, int]:
        """Process ids of draft and target."""
        return self.draft.pid, self.target.pid

    async def __aenter__(self) -> Self:
        starts = [asyncio.create_task(server.start()) for server in self._started]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            # One failed, or we are being cancelled: the other may be half started.
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        stops = asyncio.gather(*(server.stop() for server in self._started))
        try:
            await asyncio.shield(stops)
        except asyncio.CancelledError:
            # A second Ctrl-C must not leave the children behind either.
            await stops
            raise


def _environment() -> dict[str, str]:
    """The child finds this very package, from wherever it is imported here."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


async def _await_ready(stream: asyncio.StreamReader) -> str:
    while line := await _line(stream):
        with contextlib.suppress(msgspec.MsgspecError):
            ready = msgspec.json.decode(line, type=_Ready)
            if ready.event == "ready":
                return ready.url
    raise EOFError


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line, or an empty one at the end; of a line too long for the buffer, a part."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.read(error.consumed)


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass
