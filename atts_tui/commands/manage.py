"""`atts runs`: list, show, compare, remove, export and import run files."""

import argparse
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from atts_core.errors import SettingsError
from atts_core.percent import percent
from atts_core.runs.export import export
from atts_core.runs.folder import find_run, runs_folder
from atts_core.runs.imports import import_run
from atts_core.runs.manage import info_of, list_runs, remove
from atts_core.runs.reader import RunReader
from atts_tui.commands.compare import compare_runs
from atts_tui.commands.gold import read_gold
from atts_tui.commands.picture import export_picture
from atts_tui.commands.printing import print_json
from atts_tui.frontends.result import as_json, as_text, peak_lines
from atts_tui.text import clean, clean_line

STATUS_STYLE = {
    "running": "bold",
    "failed": "red",
    "unreadable": "red",
    "gone": "yellow",
    "stalled": "yellow",
}


def manage(arguments: argparse.Namespace) -> int:
    """The whole command; returns the exit status."""
    folder = runs_folder(arguments.runs_dir)
    actions: dict[str, Callable[[argparse.Namespace, Path], int]] = {
        "list": _list,
        "show": _show,
        "compare": compare_runs,
        "remove": _remove,
        "export": _export,
        "import": _import,
    }
    return actions[arguments.action or "list"](arguments, folder)


def _list(arguments: argparse.Namespace, folder: Path) -> int:
    reverse = True if arguments.reverse else None
    infos = list_runs(
        folder, filters=arguments.filter or (), sort=arguments.sort or "started", reverse=reverse
    )
    if arguments.json:
        print_json(infos)
        return 0
    if not infos:
        wanted = " that match" if arguments.filter else ""
        sys.stdout.write(f"There are no runs{wanted} in {folder}; `atts demo` makes one.\n")
        return 0
    table = _table(
        "run",
        "status",
        "data set",
        "models",
        "strategy",
        "problems",
        "accuracy",
        "by vote",
        "taken over",
        "time",
        "size",
    )
    for info in infos:
        summary = info.summary
        table.add_row(
            Text(clean_line(info.run)),
            Text(info.status, STATUS_STYLE.get(info.status, "")),
            Text(clean_line(info.about.dataset) if info.about else ""),
            Text(clean_line(info.models)),
            Text(clean_line(summary.strategy)),
            f"{summary.problems_finished}/{summary.problems}",
            percent(summary.accuracy, 1),
            percent(summary.majority, 1),
            percent(summary.takeover_rate, 1),
            _duration(summary.seconds),
            _bytes(info.size),
        )
    _print_table(table)
    return 0


def _show(arguments: argparse.Namespace, folder: Path) -> int:
    path = find_run(arguments.run, folder)
    reader = RunReader.open(path)
    state = reader.state
    reader.close()
    if arguments.json:
        print_json(as_json(state, path) | {"machines": state.machines.summary()})
        return 0
    info = info_of(path)
    began = info.summary.started_at or (info.about.created if info.about else None)
    when = datetime.fromtimestamp(began).astimezone().strftime("%Y-%m-%d %H:%M:%S") if began else "unknown"
    lines = [f"{info.run}: {info.status}, begun {when}, {_bytes(info.size)} in {path}"]
    if info.trouble:
        lines.append(info.trouble)
    if state.run is not None:
        run = state.run
        lines.append(f"{info.models}: {run.strategy}, {run.samples} samples a problem, seed {run.seed}")
        if state.run.calibration is not None:
            card = state.run.calibration
            lines.append(f"mode {card.mode}, rule {card.rule}, alpha {card.alpha:g}: {card.promise}")
        lines.append(as_text(state))
    lines += peak_lines(state.machines)
    sys.stdout.write(clean("\n".join(lines)) + "\n")
    return 0


def _remove(arguments: argparse.Namespace, folder: Path) -> int:
    paths = [find_run(name, folder) for name in arguments.runs]
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise SettingsError("Removing asks first, and there is no terminal to ask on: say --yes.")
        names = ", ".join(path.stem for path in paths)
        if input(f"Remove {names} for good? [y/N] ").strip().lower() not in ("y", "yes"):
            sys.stdout.write("nothing was removed\n")
            return 0
    for path in paths:
        remove(path)
        sys.stdout.write(f"removed {path}\n")
    return 0


def _export(arguments: argparse.Namespace, folder: Path) -> int:
    path, target = find_run(arguments.run, folder), Path(arguments.output)
    if arguments.format == "svg":
        line = export_picture(path, target, overwrite=arguments.overwrite)
    else:
        line = export(path, arguments.format, target, overwrite=arguments.overwrite)
    sys.stdout.write(line + "\n")
    return 0


def _import(arguments: argparse.Namespace, folder: Path) -> int:
    gold = None if arguments.gold is None else read_gold(Path(arguments.gold))
    for source in arguments.sources:
        done = import_run(
            Path(source),
            folder,
            samples=arguments.samples,
            gold=gold,
            dataset=arguments.dataset or "",
            draft=arguments.draft_name or "",
            target=arguments.target_name or "",
        )
        note = f"; {done.note}" if done.note else ""
        sys.stdout.write(f"imported {source} as {done.path.stem}: {done.events:,} events{note}\n")
    return 0


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print_table(table: Table) -> None:
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; do not fold for one
    console.print(table)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
