"""`atts eval --suite FILE`: many evaluations, one after another, and one table at the end.

Every run is an `atts eval` in a process of its own, so that one that fails ends nothing but itself. What is
done is remembered beside the runs: the same command again goes on where it was left.
"""

import argparse
import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from atts_core.engine.strategies.registry import METHOD, STRATEGIES
from atts_core.errors import RunError, SettingsError
from atts_core.runs.folder import make_folder, run_files, runs_folder
from atts_core.suites import CalibrationSpec, Cell, PairSpec, SuiteFile, Value, expand, read_suite
from atts_tui.arguments.running import eval_options
from atts_tui.commands.suite_table import suite_table
from atts_tui.text import clean_line

ALONE = ("suite", "runs_dir", "json", "limit", "handler", "command", "headless", "dry_run")
"""Options that go with --suite; all others belong into the file."""


INTERRUPTED = 130
"""Exit status of a command that was told to stop."""


class Done(msgspec.Struct, kw_only=True):
    """What became of one run."""

    name: str
    file: str = ""
    status: int | None = None
    """Exit status; None while it is under way, or where it was cut off."""
    said: str = ""
    """The last thing that it said, where it failed."""


class Progress(msgspec.Struct, kw_only=True):
    """What became of the runs of a suite, by their keys."""

    runs: dict[str, Done] = {}


def run_suite(arguments: argparse.Namespace) -> int:
    """The whole command; returns the exit status."""
    options = eval_options()
    _refuse_others(arguments, options)
    path = Path(arguments.suite)
    suite = read_suite(path)
    override: dict[str, Value] = {} if arguments.limit is None else {"limit": arguments.limit}
    cells = expand(suite, set(options) - set(ALONE) | {"limit"}, drop=_unused, override=override)
    folder = runs_folder(arguments.runs_dir) / "suites" / path.stem
    if arguments.dry_run:
        for cell in cells:
            sys.stdout.write(f"# {cell.name}\natts {' '.join(_arguments(cell, folder, options))}\n")
        return 0
    make_folder(folder)
    runner = Runner(suite, folder, options)
    try:
        runner.run(cells)
    finally:
        suite_table(
            {cell.name: folder / done.file for cell in cells if (done := runner.of(cell)).file},
            baseline=suite.baseline or cells[0].name,
            folder=folder,
            as_json=arguments.json,
        )
    return 0 if all(runner.of(cell).status == 0 for cell in cells) else 1


def _refuse_others(arguments: argparse.Namespace, options: Mapping[str, argparse.Action]) -> None:
    for name, action in options.items():
        if name not in ALONE and getattr(arguments, name, action.default) != action.default:
            said = action.option_strings[-1] if action.option_strings else "the data set"
            raise SettingsError(f"{said}: a suite's settings stand in its file; write it there.")


def _unused(options: Mapping[str, Value]) -> set[str]:
    """Settings of the method that mean nothing to a run's strategy."""
    kind = STRATEGIES.get(str(options.get("strategy", "atts")))
    return set() if kind is None else set(METHOD - kind.takes)  # an unknown one is refused by its run


def _arguments(cell: Cell, folder: Path, options: Mapping[str, argparse.Action]) -> list[str]:
    """The command line of one run, without `atts`."""
    words = ["eval", str(cell.options["dataset"])]
    words += _options(cell.options, options)
    words += pair_options(cell.pair)
    return [*words, "--runs-dir", str(folder), "--json"]


def _options(values: Mapping[str, Value], options: Mapping[str, argparse.Action]) -> list[str]:
    words: list[str] = []
    for name, value in values.items():
        if name == "dataset":
            continue
        option = options[name].option_strings[-1]
        if value is True:
            words.append(option)
        elif value is not False:
            words += [option, str(value)]
    return words


def pair_options(pair: PairSpec | None) -> list[str]:
    """The options that name the servers of a pair."""
    if pair is None:
        return []
    if pair.preset is not None:
        return ["--servers", servers_name(pair)]
    words: list[str] = []
    for role, urls in (("--draft", pair.draft), ("--target", pair.target)):
        for url in [urls] if isinstance(urls, str) else urls or []:
            words += [role, url]
    return words


def calibration_words(
    cell: Cell, wanted: CalibrationSpec, dataset: str, options: Mapping[str, argparse.Action]
) -> list[str]:
    """The command that collects the scores of a run: runs for which it is the same share them."""
    shared = {"takeover", "draft_tokens", "target_tokens", "temperature", "top_p", "turns"}
    if STRATEGIES[str(cell.options.get("strategy", "atts"))].own_judge:
        shared.add("strategy")  # its one model scores itself
    said = {name: value for name, value in cell.options.items() if name in shared}
    words = ["calibrate", dataset, "--limit", str(wanted.limit), "--samples", str(wanted.samples)]
    return [*words, *_options(dict(sorted(said.items())), options), *pair_options(cell.pair)]


def servers_name(pair: PairSpec) -> str:
    """The name under which a suite starts the servers of a pair."""
    return "suite-" + hashlib.sha256(msgspec.json.encode(pair)).hexdigest()[:8]


