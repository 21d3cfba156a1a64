"""A sample as a record of the authors' programs (`problem_XXXX.json`), and what of such a record events lack.

The format is that of their repository at commit bedf81d7: `full_history` holds, turn by turn, the draft's
text ("small"), the perplexity and percentile of its verification ("eval_ppl") and, where the target took
over, its text ("eval_generate").
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from atts_core import events as ev
from atts_core.errors import RunError
from atts_core.runs.file import RunFile

NO_ANSWER = "invalid"
"""Their word for a chain without an answer."""


class Names(msgspec.Struct, frozen=True):
    """What a program of theirs calls the three kinds of entries."""

    draft: str = "small"
    verified: str = "eval_ppl"
    target: str = "eval_generate"


ASYNC = Names()
SELF = Names("draft", "self_ppl", "self_continue")


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """What of an imported record the events cannot say, kept with the run so that an export gives it back."""

    keys: list[str]
    """All keys, in their order."""
    values: str
    """JSON (in their dialect, which knows Infinity) of the keys that events do not give the same."""
    names: Names = ASYNC

    @classmethod
    def of(cls, original: dict[str, Any], made: dict[str, Any], names: Names) -> "Rest":
        """What `original` holds beyond the record that was made from its events."""
        made = _renamed(made, names)
        different = {
            key: value for key, value in original.items() if key not in made or not _same(made[key], value)
        }
        return cls(keys=list(original), values=json.dumps(different), names=names)

    def restore(self, made: dict[str, Any]) -> dict[str, Any]:
        """The original record."""
        different = json.loads(self.values)
        made = _renamed(made, self.names)
        return {key: different.get(key, made.get(key)) for key in self.keys}


def rest_name(problem: int, sample: int) -> str:
    """Where the rest of a record is kept in a run file."""
    return f"reference/{problem}/{sample}"


class RecordMaker:
    """Folds events to records, one for every finished sample."""

    def __init__(self) -> None:
        self._samples = 1
        self._problems: list[ev.ProblemAdded] = []
        self._history: dict[tuple[int, int], list[dict[str, Any]]] = {}
        self._began: dict[tuple[int, int], float] = {}
        self.finished: dict[tuple[int, int], dict[str, Any]] = {}
        """Records by problem and sample."""

    def fold(self, stamps: Iterable[ev.Stamped]) -> "RecordMaker":
        """Take events; returns itself."""
        for stamped in stamps:
            self._apply(stamped.at, stamped.event)
        return self

    def _apply(self, at: float, event: ev.AnyEvent) -> None:
        match event:
            case ev.RunStarted():
                self._samples = event.samples
            case ev.ProblemAdded():
                self._problems.append(event)
            case ev.SampleStarted():
                self._began.setdefault((event.problem, event.sample), at)
                self._history.setdefault((event.problem, event.sample), [])
                self.finished.pop((event.problem, event.sample), None)
            case ev.DraftFinished():
                self._add(event, model=ASYNC.draft, output=event.text)
            case ev.VerdictReached():
                self._add(event, model=ASYNC.verified, ppl=event.ppl, percentile=_percentile(event))
            case ev.DraftStarted() | ev.TakeOverStarted(variant="rewrite"):
                self._discard(event)
            case ev.AttemptKept():
                self._discard(event, but=event.attempt)
            case ev.TakeOverFinished():
                self._add(event, model=ASYNC.target, output=event.text)
            case ev.SampleFinished():
                place = event.problem, event.sample
                self.finished[place] = {
                    "problem_index": event.problem * self._samples + event.sample,
                    "final_answer": NO_ANSWER if event.answer is None else event.answer,
                    "duration_seconds": at - self._began.get(place, at),
                    "full_history": self._history.get(place, []),
                    "question": self._problems[event.problem].question,
                }
            case _:
                pass

    def _drafts(
        self, event: ev.DraftStarted | ev.TakeOverStarted | ev.AttemptKept
    ) -> Iterator[dict[str, Any]]:
        """What the draft wrote in the turn of an event."""
        for entry in self._history.get((event.problem, event.sample), ()):
            if entry["model"] == ASYNC.draft and entry["turn"] == event.turn:
                yield entry

    def _discard(
        self, event: ev.DraftStarted | ev.TakeOverStarted | ev.AttemptKept, but: int | None = None
    ) -> None:
        """The turn's drafts are not part of the chain, `but` one."""
        for number, entry in enumerate(self._drafts(event)):
            entry["discarded"] = True
            if number == but:
                del entry["discarded"]

    def _add(
        self, event: ev.DraftFinished | ev.VerdictReached | ev.TakeOverFinished, **entry: object
    ) -> None:
        history = self._history.setdefault((event.problem, event.sample), [])
        history.append({"turn": event.turn, **entry})


def records(file: RunFile) -> list[dict[str, Any]]:
    """The records of a run's finished samples, by problem and sample; what was imported comes back as it was.

    Raises:
        RunError: what was kept of an imported record cannot be read.
    """
    maker = RecordMaker()
    for stamps in file.events():
        maker.fold(stamps)
    made = []
    for (problem, sample), record in sorted(maker.finished.items()):
        kept = file.kept(rest_name(problem, sample))
        try:
            made.append(msgspec.json.decode(kept, type=Rest).restore(record) if kept else record)
        except (msgspec.MsgspecError, ValueError, RecursionError, AttributeError):
            raise RunError(
                f"{file.path} is damaged: what was imported of problem {problem + 1}, sample {sample + 1}"
                " cannot be read."
            ) from None
    return made


def _percentile(verdict: ev.VerdictReached) -> float | None:
    """Their percentile, #{calibration PPLs up to this one} / N, from our p-value, which adds one to both."""
    if verdict.p is None or verdict.rule == "reference" or verdict.u is not None or not verdict.size:
        return verdict.p
    return (round(verdict.p * (verdict.size + 1)) - 1) / verdict.size


def _renamed(record: dict[str, Any], names: Names) -> dict[str, Any]:
    if names == ASYNC:
        return record
    to = {ASYNC.draft: names.draft, ASYNC.verified: names.verified, ASYNC.target: names.target}
    history = [{**entry, "model": to[entry["model"]]} for entry in record["full_history"]]
    return {**record, "full_history": history}


def _same(made: Any, original: Any) -> bool:
    """Equal, and of the same kinds all through: 1 is not 1.0 in a file, nor True."""
    return bool(made == original) and json.dumps(made) == json.dumps(original)
