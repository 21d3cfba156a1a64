"""Options that several commands share."""

import argparse
from typing import TYPE_CHECKING, TypeAlias

from atts_core.engine.strategies.registry import ATTS, STRATEGIES

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
    """Where a command adds its parser."""

GUARANTEE = """how a step is decided:
  p = (1 + number of calibration PPLs ≤ the step's PPL) / (N + 1); p ≤ alpha accepts, p > alpha hands over.
  marginal, conditional, per-turn and centred rank against a fixed set: if run and calibration are
  exchangeable, the take-over rate is at least 1 − alpha. online ranks against the scores so far, per turn,
  and adapts alpha: its long-run take-over rate is held whatever the data, but no single decision is
  guaranteed anything."""


MODE_DEFAULT = "online; embedded pair: marginal, so that runs repeat"


def command(
    commands: "Commands",
    name: str,
    words: str,
    examples: str,
    *,
    handler: str,
    guarantee: bool = True,
) -> argparse.ArgumentParser:
    """A command. `handler`, as `module:function`, takes the arguments and returns the exit status."""
    parser = commands.add_parser(
        name,
        help=words,
        description=words[0].upper() + words[1:] + ".",
        epilog=f"{examples}\n\n{GUARANTEE}" if guarantee else examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(handler=handler)
    return parser


def server_options(parser: argparse.ArgumentParser) -> None:
    """Which servers the pair runs on."""
    servers = parser.add_argument_group("servers (none given: the embedded pair)")
    for role in ("draft", "target"):
        servers.add_argument(
            f"--{role}",
            metavar="URL",
            action="append",
            help=f"SGLang server of the {role} model; several: repeat it, or put commas between them",
        )
    servers.add_argument(
        "--servers", dest="pair", metavar="NAME", help="the pair of that name that `atts servers up` started"
    )
    for role in ("draft", "target"):
        servers.add_argument(
            f"--{role}-tokenizer",
            metavar="PATH",
            help=f"folder or hub name of the {role}'s tokenizer, if the server's path is not on this machine",
        )


def run_options(parser: argparse.ArgumentParser, *, samples: int = 16, mode: str = MODE_DEFAULT) -> None:
    """How a run is made."""
    server_options(parser)
    strategy_options(parser)
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
    threshold_options(parser, mode).add_argument(
        "--strict", action="store_true", default=None, help="refuse a calibration that differs from the run"
    )
    machine = parser.add_argument_group("servers' load and time-outs")
    for role in ("draft", "target"):
        machine.add_argument(
            f"--{role}-concurrency",
            type=int,
            metavar="N",
            help=f"requests under way at each {role} server (default: 64; embedded: 16)",
        )
    for name, what in (
        ("timeout-connect", "connecting to a server (default: 5)"),
        ("timeout-first-token", "queueing and prefill (default: 120)"),
        ("timeout-between-tokens", "silence within an answer (default: 60)"),
        ("timeout-total", "one request in all (default: 1800)"),
        ("patience", "a model none of whose servers answers (default: 600; embedded: 15)"),
    ):
        machine.add_argument(f"--{name}", type=float, metavar="S", help=f"seconds at most for {what}")
    monitoring = metrics_options(parser)
    monitoring.add_argument(
        "--gpu-metrics",
        action="append",
        metavar="ROLE=URL",
        help="GPUs of another machine: a dcgm-exporter's or nvitop-exporter's page, such as "
        "draft=http://gpu1:9400/metrics (repeatable)",
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
    screen_options(output)


def metrics_options(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """The run's own metrics; returns its group."""
    monitoring = parser.add_argument_group("monitoring")
    monitoring.add_argument(
        "--metrics-port",
        type=int,
        metavar="N",
        help="serve the run's metrics for Prometheus at /metrics there",
    )
    monitoring.add_argument(
        "--metrics-host", metavar="ADDRESS", help="address to serve them on (default: 127.0.0.1)"
    )
    return monitoring


def strategy_options(parser: argparse.ArgumentParser) -> None:
    """How the two models share the work."""
    described = "".join(f"{kind.name}: {kind.sentence}. " for kind in STRATEGIES.values())
    group = parser.add_argument_group(
        "strategy",
        f"{described}An option that means nothing to the strategy is refused.",
    )
    group.add_argument("--strategy", metavar="NAME", help=f"{', '.join(STRATEGIES)} (default: {ATTS})")
    group.add_argument(
        "--attempts", type=int, metavar="N", help="self-reject: drafts of a turn at most (default: 3)"
    )
    group.add_argument(
        "--min-rating", type=int, metavar="N", help="spec-reason: from which a step is kept (default: 7)"
    )
    group.add_argument(
        "--at-once",
        type=int,
        metavar="N",
        help="problems under way at a time (default: as many as the servers can take; sync: 1)",
    )
    group.add_argument(
        "--stop-when-decided",
        nargs="?",
        type=float,
        const=0.0,
        metavar="ERROR",
        help="stop a problem's other samples when its vote cannot change any more; with a number, such as "
        "0.01, when it would change with at most that probability (default: never)",
    )


def screen_options(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """How a screen looks."""
    parser.add_argument("--theme", metavar="NAME", help="theme of the screen")
    parser.add_argument("--fps", type=int, metavar="N", help="frames a second of the screen (default: 10)")
    parser.add_argument(
        "--ascii", action="store_true", default=None, help="a screen of ASCII characters only"
    )
    parser.add_argument(
        "--color",
        choices=("auto", "truecolor", "256", "16", "none"),
        help="colours of the terminal, where it does not say (default: auto)",
    )
    parser.add_argument(
        "--bell",
        action="store_true",
        default=None,
        help="ring the terminal's bell on an error, a stall, drift, and the end",
    )
    parser.add_argument(
        "--title", action="store_true", default=None, help="say in the terminal's title how far the run is"
    )


def resume_options(parser: argparse.ArgumentParser) -> None:
    """Going on with a run, and leaving it alone."""
    life = parser.add_argument_group("life of the run")
    life.add_argument(
        "--resume", metavar="RUN", help="go on with a run that stopped, from its last finished steps"
    )
    life.add_argument(
        "--detach", action="store_true", help="run as a process of its own; look at it with `atts watch`"
    )


def threshold_options(parser: argparse.ArgumentParser, mode: str) -> "argparse._ArgumentGroup":
    """What decides; returns its group."""
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
