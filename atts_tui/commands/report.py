"""`atts report`: runs as one HTML file that opens anywhere."""

import argparse
import sys
from pathlib import Path

from atts_core.errors import SettingsError
from atts_core.reports.html import report
from atts_core.runs.folder import find_run, runs_folder
from atts_tui.commands.compare import load
from atts_tui.text import clean


def write_report(arguments: argparse.Namespace) -> int:
    """The whole command; returns the exit status."""
    folder = runs_folder(arguments.runs_dir)
    runs = [load(find_run(name, folder)) for name in arguments.runs or [None]]
    target = Path(arguments.output)
    if target.exists() and not arguments.overwrite:
        raise SettingsError(f"{target} exists; say --overwrite to replace it.")
    page = clean(report(runs))
    try:
        target.write_text(page, "utf-8")
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror}.") from None
    sys.stdout.write(f"wrote {target} ({len(page) / 1000:,.0f} kB)\n")
    return 0
