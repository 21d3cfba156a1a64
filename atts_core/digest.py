"""What stays in memory of a sample whose turns and texts were put away: its decisions and stages, packed.

About a hundred bytes a turn, from which everything but the texts is known. Bytes come out of files as well:
whatever they hold, reading them raises nothing and gives no more than their length has room for.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, get_args

from atts_core import events as ev


@dataclass(slots=True)
class Span:
    """One stage of a turn over time, in run seconds; `end` is None while it runs."""

    stage: ev.Stage
    start: float
    end: float | None = None


class Judged(NamedTuple):
    """What was decided about a turn's draft and when (run seconds). `ppl`, `p`: None where there is none."""

    turn: int
    verdict: ev.Verdict
    ppl: float | None
    p: float | None
    alpha: float
    at: float
    threshold: float | None = None
    """The PPL above which a step was taken over; None where there was none."""
    tokens: int = 0
    """That were scored."""
    discarded: bool = False
    """Another draft of its turn was drawn after it or before it, and stayed (`self-reject`)."""


class Away(NamedTuple):
    """One stage that was put away. `tokens`: what was written in it."""

    turn: int
    span: Span
    tokens: int


_SIZES = struct.Struct("<II")
"""Turns, and entries of decisions: one a decision, and one for each turn without any."""
_JUDGED = struct.Struct("<IB?Iddddd")
_STAGE = struct.Struct("<IBIdd")
_VERDICTS: tuple[ev.Verdict, ...] = get_args(ev.Verdict)
_STAGES: tuple[ev.Stage, ...] = get_args(ev.Stage)
_NONE = 255
_NAN = float("nan")
_MOST = 2**32 - 1


def pack(turns: int, judged: Iterable[Judged], stages: Iterable[Away]) -> bytes:
    """How many `turns` a sample began, its decisions by turn, and its stages in the order of time."""
    entries: list[bytes] = []
    undecided = set(range(turns))
    for turn, verdict, ppl, p, alpha, at, threshold, tokens, discarded in judged:
        values = (_or_nan(ppl), _or_nan(p), alpha, at, _or_nan(threshold))
        entries.append(_JUDGED.pack(turn, _VERDICTS.index(verdict), discarded, _whole(tokens), *values))
        undecided.discard(turn)
    entries += [_JUDGED.pack(turn, _NONE, False, 0, *[_NAN] * 5) for turn in sorted(undecided)]
    packed = bytearray(_SIZES.pack(turns, len(entries)))
    packed += b"".join(entries)
    for turn, span, tokens in stages:
        packed += _STAGE.pack(turn, _STAGES.index(span.stage), _whole(tokens), span.start, _or_nan(span.end))
    return bytes(packed)


def turn_count(digest: bytes) -> int:
    """Turns begun."""
    room = max(len(digest) - _SIZES.size, 0) // _JUDGED.size  # every turn has an entry
    return min(int.from_bytes(digest[: _SIZES.size // 2], "little"), room)


def judged_of(digest: bytes) -> Iterator[Judged]:
    """Every decision, by turn."""
    turns, end = turn_count(digest), _SIZES.size + _entries(digest) * _JUDGED.size
    for entry in _JUDGED.iter_unpack(digest[_SIZES.size : end]):
        turn, which, discarded, tokens, ppl, p, alpha, at, threshold = entry
        if which < len(_VERDICTS) and turn < turns:
            yield Judged(
                turn, _VERDICTS[which], _or_none(ppl), _or_none(p), alpha, at, _or_none(threshold), tokens,
                discarded,
            )  # fmt: skip


def stages_of(digest: bytes) -> Iterator[Away]:
    """Every stage, in the order of time."""
    begin = _SIZES.size + _entries(digest) * _JUDGED.size
    whole = max(len(digest) - begin, 0) // _STAGE.size * _STAGE.size
    for turn, which, tokens, start, end in _STAGE.iter_unpack(digest[begin : begin + whole]):
        if which < len(_STAGES):
            yield Away(turn, Span(_STAGES[which], start, _or_none(end)), tokens)


def _entries(digest: bytes) -> int:
    """Of decisions."""
    if len(digest) < _SIZES.size:
        return 0
    return min(int(_SIZES.unpack_from(digest)[1]), (len(digest) - _SIZES.size) // _JUDGED.size)


def _or_nan(value: float | None) -> float:
    return _NAN if value is None else value


def _or_none(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124  # only NaN differs from itself


def _whole(tokens: int) -> int:
    return min(max(tokens, 0), _MOST)
