"""Recorded decisions: what an audit recomputes. Reads the authors' result folders and files."""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from atts_core.conformal.calibration import Calibration
from atts_core.conformal.identity import Identity
from atts_core.conformal.pvalues import is_score
from atts_core.errors import SettingsError

_FILE = re.compile(r"problem_\d+\.json")
_MOST_BYTES = 256_000_000
"""Of one record: their longest chains are below a megabyte."""
_USUAL_SAMPLES = 16


class RecordedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One decision of a run. `ppl` None: not verified. `p`: the recorded p-value or percentile, if any.
    `sample` and `turn` count from 0."""

    problem: str
    sample: int
    turn: int
    ppl: float | None
    p: float | None
    taken_over: bool
    repeats: str = ""
    """The id of the problem that its problem is a copy of, if any."""

    @property
    def cluster(self) -> str:
        """What it is alike to others in: the problem, one with its copies."""
        return self.repeats or self.problem


class RecordedChain(msgspec.Struct, frozen=True, kw_only=True):
    """One finished sample. `answer` None: none was found. `seconds`: its duration, queueing included."""

    problem: str
    sample: int
    answer: str | None
    question: str
    seconds: float | None
    correct: bool | None = None
    """As the run recorded it; the authors' files do not."""


class RecordedRun(msgspec.Struct, frozen=True, kw_only=True):
    """Steps in the order in which the run took them as far as it is known; chains by problem and sample.

    `unscored`: drafts that were kept or dropped without being scored (answers found by the "reject" programs,
    which record a PPL of 0 for them); they are no decisions.
    """

    steps: list[RecordedStep]
    chains: list[RecordedChain]
    samples: int
    unscored: int = 0


def calibration_from(steps: Iterable[RecordedStep], source: str = "the run") -> Calibration:
    """The verified scores of a run as a calibration, with their turns; SettingsError where there are none."""
    scored = [step for step in steps if is_score(step.ppl)]
    places: dict[str, int] = {}
    owners = [places.setdefault(step.problem, len(places)) for step in scored]
    return Calibration(
        ppl=np.array([step.ppl for step in scored], dtype=np.float64),
        turn=np.array([step.turn for step in scored], dtype=np.int32),
        problem=np.array(owners, dtype=np.int32),
        sample=np.array([step.sample for step in scored], dtype=np.int32),
        problems=tuple(places),
        identity=Identity(),
        source=source,
    )


