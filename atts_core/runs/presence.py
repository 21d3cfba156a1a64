"""Whether the engine of a run is alive: the mark it leaves in the file, and what a viewer makes of it."""

import os
import socket
import time
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

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
        process=_process(os.getpid()) or "",
        boot=_boot(),
        space=_space(),
        host=socket.gethostname(),
        beat=beat,
        beat_at=time.time() - (now - beat),
        ended=ended,
    )


def life(engine: EngineMark | None) -> Life:
    """What has become of the engine that left this mark; `gone` where there is none."""
    if engine is None:
        return "gone"
    if engine.ended:
        return "ended"
    here = bool(engine.boot) and engine.boot == _boot()
    age = time.monotonic() - engine.beat if here else time.time() - engine.beat_at
    if here and engine.space == _space():
        if _process(engine.pid) != (engine.process or None):
            return "gone"
        return "alive" if age < STALLED_AFTER else "stalled"
    if age < STALLED_AFTER:
        return "alive"
    return "stalled" if age < GONE_AFTER else "gone"


def _process(pid: int) -> str | None:
    """Something that tells this process from any other of the same number; None where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None if Path("/proc/self").exists() else _process_without_proc(pid)
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()
    return None if after_name[0] == "Z" else after_name[19]


def _process_without_proc(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "there"


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        # Without such an identity: the moment of boot, to the minute, on this host.
        return f"{socket.gethostname()} {round((time.time() - time.monotonic()) / 60)}"


@lru_cache(maxsize=1)
def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # not a path, a name of the kernel's
    except OSError:
        return ""
