"""A run as a process of its own, which no terminal takes down: `--detach`, and one that a screen lets go."""

import argparse
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from atts_core.errors import RunError, SettingsError
from atts_core.runs.folder import make_folder
from atts_tui.commands.plan import Plan

NOT_IN_THE_FILE = (
    "draft", "target", "draft_tokenizer", "target_tokenizer", "gpu_metrics", "metrics_port", "metrics_host",
    "output", "overwrite",
)  # fmt: skip
"""Options that a run goes on with only where they are said again: a run file holds no credentials."""
READY = "ATTS_DETACHED"
"""Names the pipe on which the detached engine tells where its run file is."""


def detach(plan: Plan) -> int:
    """Start the engine, wait until its run file is there, say how to look at it, and return.

    Raises:
        RunError, SettingsError: it ended before; with what it said.
    """
    make_folder(plan.folder)
    log = plan.folder / f"detached-{os.getpid()}.log" if plan.path is None else plan.path.with_suffix(".log")
    arguments = [argument for argument in sys.argv[1:] if argument != "--detach"]
    # Our own standard input has been read already.
    typed = plan.problems.problems[0].question if "-" in arguments else ""
    sys.stdout.write(_start(arguments, log, typed, new=plan.path is None))
    return 0


def let_go(plan: Plan, arguments: argparse.Namespace, path: Path) -> str:
    """A run of a screen that was interrupted goes on as a process of its own; gives how to look at it.

    Raises:
        RunError, SettingsError: it could not; with what it said. The run can still be gone on with.
    """
    words = [plan.command, "--resume", str(path.resolve())]
    for name in NOT_IN_THE_FILE:
        value = getattr(arguments, name, None)
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, list | tuple):
            words += [f"{option}={one}" for one in value]
        elif value is not None and value is not False:
            words.append(f"{option}={value}")
    if plan.command == "demo":
        words.append(f"--pace={plan.pace or 0:g}")
    return _start(words, path.with_suffix(".log"), "", new=False)


def _start(arguments: list[str], log: Path, typed: str, *, new: bool) -> str:
    """The engine with these arguments, once its run file is there."""
    read, write = os.pipe()
    # As private as the run file; the words of an engine before this one stay.
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as out:
        process = subprocess.Popen(  # noqa: S603  # ourselves, with the user's own arguments
            [sys.executable, "-m", "atts_tui.cli", *arguments, "--headless"],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(write,),
            env={**os.environ, READY: str(write)},
        )
    os.close(write)
    assert process.stdin is not None  # noqa: S101  # a pipe, as asked for above
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(typed.encode())
    with os.fdopen(read, "rb") as ready:
        line = ready.readline()
    if not line:
        status = process.wait()
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if new:
            log.unlink()
        kind = SettingsError if status == SettingsError.exit_status else RunError
        raise kind(words[-1].removeprefix("atts: ") if words else "The detached engine ended at once.")
    path = Path(msgspec.json.decode(line, type=str))
    kept = log.rename(path.with_suffix(".log"))
    return (
        f"run {path.stem} goes on by itself as process {process.pid}\n"
        f"  look at it:  atts watch {path.stem}\n  run file:    {path}\n  its words:   {kept}\n"
    )


def tell_parent(path: Path) -> None:
    """In the detached engine: the run file is there."""
    descriptor = os.environ.pop(READY, "")
    if descriptor.isdigit():
        with os.fdopen(int(descriptor), "wb") as ready:
            ready.write(msgspec.json.encode(str(path)) + b"\n")
