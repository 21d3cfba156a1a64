"""`--detach`: the same command again as a process of its own, which no terminal takes down with it."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from atts_core.errors import RunError, SettingsError
from atts_core.runs.folder import make_folder
from atts_tui.commands.plan import Plan

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
        if "-" in arguments:  # our own standard input has been read already
            process.stdin.write(plan.problems.problems[0].question.encode())
    with os.fdopen(read, "rb") as ready:
        line = ready.readline()
    if not line:
        status = process.wait()
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if plan.path is None:
            log.unlink()
        kind = SettingsError if status == SettingsError.exit_status else RunError
        raise kind(words[-1].removeprefix("atts: ") if words else "The detached engine ended at once.")
    path = Path(msgspec.json.decode(line, type=str))
    kept = log.rename(path.with_suffix(".log"))
    sys.stdout.write(
        f"run {path.stem} goes on by itself as process {process.pid}\n"
        f"  look at it:  atts watch {path.stem}\n  run file:    {path}\n  its words:   {kept}\n"
    )
    return 0


def tell_parent(path: Path) -> None:
    """In the detached engine: the run file is there."""
    descriptor = os.environ.pop(READY, "")
    if descriptor.isdigit():
        with os.fdopen(int(descriptor), "wb") as ready:
            ready.write(msgspec.json.encode(str(path)) + b"\n")
