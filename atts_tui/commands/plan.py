"""What a command is going to run, decided and checked before anything starts.

Imports nothing of the engine, so that a screen opens before that is loaded.
"""

import argparse
import contextlib
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from atts_core import config
from atts_core.engine.strategies.registry import ATTS, STRATEGIES
from atts_core.errors import RunError, SettingsError
from atts_core.percent import percent
from atts_core.problems.builtin.readable import readable
from atts_core.problems.catalogue import Columns, Part
from atts_core.problems.load import BUILTIN, ProblemSet, Request, load_problems, typed_problem
from atts_core.problems.problem import Problem
from atts_core.runs.file import RunFile
from atts_core.runs.folder import find_run, runs_folder
from atts_core.runs.resume import RunProgress, read_progress
from atts_core.telemetry.sources import given_sources

if TYPE_CHECKING:
    from atts_core.conformal import Calibration
    from atts_core.engine.collect import Scores
    from atts_core.engine.session import Session

MAX_PROBLEM = 100_000
"""Characters: no context holds more, and a binary file given by mistake is caught early."""
MOST_PROBLEMS = 100_000
"""Of one run: far beyond any evaluation, and still drawn in seconds."""
DEMO_PROBLEMS = 5
CALIBRATION_PROBLEMS = 100
READ_AHEAD = 200
"""Problems that are looked at to see whether the embedded pair can read any."""
CHOICES = (
    "limit", "level", "problems", "shuffle", "repeat", "split", "source", "question_column", "answer_column",
    "id_column", "grading", "option_seed",
)  # fmt: skip
"""Options that choose problems, which a run that goes on has already."""
CALIBRATION_SAMPLES = 4
"""For each problem: problems count, samples of one problem hardly do, for they are alike."""
DEMO_PACE = 40.0
"""Tokens a second of one stream in a demo on a screen: about what a large model on a GPU gives."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    command: str
    problems: ProblemSet
    layers: config.Layers
    folder: Path
    """Where its run file goes."""
    pace: float | None = None
    """Tokens a second and stream that the embedded pair is held to."""
    finish: Callable[["Session", "Scores"], str] | None = None
    """What to do with the scores of the run once it is done; returns a line for the user."""
    path: Path | None = None
    """The file of a run that goes on."""
    progress: RunProgress | None = None
    """How far it got."""

    @property
    def collects(self) -> bool:
        """The run is to make a calibration, so it begins with none."""
        return self.finish is not None


def plan_solve(arguments: argparse.Namespace) -> Plan:
    """`atts solve`."""
    if arguments.resume is not None:
        _refuse_both(arguments, "text", "file", "gold")
        return _plan_resume(arguments, "solve")
    text = _problem_text(arguments)
    layers = _layers(arguments)
    typed = typed_problem(
        Problem(id="typed", question=text, gold=arguments.gold, grading="math"), builtin=False
    )
    if layers.given().draft is None and layers.given().target is None:
        readable_problem(typed)  # refuse it before anything starts
    return Plan("solve", typed, layers, _folder(arguments))


def plan_demo(arguments: argparse.Namespace, *, on_screen: bool) -> Plan:
    """`atts demo`."""
    if arguments.pace is not None and not 0 <= arguments.pace < math.inf:
        raise SettingsError(f"--pace {arguments.pace:g}: no such pace; 0 means unlimited.")
    if arguments.explain and not on_screen:
        raise SettingsError("--explain tells a run on a screen: it needs a terminal, and no --headless.")
    if arguments.loop and not on_screen:
        raise SettingsError("--loop shows one run after another: it needs a terminal, and no --headless.")
    if arguments.loop and arguments.resume is not None:
        raise SettingsError(
            "--loop begins a new run each time, and --resume goes on with one: leave one out."
        )
    pace = arguments.pace if arguments.pace is not None else (DEMO_PACE if on_screen else None)
    if arguments.resume is not None:
        _refuse_both(arguments, "problems", "level")
        return replace(_plan_resume(arguments, "demo"), pace=pace or None)
    count = _count("--problems", arguments.problems, DEMO_PROBLEMS)
    layers = _layers(arguments)
    chosen = load_problems(
        Request(
            dataset=BUILTIN, part="test", limit=count, seed=layers.given().seed or 0, level=arguments.level
        )
    )
    return Plan("demo", chosen, layers, _folder(arguments), pace or None)


def plan_eval(arguments: argparse.Namespace) -> Plan:
    """`atts eval`."""
    if arguments.resume is not None:
        _refuse_both(arguments, "dataset", *CHOICES)
        return _plan_resume(arguments, "eval")
    layers = _layers(arguments)
    return Plan("eval", _chosen(arguments, layers, "all"), layers, _folder(arguments))


def plan_calibrate(arguments: argparse.Namespace) -> Plan:
    """`atts calibrate`: a run in online mode whose scores are kept: later turns are as in real runs."""
    output = Path(arguments.output)
    if output.is_dir():
        raise SettingsError(f"{output} is a folder; name a file in it.")
    if output.exists() and not arguments.overwrite:
        raise SettingsError(f"{output} exists; name another file, or say --overwrite to replace it.")
    if not output.parent.is_dir():
        raise SettingsError(f"The folder {output.parent} for {output.name} does not exist; create it first.")
    if not os.access(output.parent, os.W_OK):
        raise SettingsError(
            f"The folder {output.parent} for {output.name} cannot be written; name another one."
        )
    if arguments.mode not in (None, "online"):
        raise SettingsError(
            f"--mode {arguments.mode}: calibrating starts from nothing, so its mode is online."
        )
    if arguments.calibration is not None:
        raise SettingsError("--calibration: calibrating starts from nothing; leave it out.")
    strategy = config.load(config.Given(strategy=arguments.strategy)).given().strategy or ATTS
    if not STRATEGIES[strategy].calibrated:
        raise SettingsError(
            f"The strategy {strategy} ranks nothing against calibration scores, so it collects none."
        )
    arguments.mode = "online"

    def write(session: "Session", scores: "Scores") -> str:
        from atts_core.conformal import save_calibration  # noqa: PLC0415  # see the top of the file
        from atts_core.engine.collect import identity  # noqa: PLC0415

        card = identity(session.pair, session.settings, plan.problems, first_turn_only=False)
        calibration = scores.calibration(plan.problems.problems, card, str(output))
        save_calibration(calibration, output, overwrite=arguments.overwrite)
        return f"wrote {output}: {_worth(calibration, session.settings.conformal.nominal_alpha)}"

    if arguments.resume is not None:
        _refuse_both(arguments, "dataset", *CHOICES)
        plan = replace(_plan_resume(arguments, "calibrate"), finish=write)
        return plan
    if config.load(config.Given()).given().samples is None and arguments.samples is None:
        arguments.samples = CALIBRATION_SAMPLES
    layers = _layers(arguments)
    if arguments.limit is None:
        arguments.limit = CALIBRATION_PROBLEMS
    if arguments.shuffle is None and arguments.problems is None:
        arguments.shuffle = 0  # the first rows of a set may all be of one kind
    plan = Plan(
        "calibrate", _chosen(arguments, layers, "calibration"), layers, _folder(arguments), finish=write
    )
    return plan


def readable_problem(typed: ProblemSet) -> ProblemSet:
    """For the embedded pair: the problem with its gold answer where that can be computed.

    Raises:
        SettingsError: the embedded models cannot read a word of it; names it and shows three that they can.
    """
    problem = typed.problems[0]
    reading = readable(problem.question)
    if not reading.readable:
        raise SettingsError(
            f"{reading.explain()}\nFor other problems give your own servers with --draft and --target."
        )
    if reading.gold is None:
        return typed
    return typed_problem(
        msgspec.structs.replace(
            problem,
            gold=problem.gold or reading.gold,
            grading=problem.grading if problem.gold else "exact",
        ),
        builtin=True,
    )


def _worth(calibration: "Calibration", alpha: float) -> str:
    """What a new calibration holds, and what more problems would bring; more samples hardly would."""
    from atts_core.conformal.guarantees import half_width_with  # noqa: PLC0415

    problems = len(calibration.problems)
    held = f"{len(calibration):,} scores of {problems:,} problems"
    if problems < 2:
        return f"{held}; one problem says nothing of others"
    now, one, double = (
        half_width_with(calibration, alpha, n) for n in (problems, problems + 1, 2 * problems)
    )
    return (
        f"{held}\nthe take-over rate that it gives at alpha {alpha:g} is known to ±{percent(now, 1)} (95 %);"
        f" one more problem would narrow that by {percent(now - one, 2)}, twice as many problems to"
        f" ±{percent(double, 1)}"
    )


def _plan_resume(arguments: argparse.Namespace, command: str) -> Plan:
    """A run that goes on, with the settings that it had."""
    folder = _folder(arguments)
    path = find_run(arguments.resume, folder)
    with contextlib.closing(RunFile.open(path)) as file:
        if file.engine in ("alive", "stalled"):
            raise RunError(
                f"Run {path.stem} has an engine at work already; look at it with: atts watch {path.stem}"
            )
    progress = read_progress(path)
    if progress.about.command != command:
        raise SettingsError(
            f"Run {progress.about.run} is of `atts {progress.about.command}`; go on with "
            f"`atts {progress.about.command} --resume {progress.about.run}`."
        )
    problems = ProblemSet(
        progress.about.dataset,
        progress.about.fingerprint,
        tuple(problem.problem for problem in progress.problems),
    )
    layers = _layers(arguments, run=progress.settings)
    return Plan(command, problems, layers, folder, path=path, progress=progress)


def _count(option: str, given: int | None, default: int) -> int:
    """How many problems."""
    count = default if given is None else given
    if not 1 <= count <= MOST_PROBLEMS:
        raise SettingsError(
            f"{option} {count}: a run needs at least one problem and takes at most {MOST_PROBLEMS:,}."
        )
    return count


def _chosen(arguments: argparse.Namespace, layers: config.Layers, part: Part) -> ProblemSet:
    """The problems of `atts eval` and `atts calibrate`; `part` where nobody says another."""
    if arguments.dataset is None:
        raise SettingsError("The data set is missing: builtin is always there; --help names the others.")
    if arguments.limit is not None:
        _count("--limit", arguments.limit, 1)
    given = layers.given()
    chosen = load_problems(
        Request(
            dataset=arguments.dataset,
            part=arguments.split or part,
            limit=arguments.limit,
            positions=arguments.problems,
            shuffle=arguments.shuffle,
            repeat=_count("--repeat", arguments.repeat, 1),
            seed=given.seed or 0,
            level=arguments.level,
            option_seed=arguments.option_seed or 0,
            columns=Columns(
                path=arguments.source,
                question=arguments.question_column,
                answer=arguments.answer_column,
                id=arguments.id_column,
                grading=arguments.grading,
            ),
            known=config.data_sets(),
        ),
        say=lambda words: sys.stderr.write(f"atts: {words}\n"),
    )
    if given.draft is None and given.target is None and chosen.dataset != BUILTIN:
        _refuse_unreadable(chosen)
    return chosen


def _refuse_unreadable(chosen: ProblemSet) -> None:
    if not any(readable(problem.question).readable for problem in chosen.problems[:READ_AHEAD]):
        raise SettingsError(
            f"The embedded pair reads only problems like its own (`atts eval builtin`), and none of"
            f" {chosen.dataset}; give your servers with --draft and --target."
        )


def _folder(arguments: argparse.Namespace) -> Path:
    return runs_folder(arguments.runs_dir)


def _layers(arguments: argparse.Namespace, run: config.Settings | None = None) -> config.Layers:
    layers = config.load(said_settings(arguments), run=run)
    # The pair is known only once its servers answer; a setting that is wrong for any pair is refused before.
    layers.resolve(config.EMBEDDED if layers.given().draft is None else config.SERVERS)
    given_sources(layers.given(), layers.origin("gpu_metrics"))
    return layers


def said_settings(arguments: argparse.Namespace) -> config.Given:
    """The settings that the options say; `--servers` stands for the URLs of its pair.

    Raises:
        SettingsError: there is no such pair, or URLs are given beside it.
    """
    names = config.Given.__struct_fields__
    given = config.Given(**{name: getattr(arguments, name, None) for name in names})
    if arguments.pair is None:
        return given
    for role in ("draft", "target"):
        if getattr(given, role) is not None:
            raise SettingsError(f"--servers and --{role} both say where the {role} is: give one of them.")
    from atts_core.servers.use import urls_of_pair  # noqa: PLC0415  # only where asked for

    return msgspec.structs.replace(given, **urls_of_pair(arguments.pair))


def _refuse_both(arguments: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(arguments, name) is not None:
            name = {"source": "from"}.get(name, name).replace("_", "-")  # noqa: PLW2901
            raise SettingsError(f"--resume goes on with the problems that the run has: leave out the {name}.")


def _problem_text(arguments: argparse.Namespace) -> str:
    if arguments.text is not None and arguments.file is not None:
        raise SettingsError("The problem is given twice, as text and as --file: give one of them.")
    try:
        if arguments.file is not None:
            text = Path(arguments.file).read_text(encoding="utf-8")
        elif arguments.text == "-":
            text = sys.stdin.read()
        elif arguments.text is not None:
            text = arguments.text
        else:
            raise SettingsError(
                "The problem is missing: give it as text, - for standard input, or --file PATH."
            )
    except OSError as error:
        raise SettingsError(f"{arguments.file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SettingsError("The problem is not text in UTF-8.") from None
    text = text.strip()
    if not text:
        raise SettingsError("The problem is empty: type a question.")
    if len(text) > MAX_PROBLEM:
        raise SettingsError(f"The problem has {len(text):,} characters; at most {MAX_PROBLEM:,} are taken.")
    return text
