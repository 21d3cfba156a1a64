"""What run files cost and how fast they open. Run by hand: `python tests/benchmarks/bench_runs.py [EVENTS]`.
"""

import asyncio
import random
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.runs.file import About, RunFile
from atts_core.runs.player import Player
from atts_core.runs.reader import RunReader
from atts_core.runs.recorder import Recorder, breathe
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

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


def measured(what: str, action: Callable[[], object], limit: str = "") -> None:
    processor, wall = time.process_time(), time.perf_counter()
    action()
    print(f"{what:58} {time.process_time() - processor:8.3f} s CPU {time.perf_counter() - wall:8.3f} s {limit}")


def file_of(path: Path, events: int) -> None:
    writer = RunWriter.create(path, ABOUT)
    batch: list[ev.Stamped] = []
    problems = max(1, events // (16 * 4 * 32))
    wall = 0
    for seq, event in enumerate(run_of(problems), start=1):
        batch.append(ev.Stamped(seq, seq * 0.0005, event))
        if len(batch) == 4096:
            writer.append(batch)
            batch = []
    writer.append(batch)
    writer.close()


def opening(path: Path, events: int) -> None:
    measured(f"write {events:,} events, generating them too", lambda: file_of(path, events))
    print(f"{'':58} {path.stat().st_size / 1e6:8.0f} MB")
    measured("open attached", lambda: RunReader.open(path), "(at most 1 s)")
    player = Player.open(path)
    for percent in (99.9, 50, 10, 73, 99.4):
        measured(f"seek to {percent} %", lambda percent=percent: player.seek_percent(percent), "(at most 0.3 s)")
    measured("next verdict", player.next_verdict)
    measured("next take-over, to the end as there is none", player.next_take_over)


async def recording(path: Path, rate: int, seconds: float, record: bool) -> tuple[float, float]:
    """CPU seconds an event, and the longest time in which the event loop did not come round."""
    bus, worst = Bus(), 0.0
    events = run_of(500)
    recorder = Recorder(
        bus, RunWriter.create(path, ABOUT, breathe=breathe), on_command=print, on_trouble=print, on_cleared=print
    ) if record else None
    if recorder:
        await recorder.__aenter__()
    loop, count = asyncio.get_running_loop(), 0
    begin, processor = loop.time(), time.process_time()
    last = begin
    while (now := loop.time()) - begin < seconds:
        worst = max(worst, now - last)
        due = int((now - begin) * rate) - count
        for _ in range(min(due, 50)):
            bus.publish(next(events))
            count += 1
        last = loop.time()
        await asyncio.sleep(0.001)
        last += 0.001
    used = time.process_time() - processor
    if recorder:
        await recorder.__aexit__(None, None, None)
    return used / count, worst


def hot_path(folder: Path) -> None:
    for rate in (2000, 8000):
        plain, quiet = asyncio.run(recording(folder / "no", rate, 5.0, record=False))
        recorded, worst = asyncio.run(recording(folder / f"{rate}.atts", rate, 5.0, record=True))
        print(
            f"{rate:,} events a second: recording adds {(recorded - plain) * 1e6:.1f} µs CPU an event (at most 20);"
            f" longest stall of the loop {worst * 1e3:.1f} ms, without recording {quiet * 1e3:.1f} ms"
        )


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        hot_path(Path(folder))
        opening(Path(folder) / "big.atts", events)
    print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