class Runner:
    """Runs what is left of a suite."""

    def __init__(self, suite: SuiteFile, folder: Path, options: Mapping[str, argparse.Action]) -> None:
        self._suite = suite
        self._folder = folder
        self._options = options
        self._file = folder / "suite.json"
        self._progress = self._read()
        self._interrupted = False
        """Whether we, or what we ran, were told to end."""

    def of(self, cell: Cell) -> Done:
        """What became of a run."""
        return self._progress.runs.get(cell.key) or Done(name=cell.name)

    def run(self, cells: Sequence[Cell]) -> None:
        """Everything that is not done yet. Raises KeyboardInterrupt where a run was interrupted."""
        left = [cell for cell in cells if self.of(cell).status != 0]
        self._say(f"{len(cells)} runs, {len(cells) - len(left)} done already, in {self._folder}")
        up: PairSpec | None = None
        try:
            for number, cell in enumerate(left, start=1 + len(cells) - len(left)):
                if cell.pair != up:
                    self._down(up)
                    up = None
                    if not self._up(cell, cells):
                        continue
                    up = cell.pair
                self._say(f"run {number} of {len(cells)}: {cell.name}")
                self._run(cell)
        finally:
            self._down(up)

    def _run(self, cell: Cell) -> None:
        done = self.of(cell)
        self._progress.runs[cell.key] = done
        calibration = self._calibrated(cell)
        if calibration is None:
            return
        words = _arguments(cell, self._folder, self._options) + calibration
        if done.file and (self._folder / done.file).exists():
            words = ["eval", "--resume", Path(done.file).stem, "--runs-dir", str(self._folder), "--json"]
            words += pair_options(cell.pair)
        before = {path.name for path in run_files(self._folder)}
        began = time.monotonic()

        def found() -> None:
            if not done.file:
                done.file = next((p.name for p in run_files(self._folder) if p.name not in before), "")
                self._write()

        done.status, done.said = self._atts(words, found)
        found()
        self._write()
        if self._interrupted:
            raise KeyboardInterrupt
        if done.status:
            self._say(f"{cell.name}: failed: {done.said}")
        else:
            self._say(f"{cell.name}: done in {time.monotonic() - began:.0f} s")

    def _calibrated(self, cell: Cell) -> list[str] | None:
        """The option that names a run's calibration, collected where there is none; None if that failed."""
        wanted = self._suite.calibration
        kind = STRATEGIES.get(str(cell.options.get("strategy", "atts")))
        if wanted is None or kind is None or not kind.calibrated or "calibration" in cell.options:
            return []
        dataset = wanted.dataset or str(cell.options["dataset"])
        words = calibration_words(cell, wanted, dataset, self._options)
        name = hashlib.sha256(msgspec.json.encode(words)).hexdigest()[:12]
        path = self._folder / "calibrations" / f"{name}.npz"
        if not path.exists():
            make_folder(path.parent)
            self._say(f"collecting calibration scores of {dataset}")
            where = ["-o", str(path), "--runs-dir", str(path.parent), "--headless"]
            status, said = self._atts([*words, *where])
            if self._interrupted:
                raise KeyboardInterrupt
            if status:
                done = self._progress.runs[cell.key]
                done.status, done.said = status, f"its calibration failed: {said}"
                self._write()
                self._say(f"{cell.name}: {done.said}")
                return None
        return ["--calibration", str(path)]

    def _up(self, cell: Cell, cells: Sequence[Cell]) -> bool:
        """Start the servers of a pair, where it is one that is started; says whether they are there."""
        pair = cell.pair
        if pair is None or pair.preset is None:
            return True
        words = ["servers", "up", "--preset", pair.preset, "--name", servers_name(pair)]
        for name, value in pair.servers.items():
            option = "--" + name.replace("_", "-")
            words += [option] if value is True else [] if value is False else [option, str(value)]
        self._say(f"starting the servers of {pair.name}")
        status, said = self._atts(words)
        if self._interrupted:
            raise KeyboardInterrupt
        if status == 0:
            return True
        for other in cells:
            if other.pair == pair and self.of(other).status != 0:
                self._progress.runs[other.key] = done = self.of(other)
                done.status, done.said = status, f"its servers did not start: {said}"
        self._write()
        self._say(f"{pair.name}: {said}")
        return False

    def _down(self, pair: PairSpec | None) -> None:
        if pair is not None and pair.preset is not None:
            self._say(f"stopping the servers of {pair.name}")
            self._atts(["servers", "down", "--name", servers_name(pair)])

    def _atts(self, words: Sequence[str], seen: Callable[[], None] = lambda: None) -> tuple[int, str]:
        """Runs `atts` with these words; its progress goes to our stderr. Exit status, and what it said last.

        ctrl-C reaches it as well as us: it keeps what is finished, and we wait for it. While it starts it
        may not hear it, so we remember it.
        """
        last = ""
        command = [sys.executable, "-m", "atts_tui.cli", *words]

        def interrupted(*_: object) -> None:
            self._interrupted = True

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            with subprocess.Popen(  # noqa: S603  # ourselves
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            ) as process:
                assert process.stderr is not None  # noqa: S101  # it is a pipe
                terminate = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
                try:
                    for line in process.stderr:
                        seen()
                        last = clean_line(line.rstrip())
                        self._say(f"  {last.removeprefix('atts: ')}")
                    status = process.wait()
                finally:
                    signal.signal(signal.SIGTERM, terminate)
        finally:
            signal.signal(signal.SIGINT, before)
        status = status if status >= 0 else 128 - status
        self._interrupted |= status == INTERRUPTED
        return status, last.removeprefix("atts: ")

    def _say(self, line: str) -> None:
        sys.stderr.write(f"atts: {line}\n")
        sys.stderr.flush()

    def _read(self) -> Progress:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Progress)
        except FileNotFoundError:
            return Progress()
        except (OSError, msgspec.DecodeError) as error:
            raise SettingsError(
                f"{self._file} cannot be read ({error}): move it away to begin the suite anew."
            ) from None

    def _write(self) -> None:
        part = self._file.with_suffix(".part")
        try:
            part.write_bytes(msgspec.json.format(msgspec.json.encode(self._progress)))
            part.replace(self._file)
        except OSError as error:
            raise RunError(f"{self._file} cannot be written: {error.strerror}.") from None
