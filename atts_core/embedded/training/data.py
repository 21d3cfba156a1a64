"""Training documents and batches: worked problems, and drills of bare equations for the start."""

import random
from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

from atts_core.embedded.tokenizer import STEP_END, EmbeddedTokenizer
from atts_core.problems.builtin.arithmetic import LARGEST, Operator, worked
from atts_core.problems.builtin.streams import Problem, endless

Document = tuple[list[int], list[bool]]
"""Token ids, and for each whether the models are to learn to write it."""

# Documents are sorted by length inside a pool of this many, so that a batch holds little padding.
_POOL: Final = 512


def solution(problem: Problem) -> str:
    """The worked solution as the models write it; every step ends with a blank line."""
    return "".join(step + STEP_END for step in problem.steps)


def _worked_problem(tokenizer: EmbeddedTokenizer, problem: Problem) -> Document:
    prompt = tokenizer.render([{"role": "user", "content": problem.question}])
    text = [*tokenizer.encode(solution(problem)), tokenizer.eos_id]
    return prompt + text, [False] * len(prompt) + [True] * len(text)


def _drill(tokenizer: EmbeddedTokenizer, rng: random.Random) -> Document:
    """Lines of bare equations; what stands after the first `=` of a line is to be learned."""
    ids, learned = [tokenizer.bos_id], [False]
    for _ in range(rng.randint(5, 9)):
        task, answer = _equation(rng).split(" =", 1)
        asked, answered = tokenizer.encode(task + " ="), tokenizer.encode(answer + "\n")
        ids += asked + answered
        learned += [False] * len(asked) + [True] * len(answered)
    return ids, learned


def _equation(rng: random.Random) -> str:
    while True:
        kind: Operator = rng.choices(("+", "-", "*", "/", "mod"), (30, 30, 16, 12, 12))[0]
        if kind in "+-":
            left, right = rng.randint(2, LARGEST), rng.randint(2, LARGEST)
            if not 2 <= (left + right if kind == "+" else left - right) <= LARGEST:
                continue
        elif kind == "mod":
            right = rng.randint(3, 9)
            left = rng.randint(right, min(LARGEST, 10 * right - 1))
        else:
            right = rng.randint(2, 9)
            left = rng.randint(2, LARGEST // right)
            if kind == "/":
                left *= right
        return worked(left, kind, right)


def batches(
    tokenizer: EmbeddedTokenizer, seed: int, size: int, drills: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (ids, wanted), both [rows, length] with at most `size` tokens.

    `wanted` is the next token, or -100 where there is no loss; `drills` is the drills' share of documents.
    """
    rng = random.Random(f"batches {seed}")
    source = endless("train", seed)
    while True:
        pool = [
            _drill(tokenizer, rng) if rng.random() < drills else _worked_problem(tokenizer, next(source))
            for _ in range(_POOL)
        ]
        pool.sort(key=lambda document: len(document[0]))
        groups: list[list[Document]] = [[]]
        for document in pool:
            if (len(groups[-1]) + 1) * len(document[0]) > size:
                groups.append([])
            groups[-1].append(document)
        rng.shuffle(groups)
        yield from map(_padded, groups)


def _padded(documents: Sequence[Document]) -> tuple[Tensor, Tensor]:
    length = max(len(ids) for ids, _ in documents)
    ids = torch.zeros(len(documents), length, dtype=torch.long)
    wanted = torch.full((len(documents), length), -100)
    for row, (tokens, learned) in enumerate(documents):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        wanted[row, : len(tokens) - 1] = torch.tensor(
            [token if learn else -100 for token, learn in zip(tokens[1:], learned[1:], strict=True)]
        )
    return ids, wanted
