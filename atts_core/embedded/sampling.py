"""From logits to a token: log-probabilities, filters and seeded draws, each parameter in SGLang's meaning.

A draw is a function of (seed, copy, index of the token) and nothing else, so a request's text does not depend
on what was sampled before it or beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from struct import pack
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SEED_LIMIT: Final = 2**63


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How one completion is sampled and when it ends; the names are SGLang's.

    `max_new_tokens` None means: up to the end of the context. `temperature` 0 is greedy. `top_k` -1 is off.
    """

    max_new_tokens: int | None = 128
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    ignore_eos: bool = False
    no_stop_trim: bool = False
    skip_special_tokens: bool = True
    n: int = 1
    sampling_seed: int | None = None

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken, without a draw."""
        return self.temperature == 0.0 or self.top_k == 1

    @property
    def filtered(self) -> bool:
        """Whether some tokens may be ruled out before the draw."""
        return self.top_p < 1.0 or self.top_k > 0 or self.min_p > 0.0

    @property
    def penalised(self) -> bool:
        """Whether tokens already written change the logits."""
        return self.frequency_penalty != 0.0 or self.presence_penalty != 0.0


def uniform(seed: int, copy: int, index: int) -> float:
    """A number in [0, 1), always the same for the same arguments (0 ≤ seed < 2^63, copy and index ≥ 0)."""
    digest = blake2b(pack("<QQQ", seed, copy, index), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def log_softmax(logits: Floats) -> Floats:
    """Log-probabilities of each row; `logits` (rows, vocabulary) is overwritten and returned."""
    logits -= logits.max(axis=-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return logits


def temper(logits: Floats, params: Sequence[SamplingParams]) -> Floats:
    """Divides each row by its temperature, in place; a greedy request's log-probabilities stay at T = 1."""
    temperatures = np.array([p.temperature or 1.0 for p in params], np.float32)
    if (temperatures != 1.0).any():
        logits /= temperatures[:, None]
    return logits


def choose(log_probs: Floats, params: Sequence[SamplingParams], draws: Sequence[float]) -> list[int]:
    """One token id for each row of `log_probs` (rows, vocabulary), as its parameters and its draw say."""
    probs = np.exp(log_probs.astype(np.float64))
    for row, p in enumerate(params):
        if p.filtered and not p.greedy:
            _filter(probs[row], p)
    cumulated = probs.cumsum(axis=-1)
    total = cumulated[:, -1]
    # Rounding must not lift a level to the total itself, beyond the last token that is possible.
    levels = np.minimum(np.array(draws) * total, np.nextafter(total, 0.0))
    drawn = (cumulated <= levels[:, None]).sum(axis=-1).tolist()
    likeliest = log_probs.argmax(axis=-1).tolist()
    return [likeliest[row] if p.greedy else drawn[row] for row, p in enumerate(params)]


def _filter(probs: NDArray[np.float64], params: SamplingParams) -> None:
    """Sets to zero what top_k, top_p and min_p rule out, in place; the likeliest token always stays.

    As SGLang does it: the three look at the same unfiltered probabilities, and top_p keeps the token that
    crosses it.
    """
    order = np.argsort(-probs, kind="stable")
    ranked = probs[order]
    keep = np.ones(len(probs), bool)
    if params.top_k > 0:
        keep[params.top_k :] = False
    keep &= ranked.cumsum() - ranked <= params.top_p
    keep &= ranked >= ranked[0] * params.min_p
    probs[order[~keep]] = 0.0


def top(log_probs: Floats, count: int) -> list[tuple[float, int]]:
    """The `count` likeliest tokens of one row as (log-probability, id), likeliest first; ties by id."""
    order = np.argsort(-log_probs, kind="stable")[:count]
    return list(zip(log_probs[order].tolist(), order.tolist(), strict=True))


def penalise(logits: Floats, counts: NDArray[np.int32], params: SamplingParams) -> None:
    """Lowers the logits of one row, in place, for tokens that its completion has written `counts` times."""
    logits -= np.float32(params.frequency_penalty) * counts
    logits -= np.float32(params.presence_penalty) * (counts > 0)
