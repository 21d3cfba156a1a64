"""The one entry point, `atts`. Parses the command line and imports only what the command needs."""

import argparse
import os
import sys
from collections.abc import Sequence

from atts_core import __version__

EPILOG = """examples:
  atts demo                                   watch the embedded pair solve a handful of problems
  atts solve "Let a = 12 + 7. Let b = a * 3. What is b?"
  atts solve --file problem.txt --draft http://gpu1:30000 --target http://gpu2:30001
  atts demo --headless --json --seed 1        one JSON object on stdout, progress on stderr
  atts calibrate builtin -o mine.npz          collect calibration scores
  atts check                                  is everything in order?

settings: defaults < atts.toml < ATTS_… variables < options
exit status: 0 done, 1 the run failed or is incomplete, 2 bad usage or settings, 130 interrupted"""

GUARANTEE = """how a step is decided:
  p = (1 + number of calibration PPLs ≤ the step's PPL) / (N + 1); p ≤ alpha accepts, p > alpha hands over.
  marginal, conditional, per-turn and centred rank against a fixed set: if run and calibration are
  exchangeable, the take-over rate is at least 1 − alpha. online ranks against the scores so far, per turn,
  and adapts alpha: its long-run take-over rate is held whatever the data, but no single decision is
  guaranteed anything."""


