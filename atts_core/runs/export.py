"""A run for other programs: JSON lines of events, CSV of samples and verdicts, the authors' result folder."""

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, get_args

from atts_core import events as ev
from atts_core.conformal.npy import replacing
from atts_core.errors import RunError, SettingsError
from atts_core.runs.file import RunFile
from atts_core.runs.reference import records
from atts_core.state import SampleState

Format = Literal["jsonl", "csv-samples", "csv-verdicts", "reference"]
FORMATS: tuple[Format, ...] = get_args(Format)

SAMPLE_COLUMNS = (
    "problem", "id", "sample", "end", "answer", "gold", "correct", "turns", "accepted", "taken_over",
    "unverifiable", "draft_tokens", "target_tokens", "started_at", "ended_at", "characters", "message",
    "judge", "judge_sees", "judge_verdict", "judge_answer", "judge_message",
)  # fmt: skip
VERDICT_COLUMNS = (
    "seq", "at", "problem", "id", "sample", "turn", "verdict", "ppl", "p", "alpha", "threshold", "mode",
    "rule", "size", "u", "tokens", "seconds",
)  # fmt: skip


def export(run: Path, form: Format, target: Path, *, overwrite: bool = False) -> str:
    """Write a run to `target`: a file, or for `reference` a new folder. Gives a line on what was written.

    Indices count from 0 and times are run seconds, as in the events. A damaged run gives what can be read of
    it, and the line says so.

    Raises:
        SettingsError: the run cannot be opened, the target exists, or it cannot be written.
        RunError: there is nothing to write.
    """
    with contextlib.closing(RunFile.open(run)) as file:
        if not file.last().ordinal:
            raise RunError(f"{file.trouble or f'{run} holds no events.'} There is nothing to export.")
        if form == "reference":
            what = _reference(file, target)
        else:
            write, what = _WRITERS[form]
            with replacing(target, overwrite=overwrite) as out:
                count = 0
                for line in write(file):
                    out.write(line)
                    count += 1
            what = f"{count - (form != 'jsonl'):,} {what}"
        return f"wrote {target}: {what}" + (f"; {file.trouble}" if file.trouble else "")


def _jsonl(file: RunFile) -> Iterator[bytes]:
    for stamps in file.events():
        for stamped in stamps:
            yield ev.encode(stamped) + b"\n"


def _samples(file: RunFile) -> Iterator[bytes]:
    state = file.state(file.last())
    yield from _csv([SAMPLE_COLUMNS])
    for problem in state.problems:
        yield from _csv(
            (
                problem.index, problem.id, sample.index, sample.end, sample.answer, problem.gold,
                sample.correct, sample.turn_count, sample.accepted, sample.taken_over, sample.unverifiable,
                sample.draft_tokens, sample.target_tokens, sample.started_at, sample.ended_at,
                sample.characters, sample.message, *_judged(sample),
            )
            for sample in problem.samples
        )  # fmt: skip


def _judged(sample: SampleState) -> tuple[object, ...]:
    """What the newest judge of a sample's answer said."""
    if not sample.judgements:
        return (None,) * 5
    said = sample.judgements[-1]
    return said.judge, said.sees, said.verdict, said.extracted, said.message


def _verdicts(file: RunFile) -> Iterator[bytes]:
    yield from _csv([VERDICT_COLUMNS])
    ids: list[str] = []
    for stamps in file.events():
        for stamped in stamps:
            event = stamped.event
            if isinstance(event, ev.ProblemAdded):
                ids.append(event.id)
            elif isinstance(event, ev.VerdictReached):
                values = {"seq": stamped.seq, "at": stamped.at, "id": ids[event.problem]}
                yield from _csv([[values.get(name, getattr(event, name, None)) for name in VERDICT_COLUMNS]])


def _csv(rows: Iterable[Iterable[object]]) -> Iterator[bytes]:
    """Lines of CSV, floats to the last digit, nothing for None."""
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(row)
        yield line.getvalue().encode()


def _reference(file: RunFile, target: Path) -> str:
    """A folder that the authors' scoring programs read; all of it, or nothing."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SettingsError(f"{target} exists and is not an empty folder; name another one.")
    made = records(file)
    if not made:
        raise RunError(f"No sample of {file.path} has ended; their folders hold ended samples only.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for record in made:
            name = f"problem_{record['problem_index']:04d}.json"
            (target / name).write_text(json.dumps(record, indent=2), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror}.") from None
    return f"{len(made):,} samples"


_WRITERS: dict[str, tuple[Callable[[RunFile], Iterator[bytes]], str]] = {
    "jsonl": (_jsonl, "events"),
    "csv-samples": (_samples, "samples"),
    "csv-verdicts": (_verdicts, "verdicts"),
}
