"""What a long sitting costs: a recorded run of two hours, replayed at 60 times its speed on a real pty.

    python tests/benchmarks/bench_soak.py [--hours 2] [--speed 60] [--events 600000]

Writes a run file whose events are spread evenly over its hours, opens `atts replay` on it in a pty of 120x40,
and reads the memory and the CPU time of that process from /proc. The promise: at the end it holds the memory
that it held after five minutes of the run.

Figures (2 virtual cores, load 2 to 5, Python 3.11.7; 612,662 events, 5,106 a second at 60 times): 66 MB after
5 minutes of the run, 69 after 15, when the chart, the log and the details of finished problems fill their
room, then 71 after 30, 72 after 60, 73 after 90 and 74 at the end, for the numbers of 4,500 samples; 7 to 9 %
of a core. It was 107 MB at the end while 32 MB of details could stay (`overview.DETAILS_BYTES`), not 2.
"""

import argparse
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bench_runs import ABOUT, run_of

from atts_core import events as ev
from atts_core.runs.writer import RunWriter

SAMPLES = 16
"""Of each problem of `run_of`."""
MARKS = (300, 900, 1800, 3600, 5400)
"""Run seconds at which memory is read, besides the end."""


def record(path: Path, events: int, seconds: float) -> int:
    """A run file of about so many events over so many seconds; returns their exact number."""
    writer = RunWriter.create(path, ABOUT)
    batch: list[ev.Stamped] = []
    seq = 0
    each = seconds / events
    for seq, event in enumerate(finishing(run_of(max(1, events // (16 * 4 * 32)))), start=1):
        batch.append(ev.Stamped(seq, seq * each, event))
        if len(batch) == 4096:
            writer.append(batch)
            batch = []
    batch.append(ev.Stamped(seq + 1, (seq + 1) * each, ev.RunFinished(end="done")))
    writer.append(batch)
    writer.close()
    return seq + 1


def finishing(events: Iterator[ev.AnyEvent]) -> Iterator[ev.AnyEvent]:
    """The same with the end of each problem, after which its details need not stay in memory."""
    left: Counter[int] = Counter()
    for event in events:
        yield event
        if isinstance(event, ev.SampleFinished):
            left[event.problem] += 1
        elif isinstance(event, ev.VoteChanged) and left[event.problem] == SAMPLES:
            yield ev.ProblemFinished(problem=event.problem, answer="2", tied=False, correct=True)


def memory(pid: int) -> float:
    """Resident megabytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


def processor(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drain(master: int, seconds: float) -> int:
    """Reads what the screen writes for so long; returns the bytes."""
    end, size = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        if select.select([master], [], [], left)[0]:
            size += len(os.read(master, 65536))
    return size


def main() -> None:
    """Prints one line for each mark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--events", type=int, default=600_000)
    given = parser.parse_args()
    seconds = given.hours * 3600
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "soak.atts"
        count = record(path, given.events, seconds)
        sys.stdout.write(
            f"{count:,} events over {given.hours:g} h, replayed {given.speed:g} times as fast: "
            f"{count / seconds * given.speed:,.0f} events/s; load {os.getloadavg()[0]:.1f}\n"
        )
        pid, master = pty.fork()
        if pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", XDG_CONFIG_HOME=folder)
            command = ["-m", "atts_tui.cli", "replay", str(path), "--speed", str(given.speed)]
            os.execv(sys.executable, [sys.executable, *command])  # noqa: S606
        try:
            drain(master, 3.0)  # until it plays
            before, used, at = 0.0, processor(pid), time.monotonic()
            for mark in [*(mark for mark in MARKS if mark < seconds), seconds + 120]:
                size = drain(master, (mark - before) / given.speed)
                now, share = time.monotonic(), processor(pid)
                cpu, output = 100 * (share - used) / (now - at), size / (now - at) / 1000
                sys.stdout.write(
                    f"{min(mark, seconds) / 60:6.0f} min  {memory(pid):7.1f} MB  "
                    f"{cpu:5.1f} % of a core  {output:5.0f} kB/s\n"
                )
                sys.stdout.flush()
                before, used, at = mark, share, now
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
