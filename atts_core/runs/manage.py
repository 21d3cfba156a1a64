"""The runs of a folder: listed, filtered, sorted, compared and removed."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from atts_core.errors import AttsError, RunError, SettingsError
from atts_core.runs.file import About, RunFile
from atts_core.runs.folder import run_files
from atts_core.runs.summary import Summary, summarise

Status = Literal[
    "running",
    "paused",
    "stalled",
    "gone",
    "done",
    "incomplete",
    "failed",
    "interrupted",
    "imported",
    "unreadable",
]
"""`gone`: its engine vanished before the end; `--resume` goes on with it. `stalled`: its engine is there and
does not come round."""


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One run file, in a line of a list."""

    run: str
    """Identity: the file's name without its suffix."""
    path: str
    status: Status
    size: int
    """Bytes, its log included."""
    about: About | None = None
    summary: Summary = Summary()
    trouble: str = ""
    """Why it cannot be read, or where a damaged file ends."""

    @property
    def models(self) -> str:
        """Draft → target, or the one that there is."""
        return " → ".join(filter(None, (self.summary.draft, self.summary.target)))


FIELDS: dict[str, Callable[[RunInfo], Any]] = {
    "run": lambda info: info.run,
    "status": lambda info: info.status,
    "command": lambda info: info.about.command if info.about else None,
    "dataset": lambda info: info.about.dataset if info.about else None,
    "models": lambda info: info.models,
    "strategy": lambda info: info.summary.strategy,
    "mode": lambda info: info.summary.mode,
    "problems": lambda info: info.summary.problems,
    "samples": lambda info: info.summary.samples,
    "accuracy": lambda info: info.summary.accuracy,
    "majority": lambda info: info.summary.majority,
    "takeover": lambda info: info.summary.takeover_rate,
    "duration": lambda info: info.summary.seconds,
    "size": lambda info: info.size,
    "started": lambda info: info.summary.started_at or (info.about.created if info.about else None),
}
"""What a list of runs can be filtered and sorted by."""


def list_runs(
    folder: Path, *, filters: Sequence[str] = (), sort: str = "started", reverse: bool | None = None
) -> list[RunInfo]:
    """The runs of a folder that pass every filter (`field=text`, or a text found in any field).

    Sorted by a field of `FIELDS`; numbers and times come largest first unless `reverse` says otherwise.

    Raises:
        SettingsError: the folder cannot be read, or there is no such field.
    """
    tests = [_filter(text) for text in filters]
    key = _field(sort)
    infos = [info_of(path) for path in run_files(folder)]
    found = [info for info in infos if all(passes(info) for passes in tests)]
    known = [info for info in found if key(info) not in (None, "")]
    unknown = [info for info in found if key(info) in (None, "")]
    if reverse is None:
        reverse = bool(known) and not isinstance(key(known[0]), str)
    return sorted(known, key=key, reverse=reverse) + unknown


def info_of(path: Path) -> RunInfo:
    """One run file in a line; never raises for what is in it."""
    log = path.with_name(path.name + "-wal")
    size = sum(part.stat().st_size for part in (path, log) if part.exists())
    try:
        file = RunFile.open(path)
    except AttsError as error:
        return RunInfo(run=path.stem, path=str(path), status="unreadable", size=size, trouble=str(error))
    with contextlib.closing(file):
        about, engine = file.meta("about", About), file.engine
        summary = file.meta("summary", Summary) or Summary()
        last = file.last()
        if engine in ("gone", "ended") and summary.events != last.ordinal:
            # An engine that was killed had no time for its last numbers.
            summary = summarise(file.state(last), last.ordinal)
        return RunInfo(
            run=path.stem,
            path=str(path),
            status=_status(engine, about, summary),
            size=size,
            about=about,
            summary=summary,
            trouble=file.trouble,
        )


def remove(path: Path) -> None:
    """Delete a run file and what lies beside it.

    Raises:
        RunError: its engine is at work on it, or it cannot be deleted.
        SettingsError: it is no run file.
    """
    with contextlib.closing(RunFile.open(path)) as file:
        if file.engine in ("alive", "stalled"):
            raise RunError(f"The run {path.stem} is still going on; end it before you remove it.")
    try:
        for suffix in ("-wal", "-shm", ""):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be removed: {error.strerror}.") from None


def _status(engine: str, about: About | None, summary: Summary) -> Status:
    if engine == "alive":
        return "paused" if summary.paused else "running"
    if engine == "stalled":
        return "stalled"
    if about is not None and about.origin:
        return "imported"
    return summary.end or "gone"


def _filter(text: str) -> Callable[[RunInfo], bool]:
    name, equals, wanted = text.partition("=")
    if not equals:
        lowered = text.lower()
        return lambda info: any(lowered in str(value(info)).lower() for value in FIELDS.values())
    key = _field(name)
    return lambda info: wanted.lower() in str(key(info)).lower()


def _field(name: str) -> Callable[[RunInfo], Any]:
    if name not in FIELDS:
        raise SettingsError(f"There is no field {name!r}; there are {', '.join(FIELDS)}.")
    return FIELDS[name]
