"""`atts servers`: starts lasting servers, tells how they are and what they say, and stops them."""

import argparse
import asyncio
import contextlib
import os
import shlex
import signal
import sys
import time
from pathlib import Path

import msgspec

from atts_core import config
from atts_core.errors import AttsError, RunError, SettingsError
from atts_core.servers.gpus import require_gpus
from atts_core.servers.health import Health, pair_health
from atts_core.servers.keeper import Keeper, Order, start_keeper
from atts_core.servers.launch import launch
from atts_core.servers.logs import hide_keys, tail
from atts_core.servers.plan import DEFAULT_NAME, PairPlan, check_name, make_plan, merge_settings
from atts_core.servers.presets import EMBEDDED
from atts_core.servers.pythons import Found, ask_python, ask_router, named_python
from atts_core.servers.settings import RoleGiven, ServersGiven
from atts_core.servers.state import (
    KEEPER_LOG,
    PairState,
    forget_state,
    locked,
    pair_names,
    read_state,
    servers_folder,
    write_state,
)
from atts_core.servers.stop import IMPATIENT, stop_process, stop_servers
from atts_core.servers.stop import PATIENCE as STOP_PATIENCE
from atts_tui.commands.printing import print_json
from atts_tui.frontends.starting import Starting
from atts_tui.text import clean_line

FOLLOW = 0.25
"""Seconds between looks at a log that is followed."""


def up(arguments: argparse.Namespace) -> int:
    """Start a pair; 0 when both answer."""
    given = merge_settings(config.load(config.Given()).given().servers or ServersGiven(), _said(arguments))
    name = check_name(arguments.name or DEFAULT_NAME)
    embedded = given.preset == EMBEDDED
    if arguments.dry_run:
        plan = make_plan(given, name, Found(_dry_python(given.python)))
        for server in plan.servers:
            sys.stdout.write(f"# {server.label}: {server.url}\n{server.shown()}\n")
        return 0
    if embedded:
        found = ask_router(named_python(given.python)) if given.router else Found(sys.executable)
    else:
        make_plan(given, name, Found(given.python or sys.executable))  # refuse what is wrong before asking
        found = ask_python(named_python(given.python), router=bool(given.router))
    plan = make_plan(given, name, found)
    require_gpus(plan)
    with locked(name):
        _clear(name)
        return asyncio.run(_up(plan, stay=arguments.foreground))


def status(arguments: argparse.Namespace) -> int:
    """Say how the servers are; 0 if all answer."""
    states = [state for name in _names(arguments.name) if (state := read_state(name)) is not None]

    async def look() -> list[tuple[Health, ...]]:
        return await asyncio.gather(*(pair_health(state, os.environ) for state in states))

    found = list(zip(states, asyncio.run(look()), strict=True))
    well = all(health.condition == "answers" for _, pair in found for health in pair)
    if arguments.json:
        pairs = [
            {
                "name": state.name,
                "preset": state.preset,
                "keeper": bool(state.keeper and state.keeper.alive),
                "servers": healths,
            }
            for state, healths in found
        ]
        print_json({"ok": well, "pairs": pairs})
    elif not found:
        sys.stdout.write("No servers are up; `atts servers up --preset embedded` starts two without a GPU.\n")
    else:
        sys.stdout.write("".join(_table(state, healths) for state, healths in found))
    return 0 if well else 1


def logs(arguments: argparse.Namespace) -> int:
    """Print the newest lines of the logs, and what follows if asked."""
    if arguments.lines < 0:
        raise SettingsError(f"--lines {arguments.lines}: a number of lines is 0 or more.")
    paths = _log_files(_one_name(arguments.name), arguments.of)
    width = max(len(label) for label in paths) if len(paths) > 1 else 0
    ends = {label: path.stat().st_size for label, path in paths.items()}
    for label, path in paths.items():
        for line in tail(path, arguments.lines, end=ends[label]):
            _print_line(label, line, width)
    if arguments.follow:
        with contextlib.suppress(KeyboardInterrupt):
            _follow(paths, ends, width)
    return 0


def down(arguments: argparse.Namespace) -> int:
    """Stop a pair; 0 if nothing of it is left."""
    if not 0 <= arguments.patience <= 86400:
        raise SettingsError(f"--patience {arguments.patience:g}: it lies between 0 and 86,400 seconds.")
    names = pair_names() if arguments.all else [_one_name(arguments.name)]
    for name in names:
        asyncio.run(_down(name, arguments.patience))
    if not names:
        sys.stdout.write("No servers are up.\n")
    return 0


