"""The recorder loses nothing that it said was written, and splits nothing that belongs together."""

import asyncio
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.errors import RunError, SettingsError
from atts_core.runs import commands, recorder, schema
from atts_core.runs.file import About, RunFile
from atts_core.runs.reader import RunReader, send
from atts_core.runs.recorder import Recorder
from atts_core.runs.writer import RunWriter
from atts_core.state import RunState

Simulate = Callable[..., list[ev.Stamped]]
Same = Callable[[RunState], bytes]


class Engine:
    """What an engine does with a recorder's calls."""

    def __init__(self) -> None:
        self.commands: list[commands.AnyCommand] = []
        self.troubles: list[str] = []
        self.trouble = asyncio.Event()
        self.cleared = asyncio.Event()
        self.asked = asyncio.Event()

    def recorder(self, bus: Bus, path: Path, about: About) -> Recorder:
        return Recorder(
            bus, RunWriter.create(path, about),
            on_command=self.command, on_trouble=self.on_trouble, on_cleared=self.cleared.set,
        )  # fmt: skip

    def command(self, command: commands.AnyCommand) -> None:
        self.commands.append(command)
        self.asked.set()

    def on_trouble(self, why: str) -> None:
        self.troubles.append(why)
        self.trouble.set()


def recorded(path: Path) -> list[ev.Stamped]:
    file = RunFile.open(path)
    stamps = [stamp for batch in file.events() for stamp in batch]
    assert file.trouble == ""
    file.close()
    return stamps


def without_text(stamps: list[ev.Stamped]) -> list[ev.AnyEvent]:
    return [stamp.event for stamp in stamps if not isinstance(stamp.event, ev.TokensStreamed)]


async def test_everything_that_was_published_is_in_the_file(
    tmp_path: Path, simulate: Simulate, about: About
) -> None:
    stamps, bus, path = simulate(1, problems=6), Bus(), tmp_path / "r.atts"
    live = bus.subscribe()
    async with Engine().recorder(bus, path, about) as written:
        for stamp in stamps:
            bus.publish(stamp.event)
            if stamp.seq % 100 == 0:
                await asyncio.sleep(0.01)
    kept, shown = recorded(path), live.drain()
    assert without_text(kept) == without_text(shown)
    assert written.written == kept[-1].seq == shown[-1].seq
    ours, theirs = RunState().fold(kept), RunState().fold(shown)
    assert [p.samples[0].text for p in ours.problems] == [p.samples[0].text for p in theirs.problems]
    assert (ours.draft_tokens, ours.target_tokens) == (theirs.draft_tokens, theirs.target_tokens)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not path.with_name("r.atts-wal").exists()


