"""`atts` without a command: the home screen, from which every run is an ordinary command."""

import argparse
import pkgutil
from collections.abc import Callable, Sequence

from atts_core import config
from atts_core.errors import AttsError
from atts_core.runs.folder import runs_folder
from atts_tui.look import look_of
from atts_tui.text import clean


def home(parse: Callable[[Sequence[str]], argparse.Namespace]) -> int:
    """Show the home screen, do what is chosen, show it again, until it is left.

    Raises:
        SettingsError: settings that no screen can be opened with.
    """
    seen = look_of(argparse.Namespace())
    given = config.load(config.Given()).given()
    folder = runs_folder(None)
    from atts_tui.home.app import HomeApp  # noqa: PLC0415  # imports Textual, which only a screen needs

    notice, trouble = "", False
    while True:
        app = HomeApp(folder, given, notice=notice, trouble=trouble, **seen)
        command = app.run()
        if command is None or HomeApp.ended_from_outside():
            return app.return_code or 0
        seen["theme"] = app.theme
        arguments = parse(command)
        arguments.theme, arguments.from_home = app.theme, True
        notice, trouble = "", False
        try:
            status = int(pkgutil.resolve_name(arguments.handler)(arguments))
        except AttsError as error:
            notice, trouble = clean(str(error)), True
        else:
            if run := getattr(arguments, "let_go", ""):
                notice = f"Run {run} goes on by itself. Enter on it watches it."
            if HomeApp.ended_from_outside():
                return status
