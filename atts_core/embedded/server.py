"""`python -m atts_core.embedded.server`: one of the embedded models behind SGLang's HTTP API."""

import argparse
import asyncio
import contextlib
import errno
import json
import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from atts_core.errors import AttsError, SettingsError

if TYPE_CHECKING:
    from atts_core.embedded.app import EmbeddedApp

GRACE: Final = 5
KEEP_ALIVE: Final = 75
ROWS_PER_PASS: Final = 64
MAX_RUNNING: Final = 48
# One thread of BLAS: a model this small gains nothing from two, and two on a busy machine ruin it.
_ONE_THREAD: Final = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)

_EXAMPLES = """examples:
  python -m atts_core.embedded.server --model target --port 30001
  python -m atts_core.embedded.server --model ./my-llama --port 0
  curl -s http://127.0.0.1:30001/generate -H 'Content-Type: application/json' \\
    -d '{"text": "Let a = 3 + 4. What is a?\\n\\n", "sampling_params": {"sampling_seed": 1}}'
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is told to stop; returns the exit status: 0, or 2 where it could not begin."""
    options = _parser().parse_args(arguments)
    for name in _ONE_THREAD:
        os.environ[name] = "1"
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        return _serve(options)
    except AttsError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a program's own message
        return error.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m atts_core.embedded.server",
        description="Serves a small Llama model on this machine's CPU, over the HTTP API of SGLang.\n"
        "Requests that overlap in time are batched; the same sampling_seed gives the same text,\n"
        "whatever else is running.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, help="draft, target, or a Hugging Face Llama folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=0, help="port; 0, the default, takes a free one")
    parser.add_argument(
        "--max-running",
        type=_count(MAX_RUNNING),
        default=32,
        help=f"requests that are batched at a time, 1 to {MAX_RUNNING} (default: %(default)s)",
    )
    parser.add_argument(
        "--max-queued",
        type=_count(100_000),
        default=1024,
        help="requests that may wait; more are refused with status 503 (default: %(default)s)",
    )
    parser.add_argument(
        "--pace",
        type=_pace,
        metavar="R",
        help="hold every stream to R tokens a second, so that an eye can follow (default: no limit)",
    )
    parser.add_argument(
        "--watch-parent",
        action="store_true",
        help="stop at once when standard input ends, as it does when the program at its other end dies",
    )
    return parser


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port < 2**16:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, got {text!r}")
    return port


def _pace(text: str) -> float:
    try:
        pace = float(text)
    except ValueError:
        pace = math.nan
    if not 0 < pace < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of tokens a second above 0, got {text!r}")
    return pace


def _count(most: int) -> Any:
    def check(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else 0
        if not 1 <= number <= most:
            raise argparse.ArgumentTypeError(f"must be a number from 1 to {most}, got {text!r}")
        return number

    return check


def _serve(options: argparse.Namespace) -> int:
    if options.watch_parent:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it decides what an interrupt means
    listener = _listen(options.host, options.port)
    # Only now, because numpy reads the thread limits when it is first imported.
    from atts_core.embedded.app import EmbeddedApp  # noqa: PLC0415
    from atts_core.embedded.loading import load_model  # noqa: PLC0415

    with contextlib.closing(listener):
        loaded = load_model(options.model, ROWS_PER_PASS)
        app = EmbeddedApp(loaded, options.max_running, options.max_queued, options.pace)
        host, port = listener.getsockname()[:2]
        app.address = (host, port)
        asyncio.run(_run(app, listener, options.watch_parent))
    return 0


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(f"Cannot listen on {host}: {error.strerror}.") from error
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Listening begins here, so that a second server on the same port fails now and not later.
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"Port {port} on {host} is in use: choose another with --port, or 0 for any free one."
            ) from error
        raise SettingsError(f"Cannot listen on {host}, port {port}: {error.strerror}.") from error
    return listener


async def _run(app: "EmbeddedApp", listener: socket.socket, watch_parent: bool) -> None:
    import uvicorn  # noqa: PLC0415 - so that --help and a port in use answer at once

    class Server(uvicorn.Server):
        """Prints one line of JSON when it is ready; ends with status 0 on SIGTERM or a heeded SIGINT."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is signal.SIG_IGN:
                    continue
                with contextlib.suppress(NotImplementedError):
                    loop.add_signal_handler(number, self.handle_exit, number, None)
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            host, port = app.address
            shown = f"[{host}]" if ":" in host else host
            ready = {"event": "ready", "url": f"http://{shown}:{port}", "model": app.loaded.name}
            print(json.dumps(ready), flush=True)  # noqa: T201 - the launching program waits for it

    config = uvicorn.Config(
        app.asgi,
        lifespan="off",
        loop="asyncio",
        http="h11",
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    server = Server(config)
    app.start()
    if watch_parent:
        _stop_with_parent(server, app)
    try:
        await server.serve([listener])
    finally:
        app.batcher.stop()


def _stop_with_parent(server: Any, app: "EmbeddedApp") -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        app.batcher.abort_named(None)
        server.should_exit = server.force_exit = True

    def watch() -> None:
        # Not through sys.stdin: its lock, held by this thread, would be in the way when Python shuts down.
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(stop)
        # Nobody is left to ask for the rest: whatever hangs now must not stay behind.
        threading.Event().wait(GRACE)
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
