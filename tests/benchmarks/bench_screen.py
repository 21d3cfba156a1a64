"""What the live screens cost: CPU time of the app's process, on a real pty.

    python tests/benchmarks/bench_screen.py [--screen all] [--seconds 20] [--fps 10] [--size 120x40]
                                            [--samples 16] [--problems 200]

Starts the app in a child under a pty of that size (truecolor), opened at one screen, and publishes synthetic
events to a real bus in the same process. The child measures its own CPU time (`time.process_time`) twice:
publishing to a subscription that is only drained, then to one that the app shows; the difference is the
screen. Then the run falls silent and the same is measured for an idle screen; of the home screen, over
twelve recorded runs, only that. The parent only drains the pty. CPU time, not wall time: the machine may be
busy.

Solve, Sample and Pipeline are shown one problem whose `--samples` change their stage 80 times a second, which
real servers do far less often; Run, Calibration, Machines and Log an evaluation of `--problems` of which half
is over, 64 chains at a time, with readings of three servers and eight GPUs each second.

Figures (2 virtual cores, Python 3.11.7, Textual 8.2.8; share of a core live and idle, output; load by others
5 to 8 at 120x40, 1 to 8 at 80x24):

                 120x40                    80x24
    solve        4.0 %, 0.13 %,  86 kB/s   2.8 %, 0.13 %, 71 kB/s
    sample       2.4 %, 0.12 %,  44 kB/s   1.6 %, 0.13 %, 21 kB/s
    pipeline     3.3 %, 0.14 %, 110 kB/s   2.6 %, 0.14 %, 65 kB/s
    run          1.7 %, 0.14 %,  36 kB/s   1.4 %, 0.15 %, 20 kB/s
    calibration  1.5 %, 0.13 %,  21 kB/s   0.9 %, 0.13 %,  5 kB/s
    machines     1.4 %, 0.13 %,  52 kB/s   1.2 %, 0.13 %, 10 kB/s
    log          1.5 %, 0.14 %,  66 kB/s   1.1 %, 0.18 %, 24 kB/s
    home         -      0.19 %             -      0.25 %

    1,024 samples, 120x40, 8,093 events/s, load 1: solve 6.6 %, sample 4.2 %, pipeline 9.7 %
    5,000 problems, 120x40, load 1, 10 seconds: run 3.2 % (median second 1.9 %)
    solve at 200x60, load 1, 10 seconds: 3.5 %, 103 kB/s

Before and after on a machine at rest, load below 1: pipeline 3.2 and 2.9 %, with 1,024 samples 17.7 and 9.7 %
(a barrier of many stages is laid out less often), log 1.8 and 1.6 %, home idle 0.78 and 0.25 % (its cursor
blinked, and both its lists were drawn every two seconds). No screen has more than 21 widgets.
"""

import argparse
import asyncio
import fcntl
import itertools
import json
import os
import pty
import select
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tui"))

import evaluations
import machine_events
import synthetic
from msgspec import structs
from textual.app import App

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import Given
from atts_core.runs.file import About
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState
from atts_tui.app import AttsApp
from atts_tui.home.app import HomeApp

WARM_UP = 3.0
"""Seconds of the run before the window: import and first paint are not its steady state."""

PUBLISH_EVERY = 0.02
"""Events of so many seconds are published together, as an engine does that reads several streams."""

IDLE = 10.0
"""Seconds for which a screen with nothing happening is measured."""

UNDER_WAY = 200.0
"""Seconds of the evaluation that lie behind it when the screen opens: about half."""

RUNS = 12
"""Recorded runs that the home screen lists."""

SOLVING = ("solve", "sample", "pipeline")
"""Screens of one problem; the others are shown an evaluation."""
SCREENS = (*SOLVING, "run", "calibration", "machines", "log", "home")


def _one_problem(samples: int) -> Iterator[ev.Stamped]:
    """One problem that does not end, at the pace of small models."""
    whole = synthetic.planned(problems=1, samples=samples, steps=60, turns=60)
    return (ev.Stamped(seq, at, event) for seq, (at, event) in enumerate(whole, 1))


def _evaluation(problems: int) -> Iterator[ev.Stamped]:
    """Many problems, 64 chains at a time; three servers and eight GPUs that are read each second."""
    host, second = machine_events.gpus(), 0
    cards = machine_events.started().models
    for stamped in evaluations.stamps(problems=problems):
        if isinstance(stamped.event, ev.RunStarted):
            yield ev.Stamped(stamped.seq, 0.0, structs.replace(stamped.event, models=cards))
            continue
        while second < stamped.at:
            for event in machine_events.readings(second, 64):
                yield ev.Stamped(stamped.seq, second, event)
            yield ev.Stamped(stamped.seq, second, ev.GpusRead(gpus=host, kind="NVML"))
            second += 1
        yield stamped


def _contention() -> float:
    """How much longer a fixed piece of work takes here on average than at its best: 1 on an idle machine."""
    times = []
    for _ in range(200):
        began = time.process_time()
        sum(number * number for number in range(20_000))
        times.append(time.process_time() - began)
        time.sleep(0.01)
    return sum(times) / len(times) / min(times)


async def _publish(bus: Bus, planned: list[ev.Stamped], measured_from: float) -> list[float]:
    """Publish at the pace of the plan; gives the share of a core used in each second after the warm-up."""
    shares: list[float] = []
    cpu = wall = 0.0
    for at, event in ((stamped.at, stamped.event) for stamped in planned):
        if at > bus.now:
            await asyncio.sleep(max(at - bus.now, PUBLISH_EVERY))
        if at >= measured_from and time.monotonic() - wall >= 1:
            if wall:
                shares.append((time.process_time() - cpu) / (time.monotonic() - wall))
            cpu, wall = time.process_time(), time.monotonic()
        bus.publish(event)
    return shares


