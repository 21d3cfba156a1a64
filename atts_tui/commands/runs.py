"""`atts solve`, `atts demo`, `atts calibrate`: one run with different problems, on a screen or headless."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from atts_core import config, events
from atts_core.bus import Bus
from atts_core.conformal import save_calibration
from atts_core.engine.collect import Scores, identity
from atts_core.engine.run import Engine
from atts_core.engine.session import Session, open_session
from atts_core.errors import AttsError, SettingsError
from atts_core.problems.builtin.readable import readable
from atts_core.problems.load import TYPED, ProblemSet, load_problems, typed_problem
from atts_core.problems.problem import Problem
from atts_core.state import RunState
from atts_tui.frontends.plain import PlainProgress
from atts_tui.frontends.result import as_json, as_text

MAX_PROBLEM = 100_000
"""Characters: no context holds more, and a binary file given by mistake is caught early."""

DEMO_PACE = 60.0
"""Tokens a second of one stream in a demo on a screen: about what a large model on a GPU gives."""

STATUS_OF_END = {"done": 0, "incomplete": 1, "failed": 1, "interrupted": 130}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, decided before anything starts."""

    command: str
    problems: ProblemSet
    layers: config.Layers
    pace: float | None = None
    finish: Callable[[Session, Scores], str] | None = None
    """What to do with the scores of the run once it is done; returns a line for the user."""


