"""A run's own metrics for Prometheus (`--metrics-port`): written by hand, served in the run's event loop.

The page is that of the text format 0.0.4. Its counters never fall while the process lives, though a run's own
numbers may, where a request is repeated and its tokens are taken back.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from atts_core import events as ev
from atts_core.errors import SettingsError
from atts_core.telemetry.counters import RunCounters

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
HOST: Final = "127.0.0.1"
TICK: Final = 1.0
"""Seconds between two folds: events do not pile up where nobody asks."""

Labels = Mapping[str, str]


class Waiting(Protocol):
    """A source of events, such as a subscription of the bus or a reader of a run file."""

    def drain(self) -> list[ev.Stamped]:
        """Everything that waits."""


class RunMetrics:
    """The page of one run."""

    def __init__(self, source: Waiting, counters: RunCounters | None = None) -> None:
        """`counters` is where a run that goes on stands."""
        self._source = source
        self.counters = counters if counters is not None else RunCounters()
        self._highest: dict[str, float] = {}
        self.gauges: dict[str, Callable[[], float]] = {}
        """More gauges: the name without `atts_` and what gives it; what they mean is in `MEANING`."""

    def take(self) -> None:
        """Fold what waits."""
        for stamped in self._source.drain():
            self.counters.fold(stamped)

    def page(self) -> str:
        """The whole page, as of now."""
        self.take()
        lines: list[str] = []
        for name, kind, values in self._families():
            lines += [f"# HELP atts_{name} {MEANING[name]}", f"# TYPE atts_{name} {kind}"]
            for labels, value in values:
                series = f"atts_{name}{_braces(labels)}"
                if kind == "counter":
                    value = self._highest[series] = max(value, self._highest.get(series, 0.0))  # noqa: PLW2901
                lines.append(f"{series} {_number(value)}")
        return "\n".join(lines) + "\n"

    def _families(self) -> Iterator[tuple[str, str, Iterable[tuple[Labels, float]]]]:
        found, run = self.counters, self.counters.run
        if run is not None:
            yield "run_info", "gauge", [(_about(run), 1.0)]
            yield "run_start_time_seconds", "gauge", [({}, run.started_at)]
        state = found.finished or ("paused" if found.paused else "running" if run else "waiting")
        yield "run_state", "gauge", [({"state": name}, float(name == state)) for name in STATES]
        yield "run_seconds", "gauge", [({}, found.now)]
        finished = found.problems_finished
        yield (
            "problems",
            "gauge",
            [({"state": "finished"}, finished), ({"state": "open"}, found.problems - finished)],
        )
        running = found.samples_started - found.samples_ended
        pending = found.samples_total - found.samples_started
        yield (
            "samples",
            "gauge",
            [
                ({"state": "pending"}, max(pending, 0)),
                ({"state": "running"}, max(running, 0)),
                *(({"state": end}, found.ends[end]) for end in ENDS),
            ],
        )
        yield "verdicts_total", "counter", [({"verdict": name}, found.verdicts[name]) for name in VERDICTS]
        card = run.calibration if run is not None else None
        if card is not None:
            yield "takeover_rate_nominal", "gauge", [({}, card.nominal)]
            yield "alpha", "gauge", [({}, card.alpha if found.alpha is None else found.alpha)]
        if found.realised is not None:
            yield "takeover_rate_realised", "gauge", [({}, found.realised)]
        yield (
            "tokens_total",
            "counter",
            [({"kind": name}, found.tokens[kind]) for kind, name in KINDS.items()],
        )
        over = found.finished is not None
        yield (
            "tokens_per_second",
            "gauge",
            [
                ({"kind": name}, 0.0 if over else found.rates.rate(kind, found.now, 5.0))
                for kind, name in KINDS.items()
            ],
        )
        yield "retries_total", "counter", [({}, found.retries)]
        yield "servers_lost_total", "counter", [({"role": role}, found.losses[role]) for role in found.lost]
        yield "servers_down", "gauge", [({"role": role}, len(lost)) for role, lost in found.lost.items()]
        yield "drift", "gauge", [({}, float(found.drift))]
        yield "warnings_total", "counter", [({}, found.warnings)]
        for name, value in self.gauges.items():
            yield name, "gauge", [({}, value())]


MEANING: Final = {
    "run_info": "What runs; the value is always 1.",
    "run_start_time_seconds": "When the run began, seconds since the epoch.",
    "run_state": "1 for the state of the run, 0 for all others.",
    "run_seconds": "The run's own time, at its newest event.",
    "problems": "Problems by state.",
    "samples": "Samples by state; those that ended by why.",
    "verdicts_total": "Steps judged, by outcome.",
    "takeover_rate_nominal": "Nominal take-over rate, 1 - alpha.",
    "takeover_rate_realised": "Share of all steps judged so far that were taken over.",
    "alpha": "Threshold on the p-value, at the newest verdict.",
    "tokens_total": "Tokens drafted, written by the target, and verified by it.",
    "tokens_per_second": "Tokens over the last five seconds of the run's time.",
    "retries_total": "Requests that failed and were sent again.",
    "servers_lost_total": "Times that a server stopped answering.",
    "servers_down": "Servers that do not answer now.",
    "drift": "1 once calibration and run were found not to belong together.",
    "warnings_total": "Warnings of the run.",
    "recorder_lag_events": "Events published and not yet safe in the run file.",
    "bus_queue_events": "Events that wait for the slowest reader of the bus.",
}
STATES: Final = ("waiting", "running", "paused", "done", "incomplete", "failed", "interrupted")
ENDS: Final = ("answered", "end-of-text", "turn-limit", "context-limit", "decided", "stopped", "failed")
VERDICTS: Final = ("accept", "take-over", "unverifiable")
KINDS: Final = {"draft": "draft", "target": "target", "verify": "verified"}
"""Names of the tokens' kinds: the meters' and the page's."""