async def test_what_is_published_together_is_written_together(
    tmp_path: Path, simulate: Simulate, about: About, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between two transactions must not part a sample's end from its vote."""
    batches: list[list[ev.Stamped]] = []
    append = RunWriter.append
    monkeypatch.setattr(
        RunWriter, "append", lambda self, stamps: (batches.append(stamps), append(self, stamps))
    )
    monkeypatch.setattr(recorder, "HAND_OVER_SECONDS", 0.001)
    bus = Bus()
    async with Engine().recorder(bus, tmp_path / "r.atts", about):
        stamps = simulate(2, problems=8)
        for stamp, following in zip(stamps, [*stamps[1:], None], strict=True):
            bus.publish(stamp.event)
            together = following and isinstance(following.event, ev.VoteChanged | ev.ProblemFinished)
            if not together:
                await asyncio.sleep(0.001 if stamp.seq % 20 == 0 else 0)
    batches = [batch for batch in batches if batch]
    assert len(batches) > 5
    assert not any(isinstance(batch[0].event, ev.VoteChanged | ev.ProblemFinished) for batch in batches)


async def test_two_viewers_see_everything_while_it_is_written(
    tmp_path: Path, simulate: Simulate, about: About, same: Same
) -> None:
    bus, path = Bus(), tmp_path / "r.atts"
    async with Engine().recorder(bus, path, about):
        viewers = [RunReader.open(path), RunReader.open(path)]
        states = [viewer.state for viewer in viewers]
        for stamp in simulate(3, problems=8):
            bus.publish(stamp.event)
            if stamp.seq % 50 == 0:
                await asyncio.sleep(0.01)
            if stamp.seq % 70 == 0:
                states[stamp.seq % 2].fold(viewers[stamp.seq % 2].drain())
        assert viewers[0].engine == "alive"
    for viewer, state in zip(viewers, states, strict=True):
        while len(viewer):
            state.fold(viewer.drain())
        assert same(state) == same(RunState().fold(recorded(path)))
        assert viewer.trouble == ""
        viewer.close()
    assert RunFile.open(path).engine == "ended"


async def test_batches_end_with_the_engine(tmp_path: Path, simulate: Simulate, about: About) -> None:
    bus, path = Bus(), tmp_path / "r.atts"
    seen: list[ev.Stamped] = []

    async def watch(reader: RunReader) -> None:
        async for batch in reader.batches():
            seen.extend(batch)

    async with Engine().recorder(bus, path, about):
        watching = asyncio.create_task(watch(RunReader.open(path)))
        for stamp in simulate(4):
            bus.publish(stamp.event)
        await asyncio.sleep(0)
    await watching
    assert seen == recorded(path)


async def test_a_viewers_wish_reaches_the_engine_once(tmp_path: Path, about: About) -> None:
    bus, path, engine = Bus(), tmp_path / "r.atts", Engine()
    async with engine.recorder(bus, path, about):
        viewer = RunFile.open(path)
        send(viewer, commands.Pause())
        await engine.asked.wait()
        engine.asked.clear()
        connection = sqlite3.connect(path)
        connection.execute("INSERT INTO commands (asked, body) VALUES (0, 'nonsense')")
        connection.commit()
        send(viewer, commands.StopSample(problem=1, sample=2))
        await engine.asked.wait()
    assert engine.commands == [commands.Pause(), commands.StopSample(problem=1, sample=2)]
    with pytest.raises(RunError, match="not running"):
        send(viewer, commands.Resume())


async def test_a_full_disk_pauses_and_loses_nothing(
    tmp_path: Path, simulate: Simulate, about: About, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "FIRST_RETRY", 0.01)
    bus, path, engine = Bus(), tmp_path / "r.atts", Engine()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        async with engine.recorder(bus, path, about) as written:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
            stamps = simulate(5, problems=30)
            for stamp in stamps:
                bus.publish(stamp.event)
            await engine.trouble.wait()
            acknowledged = written.written
            assert acknowledged < stamps[-1].seq
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            await engine.cleared.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "full" in engine.troubles[0]
    assert "The run waits" in engine.troubles[0]
    assert len(engine.troubles) == 1
    assert without_text(recorded(path)) == without_text(stamps)


async def test_a_locked_file_pauses_and_loses_nothing(
    tmp_path: Path, simulate: Simulate, about: About, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOCK_SECONDS", 0.02)
    monkeypatch.setattr(recorder, "FIRST_RETRY", 0.01)
    bus, path, engine = Bus(), tmp_path / "r.atts", Engine()
    stamps = simulate(6)
    async with engine.recorder(bus, path, about):
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for stamp in stamps:
            bus.publish(stamp.event)
        await engine.trouble.wait()
        other.execute("ROLLBACK")
        await engine.cleared.wait()
        other.close()
    assert "locked" in engine.troubles[0]
    assert without_text(recorded(path)) == without_text(stamps)


async def test_a_file_that_stays_unwritable_is_said_in_the_end(
    tmp_path: Path, simulate: Simulate, about: About, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOCK_SECONDS", 0.02)
    monkeypatch.setattr(recorder, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(recorder, "CLOSE_SECONDS", 0.1)
    bus, path, engine = Bus(), tmp_path / "r.atts", Engine()
    written = engine.recorder(bus, path, about)
    await written.__aenter__()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for stamp in simulate(7):
        bus.publish(stamp.event)
    await engine.trouble.wait()
    with pytest.raises(RunError, match="what came later is lost"):
        await written.__aexit__(None, None, None)
    other.close()


async def test_kept_files_come_back(tmp_path: Path, about: About) -> None:
    path = tmp_path / "r.atts"
    async with Engine().recorder(Bus(), path, about) as written:
        written.keep("calibration", b"\0\1")
    assert RunFile.open(path).kept("calibration") == b"\0\1"
    assert RunFile.open(path).kept("another") is None


WRITER = """
    import asyncio, sys
    from pathlib import Path
    from atts_core import events as ev
    from atts_core.bus import Bus
    from atts_core.runs.file import About
    from atts_core.runs.recorder import Recorder
    from atts_core.runs.writer import RunWriter

    async def main(path):
        bus = Bus()
        if path.exists():
            writer = RunWriter.resume(path)
            bus = Bus(first_seq=writer.last.seq + 1, first_at=writer.last.at)
        else:
            writer = RunWriter.create(path, About(run="r", command="eval", created=0.0, version="0"))
        async with Recorder(bus, writer, on_command=print, on_trouble=print, on_cleared=print) as recorder:
            said = 0
            while True:
                for _ in range(20):
                    stamped = bus.publish(ev.Warned(message="x" * 50))
                await asyncio.sleep(0.002)
                if recorder.written > said:
                    said = recorder.written
                    print(said, flush=True)

    asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_it_holds_all_that_was_acknowledged_and_goes_on(
    tmp_path: Path, seed: int
) -> None:
    path, chance = tmp_path / "r.atts", random.Random(seed)
    acknowledged = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 8)):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        acknowledged = int(rest[-1]) if rest else acknowledged
        file = RunFile.open(path)
        assert file.trouble == ""
        assert file.engine == "gone"
        assert [stamp.seq for batch in file.events() for stamp in batch] == list(
            range(1, file.last().seq + 1)
        )
        assert file.last().seq >= acknowledged
        file.close()


def test_a_second_engine_is_refused_while_one_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "r.atts"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        while RunFile.open(path).engine != "alive":
            time.sleep(0.01)
        with pytest.raises(RunError, match=f"process {process.pid}"):
            RunWriter.resume(path)
        process.send_signal(signal.SIGSTOP)
        assert RunFile.open(path).engine == "alive"
    finally:
        process.kill()
        process.wait()
    RunWriter.resume(path).close()


def test_a_folder_that_cannot_be_written_is_refused_with_its_name(tmp_path: Path, about: About) -> None:
    folder = tmp_path / "none"
    with pytest.raises(SettingsError, match=r"none .*--runs-dir"):
        RunWriter.create(folder / "r.atts", about)
    folder.mkdir()
    RunWriter.create(folder / "r.atts", about).close()
    with pytest.raises(SettingsError, match="never writes over another"):
        RunWriter.create(folder / "r.atts", about)
    if os.geteuid() != 0:
        folder.chmod(0o500)
        with pytest.raises(SettingsError, match="Permission denied"):
            RunWriter.create(folder / "s.atts", about)
