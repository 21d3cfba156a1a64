"""`atts solve`, `atts demo`, `atts eval` and `atts calibrate`: one run, on a screen, headless or detached."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from atts_core import events as ev
from atts_core.errors import AttsError, SettingsError
from atts_core.runs.details import LateDetails
from atts_core.runs.manage import remove
from atts_core.state import RunState
from atts_tui.commands.control import Control, begin
from atts_tui.commands.detach import detach, let_go, tell_parent
from atts_tui.commands.plan import Plan, plan_calibrate, plan_demo, plan_eval, plan_solve
from atts_tui.commands.printing import print_json
from atts_tui.frontends.plain import PlainProgress
from atts_tui.frontends.result import as_json, as_text
from atts_tui.look import Look, look

LOOP_SECONDS = 8.0
"""How long `atts demo --loop` shows a result before the next run; a caption stands for a second less."""
STATUS_OF_END = {"done": 0, "incomplete": 1, "failed": 1, "interrupted": 130}


def run(arguments: argparse.Namespace) -> int:
    """The whole command; returns the exit status."""
    if getattr(arguments, "suite", None) is not None:
        from atts_tui.commands.suite import run_suite  # noqa: PLC0415  # runs are processes of their own

        return run_suite(arguments)
    if getattr(arguments, "dry_run", False):
        raise SettingsError("--dry-run goes with --suite.")
    on_screen = wants_screen(arguments)
    match arguments.command:
        case "solve":
            plan = plan_solve(arguments)
        case "demo":
            plan = plan_demo(arguments, on_screen=on_screen)
        case "eval":
            plan = plan_eval(arguments)
        case _:
            plan = plan_calibrate(arguments)
    if plan.progress is not None and plan.progress.complete and not plan.collects:
        print_result(begin(plan)[1], arguments, plan.path, "nothing was left to do")
        return 0
    if getattr(arguments, "detach", False):
        return detach(plan)
    if on_screen:
        return _on_screen(plan, arguments)
    return asyncio.run(_headless(plan, arguments))


def wants_screen(arguments: argparse.Namespace) -> bool:
    """Whether there is a terminal, and nobody asked for anything else."""
    quiet = arguments.headless or arguments.json or arguments.events or getattr(arguments, "detach", False)
    return not quiet and has_screen()


def has_screen() -> bool:
    """Whether a screen can be drawn: on this terminal (Textual draws on standard error), or in a browser."""
    if os.environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver"):
        return True
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream.isatty() for stream in streams) and os.environ.get("TERM") != "dumb"


async def _headless(plan: Plan, arguments: argparse.Namespace) -> int:
    bus, state = begin(plan)
    progress = PlainProgress(state)
    control = Control(bus)
    files: list[Path] = []

    from atts_tui.commands.drive import drive  # noqa: PLC0415  # the engine; a screen opens before it

    subscription = bus.subscribe()
    task = control.task = asyncio.create_task(drive(plan, bus, control, progress.say, files.append))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, task.cancel)
    async for batch in subscription.batches():
        state.fold(batch)
        tell_parent(files[0])  # only now: what can be refused has been refused
        if arguments.events:
            for stamped in batch:
                sys.stdout.buffer.write(ev.encode(stamped) + b"\n")
            sys.stdout.flush()
        progress.saw(batch)
    line, error, interrupted = "", None, False
    try:
        line = await task
    except asyncio.CancelledError:
        interrupted = True
        progress.say("interrupted; what follows is what was finished")
    except AttsError as failure:
        if state.run is None:
            raise
        error = failure
    if state.run is not None:
        print_result(state, arguments, files[0] if files else None, line)
    if error is not None:
        raise error
    return 130 if interrupted or state.finished is None else STATUS_OF_END[state.finished.end]


def print_result(state: RunState, arguments: argparse.Namespace, path: Path | None, line: str = "") -> None:
    """The result on stdout in the form that was asked for; where it lies, for people."""
    if arguments.json:
        result = as_json(state, path)
        print_json(result)
    elif not arguments.events:
        sys.stdout.write(as_text(state) + "\n")
    notes = [line] if line else []
    if path is not None:
        unfinished = state.finished is None or state.finished.end != "done"
        again = (
            f"; go on with: atts {state.run.command} --resume {path.stem}" if unfinished and state.run else ""
        )
        notes.append(f"run file: {path}{again}")
    out = sys.stderr if arguments.json or arguments.events else sys.stdout
    out.write("".join(f"{note}\n" for note in notes))


@dataclass
class Shown:
    """A run that was on a screen, once that is left."""

    state: RunState
    path: Path | None
    line: str
    """What was done with its result."""
    failure: AttsError | None
    lets_go: bool
    again: bool
    theme: str


def _on_screen(plan: Plan, arguments: argparse.Namespace) -> int:
    seen = look(plan.layers, arguments)
    loops = getattr(arguments, "loop", False)
    before: Path | None = None
    seed = plan.layers.given().seed or 0
    while True:
        shown = _show(plan, arguments, seen, LOOP_SECONDS if loops else None)
        if before is not None and shown.path is not None:
            remove(before)
        if not shown.again:
            break
        before, seen["theme"], seed = shown.path, shown.theme, seed + 1
        arguments.seed = seed
        del shown  # a loop holds one run at a time
        plan = plan_demo(arguments, on_screen=True)
    state, path = shown.state, shown.path
    interrupted = state.finished is not None and state.finished.end == "interrupted"
    if shown.lets_go and path is not None and shown.failure is None and interrupted:
        sys.stdout.write(let_go(plan, arguments, path))
        arguments.let_go = path.stem  # the home screen says it where that comes next
        return 0
    if state.run is not None:
        print_result(state, arguments, path, shown.line)
    if shown.failure is not None:
        raise shown.failure
    return STATUS_OF_END[state.finished.end] if state.finished else 130


def _show(plan: Plan, arguments: argparse.Namespace, seen: Look, linger: float | None) -> Shown:
    from atts_tui.app import AttsApp  # noqa: PLC0415  # imports Textual, which only a screen needs
    from atts_tui.narrator import Narrator  # noqa: PLC0415

    bus, state = begin(plan)
    control = Control(bus)
    lines: list[str] = []
    files: list[Path] = []
    failure: list[AttsError] = []

    async def both() -> AttsApp:
        events = bus.subscribe()
        narrator = Narrator(events) if getattr(arguments, "explain", False) else None
        app = AttsApp(
            events if narrator is None else narrator,
            state=state,
            control=control,
            details=LateDetails(files),
            narrator=narrator,
            title=plan.command,
            linger=linger,
            **seen,
        )

        async def engine() -> None:
            await app.shown.wait()
            from atts_tui.commands.drive import drive  # noqa: PLC0415  # the engine, behind the first picture

            try:
                lines.append(await drive(plan, bus, control, app.say, files.append))
            except AttsError as error:
                failure.append(error)
                if app.state.run is None:
                    app.exit()  # nothing to look at: leave the screen and say why
            except Exception:
                app.exit()  # a defect of ours: it must not hide behind a screen that waits for ever
                raise

        task = control.task = asyncio.create_task(engine())
        try:
            await app.run_async()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        state.fold(app.remaining())
        return app

    app = asyncio.run(both())
    return Shown(
        state,
        files[0] if files else None,
        "".join(lines),
        failure[0] if failure else None,
        app.lets_go,
        app.again,
        app.theme,
    )
