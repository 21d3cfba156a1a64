"""Commands over recorded runs: watch, replay, runs, audit."""

import argparse
from typing import TYPE_CHECKING

from atts_tui.arguments.common import command, metrics_options, screen_options, threshold_options

if TYPE_CHECKING:
    from atts_tui.arguments.common import Commands


def add_watch_and_replay(commands: "Commands") -> None:
    """`atts watch`, `atts replay`."""
    watch = command(
        commands,
        "watch",
        "follow a running run (the newest without a name), from any number of terminals",
        "examples:\n  atts watch\n  atts watch 20261120-1015 --once --json\n  atts watch --stop\n\n"
        "q leaves; the run goes on. p pauses it, wherever its engine is.",
        guarantee=False,
        handler="atts_tui.commands.watch:watch",
    )
    watch.add_argument("--once", action="store_true", help="print how it stands and leave")
    watch.add_argument("--json", action="store_true", help="with --once: one JSON object on stdout")
    watch.add_argument("--read-only", action="store_true", help="only look: nothing can be paused or ended")
    watch.add_argument("--headless", action="store_true", help="no screen: progress lines until it ends")
    watch.add_argument(
        "--stop", action="store_true", help="ask its engine to end the run; what is finished is kept"
    )
    metrics_options(watch)
    replay = command(
        commands,
        "replay",
        "play a run again: pause, speed, seek, next take-over",
        "examples:\n  atts replay\n  atts replay 20261120-1015 --speed 4 --loop",
        guarantee=False,
        handler="atts_tui.commands.watch:replay",
    )
    replay.add_argument("--speed", type=float, default=1.0, metavar="X", help="0.25 to 64 (default: 1)")
    replay.add_argument(
        "--explain", action="store_true", help="for an audience: hold at the moments that matter, and say why"
    )
    replay.add_argument("--loop", action="store_true", help="begin again at the end")
    for parser in (watch, replay):
        parser.add_argument(
            "run", nargs="?", metavar="RUN", help="name, its beginning, or file (default: newest)"
        )
        parser.add_argument("--runs-dir", metavar="DIR", help="folder of the run files")
        screen_options(parser)


def add_web(commands: "Commands") -> None:
    """`atts web`."""
    web = command(
        commands,
        "web",
        "the screens of a run in a browser: loopback, a secret address, read-only",
        "examples:\n  atts web\n  atts web 20261120-1015 --port 8000 --control\n"
        "  ssh -L 8000:127.0.0.1:8000 gpu1 atts web --port 8000",
        handler="atts_tui.commands.web:web",
        guarantee=False,
    )
    web.add_argument("run", nargs="?", metavar="RUN", help="name, its beginning, or file (default: newest)")
    web.add_argument("--port", type=int, default=0, metavar="N", help="port (default: any free one)")
    web.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address (default: 127.0.0.1)")
    web.add_argument(
        "--control", action="store_true", help="let who looks pause and end the run (default: look only)"
    )
    web.add_argument("--replay", action="store_true", help="play the run again for each who looks")
    web.add_argument("--viewers", type=int, default=8, metavar="N", help="browsers at once (default: 8)")
    web.add_argument("--runs-dir", metavar="DIR", help="folder of the run files")
    screen_options(web)


def add_runs(commands: "Commands") -> None:
    """`atts runs`."""
    runs = commands.add_parser(
        "runs",
        help="list, show, compare, judge, remove, export and import runs",
        description="Run files: every solve, demo, eval and calibrate writes one. A run is named by its "
        "identity, the unique beginning of it, or a path.",
        epilog="examples:\n  atts runs\n  atts runs list --filter status=done --sort accuracy\n"
        "  atts runs show\n"
        "  atts runs compare 20261120-10 20261120-11\n  atts runs export RUN --format reference -o folder\n"
        "  atts runs import results.jsonl.gz --gold gold.json\n"
        "  atts runs judge RUN --judge http://gpu3:8000 --judge-model NAME",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    runs.add_argument("--runs-dir", metavar="DIR", help="folder of the run files")
    runs.add_argument("--json", action="store_true", help="JSON on stdout")
    runs.set_defaults(handler="atts_tui.commands.manage:manage", filter=None, sort=None, reverse=False)
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
    compared.add_argument(
        "runs", nargs="+", metavar="RUN", help="the first is what the others are measured by"
    )
    compared.add_argument("--screen", action="store_true", help="two runs on one time axis, on the screen")
    screen_options(compared)
    judged = _add_judge(actions)
    for parser in (listed, shown, compared, judged):
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


def _add_judge(actions: "Commands") -> argparse.ArgumentParser:
    """`atts runs judge`."""
    judged = actions.add_parser(
        "judge",
        help="ask a language model about a run's answers, beside our own grading",
        description="Asks an OpenAI-compatible server about every graded sample of a run that is not going "
        "on. Its verdicts are recorded beside ours, never in their place. Says first what it will send, and "
        "asks. Said again, it asks what is missing, or where no usable reply came. The server's key comes "
        "from the variable ATTS_JUDGE_API_KEY.",
        epilog="examples:\n  atts runs judge RUN --judge http://gpu3:8000 --judge-model NAME\n"
        "  atts runs judge RUN --judge https://host/v1 --judge-model NAME --judge-sees chain --yes",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    judged.add_argument("run", metavar="RUN", help="name, its beginning, or file")
    judged.add_argument("--judge", required=True, metavar="URL", help="an OpenAI-compatible server")
    judged.add_argument("--judge-model", required=True, metavar="NAME", help="the model's name there")
    judged.add_argument(
        "--judge-sees",
        choices=("answer", "chain"),
        default="answer",
        help="answer: question, gold answer and our extracted answer are sent (default); chain: also the end "
        "of each sample's text, in which the judge finds the answer itself",
    )
    judged.add_argument(
        "--judge-characters", type=int, metavar="N", help="characters of a chain's end (default: 4000)"
    )
    judged.add_argument(
        "--judge-concurrency", type=int, default=8, metavar="N", help="requests under way (default: 8)"
    )
    judged.add_argument(
        "--judge-timeout", type=float, default=60.0, metavar="S", help="seconds a request (default: 60)"
    )
    judged.add_argument("--yes", action="store_true", help="do not ask before sending")
    judged.set_defaults(handler="atts_tui.commands.judge:judge")
    return judged


def add_report(commands: "Commands") -> None:
    """`atts report`."""
    report = command(
        commands,
        "report",
        "write runs as one HTML file with plots; several are compared with the first",
        "examples:\n  atts report -o report.html\n  atts report 20261120-10 20261120-11 -o both.html",
        guarantee=False,
        handler="atts_tui.commands.report:write_report",
    )
    report.add_argument("runs", nargs="*", metavar="RUN", help="default: the newest")
    report.add_argument("-o", "--output", required=True, metavar="FILE", help="such as report.html")
    report.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    report.add_argument("--runs-dir", metavar="DIR", help="folder of the run files")


def add_audit(commands: "Commands") -> None:
    """`atts audit`."""
    audit = command(
        commands,
        "audit",
        "judge every decision of a recorded run again: realised against nominal, drift, signal",
        "examples:\n  atts demo --events > run.jsonl && atts audit run.jsonl --takeover-rate 0.3\n"
        "  atts audit results.jsonl.gz --calibration scores.npy --rule reference --alpha 0.6\n"
        "  atts audit results.jsonl.gz --folds 5 --mode per-turn --json",
        handler="atts_tui.commands.audit:run_audit",
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
    threshold_options(audit, "the run's own; else marginal with a calibration, online without")
