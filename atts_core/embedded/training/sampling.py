"""Batched sampling and scoring with the torch models, for evaluation only."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from atts_core.embedded.training.model import Cache, Decoder

_ROWS: Final = 256
"""Contexts that are sampled together."""


def sample(
    model: Decoder,
    contexts: Sequence[Sequence[int]],
    stops: frozenset[int],
    limit: int,
    temperature: float,
    generator: torch.Generator,
) -> list[list[int]]:
    """Continues every context until a stop token (kept), `limit` new tokens or the models' 512th."""
    written: list[list[int]] = [[] for _ in contexts]
    # Contexts of similar length share a batch, so that little of it is padding.
    order = sorted(range(len(contexts)), key=lambda i: len(contexts[i]))
    for first in range(0, len(order), _ROWS):
        rows = order[first : first + _ROWS]
        texts = _sample_batch(model, [contexts[i] for i in rows], stops, limit, temperature, generator)
        for i, text in zip(rows, texts, strict=True):
            written[i] = text
    return written


def _sample_batch(
    model: Decoder,
    contexts: Sequence[Sequence[int]],
    stops: frozenset[int],
    limit: int,
    temperature: float,
    generator: torch.Generator,
) -> list[list[int]]:
    length = max(map(len, contexts))
    # Padding stands on the left and is masked: rotary positions are relative, so nothing else changes.
    ids = torch.tensor([[0] * (length - len(row)) + list(row) for row in contexts])
    lead = torch.tensor([length - len(row) for row in contexts])
    columns = torch.arange(length)
    hidden = (columns[None, None, :] > columns[None, :, None]) | (
        columns[None, None, :] < lead[:, None, None]
    )
    # A padding row sees itself, because a softmax over nothing is undefined.
    hidden &= ~torch.eye(length, dtype=torch.bool)
    cache: Cache = [None] * model.shape.layers
    logits = model(ids, cache, 0, _bias(hidden)[:, None])[:, -1]
    written: list[list[int]] = [[] for _ in contexts]
    alive = list(range(len(contexts)))
    for position in range(length, min(length + limit, model.shape.context)):
        probabilities = torch.softmax(logits / temperature, -1)
        tokens = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
        keep = []
        for place, token in enumerate(tokens.tolist()):
            written[alive[place]].append(token)
            if token not in stops:
                keep.append(place)
        if not keep:
            break
        if len(keep) < len(alive):
            chosen = torch.tensor(keep)
            cache = [None if kept is None else (kept[0][chosen], kept[1][chosen]) for kept in cache]
            lead, tokens, alive = lead[chosen], tokens[chosen], [alive[place] for place in keep]
        hidden = torch.arange(position + 1)[None, :] < lead[:, None]
        logits = model(tokens[:, None], cache, position, _bias(hidden)[:, None, None])[:, -1]
    return written


def _bias(hidden: Tensor) -> Tensor:
    return torch.zeros(hidden.shape).masked_fill(hidden, float("-inf"))


def mean_surprise(
    model: Decoder, contexts: Sequence[Sequence[int]], steps: Sequence[Sequence[int]]
) -> list[float]:
    """Mean negative log-probability of each step after its context: the logarithm of its PPL."""
    # Samples of one problem often agree: each different text is scored once.
    asked = list(dict.fromkeys((tuple(c), tuple(s)) for c, s in zip(contexts, steps, strict=True)))
    asked.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
    found: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}
    for first in range(0, len(asked), _ROWS):
        rows = asked[first : first + _ROWS]
        ids = torch.zeros(len(rows), max(len(c) + len(s) for c, s in rows), dtype=torch.long)
        for row, (context, step) in enumerate(rows):
            ids[row, : len(context) + len(step)] = torch.tensor([*context, *step])
        log_probabilities = torch.log_softmax(model(ids), -1)
        for row, (context, step) in enumerate(rows):
            start, end = len(context), len(context) + len(step)
            picked = log_probabilities[row, start - 1 : end - 1].gather(1, ids[row, start:end, None])
            found[context, step] = -float(picked.mean())
    return [found[tuple(c), tuple(s)] for c, s in zip(contexts, steps, strict=True)]
