"""What a long evaluation costs in memory: the state that a screen shows, and the recorder's own.

    python tests/benchmarks/bench_memory.py [--events 5000000] [--problems 10000] [--samples 16] [--words 350]

A synthetic evaluation (`tests/tui/evaluations.py`) is folded into a RunState, as the screen does, and written
to a run file by the recorder's writer, which keeps the folded state for its keyframes; the screen's code is
loaded as well. Resident memory is read on the way, then the details of finished problems are read back from
the file, and a viewer is attached to it. An engine's chains, prompts and models are not in these figures.

Figures (2 shared virtual cores, load 3 to 7, Python 3.11.7; 10,000 problems of 16 samples, 350 words a step,
5,212 of them finished after 5 million events, a file of 4.3 GB):

    code loaded 55 MB; 199 MB after 0.5, 204 after 1, 222 after 3, 241 MB after 5 million events
    fold 2.9 to 3.2 µs an event; attaching to the file of 160,000 samples 0.4 s
    details of a finished problem 7 ms, at most 15 ms

What grows is what is kept of 83,000 finished samples, about 500 bytes each: verdicts, stages, tokens.
"""

import argparse
import gc
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tui"))

import evaluations

import atts_tui.app  # noqa: F401  # what a screen needs is part of the figure
from atts_core import events as ev
from atts_core.runs.file import About
from atts_core.runs.reader import RunReader
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

BATCH = 1000


def resident() -> float:
    """Megabytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def say(line: str) -> None:
    """One line now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: argparse.Namespace) -> None:
    """The whole measurement."""
    say(f"code loaded: {resident():.0f} MB")
    source = evaluations.stamps(
        problems=arguments.problems, samples=arguments.samples, words=arguments.words, pieces=6
    )
    state = RunState()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "run.atts"
        about = About(run="bench", command="eval", created=0.0, version="0")
        writer = RunWriter.create(path, about)
        batch: list[ev.Stamped] = []
        count, spent = 0, 0.0
        for stamped in source:
            batch.append(stamped)
            if len(batch) == BATCH:
                began = time.process_time()
                state.fold(batch)
                spent += time.process_time() - began
                writer.append(ev.merge_tokens(batch))
                count += len(batch)
                batch.clear()
                if count % 500_000 == 0:
                    gc.collect()
                    say(
                        f"{count:>9,} events, {state.overview.finished:>6,} problems finished: "
                        f"{resident():4.0f} MB, file {path.stat().st_size / 1e6:,.0f} MB, "
                        f"fold {spent / count * 1e6:.1f} µs an event"
                    )
                if count >= arguments.events:
                    break
        writer.close()
        away = [problem.index for problem in state.problems if problem.put_away]
        del writer, source
        if away:
            began = time.monotonic()
            reader = RunReader.open(path)
            say(f"attached in {time.monotonic() - began:.1f} s")
            took = []
            for index in away[:: max(len(away) // 20, 1)]:
                began = time.monotonic()
                found = reader.details(reader.state, index)
                took.append(time.monotonic() - began)
                if found is None or not found.samples[0].steps:
                    raise SystemExit("details were not found")
            took.sort()
            say(
                f"details of a finished problem: {1000 * took[len(took) // 2]:.0f} ms, at most "
                f"{1000 * took[-1]:.0f} ms"
            )
            reader.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--problems", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--words", type=int, default=350)
    parser.add_argument("--folder", default=None)
    main(parser.parse_args())
