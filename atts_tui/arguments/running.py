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
    demo.add_argument(
        "--loop",
        action="store_true",
        help="show the result for a few seconds and run again with the next seed, until q; only the newest "
        "run's file is kept",
    )
    run_options(demo)
    resume_options(demo)


def data_set_options(parser: argparse.ArgumentParser, split: str, *, limit: str) -> None:
    """Which problems, and where they come from."""
    data = parser.add_argument_group("problems")
    data.add_argument(
        "dataset",
        nargs="?",
        metavar="DATASET",
        help="builtin (the embedded pair's), aime24, aime25, amc23, math500, olympiad, gpqa, gsm8k, s1; "
        "NAME:paper for the authors' subset; a name in atts.toml; or a file or folder (.jsonl, .json, .csv, "
        ".tsv, .parquet)",
    )
    data.add_argument("--limit", type=int, metavar="N", help=limit)
    data.add_argument("--problems", metavar="LIST", help="places in the set, from 1, such as 3,7-12")
    data.add_argument("--shuffle", type=int, metavar="SEED", help="in an order that the seed gives")
    data.add_argument("--repeat", type=int, metavar="N", help="each problem N times, with samples of its own")
    data.add_argument(
        "--split", choices=("test", "calibration", "all"), help=f"part of the set (default: {split})"
    )
    data.add_argument("--level", type=int, metavar="L", help="builtin: difficulty 2 to 5 (default: mixed)")
    data.add_argument(
        "--from", dest="source", metavar="PATH", help="a local copy of the named set, instead of the hub"
    )
    for what, usual in (("question", "question, problem"), ("answer", "answer, gold"), ("id", "id")):
        data.add_argument(
            f"--{what}-column", metavar="NAME", help=f"column of the {what} (default: {usual}, …)"
        )
    data.add_argument(
        "--grading",
        choices=("math", "exact", "choice"),
        help="compare answers by calculation, by spelling, or by the letter of a choice (default: math)",
    )
    data.add_argument(
        "--option-seed", type=int, metavar="SEED", help="gpqa: order of the choices (default: 0)"
    )


def add_eval(commands: "Commands") -> argparse.ArgumentParser:
    """`atts eval`; returns its parser."""
    evaluate = command(
        commands,
        "eval",
        "a data set, all problems in one pool",
        "examples:\n  atts eval builtin --limit 200\n"
        "  atts eval math500:paper --draft URL --target URL --samples 16\n"
        "  atts eval problems.csv --question-column task --answer-column result --problems 3,7-12\n"
        "  atts eval builtin --limit 1000 --detach && atts watch\n"
        "  atts eval --resume 20261120-101500-eval\n"
        "  atts eval --suite suite.toml",
        handler=HANDLER,
    )
    data_set_options(
        evaluate,
        "all; sets with training problems: test",
        limit="the first N (default: all; builtin: 100)",
    )
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
        "  atts calibrate builtin -o mine.npz --takeover continue --takeover-rate 0.3\n"
        "  atts calibrate math500 -o math.npz --draft URL --target URL",
        handler=HANDLER,
    )
    calibrate.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="the calibration file to write"
    )
    calibrate.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    data_set_options(
        calibrate,
        "calibration: training problems where the set has any, else a part of it that no test uses",
        limit="problems, drawn at random (default: 100)",
    )
    run_options(calibrate, samples=4, mode="online, the only one here")
    resume_options(calibrate)
