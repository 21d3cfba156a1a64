"""What run files cost and how fast they open; exit status 1 where one is over its budget.

CPU time decides, because other programs may have the machine. On 2 cores beside a busy one: recording adds
8 to 10 µs an event; the event loop stalls for 1 to 2.5 ms where the machine is quiet (5 to 9 where it is not,
of which 3 to 6 without a recorder); a million events (376 MB) are written in 6.6 s, opened attached in 0.13 s
and sought in 0.04 to 0.15 s; 1.2 million events in 600 s (`--soak 600`) with two viewers: nothing missed,
engine 43 MB, viewers 111 MB with the whole run in them.
"""

import argparse
import asyncio
import multiprocessing
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.runs.file import About
from atts_core.runs.player import Player
from atts_core.runs.reader import RunReader
from atts_core.runs.recorder import Recorder, breathe
from atts_core.runs.writer import RunWriter

ABOUT = About(run="bench", command="eval", created=0.0, version="0")
ALIVE = 64


def run_of(problems: int, samples: int = 16, turns: int = 4, deltas: int = 28) -> Iterator[ev.AnyEvent]:
    """An evaluation with 64 samples at a time; a step is 500 tokens with their ids."""
    chance = random.Random(0)
    words = "so the sum of these two numbers is then "
    cards = tuple(
        ev.ModelCard(role=role, name=role, url="", release="", context_length=9, tokenizer="")
        for role in ("draft", "target")
    )
    yield ev.RunStarted(
        run="bench", command="eval", started_at=0.0, version="0", strategy="atts", takeover="continue",
        samples=samples, turns=turns, seed=0, models=cards, calibration=None, settings={},
    )  # fmt: skip
    for problem in range(problems):
        yield ev.ProblemAdded(problem=problem, id=str(problem), question=words * 8, gold="2")

    def chain(problem: int, sample: int) -> Iterator[ev.AnyEvent]:
        at = {"problem": problem, "sample": sample}
        yield ev.SampleStarted(**at)
        for turn in range(turns):
            here = {**at, "turn": turn}
            yield ev.DraftStarted(**here)
            for _ in range(deltas):
                yield ev.TokensStreamed(**here, role="draft", text=words, tokens=8)
            yield ev.DraftFinished(
                **here, text=words * deltas, tokens=8 * deltas, ended=False, seconds=1.0,
                first_token_seconds=0.1, ids=tuple(range(1000, 1000 + 8 * deltas)),
            )  # fmt: skip
            yield ev.VerificationStarted(**here, tokens=8 * deltas)
            yield ev.VerdictReached(
                **here, verdict="accept", ppl=1 + chance.random(), p=0.25, alpha=0.6, threshold=1.5,
                mode="online", rule="conformal", size=1000, tokens=500, seconds=0.1,
            )  # fmt: skip
        yield ev.SampleFinished(**at, end="answered", answer="2", correct=True)
        yield ev.VoteChanged(problem=problem, tally=(("2", sample + 1),), voted=sample + 1, ended=sample + 1)

    waiting = iter([(p, s) for p in range(problems) for s in range(samples)])
    alive = [chain(*next(waiting)) for _ in range(min(ALIVE, problems * samples))]
    while alive:
        number = chance.randrange(len(alive))
        event = next(alive[number], None)
        if event is not None:
            yield event
            continue
        following = next(waiting, None)
        if following is None:
            alive.pop(number)
        else:
            alive[number] = chain(*following)


class Report:
    """Figures against budgets; CPU time, because other programs may have the machine."""

    def __init__(self) -> None:
        self.over = False

    def line(self, what: str, value: float, unit: str, most: float | None = None, more: str = "") -> None:
        bound = "" if most is None else f"(at most {most:g})"
        self.over |= most is not None and value > most
        sys.stdout.write(f"{what:62} {value:9.3f} {unit} {bound} {more}\n")
        sys.stdout.flush()

    def timed(self, what: str, action: Callable[[], object], most: float | None = None) -> None:
        processor, wall = time.process_time(), time.perf_counter()
        result = action()
        used, passed = time.process_time() - processor, time.perf_counter() - wall
        del result
        self.line(what, used, "s CPU", most, f"{passed:.3f} s on the clock")


