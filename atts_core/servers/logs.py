"""What a server's log says: how far its start is, and why it ended. Log lines are foreign text."""

import re
from pathlib import Path
from typing import Final

from atts_core.serving.wording import readable

HEADER: Final = "--- atts: "
"""How the line begins that we write into a log before each start."""
_TAIL: Final = 1 << 18
"""Bytes of a log's end that are looked at."""
_KEYS: Final = re.compile(
    r"(api[_-]key['\"]?\s*[=:]\s*|Bearer\s+|--[a-z-]*api-key[ =])(['\"]?)(?!None\b)[^\s'\",)]+\2"
)
_PREFIX: Final = re.compile(r"^\s*\[\d{4}-\d\d-\d\d[^\]]*\]\s*")
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_STAGES: Final = (
    (re.compile(r"fired up and ready"), "answering"),
    (re.compile(r"\"event\": \"ready\""), "answering"),
    (re.compile(r"Application startup complete|Uvicorn running"), "warming up"),
    (re.compile(r"[Cc]aptur\w* (?:batches|cuda graph|decode|prefill).*?(\d{1,3}%)"), "capturing graphs {}"),
    (re.compile(r"[Cc]aptur\w* (?:batches|cuda graph|decode|prefill)"), "capturing graphs"),
    (re.compile(r"KV [Cc]ache is allocated|Memory pool end"), "KV cache allocated"),
    (re.compile(r"[Ll]oading.*checkpoint shards:\s*(\d{1,3}%)"), "loading weights {}"),
    (re.compile(r"Load weight end"), "weights loaded"),
    (re.compile(r"Load weight begin|[Ll]oading.*checkpoint shards"), "loading weights"),
    (re.compile(r"(?:[Ff]etching|[Dd]ownloading).*?(\d{1,3}%)"), "fetching the model {}"),
    (re.compile(r"Init torch distributed begin"), "starting its processes"),
    (re.compile(r"Init parallel|Init torch distributed end|Memory baseline"), "its processes are there"),
    (re.compile(r"server_args="), "reading the model's settings"),
)
_ERROR: Final = re.compile(
    r"(?:^|[\s.])(?:[A-Z]\w*(?:Error|Exception|OutOfMemory\w*)|error)\b\s*:\s*\S"
    r"|out of memory|Address already in use"
)
_CONSEQUENCE: Final = re.compile(
    r"(?:^|[\s.])(?:EOFError|SystemExit|KeyboardInterrupt|BrokenPipeError|ChildProcessError|ConnectionResetError)\b"
)
"""What a parent says when its child has died: the child's own words come before."""


def hide_keys(line: str) -> str:
    """A log line without keys: SGLang prints its arguments, and so its key."""
    return _KEYS.sub(r"\1…", line)


def tail(path: Path, lines: int | None = None, *, end: int | None = None) -> list[str]:
    """The last lines of a log as they stand, less keys; of a progress bar, its newest state.

    `end`: where the log is taken to end, for who reads on from there.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2) if end is None else end
            file.seek(max(0, size - _TAIL))
            data = file.read(size - file.tell())
    except OSError:
        return []
    found = [
        hide_keys(line.rstrip("\r").rpartition("\r")[2])
        for line in data.decode("utf-8", "replace").split("\n")
    ]
    if found and not found[-1]:
        found.pop()
    return found if lines is None else found[-lines:] if lines else []


def progress(path: Path) -> str:
    """In a few words what a starting server does, by the newest line that tells; else that line itself."""
    lines = _since_start(path)
    for line in reversed(lines):
        for pattern, words in _STAGES:
            found = pattern.search(line)
            if found:
                return words.format(*found.groups())
    said = [line for line in lines if _PREFIX.match(line)]  # not a library's warnings
    return _words(said[-1])[:80] if said else "starting"


def last_error(path: Path) -> str:
    """The log's own last error line; "" where there is none.

    Where a process of a server dies, its parent complains as well: such echoes are passed over.
    """
    lines = _since_start(path)
    errors = [line for line in lines if _ERROR.search(line)]
    own = [line for line in errors if not _CONSEQUENCE.search(line)]
    return _words((own or errors or [""])[-1])


def last_line(path: Path) -> str:
    """The log's last line; "" where it is empty."""
    return _words((_since_start(path) or [""])[-1])


def _words(line: str) -> str:
    return readable(_PREFIX.sub("", _COLOURS.sub("", line)))


def _since_start(path: Path) -> list[str]:
    """Lines of the newest start that say anything."""
    lines = tail(path)
    begins = max((at for at, line in enumerate(lines) if line.startswith(HEADER)), default=-1)
    return [line for line in lines[begins + 1 :] if line.strip()]