async def _up(plan: PairPlan, *, stay: bool) -> int:
    began = time.monotonic()
    starting = Starting([server.label for server in plan.servers], sys.stderr)
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # we are in one
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, task.cancel)
    try:
        with starting:
            state, processes = await launch(plan, starting.tell)
    except asyncio.CancelledError:
        sys.stderr.write("stopped what was started; nothing is left running\n")
        return 130
    took = time.monotonic() - began
    if not stay:
        state = msgspec.structs.replace(state, starter=None)
        write_state(state)
        if plan.restart:
            state = start_keeper(plan, state)
        sys.stdout.write(_how_to_use(state, took, plan))
        return 0
    sys.stdout.write(_how_to_use(state, took, plan))
    sys.stdout.write("they stay until this ends; ctrl-C stops them\n")
    sys.stdout.flush()
    keeper = Keeper(Order(plan=plan, state=state), _say, processes=processes)
    try:
        await keeper.keep()
    except asyncio.CancelledError:
        return 130
    except BaseExceptionGroup as failures:
        for failure in failures.exceptions:
            if not isinstance(failure, AttsError):
                raise
            _say(f"atts: {failure}")
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)  # a second ctrl-C leaves nothing behind either
        for label, words in (await stop_servers(keeper.state.servers, patience=STOP_PATIENCE)).items():
            _say(f"{label} {words}")
        forget_state(plan.name)
    return 0


async def _down(name: str, patience: float) -> None:
    state = read_state(name)
    if state is None:
        raise SettingsError(f"There is no pair {name}; `atts servers status` shows what there is.")
    if state.starter is not None and state.starter.alive:
        # Whoever still starts them, or stays with them, stops them itself.
        await stop_process(state.starter, patience=patience + 30)
        state = read_state(name)
        if state is None:
            sys.stdout.write(f"{name}: stopped by the `atts servers up` that held it\n")
            return
    if state.keeper is not None and state.keeper.alive:
        await stop_process(state.keeper, patience=IMPATIENT)
        state = read_state(name) or state  # it may have restarted one meanwhile
    outcome = await stop_servers(state.servers, patience=patience)
    width = max((len(label) for label in outcome), default=0)
    for label, words in outcome.items():
        sys.stdout.write(f"{label:<{width}}  {words}\n")
    left = [server.label for server in state.servers if server.members()]
    if left:
        raise RunError(f"Not all of the pair {name} could be stopped: {', '.join(left)}.")
    forget_state(name)


def _said(arguments: argparse.Namespace) -> ServersGiven:
    roles = []
    for role in ("draft", "target"):
        said = {
            key: getattr(arguments, f"{role}_{key}") for key in ("model", "tp", "dp", "mem_fraction", "port")
        }
        gpus = getattr(arguments, f"{role}_gpus")
        args = getattr(arguments, f"{role}_args")
        try:
            words = None if args is None else tuple(shlex.split(args))
        except ValueError as error:
            raise SettingsError(f"--{role}-args {args}: {error}.") from None
        roles.append(
            RoleGiven(
                **said,
                context_length=getattr(arguments, f"{role}_context"),
                gpus=None if gpus is None else tuple(gpu.strip() for gpu in gpus.split(",")),
                args=words,
            )
        )
    return ServersGiven(
        preset=arguments.preset,
        python=arguments.python,
        host=arguments.host,
        workers=arguments.workers,
        router=arguments.router,
        restart=arguments.restart,
        deterministic=arguments.deterministic,
        patience=arguments.patience,
        draft=roles[0],
        target=roles[1],
    )


def _dry_python(given: str | None) -> str:
    try:
        return named_python(given)
    except SettingsError:
        return str(given)


def _clear(name: str) -> None:
    """Refuse a pair that is up; forget one that is not any more."""
    state = read_state(name)
    if state is None:
        return
    if state.living:
        pids = ", ".join(
            f"{server.label} is process {server.process.pid}" for server in state.servers if server.members()
        )
        raise SettingsError(
            f"The pair {name} is up already ({pids or 'its keeper is'}): stop it with "
            f"`atts servers down --name {name}`, or give this one another --name."
        )
    forget_state(name)


