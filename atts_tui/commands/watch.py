"""`atts watch` and `atts replay`: the screens over a run file, that of a running engine or a recorded one."""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from atts_core import config
from atts_core.errors import RunError, SettingsError
from atts_core.runs import commands
from atts_core.runs.folder import find_run, runs_folder
from atts_core.runs.player import SPEEDS, Player
from atts_core.runs.presence import Life
from atts_core.runs.reader import RunReader
from atts_core.telemetry.counters import RunCounters
from atts_tui.commands.printing import print_json
from atts_tui.commands.runs import STATUS_OF_END, has_screen
from atts_tui.frontends.plain import PlainProgress
from atts_tui.frontends.result import as_json, as_text
from atts_tui.look import Look, look_of
from atts_tui.text import clean_line


class RemoteControl:
    """A hand on a run in another process, through the commands table of its file."""

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader

    def pause(self) -> None:
        """Ask it to send no new requests. Raises RunError where no engine can hear it."""
        self._reader.send(commands.Pause())

    def resume(self) -> None:
        """Ask it to send requests again. Raises RunError where no engine can hear it."""
        self._reader.send(commands.Resume())

    def stop(self) -> None:
        """Ask it to end the run. Raises RunError where no engine can hear it."""
        self._reader.send(commands.Cancel())

    def stop_sample(self, problem: int, sample: int) -> None:
        """Ask it to end one sample. Raises RunError where no engine can hear it."""
        self._reader.send(commands.StopSample(problem=problem, sample=sample))

    def retry_sample(self, problem: int, sample: int) -> None:
        """Ask it to let a failed sample go on. Raises RunError where no engine can hear it."""
        self._reader.send(commands.RetrySample(problem=problem, sample=sample))


def watch(arguments: argparse.Namespace) -> int:
    """The whole of `atts watch`; returns the exit status."""
    seen = look_of(arguments)
    path = find_run(arguments.run, runs_folder(arguments.runs_dir))
    reader = RunReader.open(path)
    try:
        if arguments.stop:
            if arguments.read_only:
                raise SettingsError("--stop and --read-only: leave one out.")
            RemoteControl(reader).stop()
            sys.stdout.write(f"asked run {path.stem} to end; what is finished is kept\n")
            return 0
        if reader.trouble:
            sys.stderr.write(f"atts: {reader.trouble}\n")
        if arguments.once or arguments.json:
            return _once(reader, path, arguments)
        if has_screen() and not arguments.headless:
            show = partial(_on_screen, reader, seen, read_only=arguments.read_only)
        else:
            show = partial(_headless, reader)
        return asyncio.run(_with_metrics(arguments, path, show))
    finally:
        reader.close()


def replay(arguments: argparse.Namespace) -> int:
    """The whole of `atts replay`; returns the exit status."""
    if not SPEEDS[0] <= arguments.speed <= SPEEDS[-1]:
        raise SettingsError(
            f"--speed {arguments.speed:g}: must lie between {SPEEDS[0]:g} and {SPEEDS[-1]:g}."
        )
    seen = look_of(arguments)
    path = find_run(arguments.run, runs_folder(arguments.runs_dir))
    if not has_screen():
        raise SettingsError("A replay needs a terminal; `atts runs show` prints what a run came to.")
    from atts_tui.app import AttsApp  # noqa: PLC0415  # imports Textual, which only a screen needs
    from atts_tui.narrator import Narrator  # noqa: PLC0415

    player = Player.open(path)
    try:
        player.set_speed(arguments.speed)
        player.loop = arguments.loop
        player.play()
        narrator = Narrator(player, player=player) if arguments.explain else None
        app = AttsApp(
            player if narrator is None else narrator,
            state=player.state,
            player=player,
            narrator=narrator,
            title="replay",
            **seen,
        )
        app.run()
    finally:
        player.close()
    if player.trouble:
        raise RunError(player.trouble)
    return 0


def _once(reader: RunReader, path: Path, arguments: argparse.Namespace) -> int:
    while batch := reader.drain():
        reader.state.fold(batch)
    if arguments.json:
        result = as_json(reader.state, path) | {"name": reader.about.run, "engine": reader.engine}
        print_json(result)
    else:
        name = clean_line(reader.about.run)
        sys.stdout.write(f"{name}: engine {reader.engine}\n{as_text(reader.state)}\n")
    return 0


async def _with_metrics(arguments: argparse.Namespace, path: Path, show: Callable[[], Awaitable[int]]) -> int:
    """Serve the run's metrics meanwhile, where this command line asks for it (`atts.toml` speaks of runs)."""
    asked = config.Given(metrics_port=arguments.metrics_port, metrics_host=arguments.metrics_host)
    given = config.Layers().add(asked, config.said).given()
    if given.metrics_port is None:
        return await show()
    from atts_core.telemetry.run_metrics import HOST, RunMetrics, listen, serving  # noqa: PLC0415

    listener = listen(given.metrics_host or HOST, given.metrics_port, "--metrics-port")
    with contextlib.closing(RunReader.open(path)) as reader:  # of its own: a frozen screen holds events back
        metrics = RunMetrics(reader, RunCounters.of(reader.state))
        async with serving(metrics, listener):
            return await show()


async def _headless(reader: RunReader) -> int:
    state = reader.state
    progress = PlainProgress(state)
    progress.say(f"watching {reader.about.run}; its engine is {reader.engine}")
    async for batch in reader.batches():
        state.fold(batch)
        progress.saw(batch)
    sys.stdout.write(as_text(state) + "\n")
    return _status(state.finished.end if state.finished else None, reader.engine)


async def _on_screen(reader: RunReader, seen: Look, *, read_only: bool) -> int:
    from atts_tui.app import AttsApp  # noqa: PLC0415

    app = AttsApp(
        reader,
        state=reader.state,
        control=None if read_only else RemoteControl(reader),
        owns=False,
        life=lambda: reader.engine,
        details=reader.details,
        title="watch",
        **seen,
    )
    await app.run_async()
    finished = app.state.finished
    if finished is None:
        sys.stdout.write(
            f"run {reader.about.run} goes on without this screen; its engine is {reader.engine}\n"
        )
        return 0
    sys.stdout.write(as_text(app.state) + "\n")
    return _status(finished.end, reader.engine)


def _status(end: str | None, life: Life) -> int:
    if end is None:
        raise RunError(f"The engine is {life} and the run unfinished; go on with --resume.")
    return STATUS_OF_END[end]
