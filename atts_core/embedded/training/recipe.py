"""How the shipped pair was made: stages counted in tokens, never in time, so that one seed repeats them."""

import time
from collections.abc import Callable
from itertools import islice
from typing import Final, Literal

import msgspec
import torch
from torch.nn import functional

from atts_core.embedded.folder import Shape
from atts_core.embedded.tokenizer import EmbeddedTokenizer
from atts_core.embedded.training.data import batches, solution
from atts_core.embedded.training.model import Decoder
from atts_core.problems.builtin.streams import endless

Report = Callable[[str], None]


class Stage(msgspec.Struct, frozen=True):
    """One stretch of training with its own learning-rate schedule and data seed.

    The rates warm up over 20 steps, stay until `hold` of the tokens and then fall linearly to nothing.
    Until `drill_until` of the tokens a share of `drills` documents is bare equations, then `drills_after`.
    A model's first stage begins with random weights, every other one with those of the stage before it.
    """

    name: str
    model: Literal["draft", "target"]
    tokens: int
    batch: int
    muon_rate: float
    adam_rate: float
    hold: float
    drills: float = 0.08
    drill_until: float = 0.0
    drills_after: float = 0.08
    data_seed: int = 0
    """Added to the run's seed, so that no two stages of a model see the same documents."""


SIZES: Final = {
    "draft": {"hidden": 96, "layers": 3, "heads": 3, "feed_forward": 256},
    "target": {"hidden": 192, "layers": 4, "heads": 6, "feed_forward": 512},
}

# The draft stops early on purpose: it must stay clearly worse than the target, and worth verifying.
STAGES: Final = (
    Stage("draft", "draft", 6_000_000, 2048, 0.02, 4e-3, 0.45, drills=0.5, drill_until=0.35),
    Stage("target", "target", 6_000_000, 2048, 0.01, 3e-3, 0.45, drills=0.5, drill_until=0.3),
    Stage("target, longer", "target", 2_000_000, 4096, 0.008, 2e-3, 0.25, drills_after=0.03, data_seed=10),
)


_WARM_UP_STEPS: Final = 20
_WEIGHT_DECAY: Final = 0.02
_TEMPERATURE: Final = 0.8
_REPORTS: Final = 20
"""How often a stage reports, evenly over its tokens."""


def new_decoder(name: str, vocabulary: int, seed: int) -> Decoder:
    """A model of the pair with random weights."""
    torch.manual_seed(seed)
    return Decoder(Shape(vocabulary=vocabulary, **SIZES[name]))


def train(model: Decoder, stage: Stage, tokenizer: EmbeddedTokenizer, seed: int, report: Report) -> int:
    """Trains `model` in place as `stage` says, with products in bfloat16; returns the number of tokens seen.

    Muon trains the blocks' matrices, AdamW the rest. `report` gets a line of progress now and then.
    """
    muon = torch.optim.Muon(model.matrices(), lr=stage.muon_rate, weight_decay=_WEIGHT_DECAY, momentum=0.95)
    adam = torch.optim.AdamW(
        model.others(), lr=stage.adam_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )
    early = batches(tokenizer, seed + stage.data_seed, stage.batch, stage.drills)
    late = batches(tokenizer, seed + stage.data_seed + 1, stage.batch, stage.drills_after)
    began, seen, steps, reports = time.monotonic(), 0, 0, 0
    recent: list[float] = []
    while seen < stage.tokens:
        done = seen / stage.tokens
        factor = min(1.0, (steps + 1) / _WARM_UP_STEPS, (1 - done) / (1 - stage.hold))
        for group in muon.param_groups:
            group["lr"] = stage.muon_rate * factor
        for group in adam.param_groups:
            group["lr"] = stage.adam_rate * factor
        ids, wanted = next(early if done < stage.drill_until else late)
        learned = wanted >= 0
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model.head(model.states(ids)[learned])
        loss = functional.cross_entropy(logits.float(), wanted[learned])
        loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
        torch.nn.utils.clip_grad_norm_(model.others(), 1.0)
        muon.step()
        adam.step()
        model.zero_grad()
        recent.append(float(loss.detach()))
        seen += ids.numel()
        steps += 1
        if seen * _REPORTS >= (reports + 1) * stage.tokens:
            reports += 1
            seconds = time.monotonic() - began
            with torch.no_grad():
                right = step_probability(model, tokenizer)
            report(
                f"{stage.name} {seen / 1e6:.1f}M tokens, {steps} steps, {seen / seconds:.0f} tokens/s, "
                f"loss {sum(recent) / len(recent):.4f}, p(step right) {right:.3f}, {seconds:.0f} s"
            )
            recent.clear()
    return seen


def step_probability(model: Decoder, tokenizer: EmbeddedTokenizer, count: int = 60) -> float:
    """Mean probability, at the demo's temperature, of writing a held-out worked step as it stands."""
    total, steps = 0.0, 0
    for problem in islice(endless("calibration", 7), count):
        prompt = tokenizer.render([{"role": "user", "content": problem.question}])
        ids = prompt + tokenizer.encode(solution(problem))
        logits = model(torch.tensor([ids]))[0, len(prompt) - 1 : -1] / _TEMPERATURE
        written = torch.tensor(ids[len(prompt) :])
        log_probabilities = torch.log_softmax(logits, -1).gather(1, written[:, None])[:, 0]
        for piece in _by_step(log_probabilities.tolist(), ids[len(prompt) :], tokenizer.step_end_id):
            total += float(torch.tensor(piece).sum().exp())
            steps += 1
    return total / steps


def _by_step(values: list[float], ids: list[int], end: int) -> list[list[float]]:
    pieces: list[list[float]] = [[]]
    for value, token in zip(values, ids, strict=True):
        pieces[-1].append(value)
        if token == end:
            pieces.append([])
    return [piece for piece in pieces if piece]
