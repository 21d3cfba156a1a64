"""What `atts check` finds on this machine without asking a model: terminal, disk, started servers, ports."""

import asyncio
import locale
import os
import shutil
import sys
from typing import Literal

import msgspec

from atts_core.errors import AttsError
from atts_core.runs.folder import runs_folder
from atts_core.servers.health import pair_health
from atts_core.servers.plan import DEFAULT_NAME, make_plan
from atts_core.servers.ports import require_free
from atts_core.servers.presets import EMBEDDED
from atts_core.servers.pythons import Found, ask_python, named_python
from atts_core.servers.settings import ServersGiven
from atts_core.servers.state import PairState, pair_names, read_state
from atts_core.telemetry.nvml import read_gpus

Level = Literal["ok", "note", "problem"]

LITTLE = 1 << 30
"""Bytes: a run of 1,600 long chains takes up to that."""
TOO_LITTLE = 50 << 20
"""Bytes with which hardly a run ends well."""


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at."""

    level: Level
    what: str
    words: str
    do: str = ""
    """What to do about it, where the words do not say so themselves."""


def terminal() -> Finding:
    """Whether a screen can be drawn as it should be."""
    size = shutil.get_terminal_size()
    encoding = locale.getpreferredencoding(False)
    what = "terminal"
    if not sys.stdout.isatty():
        return Finding("note", what, "standard output is not a terminal: commands run headless")
    if os.environ.get("TERM") in (None, "", "dumb"):
        do = "set TERM to what it is, such as xterm-256color"
        return Finding("problem", what, "TERM says nothing of it: commands run headless", do)
    if size.columns < 80 or size.lines < 24:
        words = f"{size.columns}x{size.lines} is small"
        return Finding("note", what, words, "make it 80x24 or larger: that shows everything")
    if "utf" not in encoding.lower():
        do = "set LANG to a UTF-8 locale, or use --ascii"
        return Finding("note", what, f"its encoding is {encoding}", do)
    if "NO_COLOR" in os.environ:
        return Finding(
            "note", what, "NO_COLOR is set: the screen has no colours", "unset NO_COLOR to have them"
        )
    true = os.environ.get("COLORTERM") in ("truecolor", "24bit")
    colours = "true colour" if true else "256 colours or fewer (COLORTERM=truecolor says more)"
    return Finding("ok", what, f"{size.columns}x{size.lines}, {encoding}, {colours}")


def disk() -> Finding:
    """Whether run files can be written, and how many."""
    what = "runs folder"
    try:
        folder = runs_folder()
    except AttsError as error:
        return Finding("problem", what, str(error))
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    elsewhere = "name another folder with --runs-dir or ATTS_HOME"
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("problem", what, f"{folder} cannot be written", elsewhere)
    free = shutil.disk_usage(there).free
    words = f"{folder}, {_bytes(free)} free"
    if free < TOO_LITTLE:
        return Finding("problem", what, words, f"make room (atts runs remove), or {elsewhere}")
    if free < LITTLE:
        return Finding("note", what, words, "a long run of large models takes up to 1 GB")
    return Finding("ok", what, words)


async def started_servers() -> list[Finding]:
    """The pairs that `atts servers up` started."""
    states: list[PairState] = []
    found: list[Finding] = []
    for name in pair_names():
        try:
            state = read_state(name)
        except AttsError as error:
            found.append(Finding("problem", f"servers {name}", str(error)))
        else:
            states += [state] if state is not None else []
    healths = await asyncio.gather(*(pair_health(state, os.environ) for state in states))
    for state, pair in zip(states, healths, strict=True):
        bad = [health for health in pair if health.condition != "answers"]
        what = f"servers {state.name}"
        if not bad:
            found.append(Finding("ok", what, f"up; use them with --servers {state.name}"))
            continue
        words = "; ".join(f"{health.label}: {health.condition}, {health.words}" for health in bad)
        if all(health.condition == "starting" for health in bad):
            found.append(Finding("note", what, words))
        else:
            do = f"see `atts servers logs --name {state.name}`, then `atts servers down --name {state.name}`"
            found.append(Finding("problem", what, words, do))
    return found


def wanted_servers(given: ServersGiven | None) -> list[Finding]:
    """Whether what `[servers]` in `atts.toml` says could be started: Python, release, ports."""
    if given is None or given == ServersGiven():
        return []
    try:
        return _wanted(given)
    except AttsError as error:
        return [Finding("problem", "[servers]", str(error))]


def _wanted(given: ServersGiven) -> list[Finding]:
    if given.preset is None and None in (given.draft.model, given.target.model):
        return [Finding("note", "[servers]", "names no pair; `atts servers up` needs a --preset or models")]
    found = Found(sys.executable)
    words = "the embedded pair"
    if given.preset != EMBEDDED:
        found = ask_python(named_python(given.python), router=bool(given.router))
        words = f"sglang {found.release} in {found.python}"
    plan = make_plan(given, DEFAULT_NAME, found)
    state = read_state(DEFAULT_NAME)
    if state is not None and state.living:
        return [Finding("ok", "[servers]", f"{words}; up already")]
    for server in plan.servers:
        require_free(server.host, server.port, option=f"--{server.role}-port")
    ports = ", ".join(str(server.port) for server in plan.servers)
    return [Finding("ok", "[servers]", f"{words}; ports {ports} are free")]


def gpus() -> Finding:
    """NVIDIA's GPUs of this machine."""
    there, unavailable = read_gpus()
    if not there:
        return Finding("note", "GPU", unavailable)
    return Finding("ok", "GPU", ", ".join(f"{gpu.index} {gpu.instance or gpu.name}" for gpu in there))


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"