def file_of(path: Path, events: int) -> None:
    writer = RunWriter.create(path, ABOUT)
    batch: list[ev.Stamped] = []
    for seq, event in enumerate(run_of(max(1, events // (16 * 4 * 32))), start=1):
        batch.append(ev.Stamped(seq, seq * 0.0005, event))
        if len(batch) == 4096:
            writer.append(batch)
            batch = []
    writer.append(batch)
    writer.close()


def opening(report: Report, path: Path) -> None:
    """In a process of its own, as a viewer is."""
    report.timed("open attached", lambda: RunReader.open(path), 1.0)
    report.timed("open attached, once more", lambda: RunReader.open(path), 1.0)
    player = Player.open(path)
    for percent in (99.9, 50, 10, 73, 99.4):
        report.timed(f"seek to {percent} %", lambda percent=percent: player.seek_percent(percent), 0.3)
    report.timed("next verdict", player.next_verdict, 0.3)
    report.timed("next take-over, of which there is none", player.next_take_over)


def waited_for_a_processor() -> float:
    """Seconds in which this thread could have run and other programs had the processors."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


async def published(path: Path | None, rate: int, seconds: float) -> tuple[float, float]:
    """CPU seconds an event, and the longest time in which the recorder kept the event loop from running."""
    bus, events, count, worst = Bus(), run_of(500), 0, 0.0
    recorder = (
        Recorder(bus, RunWriter.create(path, ABOUT, breathe=breathe), on_command=print, on_trouble=print,
                 on_cleared=lambda: None) if path else None
    )  # fmt: skip
    if recorder:
        await recorder.__aenter__()
    begin, processor = time.perf_counter(), time.process_time()
    while (now := time.perf_counter()) - begin < seconds:
        for _ in range(min(int((now - begin) * rate) - count, 50)):
            bus.publish(next(events))
            count += 1
        asked, waited = time.perf_counter(), waited_for_a_processor()
        await asyncio.sleep(0.001)
        late = time.perf_counter() - asked - 0.001 - (waited_for_a_processor() - waited)
        worst = max(worst, late)
    used = time.process_time() - processor
    if recorder:
        await recorder.__aexit__(None, None, None)
    return used / count, worst


def hot_path(report: Report, folder: Path) -> None:
    for rate in (2000, 8000):
        plain, quiet = asyncio.run(published(None, rate, 5.0))
        recorded, worst = asyncio.run(published(folder / f"{rate}.atts", rate, 5.0))
        report.line(
            f"recording at {rate:,} events/s, added to an event", (recorded - plain) * 1e6, "µs CPU", 20
        )
        report.line(
            "  longest stall of the event loop",
            worst * 1e3,
            "ms",
            5 + round(quiet * 1e3, 1),
            f"{quiet * 1e3:.1f} without recorder, which is the machine's own",
        )


def watched(path: Path, events: int, result: "multiprocessing.Queue[tuple[int, int, float]]") -> None:
    """A viewer: folds what comes until the end; gives its last seq, how many events, and memory in MB."""
    reader = RunReader.open(path)
    state, count = reader.state, 0
    while state.finished is None or len(reader):
        batch = reader.drain()
        state.fold(batch)
        count += len(batch)
        if not batch:
            time.sleep(0.1)
    result.put((state.seq, count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


async def soak(path: Path, seconds: float, rate: int) -> tuple[int, int]:
    bus, count = Bus(), 0
    troubles: list[str] = []
    recorder = Recorder(
        bus, RunWriter.create(path, ABOUT, breathe=breathe), on_command=print, on_trouble=troubles.append,
        on_cleared=lambda: None,
    )  # fmt: skip
    result: multiprocessing.Queue[tuple[int, int, float]] = multiprocessing.Queue()
    viewers = [multiprocessing.Process(target=watched, args=(path, 0, result)) for _ in range(2)]
    for viewer in viewers:
        viewer.start()
    events = run_of(max(8, int(seconds * rate / (16 * 4 * 32)) + 1))
    async with recorder:
        begin = time.perf_counter()
        while (now := time.perf_counter()) - begin < seconds:
            for _ in range(int((now - begin) * rate) - count):
                bus.publish(next(events))
                count += 1
            await asyncio.sleep(0.002)
        last = bus.publish(ev.RunFinished(end="done")).seq
    seen = [result.get() for _ in viewers]
    assert not troubles, troubles
    assert all(seq == last for seq, _, _ in seen), (seen, last)
    sys.stdout.write(
        f"{count:,} events in {seconds:g} s with two viewers: both saw event {last:,}, no trouble, viewers"
        f" {seen[0][2]:.0f} MB, engine {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB\n"
    )
    return count, last


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument(
        "--soak", type=float, default=20.0, help="seconds at 2,000 events/s with two viewers"
    )
    arguments.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    report = Report()
    if given.open:
        opening(report, given.open)
        raise SystemExit(report.over)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hot_path(report, folder)
        asyncio.run(soak(folder / "soak.atts", given.soak, 2000))
        path = folder / "big.atts"
        report.timed(f"write {given.events:,} events, making them too", lambda: file_of(path, given.events))
        report.line("  the file", path.stat().st_size / 1e6, "MB")
        over = subprocess.run([sys.executable, __file__, "--open", str(path)], check=False).returncode
    raise SystemExit(report.over or over)


if __name__ == "__main__":
    main()