MODE_DEFAULT = "online; embedded pair: marginal, so that runs repeat"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 0
    # SCREEN.md: Textual reads its frame limit when it is imported.
    os.environ.setdefault("TEXTUAL_FPS", "20")
    from atts_core.errors import AttsError  # noqa: PLC0415  # parsing --help imports nothing of ours

    try:
        return _run(arguments)
    except AttsError as error:
        from atts_tui.text import clean  # noqa: PLC0415

        print(f"atts: {clean(str(error))}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "audit":
        from atts_tui.commands.audit import run_audit  # noqa: PLC0415

        return run_audit(arguments)
    if arguments.command in ("watch", "replay"):
        from atts_tui.commands import watch  # noqa: PLC0415

        return watch.watch(arguments) if arguments.command == "watch" else watch.replay(arguments)
    if arguments.command == "runs":
        from atts_tui.commands.manage import manage  # noqa: PLC0415

        return manage(arguments)
    if arguments.command == "check":
        from atts_tui.commands.check import check  # noqa: PLC0415

        return check(arguments)
    from atts_tui.commands import runs  # noqa: PLC0415

    return runs.run(arguments)


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

    solve = _command(
        commands,
        "solve",
        "one problem, live",
        'examples:\n  atts solve "Solve 5x + 51 = 4x + 54 for x."\n'
        "  cat problem.txt | atts solve - --samples 32\n"
        "  atts solve --file p.txt --draft http://127.0.0.1:30000 --target http://127.0.0.1:30001 --budget 4",
    )
    solve.add_argument("text", nargs="?", help="the problem; - reads it from standard input")
    solve.add_argument("--file", metavar="PATH", help="read the problem from a text file")
    solve.add_argument("--gold", metavar="ANSWER", help="the right answer, where you know it")
    _run_options(solve)
    _resume_options(solve)

    demo = _command(
        commands,
        "demo",
        "the embedded pair on a handful of problems, live; the first thing to run",
        "examples:\n  atts demo\n  atts demo --problems 8 --takeover-rate 0.2\n"
        "  atts demo --headless --json --seed 1",
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
    _run_options(demo)
    _resume_options(demo)

    evaluate = _command(
        commands,
        "eval",
        "a data set, all problems in one pool",
        "examples:\n  atts eval builtin --limit 200\n"
        "  atts eval builtin --limit 1000 --detach && atts watch\n"
        "  atts eval --resume 20261120-101500-eval",
    )
    evaluate.add_argument(
        "dataset", nargs="?", metavar="DATASET", help="builtin: the embedded pair's test problems"
    )
    evaluate.add_argument("--limit", type=int, metavar="N", help="problems (default: 100)")
    evaluate.add_argument("--level", type=int, metavar="L", help="difficulty 2 to 5 (default: mixed)")
    _run_options(evaluate)
    _resume_options(evaluate)

    calibrate = _command(
        commands,
        "calibrate",
        "collect calibration scores and write them to a file",
        "examples:\n  atts calibrate builtin -o mine.npz --limit 200\n"
        "  atts calibrate builtin -o mine.npz --takeover continue --takeover-rate 0.3",
    )
    calibrate.add_argument(
        "dataset", nargs="?", metavar="DATASET", help="builtin: the embedded pair's calibration problems"
    )
    calibrate.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="the calibration file to write"
    )
    calibrate.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    calibrate.add_argument("--limit", type=int, metavar="N", help="problems (default: 100)")
    _run_options(calibrate, samples=4, mode="online, the only one here")
    _resume_options(calibrate)

    _file_commands(commands)
    _runs_commands(commands)

    audit = _command(
        commands,
        "audit",
        "judge every decision of a recorded run again: realised against nominal, drift, signal",
        "examples:\n  atts demo --events > run.jsonl && atts audit run.jsonl --takeover-rate 0.3\n"
        "  atts audit results.jsonl.gz --calibration scores.npy --rule reference --alpha 0.6\n"
        "  atts audit results.jsonl.gz --folds 5 --mode per-turn --json",
    )
    audit.add_argument(
        "run",
        metavar="RUN",
        help="a run of ours, its events (.jsonl), or results of the authors' programs (folder, .jsonl[.gz])",
    )
    audit.add_argument("--samples", type=int, metavar="M", help="samples a problem of the authors' results")
    audit.add_argument(
        "--gold", metavar="FILE", help="right answers: a JSON object from problem to answer (else: the vote)"
    )
    audit.add_argument(
        "--folds", type=int, metavar="K", help="calibrate every step on the run's other problems, in K parts"
    )
    audit.add_argument(
        "--other-problems",
        action="store_true",
        help="calibration and run are of different problems (for drift)",
    )
    audit.add_argument("--seed", type=int, metavar="N", help="of the random numbers of --smoothed")
    audit.add_argument("--json", action="store_true", help="one JSON object on stdout")
    _threshold_options(audit, "the run's own; else marginal with a calibration, online without")

    check = _command(
        commands,
        "check",
        "is everything in order: servers, models, calibration, GPU, terminal",
        "examples:\n  atts check\n  atts check --draft http://gpu1:30000 --target http://gpu2:30001",
        guarantee=False,
    )
    _server_options(check)
    check.add_argument("--calibration", metavar="FILE", help="a calibration file to look at")
    check.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser


def _file_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    watch = _command(
        commands,
        "watch",
        "follow a running run (the newest without a name), from any number of terminals",
        "examples:\n  atts watch\n  atts watch 20261120-1015 --once --json\n  atts watch --stop\n\n"
        "q leaves; the run goes on. p pauses it, wherever its engine is.",
        guarantee=False,
    )
    watch.add_argument("--once", action="store_true", help="print how it stands and leave")
    watch.add_argument("--json", action="store_true", help="with --once: one JSON object on stdout")
    watch.add_argument("--headless", action="store_true", help="no screen: progress lines until it ends")
    watch.add_argument(
        "--stop", action="store_true", help="ask its engine to end the run; what is finished is kept"
    )
    replay = _command(
        commands,
        "replay",
        "play a run again: pause, speed, seek, next take-over",
        "examples:\n  atts replay\n  atts replay 20261120-1015 --speed 4 --loop",
        guarantee=False,
    )
    replay.add_argument("--speed", type=float, default=1.0, metavar="X", help="0.25 to 64 (default: 1)")
    replay.add_argument("--loop", action="store_true", help="begin again at the end")
    for parser in (watch, replay):
        parser.add_argument(
            "run", nargs="?", metavar="RUN", help="name, its beginning, or file (default: newest)"
        )
        parser.add_argument("--runs-dir", metavar="DIR", help="folder of the run files")
        _screen_options(parser)


def _runs_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    runs = commands.add_parser(
        "runs",
        help="list, show, compare, remove, export and import runs",
        description="Run files: every solve, demo, eval and calibrate writes one. A run is named by its "
        "identity, the unique beginning of it, or a path.",
        epilog="examples:\n  atts runs\n  atts runs list --filter status=done --sort accuracy\n"
        "  atts runs show\n"
        "  atts runs compare 20261120-10 20261120-11\n  atts runs export RUN --format reference -o folder\n"
        "  atts runs import results.jsonl.gz --gold gold.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    runs.add_argument("--runs-dir", metavar="DIR", help="folder of the run files")
    runs.add_argument("--json", action="store_true", help="JSON on stdout")
    runs.set_defaults(filter=None, sort=None, reverse=False)
    actions = runs.add_subparsers(dest="action", metavar="ACTION", title="actions (default: list)")
    listed = actions.add_parser("list", help="all runs, newest first")
    listed.add_argument(
        "--filter", action="append", metavar="FIELD=TEXT", help="or a text found in any field"
    )
    listed.add_argument("--sort", metavar="FIELD", help="such as accuracy, takeover, duration, size")
    listed.add_argument("--reverse", action="store_true", help="the other way round")
    shown = actions.add_parser("show", help="one run")
    shown.add_argument("run", nargs="?", metavar="RUN", help="default: the newest")
    compared = actions.add_parser("compare", help="two or more runs side by side")
    compared.add_argument("runs", nargs="+", metavar="RUN")
    for parser in (listed, shown, compared):
        parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="JSON on stdout")
    removed = actions.add_parser("remove", help="delete runs; asks first")
    removed.add_argument("runs", nargs="+", metavar="RUN")
    removed.add_argument("--yes", action="store_true", help="do not ask")
    exported = actions.add_parser("export", help="write a run for other programs")
    exported.add_argument("run", nargs="?", metavar="RUN", help="default: the newest")
    exported.add_argument(
        "--format",
        choices=("jsonl", "csv-samples", "csv-verdicts", "reference", "svg"),
        default="jsonl",
        help="events as JSON lines (default), tables, the authors' folder of problem_XXXX.json, a picture",
    )
    exported.add_argument(
        "-o", "--output", required=True, metavar="PATH", help="file, or folder for reference"
    )
    exported.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    imported = actions.add_parser(
        "import", help="make run files of events, run files or the authors' results"
    )
    imported.add_argument("sources", nargs="+", metavar="SOURCE")
    imported.add_argument(
        "--samples", type=int, metavar="M", help="samples a problem of the authors' results"
    )
    imported.add_argument(
        "--gold", metavar="FILE", help="right answers: a JSON object from problem to answer"
    )
    imported.add_argument("--dataset", metavar="NAME", help="their data set")
    imported.add_argument("--draft-name", metavar="NAME", help="their draft model")
    imported.add_argument("--target-name", metavar="NAME", help="their target model")


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    words: str,
    examples: str,
    *,
    guarantee: bool = True,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=words,
        description=words[0].upper() + words[1:] + ".",
        epilog=f"{examples}\n\n{GUARANTEE}" if guarantee else examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _server_options(parser: argparse.ArgumentParser) -> None:
    servers = parser.add_argument_group("servers (none given: the embedded pair)")
    servers.add_argument("--draft", metavar="URL", help="SGLang server of the draft model")
    servers.add_argument("--target", metavar="URL", help="SGLang server of the target model")
    for role in ("draft", "target"):
        servers.add_argument(
            f"--{role}-tokenizer",
            metavar="PATH",
            help=f"folder or hub name of the {role}'s tokenizer, if the server's path is not on this machine",
        )


def _run_options(parser: argparse.ArgumentParser, *, samples: int = 16, mode: str = MODE_DEFAULT) -> None:
    _server_options(parser)
    method = parser.add_argument_group("method")
    method.add_argument(
        "--samples", type=int, metavar="M", help=f"chains for each problem (default: {samples})"
    )
    method.add_argument("--turns", type=int, metavar="T", help="rounds of a chain at most (default: 15)")
    method.add_argument(
        "--draft-tokens",
        type=int,
        metavar="K",
        help="tokens of a draft step at most (default: 500; embedded: 96)",
    )
    method.add_argument(
        "--target-tokens",
        type=int,
        metavar="K",
        help="tokens of a target step at most (default: 500; embedded: 96)",
    )
    method.add_argument("--temperature", type=float, metavar="X", help="of both models (default: 0.8)")
    method.add_argument("--top-p", type=float, metavar="X", help="nucleus sampling (default: 1, off)")
    method.add_argument(
        "--takeover",
        choices=("continue", "rewrite"),
        help="continue: the target goes on after the rejected step (default); rewrite: it replaces the step "
        "(default of the embedded pair)",
    )
    method.add_argument(
        "--seed", type=int, metavar="N", help="makes a run repeatable, in every mode but online (default: 0)"
    )
    _threshold_options(parser, mode).add_argument(
        "--strict", action="store_true", default=None, help="refuse a calibration that differs from the run"
    )
    machine = parser.add_argument_group("servers' load")
    machine.add_argument("--draft-concurrency", type=int, metavar="N", help="requests under way at the draft")
    machine.add_argument(
        "--target-concurrency", type=int, metavar="N", help="requests under way at the target"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--headless", action="store_true", help="no screen: progress on stderr, result on stdout"
    )
    output.add_argument("--json", action="store_true", help="headless, and the result as one JSON object")
    output.add_argument(
        "--events", action="store_true", help="headless, and every event as a JSON line on stdout"
    )
    output.add_argument("--runs-dir", metavar="DIR", help="folder of the run files")
    _screen_options(output)


def _screen_options(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    parser.add_argument("--theme", metavar="NAME", help="theme of the screen")
    parser.add_argument("--fps", type=int, metavar="N", help="frames a second of the screen (default: 10)")
    parser.add_argument("--ascii", action="store_true", help="a screen of ASCII characters only")


def _resume_options(parser: argparse.ArgumentParser) -> None:
    life = parser.add_argument_group("life of the run")
    life.add_argument(
        "--resume", metavar="RUN", help="go on with a run that stopped, from its last finished steps"
    )
    life.add_argument(
        "--detach", action="store_true", help="run as a process of its own; look at it with `atts watch`"
    )


def _threshold_options(parser: argparse.ArgumentParser, mode: str) -> "argparse._ArgumentGroup":
    threshold = parser.add_argument_group("threshold (give one of the first three)")
    threshold.add_argument(
        "--takeover-rate", type=float, metavar="R", help="nominal share of steps taken over (default: 0.4)"
    )
    threshold.add_argument("--alpha", type=float, metavar="A", help="threshold on p: 1 − the take-over rate")
    threshold.add_argument(
        "--budget", type=float, metavar="B", help="expected take-overs of M samples a round"
    )
    threshold.add_argument("--calibration", metavar="FILE", help="calibration scores to rank against")
    threshold.add_argument(
        "--mode",
        choices=("marginal", "conditional", "per-turn", "centred", "online"),
        help=f"what a step is ranked against (default: {mode})",
    )
    threshold.add_argument(
        "--rule", choices=("conformal", "reference"), help="reference: the authors' rule, without the + 1"
    )
    threshold.add_argument(
        "--adapt",
        choices=("off", "one", "per-turn"),
        help="adapt alpha to hold the rate (default: one if online)",
    )
    threshold.add_argument("--gamma", type=float, metavar="G", help="step of the adaptation (default: 0.02)")
    threshold.add_argument(
        "--window", type=int, metavar="N", help="online: keep the newest N scores of a turn"
    )
    threshold.add_argument(
        "--smoothed", action="store_true", default=None, help="split ties at random (recorded)"
    )
    return threshold


if __name__ == "__main__":
    sys.exit(main())
