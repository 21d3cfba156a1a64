"""Problems by the name of their data set, or from a file or folder of the user's.

`builtin`, the embedded pair's own, is always there; the sets of the paper are in `catalogue`; others are
named in `atts.toml` or by a path.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from atts_core.errors import SettingsError
from atts_core.problems.builtin.streams import problems as draw_builtin
from atts_core.problems.catalogue import (
    ALIASES,
    DATASETS,
    PRESET,
    SEPARATOR,
    Columns,
    DataSet,
    Part,
    Source,
)
from atts_core.problems.choose import choose, drawn, is_calibration, last_place, order_of
from atts_core.problems.columns import to_problems
from atts_core.problems.problem import Problem
from atts_core.problems.rows import Row, from_hub, read_rows

BUILTIN = "builtin"
BUILTIN_COUNT = 100
"""Built-in problems without end are drawn; so many where nobody says how many."""
TYPED = "typed"
"""The data set of a problem that a user typed."""


class ProblemSet(msgspec.Struct, frozen=True):
    """Problems with the name of their data set and the fingerprint of the whole set, not only of these: a
    calibration on other problems of the same set has the same one."""

    dataset: str
    fingerprint: str
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    """What a user should know of how these were chosen, in sentences; the run records them."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Which problems are wanted."""

    dataset: str
    """A name, or a path."""
    part: Part
    limit: int | None = None
    positions: str | None = None
    """Places in the part, from 1, such as `3,7-12`."""
    shuffle: int | None = None
    repeat: int = 1
    seed: int = 0
    """Of the built-in problems."""
    level: int | None = None
    """Of the built-in problems."""
    option_seed: int = 0
    """Of the order of choices."""
    columns: Columns = Columns()
    known: Mapping[str, Columns] = {}
    """Data sets of `atts.toml`."""


def load_problems(request: Request, say: Callable[[str], object] = lambda _: None) -> ProblemSet:
    """The problems that are wanted, the same for the same request and content; `say` is told of waiting.

    Raises:
        SettingsError: there is no such data set, it cannot be read or reached, or it has no such problems.
    """
    if request.dataset == BUILTIN:
        return _builtin(request)
    if request.level is not None:
        raise SettingsError("--level is of the built-in problems; other data sets have no levels here.")
    spec, preset = _spec(request)
    rows = _rows(spec.test, say)
    test = to_problems(rows, spec, option_seed=request.option_seed)
    part, notes = _part(spec, preset, rows, test, request, say)
    if not part:
        raise SettingsError(f"{request.dataset} has no problems in its {request.part} part.")
    chosen = choose(
        part,
        positions=request.positions,
        shuffle=request.shuffle,
        limit=request.limit,
        repeat=request.repeat,
        name=request.dataset,
    )
    without = sum(problem.gold is None for problem in chosen)
    if without:
        which = "The problems" if without == len(chosen) else f"{without} of {len(chosen)} problems"
        notes = [*notes, f"{which} have no gold answer: nothing is said of their accuracy."]
    name = spec.name + (SEPARATOR + PRESET if preset else "")
    return ProblemSet(name, fingerprint(test), tuple(chosen), tuple(notes))


def _part(
    spec: DataSet,
    preset: bool,
    rows: Sequence[tuple[str, Row]],
    test: Sequence[Problem],
    request: Request,
    say: Callable[[str], object],
) -> tuple[Sequence[Problem], list[str]]:
    """The part that is wanted, and in words how it came about where that is not plain."""
    paper, notes = None, []
    if preset and spec.paper is not None:
        paper = [test[place] for place in drawn([row for _, row in rows], spec.paper)]
        if spec.paper.order not in ("", order_of(problem.question for problem in test)):
            notes.append(
                f"{spec.name} is not in the order that the authors drew from: these are other problems."
            )
    if request.part == "calibration" and spec.calibration is not None:
        training = _rows(spec.calibration, say)
        if paper is not None and spec.paper_calibration is not None:
            places = drawn([row for _, row in training], spec.paper_calibration)
            training = [training[place] for place in places]
        known = {problem.question for problem in test}
        part = to_problems(training, spec, option_seed=request.option_seed)
        notes = [f"Calibrating on training problems of {spec.calibration.said}; none is a test problem."]
        return [problem for problem in part if problem.question not in known], notes
    if paper is not None:
        if request.part != "calibration":
            return paper, notes
        taken = {problem.id for problem in paper}
        rest = [problem for problem in test if problem.id not in taken]
        notes = [
            f"{spec.name} has no training problems: calibrating on {len(rest)} that the authors left out."
        ]
        return rest, notes
    if request.part == "all" or spec.calibration is not None:
        return test, []
    part = [each for each in test if is_calibration(each.question) == (request.part == "calibration")]
    note = (
        f"{spec.name} has one split: {len(part)} of its {len(test)} problems are its {request.part} part,"
        " drawn by their texts, so that the test and calibration parts never share one."
    )
    return part, [note]


