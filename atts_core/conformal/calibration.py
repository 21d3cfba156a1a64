"""Calibration scores in memory: each with its problem, sample and turn, and with what they were collected."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from atts_core.conformal.identity import Identity
from atts_core.conformal.pvalues import PPL_FLOOR
from atts_core.errors import SettingsError

MOST_SCORES = 20_000_000
"""A file that claims more is taken for a mistake or an attack; this is 160 MB of PPL."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """N scores. `ppl` float64, `turn`, `problem`, `sample` int32, each of shape (N,), in collection order.

    `problem[i]` indexes `problems`, the ids that a run names its problems by. SettingsError for anything that
    is no set of perplexities; `source` is how messages name it (a file's path).
    """

    ppl: NDArray[np.float64]
    turn: NDArray[np.int32]
    problem: NDArray[np.int32]
    sample: NDArray[np.int32]
    problems: tuple[str, ...]
    identity: Identity = field(default_factory=Identity)
    created: str | None = None
    version: str | None = None
    source: str = "the calibration"

    def __post_init__(self) -> None:
        check_perplexities(self.ppl, self.source)
        for name in ("turn", "problem", "sample"):
            values = getattr(self, name)
            if values.shape != self.ppl.shape:
                raise SettingsError(
                    f"{self.source} has {len(self.ppl)} scores but a {name} array of shape {values.shape};"
                    " calibrate again."
                )
            if values.min() < 0:
                raise SettingsError(f"{self.source} has a negative {name}; calibrate again.")
        if self.problem.max() >= len(self.problems) or len(set(self.problems)) != len(self.problems):
            raise SettingsError(f"{self.source} does not name every problem of its scores; calibrate again.")

    def __len__(self) -> int:
        return len(self.ppl)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of scores, turns, problems and samples, in order."""
        digest = hashlib.sha256()
        for values, kind in (
            (self.ppl, "<f8"),
            (self.turn, "<i4"),
            (self.problem, "<i4"),
            (self.sample, "<i4"),
        ):
            digest.update(np.ascontiguousarray(values, dtype=kind).tobytes())
        for problem in self.problems:
            digest.update(problem.encode() + b"\0")
        return digest.hexdigest()[:16]

    def scores_of(self, problem: str) -> NDArray[np.float64]:
        """The scores of one problem, all turns; empty where it was never calibrated."""
        if problem not in self.problems:
            return np.empty(0)
        own: NDArray[np.float64] = self.ppl[self.problem == self.problems.index(problem)]
        return own

    def select(self, keep: NDArray[np.bool_]) -> "Calibration":
        """The scores where `keep` (shape (N,)) is true; the problems keep their ids."""
        return Calibration(
            ppl=self.ppl[keep],
            turn=self.turn[keep],
            problem=self.problem[keep],
            sample=self.sample[keep],
            problems=self.problems,
            identity=self.identity,
            created=self.created,
            version=self.version,
            source=self.source,
        )


def check_perplexities(ppl: NDArray[np.float64], source: str) -> None:
    """SettingsError, one sentence, unless `ppl` is a non-empty vector of finite numbers >= 1."""
    if ppl.ndim != 1:
        raise SettingsError(
            f"{source} holds an array of shape {ppl.shape}; calibration scores are one flat list."
        )
    if len(ppl) == 0:
        raise SettingsError(f"{source} holds no scores; calibrate first.")
    if len(ppl) > MOST_SCORES:
        raise SettingsError(f"{source} holds {len(ppl):,} scores; at most {MOST_SCORES:,} are read.")
    broken = int((~np.isfinite(ppl)).sum())
    if broken:
        raise SettingsError(
            f"{source} holds {broken:,} scores of {len(ppl):,} that are NaN or infinite; calibrate again."
        )
    low = int((ppl < PPL_FLOOR).sum())
    if low:
        raise SettingsError(
            f"{source} holds {low:,} scores of {len(ppl):,} below 1, the smallest being {ppl.min():g}: no"
            " perplexity can be, so these are not PPLs; calibrate again."
        )


def flat_calibration(
    ppl: NDArray[np.float64],
    samples: int,
    *,
    problems: Sequence[str] | None = None,
    identity: Identity | None = None,
    source: str = "the calibration",
) -> Calibration:
    """The authors' flat layout: entry q * `samples` + s is sample s of problem q, all of turn 0.

    `problems` names them; without it they are "0", "1", … SettingsError where the length does not divide.
    """
    check_perplexities(ppl, source)
    if samples < 1 or len(ppl) % samples:
        raise SettingsError(
            f"{source} holds {len(ppl):,} scores, which are not {samples} for every problem; say how many"
            " samples of a problem it holds."
        )
    count = len(ppl) // samples
    if problems is not None and len(problems) != count:
        raise SettingsError(f"{source} holds scores of {count} problems, not of {len(problems)}.")
    index = np.arange(len(ppl), dtype=np.int32)
    return Calibration(
        ppl=np.ascontiguousarray(ppl, dtype=np.float64),
        turn=np.zeros(len(ppl), dtype=np.int32),
        problem=index // np.int32(samples),
        sample=index % np.int32(samples),
        problems=tuple(problems) if problems is not None else tuple(str(q) for q in range(count)),
        identity=identity or Identity(takeover="none"),
        source=source,
    )
