"""What the live Solve screen costs: CPU time of the app's process, on a real pty.

    python tests/benchmarks/bench_screen.py [--seconds 20] [--samples 16] [--fps 10] [--size 120x40]

Starts the app in a child under a pty of that size (truecolor), publishes synthetic events to a real bus in
the same process, and lets the child measure its own CPU time (`time.process_time`) over the window, without
the time spent making and publishing events. The parent only drains the pty and counts bytes. Then the run
falls silent and the same is measured for an idle screen. CPU time, not wall time: the machine may be busy.

Figures: RESULTS
"""

import argparse
import asyncio
import fcntl
import json
import os
import pty
import select
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tui"))

WARM_UP = 3.0
"""Seconds of the run before the window: import and first paint are not its steady state."""

PUBLISH_EVERY = 0.02
"""Events of so many seconds are published together, as an engine does that reads several streams."""


async def _child(arguments: argparse.Namespace) -> dict[str, float]:
    import synthetic

    from atts_core.bus import Bus
    from atts_core.events import RunFinished
    from atts_tui.app import AttsApp

    bus = Bus()
    app = AttsApp(bus.subscribe(), theme="atts-dark", fps=arguments.fps, title="bench")
    results: dict[str, float] = {}
    planned = [
        item
        for item in synthetic.planned(problems=1, samples=arguments.samples, steps=60, turns=60)
        if not isinstance(item[1], RunFinished)
    ]
    published = 0
    own = 0.0

    async def measure() -> None:
        nonlocal published, own
        end = WARM_UP + arguments.seconds
        began: tuple[float, float, int, float] | None = None
        for at, event in planned:
            if at > end:
                break
            if at > bus.now:
                await asyncio.sleep(max(at - bus.now, PUBLISH_EVERY))
            if began is None and at >= WARM_UP:
                began = (time.process_time(), time.monotonic(), published, own)
            start = time.thread_time()
            bus.publish(event)
            own += time.thread_time() - start
            published += 1
        assert began is not None
        cpu, wall = time.process_time() - began[0] - (own - began[3]), time.monotonic() - began[1]
        results["live_percent"] = 100 * cpu / wall
        results["events_per_second"] = (published - began[2]) / wall
        results["widgets"] = len(app.screen.walk_children()) + 1
        await asyncio.sleep(2)
        cpu, start_at = time.process_time(), time.monotonic()
        await asyncio.sleep(10)
        results["idle_percent"] = 100 * (time.process_time() - cpu) / (time.monotonic() - start_at)
        app.exit()

    task = asyncio.create_task(measure())
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
        f"{arguments.size}, {arguments.samples} samples, {arguments.fps} fps, load {os.getloadavg()[0]:.1f}\n"
        f"live  {results['live_percent']:.2f} % of a core at {results['events_per_second']:.0f} events/s\n"
        f"idle  {results['idle_percent']:.2f} %\n"
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