def typed_problem(problem: Problem, *, builtin: bool) -> ProblemSet:
    """One problem that a user typed; `builtin` where it is of the embedded pair's own families."""
    return ProblemSet(BUILTIN if builtin else TYPED, builtin_fingerprint() if builtin else "", (problem,))


@cache
def builtin_fingerprint() -> str:
    """Of the generator: what it draws first. Changes when its families, words or streams do."""
    digest = hashlib.sha256()
    for problem in draw_builtin("test", 0, 40):
        digest.update(msgspec.json.encode((problem.id, problem.question, problem.gold)))
    return digest.hexdigest()[:16]


def fingerprint(problems: Sequence[Problem]) -> str:
    """16 hexadecimal digits that stand for the questions and gold answers of a set, in any order and under
    any ids: the SHA-256 over the sorted SHA-256 of each."""
    each = sorted(
        hashlib.sha256(msgspec.json.encode((problem.question, problem.gold))).digest() for problem in problems
    )
    return hashlib.sha256(b"".join(each)).hexdigest()[:16]


def _builtin(request: Request) -> ProblemSet:
    if request.columns != Columns():
        raise SettingsError("The built-in problems are drawn and not read: leave out --from and the columns.")
    count = last_place(request.positions) if request.positions else (request.limit or BUILTIN_COUNT)
    stream = draw_builtin(
        "calibration" if request.part == "calibration" else "test", request.seed, count, request.level
    )
    chosen = choose(
        [
            Problem(id=each.id, question=each.question, gold=each.gold, family=each.family, level=each.level)
            for each in stream
        ],
        positions=request.positions,
        shuffle=request.shuffle,
        limit=request.limit,
        repeat=request.repeat,
        name=BUILTIN,
    )
    return ProblemSet(BUILTIN, builtin_fingerprint(), tuple(chosen))


def _spec(request: Request) -> tuple[DataSet, bool]:
    """The data set that a request means, and whether it means the authors' subset."""
    name, _, preset = request.dataset.partition(SEPARATOR)
    name = ALIASES.get(name, name)
    path = Path(request.dataset).expanduser()
    if request.dataset in request.known:
        columns = request.known[request.dataset]
        if (columns.path is None) == (columns.hub is None):
            raise SettingsError(f"[datasets.{request.dataset}] needs path or hub, and not both.")
        spec, preset = _changed(DataSet(name=request.dataset, test=Source()), columns), ""
    elif name in DATASETS:
        spec = DATASETS[name]
        if preset and (preset != PRESET or spec.paper is None):
            why = f": {spec.no_paper}" if spec.no_paper else f"; there is {name}{SEPARATOR}{PRESET}"
            raise SettingsError(f"There is no {request.dataset}{why}.")
    elif path.exists():
        spec, preset = DataSet(name=path.resolve().stem, test=Source(path=str(path))), ""
    else:
        raise SettingsError(
            f"There is no data set and no file {request.dataset!r}; there are"
            f" {', '.join((BUILTIN, *DATASETS))}, and any file of problems."
        )
    return _changed(spec, request.columns), bool(preset)


def _changed(spec: DataSet, said: Columns) -> DataSet:
    """A data set with what a user says of it."""
    test, calibration = spec.test, spec.calibration
    if said.path is not None:
        # A local copy has the splits that the hub's has; a single file has none.
        beside = calibration is not None and calibration.hub == test.hub and Path(said.path).is_dir()
        if calibration is not None and calibration.hub == test.hub:
            calibration = msgspec.structs.replace(calibration, path=said.path) if beside else None
        test = msgspec.structs.replace(test, path=said.path)
    test = msgspec.structs.replace(
        test, hub=said.hub or test.hub, config=said.config or test.config, split=said.split or test.split
    )
    if said.calibration_path is not None:
        calibration = Source(path=said.calibration_path, split=said.calibration_split or "train")
    elif said.calibration_split is not None:
        calibration = msgspec.structs.replace(test, split=said.calibration_split)
    given = {
        name: value
        for name in ("question", "answer", "id", "grading")
        if (value := getattr(said, name)) is not None
    }
    return msgspec.structs.replace(spec, test=test, calibration=calibration, **given)


def _rows(source: Source, say: Callable[[str], object]) -> list[tuple[str, Row]]:
    if source.path:
        return read_rows(Path(source.path).expanduser(), config=source.config, split=source.split)
    say(f"loading {source.hub} from the Hugging Face hub or its cache")
    return from_hub(source.hub, source.config, source.split)
