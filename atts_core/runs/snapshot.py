"""RunState as bytes and back, exactly: folding on from a restored state gives what folding everything gives.

A state comes apart into its head (all but the problems), the problems without their samples, and the samples,
so that a keyframe stores again only what changed. Bytes come out of files and are checked by type.
"""

import gc
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import msgspec

from atts_core import digest, meters, overview, state_parts, verdict_words
from atts_core import events as ev
from atts_core import state as st
from atts_core.telemetry import history, readings


class Head(msgspec.Struct, array_like=True, kw_only=True):
    """RunState without its problems; the fields are its attributes."""

    seq: int
    now: float
    run: ev.RunStarted | None
    paused: bool
    finished: ev.RunFinished | None
    overall: st.TurnRate
    by_turn: list[st.TurnRate]
    unverifiable: int
    decisions: list[st.Decision]
    draft_tokens: int
    target_tokens: int
    verified_tokens: int
    rates: list[tuple[int, dict[str, int]]]
    samples_started: int
    samples_ended: int
    samples_failed: int
    collecting: ev.ScoreCollected | None
    retries: int
    first_token_at: float | None
    servers: dict[ev.Role, st.ServerState]
    machines: history.Machines
    drift: ev.DriftDetected | None
    warnings: list[str]
    log: list[st.LogLine]
    last_take_over: tuple[int, int] | None
    overview: overview.Overview


_OUT: dict[str, Callable[[st.RunState], object]] = {
    "decisions": lambda state: list(state.decisions),
    "log": lambda state: list(state.log),
    "rates": lambda state: state.rates.export(),
}
_encode = msgspec.msgpack.Encoder().encode
_head = msgspec.msgpack.Decoder(Head).decode
_problem = msgspec.msgpack.Decoder(st.ProblemState).decode
_sample = msgspec.msgpack.Decoder(st.SampleState).decode


def head_bytes(state: st.RunState) -> bytes:
    """Everything but the problems."""
    values = {
        name: _OUT[name](state) if name in _OUT else getattr(state, name) for name in Head.__struct_fields__
    }
    return _encode(Head(**values))  # type: ignore[arg-type]  # each value is the attribute of its name


def head_from(data: bytes) -> st.RunState:
    """A state without problems. Raises msgspec.MsgspecError where the bytes are not a head's."""
    head = _head(data)
    state = st.RunState()
    for name in Head.__struct_fields__:
        value = getattr(head, name)
        current = getattr(state, name)
        if isinstance(current, deque):
            current.extend(value)
        elif isinstance(current, meters.RateMeter):
            state.rates = meters.RateMeter.of(value)
        else:
            setattr(state, name, value)
    return state


def problem_bytes(problem: st.ProblemState) -> bytes:
    """One problem without its samples; with them where they were put away, and so are small."""
    if problem.put_away:
        return _encode(problem)
    samples, problem.samples = problem.samples, []
    try:
        return _encode(problem)
    finally:
        problem.samples = samples


def sample_bytes(sample: st.SampleState) -> bytes:
    """One sample."""
    return _encode(sample)


def untouched(index: int) -> st.SampleState:
    """A sample to which nothing has happened yet."""
    return st.SampleState(index)


problem_from: Callable[[bytes], st.ProblemState] = _problem
sample_from: Callable[[bytes], st.SampleState] = _sample


@contextmanager
def without_collecting() -> Iterator[None]:
    """For building very many objects, none of them garbage, without the collector looking through them."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # There and back puts all objects among the old ones, where the next small collection does not look.
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        if on:
            gc.enable()


@lru_cache(maxsize=1)
def fold_version() -> str:
    """Changes whenever the code that folds changes: a keyframe of another fold is not this one's."""
    found = hashlib.blake2b(digest_size=12)
    for module in (ev, st, state_parts, digest, verdict_words, overview, meters, history, readings):
        found.update(Path(str(module.__file__)).read_bytes())
    return found.hexdigest()