def load_authors_run(path: Path, samples: int | None = None) -> RecordedRun:
    """Reads a folder of problem_XXXX.json, or a .json, .jsonl or .jsonl.gz of such records.

    `samples` of a question; without it, as many as the question with the most records spans. Steps come
    question by question, as their programs work, and there turn by turn. SettingsError, one sentence, for
    anything else. Format: REFERENCE of the authors' repository at bedf81d7, all published variants.
    """
    records = sorted(read_records(path), key=lambda record: record["problem_index"])
    if not records:
        raise SettingsError(
            f"{path} holds no results of the authors' programs (problem_XXXX.json or .jsonl)."
        )
    repeats = samples or samples_of(records)
    steps: list[RecordedStep] = []
    chains: list[RecordedChain] = []
    unscored = 0
    for record in records:
        index = record["problem_index"]
        problem, sample = str(index // repeats), index % repeats
        own, skipped = _steps(record["full_history"], problem, sample)
        steps.extend(own)
        unscored += skipped
        answer = record.get("final_answer")
        seconds = record.get("duration_seconds")
        chains.append(
            RecordedChain(
                problem=problem,
                sample=sample,
                answer=answer if isinstance(answer, str) and answer != "invalid" else None,
                question=question_of(record),
                seconds=float(seconds) if isinstance(seconds, int | float) else None,
            )
        )
    if not steps:
        raise SettingsError(
            f"{path} holds {len(records):,} chains and no scored step; there is nothing to audit."
        )
    steps.sort(key=lambda step: (int(step.problem), step.turn, step.sample))
    return RecordedRun(steps=steps, chains=chains, samples=repeats, unscored=unscored)


def _steps(history: list[Any], problem: str, sample: int) -> tuple[list[RecordedStep], int]:
    """The decisions of one chain, and how many drafts were not scored."""
    entries = [entry for entry in history if isinstance(entry, dict) and "event" not in entry]
    continued = {
        _turn(entry) for entry in entries if entry.get("model") in ("eval_generate", "self_continue")
    }
    steps, unscored = [], 0
    for entry in entries:
        model = entry.get("model")
        if model == "draft" and "accepted" in entry:
            if entry.get("accepted_reason") == "answer_found":
                unscored += 1
                continue
            taken_over = not entry["accepted"]
        elif model in ("eval_ppl", "self_ppl"):
            should = entry.get("should_takeover")
            taken_over = bool(should) if should is not None else _turn(entry) in continued
        else:
            continue
        ppl, p = entry.get("ppl"), entry.get("percentile")
        steps.append(
            RecordedStep(
                problem=problem,
                sample=sample,
                turn=_turn(entry),
                # A PPL of 0 is how they record that the server returned no log-probabilities.
                ppl=float(ppl) if isinstance(ppl, int | float) and is_score(float(ppl)) else None,
                p=float(p) if isinstance(p, int | float) else None,
                taken_over=taken_over,
            )
        )
    return steps, unscored


def _turn(entry: dict[str, Any]) -> int:
    turn = entry.get("turn")
    if not isinstance(turn, int) or turn < 0:
        raise SettingsError(
            f"A recorded step has the turn {turn!r}; this is no result of the authors' programs."
        )
    return turn


def samples_of(records: list[dict[str, Any]]) -> int:
    """Samples of a question, as the questions' texts tell; their usual 16 where they do not."""
    texts = [(record["problem_index"], question_of(record)) for record in records]
    if not any(text for _, text in texts):
        return _USUAL_SAMPLES
    spans: dict[str, list[int]] = {}
    for index, text in texts:
        spans.setdefault(text, []).append(index)
    repeats = max(max(own) - min(own) + 1 for own in spans.values())
    # A question that lacks its first or last sample spans less, so the widest one decides.
    groups: dict[int, str] = {}
    if all(groups.setdefault(index // repeats, text) == text for index, text in texts):
        return repeats
    raise SettingsError("It cannot be told how many samples a question of this run has; say it.")


def question_of(record: dict[str, Any]) -> str:
    """The text of a record's question; a list (GPQA) is joined by lines."""
    question = record.get("question")
    if isinstance(question, list):
        return "\n".join(str(part) for part in question)
    return question if isinstance(question, str) else ""


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The authors' records of a folder or file, one by one. SettingsError for what is none of theirs."""
    try:
        if path.is_dir():
            for file in sorted(path.iterdir()):
                if _FILE.fullmatch(file.name):
                    yield _record(file.read_bytes(), str(file))
        elif path.suffix == ".json":
            yield _record(path.read_bytes(), str(path))
        else:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
                number = 0
                while line := lines.readline(_MOST_BYTES):
                    number += 1
                    if line.strip():
                        yield _record(line, f"line {number} of {path}")
    except FileNotFoundError:
        raise SettingsError(f"There is no run {path}.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SettingsError(f"{path} cannot be read ({error}); it may be cut off.") from None


def _record(data: bytes, source: str) -> dict[str, Any]:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        raise SettingsError(f"{source} is no JSON; it may be cut off.") from None
    if (
        not isinstance(record, dict)
        or not isinstance(record.get("problem_index"), int)
        or record["problem_index"] < 0
        or not isinstance(record.get("full_history"), list)
    ):
        raise SettingsError(
            f"{source} is no result of the authors' programs: problem_index or full_history lacks."
        )
    return record
