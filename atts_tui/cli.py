"""The one entry point, `atts`. Parses the command line and imports only what the command needs."""

import argparse
import errno
import io
import os
import pkgutil
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atts_core import __version__
from atts_tui.arguments import machines, recorded, running

if TYPE_CHECKING:
    from typing import TextIO

EPILOG = """examples:
  atts demo                                   watch the embedded pair solve a handful of problems
  atts solve "Let a = 12 + 7. Let b = a * 3. What is b?"
  atts solve --file problem.txt --draft http://gpu1:30000 --target http://gpu2:30001
  atts demo --headless --json --seed 1        one JSON object on stdout, progress on stderr
  atts calibrate builtin -o mine.npz          collect calibration scores
  atts check                                  is everything in order?

settings: defaults < atts.toml < ATTS_… variables < options
exit status: 0 done, 1 the run failed or is incomplete, 2 bad usage or settings, 130 interrupted"""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What a full disk, a full share of one, and a limit of a file's size say."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    _make_writable()
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except OSError as error:
        return _unwritten(error)


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    # SCREEN.md: Textual reads its frame limit when it is imported.
    os.environ.setdefault("TEXTUAL_FPS", "20")
    from atts_core.errors import AttsError  # noqa: PLC0415  # parsing --help imports nothing of ours

    try:
        if arguments.command is None:
            return _home(parser)
        handler = pkgutil.resolve_name(arguments.handler)
        return int(handler(arguments))
    except AttsError as error:
        from atts_tui.text import clean  # noqa: PLC0415

        print(f"atts: {clean(str(error))}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    except KeyboardInterrupt:
        return 130


def _unwritten(error: OSError) -> int:
    """Nobody hears what is said: the exit status of whoever stops speaking. Raises any other error again."""
    if isinstance(error, BrokenPipeError):
        _write_nowhere(sys.stdout)
        return 1
    if error.errno in FULL and _takes_nothing(sys.stdout):
        _write_nowhere(sys.stdout)
        print(f"atts: the result cannot be written where it was sent ({error.strerror})", file=sys.stderr)  # noqa: T201
        return 1
    if error.errno == errno.EIO and _was_terminal(sys.stdout.fileno()):
        _write_nowhere(sys.stdout, sys.stderr)  # whoever hangs up hears no result
        return 128 + signal.SIGHUP
    raise error


def _takes_nothing(stream: "TextIO") -> bool:
    """Whether it is this stream that cannot be written, and no file."""
    try:
        stream.write("\n")
        stream.flush()
    except OSError:
        return True
    return False


def _make_writable() -> None:
    """Standard output takes every text: a sign that its encoding lacks becomes a question mark, and a name of
    a file that is no text goes out as it came in."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # until the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        universal = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if universal else "replace")


def _was_terminal(descriptor: int) -> bool:
    """Whether it is a device that has been a terminal until that went away."""
    return stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor)


def _write_nowhere(*streams: "TextIO") -> None:
    """What is still to be said has nobody to read it."""
    for stream in streams:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _home(parser: argparse.ArgumentParser) -> int:
    """The home screen on a terminal; elsewhere the help."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if not all(stream.isatty() for stream in streams) or os.environ.get("TERM") == "dumb":
        parser.print_help()
        return 0
    from atts_tui.commands.home import home  # noqa: PLC0415  # `atts --help` imports no screen

    return home(parser.parse_args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="atts",
        description="Asynchronous Test-Time Scaling, live: a draft model writes, a target model verifies by "
        "perplexity, a conformal p-value decides who goes on.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"atts {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    running.add_solve(commands)
    running.add_demo(commands)
    running.add_eval(commands)
    running.add_calibrate(commands)
    recorded.add_watch_and_replay(commands)
    recorded.add_web(commands)
    recorded.add_runs(commands)
    recorded.add_report(commands)
    recorded.add_audit(commands)
    machines.add_servers(commands)
    machines.add_check(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
