"""Commands about servers and machines: check."""

from typing import TYPE_CHECKING

from atts_tui.arguments.common import command, server_options

if TYPE_CHECKING:
    from atts_tui.arguments.common import Commands


def add_check(commands: "Commands") -> None:
    """`atts check`."""
    check = command(
        commands,
        "check",
        "is everything in order: servers, models, calibration, GPU, terminal",
        "examples:\n  atts check\n  atts check --draft http://gpu1:30000 --target http://gpu2:30001",
        guarantee=False,
        handler="atts_tui.commands.check:check",
    )
    server_options(check)
    check.add_argument("--calibration", metavar="FILE", help="a calibration file to look at")
    check.add_argument("--json", action="store_true", help="one JSON object on stdout")
