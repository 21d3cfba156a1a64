"""One run from its servers to its last event, written to its file on the way. No front end in here."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from atts_core import __version__, config
from atts_core.bus import Bus
from atts_core.engine.collect import Scores
from atts_core.engine.requests import Gate
from atts_core.engine.run import Engine
from atts_core.engine.session import Session, open_session
from atts_core.problems.builtin.readable import readable
from atts_core.problems.load import TYPED
from atts_core.runs.file import About, RunFile
from atts_core.runs.folder import make_folder, new_run, run_path
from atts_core.runs.recorder import Recorder, breathe
from atts_core.runs.writer import RunWriter
from atts_core.telemetry.counters import RunCounters
from atts_core.telemetry.run_metrics import HOST, RunMetrics, listen, serving
from atts_core.telemetry.sources import given_sources
from atts_tui.commands.control import Control
from atts_tui.commands.kept import KEPT_CALIBRATION, calibration_bytes, kept_calibration
from atts_tui.commands.plan import Plan, readable_problem


async def drive(
    plan: Plan,
    bus: Bus,
    control: Control,
    say: Callable[[str], None],
    started: Callable[[Path], None] = lambda _: None,
) -> str:
    """The whole run; closes the bus. Gives a line for the user, if there is one.

    `say` is told what is being waited for, `started` the run's file once it is there.

    Raises:
        AttsError: it could not begin, or its file could not be written in the end.
    """
    sources = given_sources(plan.layers.given(), plan.layers.origin("gpu_metrics"))
    try:
        async with (
            _metrics(plan, bus) as metrics,
            open_session(plan.layers, os.environ, say=say, pace=plan.pace) as session,
        ):
            path, writer = _open_file(plan)
            recorder = Recorder(
                bus,
                writer,
                on_command=control.command,
                on_trouble=control.trouble,
                on_cleared=control.cleared,
            )
            if metrics is not None:
                metrics.gauges["recorder_lag_events"] = lambda: max(bus.last_seq - recorder.written, 0)
            scores = Scores()
            try:
                async with recorder:
                    started(path)
                    gate = Gate(bus.publish)
                    control.hold(gate)
                    engine = await _engine(plan, session, bus, path, gate)
                    if session.calibration is not None and plan.progress is None:
                        recorder.keep(KEPT_CALIBRATION, calibration_bytes(session.calibration))
                    control.attach(engine)
                    async with session.watching(bus, sources), _keeping(scores, plan, bus):
                        end = await engine.run()
            finally:
                _remove_if_empty(plan, path, writer)
            if plan.finish is None or end == "failed":
                return ""
            return plan.finish(session, scores)
    finally:
        bus.close()


@asynccontextmanager
async def _metrics(plan: Plan, bus: Bus) -> AsyncIterator[RunMetrics | None]:
    """The run's own metrics, where they were asked for; from before anything starts to the end."""
    given = plan.layers.given()
    if given.metrics_port is None:
        yield None
        return
    listener = listen(given.metrics_host or HOST, given.metrics_port, plan.layers.origin("metrics_port"))
    counters = None
    if plan.path is not None:
        with contextlib.closing(RunFile.open(plan.path)) as file:
            counters = RunCounters.of(file.state(file.last()))
    with bus.subscribe() as subscription:
        metrics = RunMetrics(subscription, counters)
        metrics.gauges["bus_queue_events"] = lambda: bus.backlog
        async with serving(metrics, listener):
            yield metrics


async def _engine(plan: Plan, session: Session, bus: Bus, path: Path, gate: Gate) -> Engine:
    problems = plan.problems
    if plan.progress is not None:
        card = plan.progress.run.calibration
        return session.go_on(
            bus, problems, plan.progress, kept_calibration(path, card.source if card else ""), gate
        )
    if session.pair.profile is config.EMBEDDED and problems.dataset == TYPED:
        problems = readable_problem(problems)
        if problems.dataset == TYPED:
            session.warnings.append(readable(problems.problems[0].question).explain())
    warm = not plan.collects
    return await session.start(bus, problems, command=plan.command, run=path.stem, warm=warm, gate=gate)


def _open_file(plan: Plan) -> tuple[Path, RunWriter]:
    if plan.path is not None:
        return plan.path, RunWriter.resume(plan.path, breathe=breathe)
    make_folder(plan.folder)
    now = time.time()
    run = new_run(plan.folder, plan.command, now)
    path = run_path(plan.folder, run)
    about = About(
        run=run,
        command=plan.command,
        created=now,
        version=__version__,
        dataset=plan.problems.dataset,
        fingerprint=plan.problems.fingerprint,
    )
    return path, RunWriter.create(path, about, breathe=breathe)


def _remove_if_empty(plan: Plan, path: Path, writer: RunWriter) -> None:
    """A run that was refused before its first event leaves no file."""
    if plan.path is None and writer.last.ordinal == 0:
        for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            name.unlink(missing_ok=True)


@asynccontextmanager
async def _keeping(scores: Scores, plan: Plan, bus: Bus) -> AsyncIterator[None]:
    """Keep the scores of a run that is to become a calibration, and nothing else of its events."""
    if not plan.collects:
        yield
        return
    for verdict in plan.progress.verdicts if plan.progress else ():
        scores.add(verdict.ppl, verdict.turn, verdict.problem, verdict.sample)
    subscription = bus.subscribe()

    async def keep() -> None:
        async for batch in subscription.batches():
            scores.add_events(batch)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        subscription.close()
        await task