def _names(given: str | None) -> list[str]:
    return pair_names() if given is None else [check_name(given)]


def _one_name(given: str | None) -> str:
    """The pair that is meant: the one named, or the only one, or `main`."""
    if given is not None:
        return check_name(given)
    names = pair_names()
    if len(names) == 1 or not names:
        return names[0] if names else DEFAULT_NAME
    if DEFAULT_NAME in names:
        return DEFAULT_NAME
    raise SettingsError(f"There are several pairs: say which with --name, one of {', '.join(names)}.")


def _how_to_use(state: PairState, took: float, plan: PairPlan) -> str:
    lines = [
        f"{state.name} is up after {took:.0f} s" + (f", SGLang {state.release}" if state.release else "")
    ]
    width = max(len(server.label) for server in state.servers)
    lines += [
        f"  {server.label:<{width}}  {server.url}  {clean_line(server.model)}  process {server.process.pid}"
        for server in state.servers
    ]
    urls = " ".join(f"--{role} {','.join(state.urls(role))}" for role in ("draft", "target"))
    lines += [
        f'use them:  atts solve {urls} "…"',
        f'      or:  atts solve --servers {state.name} "…"',
        "look:      atts servers status, atts servers logs, atts servers down",
    ]
    if state.keeper is not None:
        lines.append(f"a server that dies is started again by process {state.keeper.pid}: logs keeper")
    if any(server.host not in ("127.0.0.1", "localhost", "::1") for server in plan.servers):
        lines.append("they listen beyond this machine: whoever reaches the port can use, and kill, them")
    return "".join(f"{line}\n" for line in lines)


def _table(state: PairState, healths: tuple[Health, ...]) -> str:
    keeper = "; a keeper restarts what dies" if state.keeper and state.keeper.alive else ""
    rows = [("SERVER", "STATE", "URL", "PID", "RELEASE", "MODEL", "UP SINCE")]
    for health in healths:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(health.began))
        rows.append(
            (
                health.label,
                health.condition,
                health.url,
                str(health.pid),
                health.release or "?",
                clean_line(health.model),
                since,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    out = [f"{state.name}{f' ({state.preset})' if state.preset else ''}{keeper}"]
    lines = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    out.append(f"  {lines[0]}")
    for line, health in zip(lines[1:], healths, strict=True):
        again = [f"restart {health.restarts}"] if health.restarts else []
        words = "; ".join([*again, *([health.words] if health.words else [])])
        out.append(f"  {line}")
        if words:
            out.append(f"  {'':<{widths[0]}}  {clean_line(words)}")
    return "\n".join(out) + "\n"


def _log_files(name: str, of: str | None) -> dict[str, Path]:
    folder = servers_folder() / name
    found = {path.stem: path for path in sorted(folder.glob("*.log"))}
    state = read_state(name)
    if state is not None:  # logs of an earlier start with more workers may still lie there
        labels = [server.label for server in state.servers] + (
            [Path(KEEPER_LOG).stem] if state.keeper else []
        )
        found = {label: found[label] for label in labels if label in found}
    if not found:
        raise SettingsError(f"There are no logs of a pair {name}; `atts servers status` shows what there is.")
    if of is None:
        return found
    chosen = {label: path for label, path in found.items() if label == of or label.startswith(f"{of}-")}
    if not chosen:
        raise SettingsError(f"There is no log of {of} in the pair {name}; there are {', '.join(found)}.")
    return chosen


def _follow(paths: dict[str, Path], ends: dict[str, int], width: int) -> None:
    while True:
        time.sleep(FOLLOW)
        for label, path in paths.items():
            with contextlib.suppress(OSError), path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                if size < ends[label]:
                    ends[label] = 0  # a new start began the log anew
                file.seek(ends[label])
                whole = file.read(size - ends[label]).rpartition(b"\n")[0]
                if whole:
                    ends[label] += len(whole) + 1
                    for line in whole.decode("utf-8", "replace").split("\n"):
                        _print_line(label, hide_keys(line.rstrip("\r").rpartition("\r")[2]), width)


def _print_line(label: str, line: str, width: int) -> None:
    prefix = f"{label:<{width}} | " if width else ""
    sys.stdout.write(f"{prefix}{clean_line(line)}\n")
    sys.stdout.flush()


def _say(words: str) -> None:
    sys.stderr.write(f"{clean_line(words)}\n")
    sys.stderr.flush()