def _about(run: ev.RunStarted) -> dict[str, str]:
    draft, target = run.models
    card = run.calibration
    return {
        "run": run.run,
        "command": run.command,
        "dataset": run.dataset,
        "strategy": run.strategy,
        "takeover": run.takeover,
        "mode": card.mode if card else "",
        "draft": draft.name,
        "target": target.name,
        "version": run.version,
    }


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    safe = "".join(character if character.isprintable() else " " for character in text)
    return safe.replace("\\", "\\\\").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))


def listen(host: str, port: int, said: str) -> socket.socket:
    """A socket for the page; `said` is where the port was named.

    Raises:
        SettingsError: the port is in use, or the address is not of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise SettingsError(
            f"{said} {port}: {host} is no address of this machine ({error.strerror})."
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(16)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"{said} {port}: port {port} on {host} is in use; choose another.") from None
        raise SettingsError(f"{said} {port}: cannot listen on {host}: {error.strerror}.") from None
    return listener


@asynccontextmanager
async def serving(metrics: RunMetrics, listener: socket.socket) -> AsyncIterator[None]:
    """Serves the page at /metrics while the block runs. The socket is closed in the end."""
    import uvicorn  # noqa: PLC0415  # only where somebody asks for metrics
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    async def page(_: Request) -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE)

    class Server(uvicorn.Server):
        """Leaves signals to the run."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready.set()

    ready = asyncio.Event()
    app: Any = Starlette(routes=[Route("/metrics", page)])
    config = uvicorn.Config(
        app,
        lifespan="off",
        loop="none",
        http="h11",
        ws="none",
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = Server(config)

    async def fold() -> None:
        while True:
            await asyncio.sleep(TICK)
            metrics.take()

    tasks = [asyncio.create_task(server.serve([listener])), asyncio.create_task(fold())]
    try:
        await ready.wait()
        yield
    finally:
        tasks[1].cancel()
        server.should_exit = True
        await asyncio.gather(*tasks, return_exceptions=True)
        listener.close()
