"""Chains of the pair, written by one model or by ATTS, as the evaluation of the model card needs them."""

import bisect
import random
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import torch

from atts_core.embedded.tokenizer import EmbeddedTokenizer
from atts_core.embedded.training.model import Decoder
from atts_core.embedded.training.sampling import mean_surprise, sample
from atts_core.problems.builtin.streams import Problem

TEMPERATURE: Final = 0.8
_STEP_LIMIT: Final = 80
_TURNS: Final = 16
_CONTEXT: Final = 440
"""A chain of more ids than this ends, so that a step always fits into the models' context."""

TakeOver = Literal["continue", "rewrite"]
TAKE_OVERS: Final[tuple[TakeOver, ...]] = ("rewrite", "continue")


class Chain(msgspec.Struct):
    """One sample of one problem: its ids, the steps as (ids, writer, log-PPL of a draft's step or None)."""

    problem: Problem
    ids: list[int]
    steps: list[tuple[list[int], Literal["draft", "target"], float | None]]
    done: bool = False
    answer: str | None = None
    target_tokens: int = 0

    @property
    def right(self) -> bool:
        return self.answer == self.problem.gold


class Pair(msgspec.Struct):
    """The two models and what they share."""

    draft: Decoder
    target: Decoder
    tokenizer: EmbeddedTokenizer

    def chains(self, problems: Sequence[Problem], samples: int) -> list[Chain]:
        """`samples` empty chains for each problem, next to each other."""
        return [
            Chain(problem, self.tokenizer.render([{"role": "user", "content": problem.question}]), [])
            for problem in problems
            for _ in range(samples)
        ]

    def write(
        self, chains: Sequence[Chain], who: Literal["draft", "target"], rng: torch.Generator
    ) -> list[list[int]]:
        """One step for each chain, by one model; the chains stay as they are."""
        stops = frozenset({self.tokenizer.step_end_id, self.tokenizer.eos_id})
        model = self.draft if who == "draft" else self.target
        return sample(model, [chain.ids for chain in chains], stops, _STEP_LIMIT, TEMPERATURE, rng)

    def append(
        self, chain: Chain, step: list[int], who: Literal["draft", "target"], surprise: float | None = None
    ) -> None:
        """Adds a step; the chain is done at its boxed answer, at end-of-text or when the context is full."""
        ended = self.tokenizer.eos_id in step
        body = [token for token in step if token != self.tokenizer.eos_id]
        chain.ids += body
        chain.steps.append((body, who, surprise))
        chain.target_tokens += len(step) if who == "target" else 0
        text = self.tokenizer.decode(body)
        if "\\boxed{" in text:
            chain.answer = text.split("\\boxed{")[-1].split("}")[0]
        chain.done = ended or chain.answer is not None or len(chain.ids) > _CONTEXT

    def alone(
        self, problems: Sequence[Problem], samples: int, who: Literal["draft", "target"], seed: int
    ) -> list[Chain]:
        """Chains that one model writes alone."""
        rng = torch.Generator().manual_seed(seed)
        chains = self.chains(problems, samples)
        for _ in range(_TURNS):
            open_chains = [chain for chain in chains if not chain.done]
            if not open_chains:
                break
            for chain, step in zip(open_chains, self.write(open_chains, who, rng), strict=True):
                self.append(chain, step, who)
        return chains

    def score(self, chains: Sequence[Chain]) -> None:
        """Fills in the target's log-PPL of every step of finished chains."""
        contexts, steps, places = [], [], []
        for chain in chains:
            at = len(chain.ids) - sum(len(step) for step, _, _ in chain.steps)
            for i, (step, _, _) in enumerate(chain.steps):
                if step:
                    contexts.append(chain.ids[:at])
                    steps.append(step)
                    places.append((chain, i))
                at += len(step)
        for (chain, i), value in zip(places, mean_surprise(self.target, contexts, steps), strict=True):
            step, who, _ = chain.steps[i]
            chain.steps[i] = (step, who, value)

    def together(
        self,
        problems: Sequence[Problem],
        samples: int,
        calibration: Sequence[float] | None,
        rate: float,
        take_over: TakeOver,
        seed: int,
    ) -> tuple[list[Chain], float]:
        """ATTS chains and the realised rate; without `calibration` (sorted) take-overs are random."""
        rng, dice = torch.Generator().manual_seed(seed), random.Random(seed)
        chains = self.chains(problems, samples)
        decisions = taken = 0
        for _ in range(_TURNS):
            open_chains = [chain for chain in chains if not chain.done]
            if not open_chains:
                break
            steps = self.write(open_chains, "draft", rng)
            contexts = [chain.ids for chain in open_chains]
            values = mean_surprise(self.target, contexts, steps)
            refused = []
            for chain, step, value in zip(open_chains, steps, values, strict=True):
                if calibration is None:
                    refuse = dice.random() < rate
                else:
                    p = (1 + bisect.bisect_right(calibration, value)) / (len(calibration) + 1)
                    refuse = p > 1 - rate
                decisions += 1
                taken += refuse
                if refuse:
                    refused.append(chain)
                if not refuse or take_over == "continue":
                    self.append(chain, step, "draft", value)
            # As the engine does: a chain that already holds its answer is not taken over any more.
            refused = [chain for chain in refused if not chain.done]
            if refused:
                for chain, step in zip(refused, self.write(refused, "target", rng), strict=True):
                    self.append(chain, step, "target")
        return chains, taken / decisions
