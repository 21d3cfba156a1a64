"""A completion to be made: what is asked, and what there is of it so far."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atts_core.embedded.sampling import SamplingParams


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Each token's text (`raw`), the same with special tokens empty (`visible`), and what ends a text."""

    raw: Sequence[str]
    visible: Sequence[str]
    eos_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class LogprobOptions:
    """Which log-probabilities are kept.

    Those of the prompt's tokens from position `start` on and of the completion's; at each position those of
    the `top` likeliest tokens and of `token_ids`.
    """

    start: int
    top: int = 0
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """Why a completion ended; `matched` is the token id or string that stopped it, or why it was aborted."""

    type: Literal["length", "stop", "abort"]
    matched: int | str | None = None
    failed: bool = False


class Progress(NamedTuple):
    """A consistent view of a job: its first `tokens` output tokens, their text, and how it ended, if so."""

    tokens: int = 0
    text: str = ""
    finish: Finish | None = None


# (log-probability, token id) pairs
Ranked = list[tuple[float, int]]


@dataclass(slots=True, eq=False)
class Job:
    """One completion to be made, and what there is of it so far.

    The lists only grow, by the batcher's thread; other threads read as much of them as `progress` says. The
    input lists are complete before the first progress; their first entries are None, as SGLang's are.
    """

    rid: str
    group: str
    prompt: Sequence[int]
    params: SamplingParams
    seed: int
    copy: int = 0
    logprobs: LogprobOptions | None = None
    on_progress: Callable[["Job"], None] | None = None
    # When its reader wants to hear of it again, on the monotonic clock; never, but for its end.
    due: float = math.inf

    progress: Progress = field(default_factory=Progress)
    cached_tokens: int = 0
    output_ids: list[int] = field(default_factory=list)
    output_logprobs: list[float] = field(default_factory=list)
    output_top: list[Ranked] = field(default_factory=list)
    output_chosen: list[Ranked] = field(default_factory=list)
    input_logprobs: list[float | None] = field(default_factory=list)
    input_top: list[Ranked | None] = field(default_factory=list)
    input_chosen: list[Ranked | None] = field(default_factory=list)
    created: float = field(default_factory=time.monotonic)
    first_token: float | None = None
    finished: float | None = None

    # The batcher's own.
    abort: Finish | None = None
    slot: int = -1
    computed: int = 0
    limit: int = 0
    text: str = ""
    counts: NDArray[np.int32] | None = None
    last_token: float = 0.0