async def _idle() -> float:
    """The share of a core that is used while nothing happens."""
    await asyncio.sleep(2)
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(IDLE)
    return 100 * (time.process_time() - cpu) / (time.monotonic() - began)


def _written() -> int:
    """Bytes that this process has written so far: the figures are its only other output."""
    line = next(line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar"))
    return int(line.split()[1])


async def _live(arguments: argparse.Namespace) -> dict[str, float]:
    """A screen over a run."""
    solving = arguments.screen in SOLVING
    begin = 0.0 if solving else UNDER_WAY
    end = begin + WARM_UP + arguments.seconds
    whole = _one_problem(arguments.samples) if solving else _evaluation(arguments.problems)
    planned = [
        stamped
        for stamped in itertools.takewhile(lambda stamped: stamped.at <= end, whole)
        if not isinstance(stamped.event, ev.RunFinished)
    ]
    state = RunState().fold([stamped for stamped in planned if stamped.at < begin])
    planned = [stamped for stamped in planned if stamped.at >= begin]
    measured_from = begin + WARM_UP
    contention = _contention()
    bus = Bus(first_at=begin)

    async def read() -> None:
        subscription = bus.subscribe()
        while True:
            await asyncio.sleep(1 / arguments.fps)
            subscription.drain()

    reader = asyncio.create_task(read())
    publishing = await _publish(bus, planned, measured_from)
    reader.cancel()

    bus = Bus(first_seq=planned[0].seq, first_at=begin)
    app = AttsApp(
        bus.subscribe(), state=state, theme="atts-dark", fps=arguments.fps, title="bench",
        first=arguments.screen,
    )  # fmt: skip
    rate = sum(stamped.at >= measured_from for stamped in planned) / arguments.seconds
    results = {"contention": contention, "rate": rate}

    async def measure() -> None:
        written, began = _written(), time.monotonic()
        live = await _publish(bus, planned, measured_from)
        results["kilobytes"] = (_written() - written) / 1000 / (time.monotonic() - began)
        for name, pick in (("mean", statistics.fmean), ("median", statistics.median), ("least", min)):
            results[name] = 100 * (pick(live) - pick(publishing))
        results["publishing"] = 100 * statistics.fmean(publishing)
        results["widgets"] = len(app.screen.walk_children()) + 1
        results["idle"] = await _idle()

    await _during(app, measure())
    return results


async def _home(arguments: argparse.Namespace) -> dict[str, float]:
    """The home screen, on which nothing happens."""
    results = {"contention": _contention()}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(RUNS):
            name = f"2026112{number % 10}-1045{number:02}-demo"
            about = About(run=name, command="demo", created=0.0, version="0", dataset="builtin")
            writer = RunWriter.create(Path(folder) / f"{name}.atts", about)
            writer.append(synthetic.events(problems=1, seed=number))
            writer.close()
        app = HomeApp(Path(folder), Given(), theme="atts-dark", fps=arguments.fps)

        async def measure() -> None:
            results["idle"] = await _idle()
            results["widgets"] = len(app.screen.walk_children()) + 1

        await _during(app, measure())
    return results


async def _during(app: App[Any], measuring: Coroutine[Any, Any, None]) -> None:
    """Run the app for as long as it is measured."""
    task = asyncio.create_task(measuring)
    task.add_done_callback(lambda _: app.exit())  # also where it failed: it is raised below
    await app.run_async()
    await task


def _measured(arguments: argparse.Namespace) -> dict[str, float]:
    """What the child found; drains its terminal meanwhile."""
    width, height = (int(part) for part in arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        pid, master = pty.fork()
        if pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", TEXTUAL_FPS=str(arguments.fps))
            given = [*sys.argv, "--screen", arguments.screen, "--output", str(output)]
            os.execv(sys.executable, [sys.executable, *given])  # noqa: S606  # this file again
        said = b""
        while True:
            ready, _, _ = select.select([master], [], [], 60)
            try:
                data = os.read(master, 65536) if ready else b""
            except OSError:
                data = b""
            if not data:
                break
            said = (said + data)[-4000:]
        os.waitpid(pid, 0)
        if not output.exists():
            sys.exit(said.decode(errors="replace"))
        found: dict[str, float] = json.loads(output.read_text())
        return found


def _parent(arguments: argparse.Namespace) -> None:
    wanted = SCREENS if arguments.screen == "all" else (arguments.screen,)
    for screen in wanted:
        arguments.screen = screen
        results = _measured(arguments)
        sys.stdout.write(
            f"{screen:<11} {arguments.size}, {arguments.fps} fps, load {os.getloadavg()[0]:.1f}, CPU time "
            f"stretched {results['contention']:.2f}-fold by other work; {results['widgets']:.0f} widgets\n"
        )
        if screen != "home":
            sys.stdout.write(
                f"    live {results['mean']:.2f} % of a core at {results['rate']:.0f} events/s"
                f" (median second {results['median']:.2f} %, quietest {results['least']:.2f} %)"
                f", publishing them {results['publishing']:.2f} % more; {results['kilobytes']:.0f} kB/s\n"
            )
        sys.stdout.write(f"    idle {results['idle']:.2f} %\n")
        sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--screen", choices=(*SCREENS, "all"), default="all")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--fps", type=int, default=10)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--output", default="")
    given = parser.parse_args()
    if given.output:
        found = asyncio.run(_home(given) if given.screen == "home" else _live(given))
        Path(given.output).write_text(json.dumps(found))
    else:
        _parent(given)
