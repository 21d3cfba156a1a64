"""Whether the engine of a run is alive: the mark it leaves in the file, and what a viewer makes of it."""

import os
import socket
import time
from typing import Literal

import msgspec

from atts_core.processes import boot_identity, process_space, process_start

Life = Literal["alive", "stalled", "gone", "ended"]
"""`stalled`: its process is there, but its event loop does not come round. `ended`: it closed the file."""

STALLED_AFTER = 10.0
"""Seconds without a beat; the engine beats once a second, and a busy machine may delay it by a few."""
GONE_AFTER = 60.0
"""Seconds without a beat after which an engine that cannot be looked for is given up."""


class EngineMark(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine says of itself in its run file."""

    pid: int
    process: str
    """Start of the process on the system's own clock, which no later process of that number shares."""
    boot: str
    space: str
    """The process-number space: numbers of another one mean nothing here."""
    host: str
    beat: float
    """Monotonic clock of the boot at which the event loop last came round, seconds."""
    beat_at: float
    """The same moment in seconds since the epoch, for viewers on other machines."""
    ended: bool = False


def mark(beat: float | None = None, *, ended: bool = False) -> EngineMark:
    """This process's own mark; `beat` on the monotonic clock, now where None."""
    now = time.monotonic()
    beat = now if beat is None else beat
    return EngineMark(
        pid=os.getpid(),
        process=process_start(os.getpid()) or "",
        boot=boot_identity(),
        space=process_space(),
        host=socket.gethostname(),
        beat=beat,
        beat_at=time.time() - (now - beat),
        ended=ended,
    )


def written_elsewhere(engine: EngineMark | None, run: str) -> str:
    """Why a run's file cannot be followed or gone on with from here: an engine on another machine writes it.
    Empty where none does.

    Readers and writer of an SQLite file in WAL mode share memory, which two machines cannot, whatever file
    system they share. A single look, as for a list of runs, is taken all the same: it may be out of date.
    """
    if engine is None or engine.boot == boot_identity() or life(engine) not in ("alive", "stalled"):
        return ""
    return (
        f"The run {run} is being written on the machine {engine.host}, and two machines cannot share a run"
        f" file before the run has ended: watch it there (ssh -t {engine.host} atts watch {run})."
    )


def life(engine: EngineMark | None) -> Life:
    """What has become of the engine that left this mark; `gone` where there is none."""
    if engine is None:
        return "gone"
    if engine.ended:
        return "ended"
    here = bool(engine.boot) and engine.boot == boot_identity()
    age = time.monotonic() - engine.beat if here else time.time() - engine.beat_at
    if here and engine.space == process_space():
        if process_start(engine.pid) != (engine.process or None):
            return "gone"
        return "alive" if age < STALLED_AFTER else "stalled"
    if age < STALLED_AFTER:
        return "alive"
    return "stalled" if age < GONE_AFTER else "gone"