class Control:
    """A screen's hands on the run, from before the engine exists."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.task: asyncio.Task[None] | None = None
        self._paused = False

    def attach(self, engine: Engine) -> None:
        """The engine is ready; a pause asked for earlier holds."""
        self.engine = engine
        if self._paused:
            engine.pause()

    def stop(self) -> None:
        """End the run; what was finished is kept."""
        if self.task:
            self.task.cancel()

    def pause(self) -> None:
        """Send no new requests."""
        self._paused = True
        if self.engine:
            self.engine.pause()

    def resume(self) -> None:
        """Send requests again."""
        self._paused = False
        if self.engine:
            self.engine.resume()

    def stop_sample(self, problem: int, sample: int) -> None:
        """End one sample before its next request."""
        if self.engine:
            self.engine.stop_sample(problem, sample)


def solve(arguments: argparse.Namespace) -> int:
    """`atts solve`."""
    text = _problem_text(arguments)
    layers = _layers(arguments)
    typed = typed_problem(Problem(id="typed", question=text, gold=arguments.gold), builtin=False)
    if layers.given().draft is None and layers.given().target is None:
        readable_problem(typed)  # refuse it before anything starts
    return _run(Plan("solve", typed, layers), arguments)


def demo(arguments: argparse.Namespace) -> int:
    """`atts demo`."""
    layers = _layers(arguments)
    if arguments.pace is not None and arguments.pace < 0:
        raise SettingsError(
            f"--pace {arguments.pace:g}: tokens a second cannot be negative; 0 means unlimited."
        )
    if arguments.problems < 1:
        raise SettingsError(f"--problems {arguments.problems}: the demo needs at least one problem.")
    chosen = load_problems(
        "builtin",
        stream="test",
        count=arguments.problems,
        seed=layers.given().seed or 0,
        level=arguments.level,
    )
    on_screen = _wants_screen(arguments)
    pace = arguments.pace if arguments.pace is not None else (DEMO_PACE if on_screen else None)
    return _run(Plan("demo", chosen, layers, pace or None), arguments)


def calibrate(arguments: argparse.Namespace) -> int:
    """`atts calibrate`: a run in online mode whose scores are kept: later turns are as in real runs."""
    if arguments.limit < 1:
        raise SettingsError(f"--limit {arguments.limit}: a calibration needs at least one problem.")
    output = Path(arguments.output)
    if output.exists() and not arguments.overwrite:
        raise SettingsError(f"{output} exists; name another file, or say --overwrite to replace it.")
    if not output.parent.is_dir():
        raise SettingsError(f"The folder {output.parent} for {output.name} does not exist; create it first.")
    arguments.mode, arguments.calibration = arguments.mode or "online", None
    if arguments.mode != "online":
        raise SettingsError(
            f"--mode {arguments.mode}: calibrating starts from nothing, so its mode is online."
        )
    arguments.samples = arguments.samples or 4
    layers = _layers(arguments)
    chosen = load_problems(
        arguments.dataset, stream="calibration", count=arguments.limit, seed=layers.given().seed or 0
    )

    def write(session: Session, scores: Scores) -> str:
        card = identity(session.pair, session.settings, chosen, first_turn_only=False)
        calibration = scores.calibration(chosen.problems, card, str(output))
        save_calibration(calibration, output, overwrite=arguments.overwrite)
        return f"wrote {output}: {len(calibration):,} scores of {len(calibration.problems)} problems"

    return _run(Plan("calibrate", chosen, layers, finish=write), arguments)


def readable_problem(typed: ProblemSet) -> ProblemSet:
    """For the embedded pair: the problem with its gold answer where that can be computed.

    Raises:
        SettingsError: the embedded models cannot read a word of it; names it and shows three that they can.
    """
    problem = typed.problems[0]
    reading = readable(problem.question)
    if not reading.readable:
        raise SettingsError(
            f"{reading.explain()}\nFor other problems give your own servers with --draft and --target."
        )
    if reading.gold is None:
        return typed
    return typed_problem(msgspec.structs.replace(problem, gold=problem.gold or reading.gold), builtin=True)


async def drive(
    plan: Plan, bus: Bus, control: Control, say: Callable[[str], None]
) -> tuple[events.RunEnd, str]:
    """The whole run, from servers to the last event; closes the bus. Gives the end and a line to print."""
    scores = Scores()
    kept = bus.subscribe()
    if plan.finish is None:
        kept.close()
    try:
        async with open_session(plan.layers, os.environ, say=say, pace=plan.pace) as session:
            problems = plan.problems
            if session.pair.profile is config.EMBEDDED and problems.dataset == TYPED:
                problems = readable_problem(problems)
                if problems.dataset == TYPED:
                    session.warnings.append(readable(problems.problems[0].question).explain())
            engine = await session.start(bus, problems, command=plan.command, warm=plan.finish is None)
            control.attach(engine)
            async with session.watching(bus):
                end = await engine.run()
            scores.add_events(kept.drain())
            line = plan.finish(session, scores) if plan.finish and end != "failed" else ""
            return end, line
    finally:
        bus.close()


def _run(plan: Plan, arguments: argparse.Namespace) -> int:
    if _wants_screen(arguments):
        return _on_screen(plan, arguments)
    return asyncio.run(_headless(plan, arguments))


def _wants_screen(arguments: argparse.Namespace) -> bool:
    quiet = arguments.headless or arguments.json or arguments.events
    return not quiet and sys.stdout.isatty() and sys.stdin.isatty() and os.environ.get("TERM") != "dumb"


async def _headless(plan: Plan, arguments: argparse.Namespace) -> int:
    state, bus = RunState(), Bus()
    progress = PlainProgress(state)
    task = asyncio.create_task(drive(plan, bus, Control(), progress.say))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    subscription = bus.subscribe()
    async for batch in subscription.batches():
        state.fold(batch)
        if arguments.events:
            for stamped in batch:
                sys.stdout.buffer.write(events.encode(stamped) + b"\n")
            sys.stdout.flush()
        progress.saw(batch)
    line, error = "", None
    try:
        _, line = await task
    except asyncio.CancelledError:
        progress.say("interrupted; what follows is what was finished")
    except AttsError as failure:
        if state.run is None:
            raise
        error = failure
    if state.run is not None:
        _print_result(state, arguments, line)
    if error is not None:
        raise error
    return STATUS_OF_END[state.finished.end] if state.finished else 130


def _print_result(state: RunState, arguments: argparse.Namespace, line: str) -> None:
    if arguments.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(as_json(state))).decode() + "\n")
    elif not arguments.events:
        sys.stdout.write(as_text(state) + "\n")
    if line:
        (sys.stderr if arguments.json or arguments.events else sys.stdout).write(line + "\n")


def _on_screen(plan: Plan, arguments: argparse.Namespace) -> int:
    from atts_tui.app import AttsApp  # noqa: PLC0415  # imports Textual, which only a screen needs

    given = plan.layers.given()
    bus, control = Bus(), Control()
    outcome: list[tuple[events.RunEnd, str]] = []
    failure: list[BaseException] = []

    async def both() -> AttsApp:
        app = AttsApp(
            bus.subscribe(),
            control=control,
            theme=given.theme,
            fps=given.fps or 10,
            title=plan.command,
            ascii_only=arguments.ascii,
        )

        async def engine() -> None:
            try:
                outcome.append(await drive(plan, bus, control, app.say))
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
        return app

    app = asyncio.run(both())
    app.state.fold(app.remaining())
    if app.state.run is not None:
        sys.stdout.write(as_text(app.state) + "\n")
    for _, line in outcome:
        if line:
            sys.stdout.write(line + "\n")
    if failure:
        raise failure[0]
    return STATUS_OF_END[app.state.finished.end] if app.state.finished else 130


def _layers(arguments: argparse.Namespace) -> config.Layers:
    names = config.Given.__struct_fields__
    layers = config.load(config.Given(**{name: getattr(arguments, name, None) for name in names}))
    # The pair is known only once its servers answer; a setting that is wrong for any pair is refused before.
    layers.resolve(config.EMBEDDED if layers.given().draft is None else config.SERVERS)
    return layers


def _problem_text(arguments: argparse.Namespace) -> str:
    if arguments.text is not None and arguments.file is not None:
        raise SettingsError("The problem is given twice, as text and as --file: give one of them.")
    try:
        if arguments.file is not None:
            text = Path(arguments.file).read_text(encoding="utf-8")
        elif arguments.text == "-":
            text = sys.stdin.read()
        elif arguments.text is not None:
            text = arguments.text
        else:
            raise SettingsError(
                "The problem is missing: give it as text, as - for standard input, or as --file PATH."
            )
    except OSError as error:
        raise SettingsError(f"{arguments.file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SettingsError("The problem is not text in UTF-8.") from None
    text = text.strip()
    if not text:
        raise SettingsError("The problem is empty: type a question.")
    if len(text) > MAX_PROBLEM:
        raise SettingsError(f"The problem has {len(text):,} characters; at most {MAX_PROBLEM:,} are taken.")
    return text
