"""Commands that make a run: solve, demo, eval, calibrate."""

import argparse
from typing import TYPE_CHECKING

from atts_tui.arguments.common import command, resume_options, run_options

if TYPE_CHECKING:
    from atts_tui.arguments.common import Commands

HANDLER = "atts_tui.commands.runs:run"


def add_solve(commands: "Commands") -> None:
    """`atts solve`."""
    solve = command(
        commands,
        "solve",
        "one problem, live",
        'examples:\n  atts solve "Solve 5x + 51 = 4x + 54 for x."\n'
        "  cat problem.txt | atts solve - --samples 32\n"
        "  atts solve --file p.txt --draft http://127.0.0.1:30000 --target http://127.0.0.1:30001 --budget 4",
        handler=HANDLER,
    )
    solve.add_argument("text", nargs="?", help="the problem; - reads it from standard input")
    solve.add_argument("--file", metavar="PATH", help="read the problem from a text file")
    solve.add_argument("--gold", metavar="ANSWER", help="the right answer, where you know it")
    run_options(solve)
    resume_options(solve)


def add_demo(commands: "Commands") -> None:
    """`atts demo`."""
    demo = command(
        commands,
        "demo",
        "the embedded pair on a handful of problems, live; the first thing to run",
        "examples:\n  atts demo\n  atts demo --explain\n  atts demo --problems 8 --takeover-rate 0.2\n"
        "  atts demo --headless --json --seed 1",
        handler=HANDLER,
    )
    demo.add_argument("--problems", type=int, metavar="N", help="how many problems (default: 5)")
    demo.add_argument("--level", type=int, metavar="L", help="difficulty 2 to 5 (default: mixed)")
    demo.add_argument(
        "--pace",
        type=float,
        metavar="R",
        help="tokens a second of one stream, so that an eye can follow (default: 40 on a screen, else "
        "unlimited; 0: unlimited)",
    )
    demo.add_argument(
        "--explain", action="store_true", help="for an audience: hold at the moments that matter, and say why"
    )
    run_options(demo)
    resume_options(demo)


def add_eval(commands: "Commands") -> argparse.ArgumentParser:
    """`atts eval`; returns its parser."""
    evaluate = command(
        commands,
        "eval",
        "a data set, all problems in one pool",
        "examples:\n  atts eval builtin --limit 200\n"
        "  atts eval builtin --limit 1000 --detach && atts watch\n"
        "  atts eval --resume 20261120-101500-eval\n"
        "  atts eval --suite suite.toml",
        handler=HANDLER,
    )
    evaluate.add_argument(
        "dataset", nargs="?", metavar="DATASET", help="builtin: the embedded pair's test problems"
    )
    evaluate.add_argument("--limit", type=int, metavar="N", help="problems (default: 100)")
    evaluate.add_argument("--level", type=int, metavar="L", help="difficulty 2 to 5 (default: mixed)")
    run_options(evaluate)
    resume_options(evaluate)
    suite = evaluate.add_argument_group("suite")
    suite.add_argument(
        "--suite",
        metavar="FILE",
        help="many runs out of one TOML file (pairs × data sets × strategies × alphas), then one table; goes "
        "on where it was left",
    )
    suite.add_argument("--dry-run", action="store_true", help="with --suite: print the commands of its runs")
    return evaluate


def eval_options() -> dict[str, argparse.Action]:
    """Every option of `atts eval` by its name in a file."""
    commands = argparse.ArgumentParser().add_subparsers()
    return {action.dest: action for action in add_eval(commands)._actions if action.dest != "help"}


def add_calibrate(commands: "Commands") -> None:
    """`atts calibrate`."""
    calibrate = command(
        commands,
        "calibrate",
        "collect calibration scores and write them to a file",
        "examples:\n  atts calibrate builtin -o mine.npz --limit 200\n"
        "  atts calibrate builtin -o mine.npz --takeover continue --takeover-rate 0.3",
        handler=HANDLER,
    )
    calibrate.add_argument(
        "dataset", nargs="?", metavar="DATASET", help="builtin: the embedded pair's calibration problems"
    )
    calibrate.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="the calibration file to write"
    )
    calibrate.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    calibrate.add_argument("--limit", type=int, metavar="N", help="problems (default: 100)")
    run_options(calibrate, samples=4, mode="online, the only one here")
    resume_options(calibrate)
