"""Commands about servers and machines: servers, check."""

import argparse
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


def add_servers(commands: "Commands") -> None:
    """`atts servers up|status|logs|down`."""
    servers = command(
        commands,
        "servers",
        "lasting servers of this machine: up, status, logs, down",
        "examples:\n  atts servers up --preset r1-1.5b+qwq --python /opt/sglang/bin/python\n"
        "  atts servers up --preset embedded          two servers, no GPU needed\n"
        "  atts servers status\n  atts servers logs target -f\n  atts servers down",
        guarantee=False,
        handler="atts_tui.commands.servers:status",
    )
    servers.set_defaults(name=None, json=False)
    actions = servers.add_subparsers(dest="action", metavar="ACTION", title="actions")
    _add_up(actions)
    status = command(
        actions,
        "status",
        "what is up, what is not, and since when (also without an action)",
        "examples:\n  atts servers status\n  atts servers status --json",
        guarantee=False,
        handler="atts_tui.commands.servers:status",
    )
    _pair_name(status, "only this pair (default: all)")
    status.add_argument("--json", action="store_true", help="one JSON object on stdout")
    logs = command(
        actions,
        "logs",
        "what the servers said",
        "examples:\n  atts servers logs\n  atts servers logs target -f\n"
        "  atts servers logs draft-2 --lines 200",
        guarantee=False,
        handler="atts_tui.commands.servers:logs",
    )
    logs.add_argument(
        "of",
        nargs="?",
        metavar="SERVER",
        help="draft, target, one worker such as draft-2, or keeper (default: all)",
    )
    logs.add_argument("-f", "--follow", action="store_true", help="go on as more is said, until ctrl-C")
    logs.add_argument("--lines", type=int, default=40, metavar="N", help="newest lines of each (default: 40)")
    _pair_name(logs, "name of the pair (default: the only one that there is, or main)")
    down = command(
        actions,
        "down",
        "stop what `up` started, and nothing else",
        "examples:\n  atts servers down\n  atts servers down --patience 300    let long requests finish\n"
        "  atts servers down --all",
        guarantee=False,
        handler="atts_tui.commands.servers:down",
    )
    _pair_name(down, "name of the pair (default: the only one that there is, or main)")
    down.add_argument("--all", action="store_true", help="every pair")
    down.add_argument(
        "--patience",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds for requests under way before what is left is killed (default: 30)",
    )


def _add_up(actions: "Commands") -> None:
    up = command(
        actions,
        "up",
        "start draft and target, and leave them running when they answer",
        "examples:\n  atts servers up --preset r1-8b+qwq --python /opt/sglang/bin/python\n"
        "  atts servers up --preset qwen7b+qwq --draft-gpus 0 --target-gpus 1 --target-tp 1 --dry-run\n"
        "  atts servers up --draft-model ./small --target-model ./large --name mine --restart\n"
        "  atts servers up --preset embedded --workers 2",
        guarantee=False,
        handler="atts_tui.commands.servers:up",
    )
    what = up.add_argument_group("what (also in atts.toml: [servers], [servers.draft], [servers.target])")
    what.add_argument(
        "--preset",
        metavar="NAME",
        help="r1-1.5b+qwq, r1-8b+qwq, qwen7b+qwq, llama8b+s1.1 (the pairs of the paper) or embedded (no GPU)",
    )
    what.add_argument("--python", metavar="PATH", help="a Python that has sglang (default: the one of atts)")
    _pair_name(what, "name of the pair, for several on one machine (default: main)")
    what.add_argument("--workers", type=int, metavar="N", help="servers of each role (default: 1)")
    what.add_argument(
        "--router",
        action="store_true",
        default=None,
        help="a sglang-router (0.3.2 or later, in the same Python) in front of each role's workers",
    )
    what.add_argument("--host", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)")
    what.add_argument(
        "--deterministic",
        action="store_true",
        default=None,
        help="honour seeds, at some cost of speed (SGLang 0.5.3 and later)",
    )
    for role, port in (("draft", 30000), ("target", 30100)):
        group = up.add_argument_group(f"the {role}")
        group.add_argument(f"--{role}-model", metavar="MODEL", help="folder, or name of the hub")
        group.add_argument(f"--{role}-gpus", metavar="LIST", help="numbers or UUIDs, such as 0,1")
        group.add_argument(f"--{role}-tp", type=int, metavar="N", help="tensor parallelism")
        group.add_argument(f"--{role}-dp", type=int, metavar="N", help="data parallelism within a server")
        group.add_argument(
            f"--{role}-mem-fraction",
            type=float,
            metavar="X",
            help="share of GPU memory for weights and cache",
        )
        group.add_argument(f"--{role}-context", type=int, metavar="N", help="longest context, tokens")
        group.add_argument(
            f"--{role}-port",
            type=int,
            metavar="PORT",
            help=f"port; more workers take the next ones (default: {port})",
        )
        group.add_argument(
            f"--{role}-args", metavar="TEXT", help="more arguments of its server, as one quoted text"
        )
    life = up.add_argument_group("life")
    life.add_argument("--restart", action="store_true", default=None, help="start a server that died again")
    life.add_argument(
        "--foreground", action="store_true", help="stay with them: ctrl-C, or the death of one, stops all"
    )
    life.add_argument(
        "--patience", type=float, metavar="S", help="seconds until a server must answer (default: 1800)"
    )
    life.add_argument("--dry-run", action="store_true", help="print the exact commands and start nothing")


def _pair_name(parser: "argparse.ArgumentParser | argparse._ArgumentGroup", words: str) -> None:
    parser.add_argument("--name", metavar="NAME", help=words)
