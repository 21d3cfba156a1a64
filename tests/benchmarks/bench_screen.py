"""What the live Solve screen costs: CPU time of the app's process, on a real pty.

    python tests/benchmarks/bench_screen.py [--seconds 20] [--samples 16] [--fps 10] [--size 120x40]

Starts the app in a child under a pty of that size (truecolor) and publishes synthetic events to a real bus
in the same process. The child measures its own CPU time (`time.process_time`) twice: publishing to a
subscription that is only drained, then to one that the app shows; the difference is the screen. Then the run
falls silent and the same is measured for an idle screen. The parent only drains the pty and counts bytes.
CPU time, not wall time: the machine may be busy.

Figures (2 virtual cores shared with a training job and test runs, load 2 to 7, Python 3.11.7, Textual 8.2.8;
the synthetic run changes a stage 80 times a second, which real servers do far less often):

    120x40   4.2 to 4.5 % of a core (median second 3.9 to 4.4 %, quietest 3.3 to 3.7 %), idle 0.10 %, 90 kB/s
    80x24    4.3 %, idle 0.10 %, 72 kB/s
    200x60   5.4 %, idle 0.11 %, 125 kB/s
    120x40 with 64 samples (1,190 events/s)   6.2 %
    120x40 with 1,024 samples, load 8 to 10: a row each (4,370 events/s) 6.1 %, a cell each (3,430) 5.3 %
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tui"))

import synthetic

from atts_core.bus import Bus
from atts_core.events import RunFinished
from atts_tui.app import AttsApp

WARM_UP = 3.0
"""Seconds of the run before the window: import and first paint are not its steady state."""

PUBLISH_EVERY = 0.02
"""Events of so many seconds are published together, as an engine does that reads several streams."""


def _contention() -> float:
    """How much longer a fixed piece of work takes here on average than at its best: 1 on an idle machine."""
    times = []
    for _ in range(200):
        began = time.process_time()
        sum(number * number for number in range(20_000))
        times.append(time.process_time() - began)
        time.sleep(0.01)
    return sum(times) / len(times) / min(times)


async def _publish(bus: Bus, planned: list[synthetic.Planned], end: float) -> list[float]:
    """Publish at the pace of the plan; gives the share of a core used in each second after the warm-up."""
    shares: list[float] = []
    cpu = wall = 0.0
    for at, event in planned:
        if at > end:
            break
        if at > bus.now:
            await asyncio.sleep(max(at - bus.now, PUBLISH_EVERY))
        if at >= WARM_UP and time.monotonic() - wall >= 1:
            if wall:
                shares.append((time.process_time() - cpu) / (time.monotonic() - wall))
            cpu, wall = time.process_time(), time.monotonic()
        bus.publish(event)
    return shares


async def _child(arguments: argparse.Namespace) -> dict[str, float]:
    end = WARM_UP + arguments.seconds
    whole = synthetic.planned(problems=1, samples=arguments.samples, steps=60, turns=60)
    within = itertools.takewhile(lambda item: item[0] <= end, whole)
    planned = [item for item in within if not isinstance(item[1], RunFinished)]
    contention = _contention()
    bus = Bus()

    async def read() -> None:
        subscription = bus.subscribe()
        while True:
            await asyncio.sleep(1 / arguments.fps)
            subscription.drain()

    reader = asyncio.create_task(read())
    publishing = await _publish(bus, planned, end)
    reader.cancel()

    bus = Bus()
    app = AttsApp(bus.subscribe(), theme="atts-dark", fps=arguments.fps, title="bench")
    rate = sum(WARM_UP <= at <= end for at, _ in planned) / arguments.seconds
    results = {"contention": contention, "rate": rate}

    async def measure() -> None:
        live = await _publish(bus, planned, end)
        for name, pick in (("mean", statistics.fmean), ("median", statistics.median), ("least", min)):
            results[name] = 100 * (pick(live) - pick(publishing))
        results["publishing"] = 100 * statistics.fmean(publishing)
        results["widgets"] = len(app.screen.walk_children()) + 1
        await asyncio.sleep(2)
        cpu, began = time.process_time(), time.monotonic()
        await asyncio.sleep(10)
        results["idle"] = 100 * (time.process_time() - cpu) / (time.monotonic() - began)

    task = asyncio.create_task(measure())
    task.add_done_callback(lambda _: app.exit())  # also where it failed: it is raised below
    await app.run_async()
    await task
    return results


def _parent(arguments: argparse.Namespace) -> None:
    width, height = (int(part) for part in arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        pid, master = pty.fork()
        if pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", TEXTUAL_FPS=str(arguments.fps))
            os.execv(  # noqa: S606  # this file again
                sys.executable, [sys.executable, *sys.argv, "--output", str(output)]
            )
        written = 0
        while True:
            ready, _, _ = select.select([master], [], [], 60)
            try:
                data = os.read(master, 65536) if ready else b""
            except OSError:
                data = b""
            if not data:
                break
            written += len(data)
        os.waitpid(pid, 0)
        results = json.loads(output.read_text())
    rate = written / 1000 / (arguments.seconds + WARM_UP)
    sys.stdout.write(
        f"{arguments.size}, {arguments.samples} samples, {arguments.fps} fps, "
        f"load {os.getloadavg()[0]:.1f}, CPU time stretched {results['contention']:.2f}-fold by other work\n"
        f"live  {results['mean']:.2f} % of a core at {results['rate']:.0f} events/s"
        f" (median second {results['median']:.2f} %, quietest {results['least']:.2f} %)"
        f", publishing them {results['publishing']:.2f} % more\n"
        f"idle  {results['idle']:.2f} %\n"
        f"{results['widgets']:.0f} widgets, {rate:.0f} kB/s to the terminal\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--fps", type=int, default=10)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--output", default="")
    given = parser.parse_args()
    if given.output:
        Path(given.output).write_text(json.dumps(asyncio.run(_child(given))))
    else:
        _parent(given)
