"""Runs from elsewhere as run files: our own files and JSON lines, the authors' results in all variants."""

import contextlib
import gzip
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from atts_core import __version__
from atts_core import events as ev
from atts_core.conformal import records as authors
from atts_core.engine.votes import vote
from atts_core.errors import RunError, SettingsError
from atts_core.problems.grading import UNKNOWN, Graded, Grader
from atts_core.problems.problem import Grading
from atts_core.runs.chains import chain_events, clean, duration, read_chain
from atts_core.runs.file import About, RunFile
from atts_core.runs.folder import make_folder, run_path
from atts_core.runs.gate import Gate
from atts_core.runs.reference import ASYNC, RecordMaker, Rest, rest_name
from atts_core.runs.writer import RunWriter

REFERENCE_ALPHA = 0.6
"""The threshold that is written into the authors' programs."""
MOST_SAMPLES = 100_000
"""Of one question."""
_AT_ONCE = 2048
_MOST_LINE = 64_000_000
"""Bytes of one event's line."""
_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_FOLDER = re.compile(
    r"(?P<models>.+)_(?P<dataset>[a-z0-9]+)_sm(?P<draft_tokens>\d+)_em(?P<target_tokens>\d+)_t(?P<turns>\d+)"
    r"_smt(?P<temperature>[\d.]+)_"
)
_STRATEGIES = {"async": "atts", "self": "self-refine", "reject": "self-reject"}


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an import."""

    path: Path
    events: int
    note: str = ""
    """What could not be taken over as it was; empty where everything could."""


def import_run(
    source: Path,
    folder: Path,
    *,
    samples: int | None = None,
    gold: Mapping[str, str] | None = None,
    dataset: str = "",
    draft: str = "",
    target: str = "",
    alpha: float = REFERENCE_ALPHA,
) -> Imported:
    """Make a run file in `folder` of a run file, of our JSON lines (.gz or not), or of the authors' results:
    a folder of problem_XXXX.json, or records in .json, .jsonl or .jsonl.gz.

    For the authors' results only, as their files do not say: `samples` of a question (found by the questions'
    texts where they tell), the `gold` answers by question number, the data set, the models, the threshold.

    Raises:
        SettingsError: the source cannot be read, or is none of these.
    """
    make_folder(folder)
    begins = b"" if source.is_dir() else _begins(source)
    if begins.startswith(b"SQLite format 3\0"):
        return _copy(source, folder)
    if begins.startswith(b'{"seq":'):
        return _events(source, folder)
    return _authors(source, folder, samples, gold or {}, (dataset, draft, target), alpha)


def _copy(source: Path, folder: Path) -> Imported:
    """Every whole event of a run file, and what was kept with it."""
    with contextlib.closing(RunFile.open(source)) as file:
        path = _free(folder, file.path.stem)
        with _new(path, file.about) as writer:
            for stamps in file.events():
                writer.append(stamps)
            writer.keep_all(file.all_kept())
            return Imported(path=path, events=writer.last.ordinal, note=file.trouble)


def _events(source: Path, folder: Path) -> Imported:
    """Our JSON lines: one event each, as `--events` and `export` write them."""
    gate = Gate()
    writer: RunWriter | None = None
    batch: list[ev.Stamped] = []
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(_opened(source))
        for number, stamped in _stamps(source, lines):
            why = gate.refuses(stamped)
            if why:
                raise SettingsError(f"{source} line {number} cannot follow the lines before it: {why}.")
            batch.append(stamped)
            if isinstance(stamped.event, ev.RunStarted) and writer is None:
                run = stamped.event
                path = _free(folder, run.run)
                about = About(
                    run=path.stem,
                    command=run.command,
                    created=run.started_at,
                    version=run.version,
                    dataset=run.dataset,
                    fingerprint=run.fingerprint,
                    origin=str(source),
                )
                writer = stack.enter_context(_new(path, about))
            if writer is not None and len(batch) >= _AT_ONCE:
                writer.append(batch)
                batch = []
        if writer is None:
            raise SettingsError(f"{source} holds no run: no line says that one started.")
        writer.append(batch)
        return Imported(path=writer.path, events=writer.last.ordinal)


def _stamps(source: Path, lines: IO[bytes]) -> Iterator[tuple[int, ev.Stamped]]:
    number = 0
    try:
        while line := lines.readline(_MOST_LINE):
            number += 1
            yield number, ev.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source} line {number} is no event of atts: {error}.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SettingsError(f"{source} cannot be read ({error}); it may be cut off.") from None


def _authors(
    source: Path,
    folder: Path,
    samples: int | None,
    gold: Mapping[str, str],
    names: tuple[str, str, str],
    alpha: float,
) -> Imported:
    found = sorted(authors.read_records(source), key=lambda record: record["problem_index"])
    if not found:
        raise SettingsError(f"{source} is no run: neither ours nor one of the authors' programs.")
    each = samples or authors.samples_of(found)
    if not 0 < each <= MOST_SAMPLES:
        raise SettingsError(f"{source} would have {each:,} samples of a question; say how many it has.")
    for one, following in pairwise(found):
        if one["problem_index"] == following["problem_index"]:
            raise SettingsError(f"{source} holds problem_index {one['problem_index']} twice.")
    run = _AuthorsRun(source, found, each, gold, names, alpha)
    path = _free(folder, _NAME.sub("-", source.name.split(".json")[0]).strip("-.") or "imported")
    about = About(
        run=path.stem,
        command="eval",
        created=run.started_at,
        version=__version__,
        dataset=run.dataset,
        origin=str(source),
    )
    with _new(path, about) as writer:
        stamps = [
            ev.Stamped(seq, at, event) for seq, (at, event) in enumerate(run.events(path.stem), start=1)
        ]
        gate = Gate()
        for stamped in stamps:
            why = gate.refuses(stamped)
            if why:
                raise SettingsError(f"{source} cannot be played as a run: {why}.")
        for begin in range(0, len(stamps), _AT_ONCE):
            writer.append(stamps[begin : begin + _AT_ONCE])
        writer.keep_all(run.rests(stamps))
    return Imported(path=path, events=len(stamps), note=run.note)


class _AuthorsRun:
    """Their records as one run: questions one after another, the samples of a question side by side, as their
    programs work."""

    def __init__(
        self,
        source: Path,
        found: list[dict[str, Any]],
        samples: int,
        gold: Mapping[str, str],
        names: tuple[str, str, str],
        alpha: float,
    ) -> None:
        self._source = source
        self._samples = samples
        self._gold = gold
        self._alpha = alpha
        self._chains = [read_chain(record, alpha) for record in found]
        self._found = found
        self._questions: dict[int, list[int]] = {}
        for place, record in enumerate(found):
            self._questions.setdefault(record["problem_index"] // samples, []).append(place)
        folder = _FOLDER.match(source.name)
        self._settings: dict[str, Any] = folder.groupdict() if folder else {}
        self.dataset = names[0] or self._settings.get("dataset", "")
        self._models = names[1:]
        self.grading: Grading = "choice" if self.dataset.startswith("gpqa") else "math"
        self.started_at = source.stat().st_mtime
        with contextlib.closing(Grader()) as grader:
            self._graded: dict[tuple[int, str | None], Graded] = {}
            for record in found:
                number, answer = record["problem_index"] // samples, _answer(record)
                self._graded[number, answer] = grader.grade_now(answer, gold.get(str(number)), self.grading)

    @property
    def note(self) -> str:
        """What of the records is not in the events."""
        unknown = sum(chain.unknown for chain in self._chains)
        return f"{unknown:,} entries of unknown kinds are kept, but not shown" if unknown else ""

    def events(self, run: str) -> Iterator[tuple[float, ev.AnyEvent]]:
        """Every event with its run time, in order."""
        yield 0.0, self._run_started(run)
        yield (
            0.0,
            ev.Warned(
                message=f"Imported from {self._source.name}: times within a sample are shared out by the"
                " length of its texts, and tokens were not recorded, so they are not counted."
            ),
        )
        if self.note:
            yield 0.0, ev.Warned(message=self.note)
        for problem, (number, places) in enumerate(self._questions.items()):
            question = clean(authors.question_of(self._found[places[0]]))
            yield (
                0.0,
                ev.ProblemAdded(
                    problem=problem,
                    id=str(number),
                    question=question,
                    gold=self._gold.get(str(number)),
                    grading=self.grading,
                ),
            )
        began = 0.0
        for problem, places in enumerate(self._questions.values()):
            yield from self._question(problem, places, began)
            began += max(duration(self._found[place]) for place in places)
        missing = len(self._questions) * self._samples - len(self._found)
        yield (
            began,
            ev.RunFinished(
                end="incomplete" if missing else "done",
                message=f"{missing:,} samples are not among the files" if missing else "",
            ),
        )

    def rests(self, stamps: list[ev.Stamped]) -> Iterator[tuple[str, bytes]]:
        """What of each record the events cannot say."""
        made = RecordMaker().fold(stamps).finished
        for problem, places in enumerate(self._questions.values()):
            for place in places:
                original, names = self._found[place], self._chains[place].names
                sample = original["problem_index"] % self._samples
                rest = Rest.of(original, made[problem, sample], names)
                if rest.keys != list(made[problem, sample]) or rest.values != "{}" or names != ASYNC:
                    yield rest_name(problem, sample), msgspec.json.encode(rest)

    def _question(self, problem: int, places: list[int], began: float) -> Iterator[tuple[float, ev.AnyEvent]]:
        timed: list[tuple[float, list[ev.AnyEvent]]] = []
        for place in places:
            timed += self._sample(problem, place, began)
        timed.sort(key=lambda item: item[0])  # stable: each sample's own events keep their order
        answers: list[str | None] = [None] * self._samples
        ended, number = 0, list(self._questions)[problem]
        for at, events in timed:
            for event in events:
                yield at, event
                if not isinstance(event, ev.SampleFinished):
                    continue
                answers[event.sample] = event.answer
                ended += 1
                outcome = vote(answers)
                voted = sum(count for _, count in outcome.tally)
                yield at, ev.VoteChanged(problem=problem, tally=outcome.tally, voted=voted, ended=ended)
                if ended == self._samples:
                    yield (
                        at,
                        ev.ProblemFinished(
                            problem=problem,
                            answer=outcome.winner,
                            tied=outcome.tied,
                            correct=self._grade(number, outcome.winner).correct,
                        ),
                    )

    def _sample(self, problem: int, place: int, began: float) -> Iterator[tuple[float, list[ev.AnyEvent]]]:
        record, chain = self._found[place], self._chains[place]
        number, index = divmod(record["problem_index"], self._samples)
        at = {"problem": problem, "sample": index}
        seconds = duration(record)
        yield began, [ev.SampleStarted(**at)]
        for offset, event in chain_events(chain, problem, index, seconds, self._alpha):
            yield began + min(offset, seconds), [event]
        for turn, origin in chain.forks:
            yield began + seconds, [ev.Warned(
                message=f"Problem {number}, sample {index + 1}: after turn {turn} its text was replaced by a"
                f" copy of sample {origin % self._samples + 1}'s (a fork), which is not shown."
            )]  # fmt: skip
        answer = _answer(record)
        last = chain.steps[-1] if chain.steps else None
        events: list[ev.AnyEvent] = []
        if answer is not None and last is not None:
            events.append(ev.AnswerFound(**at, turn=last.turn, role=last.role, answer=answer))
        end: ev.SampleEnd = "turn-limit" if last is not None and last.text else "end-of-text"
        events.append(
            ev.SampleFinished(
                **at,
                end="answered" if answer is not None else end,
                answer=answer,
                correct=self._grade(number, answer).correct,
                graded=self._grade(number, answer).how,
            )
        )
        yield began + seconds, events

    def _grade(self, number: int, answer: str | None) -> Graded:
        """The verdict on an answer of a question; without any, as on none at all."""
        none = UNKNOWN if str(number) not in self._gold else Graded(correct=False, how="spelling")
        return self._graded.get((number, answer), none)

    def _run_started(self, run: str) -> ev.RunStarted:
        judged = any(step.verdict for chain in self._chains for step in chain.steps)
        forked = any(chain.forks for chain in self._chains)
        kinds = {chain.kind for chain in self._chains}
        kind = "reject" if "reject" in kinds else "self" if "self" in kinds else "async"
        draft, target = self._models
        cards = (_card("draft", draft), _card("target", target or (draft if kind != "async" else "")))
        return ev.RunStarted(
            run=run,
            command="eval",
            started_at=self.started_at,
            version=__version__,
            strategy=_STRATEGIES[kind] + (" with forks" if forked else ""),
            takeover="continue",
            samples=self._samples,
            turns=max(1, *(chain.turns for chain in self._chains)),
            seed=0,
            models=cards,
            calibration=_calibration(self._alpha) if judged else None,
            settings={"imported": str(self._source.name), **self._settings},
        )


def _card(role: ev.Role, name: str) -> ev.ModelCard:
    return ev.ModelCard(
        role=role, name=name or "not recorded", url="", release="", context_length=0, tokenizer=""
    )


def _calibration(alpha: float) -> ev.CalibrationCard:
    return ev.CalibrationCard(
        mode="marginal",
        rule="reference",
        adaptation="off",
        alpha=alpha,
        nominal=round(1 - alpha, 12),
        size=0,
        problems=0,
        fingerprint="",
        source="not recorded",
        promise="",
        limits="The files do not say which calibration scores these verdicts were reached with.",
    )


def _answer(record: dict[str, Any]) -> str | None:
    answer = record.get("final_answer")
    return clean(answer) if isinstance(answer, str) and answer != "invalid" else None


@contextlib.contextmanager
def _new(path: Path, about: About) -> Iterator[RunWriter]:
    """A run file that is there once everything went well."""
    writer = RunWriter.create(path, about)
    try:
        yield writer
        writer.close()
    except BaseException:
        writer.abandon()
        for suffix in ("-wal", "-shm", ""):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        raise


def _free(folder: Path, name: str) -> Path:
    """A path for a run of this name, or of the next one that is free."""
    name = _NAME.sub("-", name)[:150].strip("-.") or time.strftime("%Y%m%d-%H%M%S-imported")
    candidates = (name if number == 1 else f"{name}-{number}" for number in range(1, 10_000))
    for candidate in candidates:
        path = run_path(folder, candidate)
        if not path.exists():
            return path
    raise RunError(f"{folder} has too many runs of the name {name}; remove some.")


def _opened(source: Path) -> IO[bytes]:
    if _raw_beginning(source).startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.open(source))
    return source.open("rb")


def _begins(source: Path) -> bytes:
    try:
        with _opened(source) as file:
            return file.read(16)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""


def _raw_beginning(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            return file.read(16)
    except FileNotFoundError:
        raise SettingsError(f"There is no {source} to import.") from None
    except OSError as error:
        raise SettingsError(f"{source} cannot be read: {error.strerror}.") from None
