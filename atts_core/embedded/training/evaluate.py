"""Measures the pair on held-out problems: `python -m atts_core.embedded.training.evaluate` (extra `train`).

Prints the tables of the model card as Markdown. Every figure is reproducible: the problems, the samples and
the take-overs are drawn from fixed seeds.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import exp, sqrt
from pathlib import Path
from typing import Final

import torch

from atts_core.embedded.tokenizer import EmbeddedTokenizer
from atts_core.embedded.training.convert import load_decoder
from atts_core.embedded.training.simulate import TAKE_OVERS, Chain, Pair
from atts_core.problems.builtin.arithmetic import check_step
from atts_core.problems.builtin.families import FAMILIES
from atts_core.problems.builtin.streams import Problem, problems

MODELS: Final = Path(__file__).parents[1] / "models"
_TEST_SEED, _CALIBRATION_SEED, _SAMPLING_SEED = 1, 1, 1
_RATES: Final = (0.3, 0.4)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m atts_core.embedded.training.evaluate", description=__doc__
    )
    parser.add_argument("--models", type=Path, default=MODELS, help="folder that holds draft/ and target/")
    parser.add_argument("--problems", type=int, default=200, help="held-out problems (default 200)")
    parser.add_argument("--samples", type=int, default=4, help="chains per problem (default 4)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    pair = Pair(
        load_decoder(options.models / "draft"),
        load_decoder(options.models / "target"),
        EmbeddedTokenizer.load(options.models / "draft"),
    )
    with torch.inference_mode():
        for line in _report(pair, options.problems, options.samples):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    return 0


def _report(pair: Pair, count: int, samples: int) -> Iterable[str]:
    asked = problems("test", _TEST_SEED, count)
    alone = {who: pair.alone(asked, samples, who, _SAMPLING_SEED) for who in ("draft", "target")}
    draft, target = alone["draft"], alone["target"]
    yield f"{count} problems of the test stream, {samples} samples each, temperature 0.8.\n"
    yield "| | problems | draft | target |\n|---|---|---|---|"
    groups: list[tuple[str, Callable[[Problem], bool]]] = [("all", _any)]
    groups += [(name, lambda problem, name=name: problem.family == name) for name in FAMILIES]  # type: ignore[misc]
    groups += [
        (f"{level} operations", lambda problem, level=level: problem.level == level)  # type: ignore[misc]
        for level in (2, 3, 4, 5)
    ]
    for name, belongs in groups:
        number = sum(map(belongs, asked))
        yield f"| {name} | {number} | {_accuracy(draft, belongs)} | {_accuracy(target, belongs)} |"

    known = problems("calibration", _CALIBRATION_SEED, min(100, count))
    calibration = pair.alone(known, 4, "draft", _SAMPLING_SEED)
    pair.score(calibration)
    values = sorted(value for chain in calibration for _, _, value in chain.steps if value is not None)
    quantiles = ", ".join(
        f"{q} %: {exp(values[int(q / 100 * len(values))]):.4f}" for q in (50, 75, 80, 90, 95)
    )
    yield f"\nPPL of {len(values)} draft steps ({len(known)} calibration problems, 4 samples): {quantiles}."
    pair.score(draft)
    for name, judge in (("first wrong step", _departs), ("step with wrong arithmetic", _wrong_arithmetic)):
        right, wrong = _split(pair, draft, judge)
        counts = f"{len(wrong)} of {len(wrong) + len(right)}"
        yield f"AUROC of PPL for the {name}: {auroc(wrong, right):.3f} ({counts})."

    yield from _take_overs(pair, asked[: max(1, count // 2)], max(1, samples // 2), draft, target, values)


def _take_overs(
    pair: Pair,
    asked: Sequence[Problem],
    samples: int,
    draft: Sequence[Chain],
    target: Sequence[Chain],
    values: Sequence[float],
) -> Iterable[str]:
    """ATTS against take-overs at random, on some of the problems, and the models alone on the same ones."""
    ids = {problem.id for problem in asked}
    draft, target = ([chain for chain in chains if chain.problem.id in ids] for chains in (draft, target))
    per_chain = sum(chain.target_tokens for chain in target) / len(target)
    yield f"\nTake-overs on the first {len(asked)} of these problems, {samples} samples each:"
    yield "\n| run | nominal | realised | accuracy | majority | target's tokens |\n|---|---|---|---|---|---|"
    yield f"| draft alone | | | {_accuracy(draft)} | {_majority(draft):.3f} | 0 |"
    yield f"| target alone | | | {_accuracy(target)} | {_majority(target):.3f} | 1.00 |"
    for take_over in TAKE_OVERS:
        for rate in _RATES:
            for scores in (values, None):
                chains, realised = pair.together(asked, samples, scores, rate, take_over, _SAMPLING_SEED)
                share = sum(chain.target_tokens for chain in chains) / len(chains) / per_chain
                label = take_over if scores else f"{take_over}, at random"
                yield (
                    f"| {label} | {rate:.2f} | {realised:.3f} | {_accuracy(chains)} "
                    f"| {_majority(chains):.3f} | {share:.2f} |"
                )


def _any(problem: Problem) -> bool:  # noqa: ARG001
    return True


def _accuracy(chains: Sequence[Chain], belongs: Callable[[Problem], bool] = _any) -> str:
    """Per-sample accuracy with its 95 % interval; samples of one problem count as one cluster."""
    by_problem: defaultdict[str, list[bool]] = defaultdict(list)
    for chain in chains:
        if belongs(chain.problem):
            by_problem[chain.problem.id].append(chain.right)
    means = [sum(rights) / len(rights) for rights in by_problem.values()]
    if len(means) < 2:
        return "–"
    mean = sum(means) / len(means)
    error = sqrt(sum((value - mean) ** 2 for value in means) / (len(means) - 1) / len(means))
    return f"{mean:.3f} ± {1.96 * error:.3f}"


def _majority(chains: Sequence[Chain]) -> float:
    """Share of problems whose most frequent answer (the first of equals) is right."""
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    gold: dict[str, str] = {}
    for chain in chains:
        gold[chain.problem.id] = chain.problem.gold
        if chain.answer is not None:
            votes[chain.problem.id][chain.answer] += 1
    right = sum(bool(votes[key]) and votes[key].most_common(1)[0][0] == gold[key] for key in gold)
    return right / len(gold)


def _departs(chain: Chain, texts: Sequence[str], index: int) -> bool | None:
    """Is this the first step that is not the worked solution's? None after it."""
    worked = list(chain.problem.steps)
    if list(texts[:index]) != worked[:index]:
        return None
    return index >= len(worked) or texts[index] != worked[index]


def _wrong_arithmetic(chain: Chain, texts: Sequence[str], index: int) -> bool | None:  # noqa: ARG001
    right = check_step(texts[index])
    return None if right is None else not right


def _split(
    pair: Pair, chains: Sequence[Chain], judge: Callable[[Chain, Sequence[str], int], bool | None]
) -> tuple[list[float], list[float]]:
    """PPL logarithms of the steps that are right and of those that are wrong, as `judge` says."""
    right: list[float] = []
    wrong: list[float] = []
    for chain in chains:
        texts = [pair.tokenizer.decode(step).strip() for step, _, _ in chain.steps]
        for index, (_, _, value) in enumerate(chain.steps):
            verdict = judge(chain, texts, index)
            if verdict is not None and value is not None:
                (wrong if verdict else right).append(value)
    return right, wrong


def auroc(wrong: Sequence[float], right: Sequence[float]) -> float:
    """Chance that a wrong step's value is above a right one's; ties count half."""
    labelled = sorted([(value, True) for value in wrong] + [(value, False) for value in right])
    below = ties = 0
    area = 0.0
    start = 0
    while start < len(labelled):
        end = start
        while end < len(labelled) and labelled[end][0] == labelled[start][0]:
            end += 1
        wrongs = sum(is_wrong for _, is_wrong in labelled[start:end])
        ties = end - start - wrongs
        area += wrongs * (below + ties / 2)
        below += ties
        start = end
    return area / (len(wrong) * len(right)) if wrong and right else float("nan")


if __name__ == "__main__":
    sys.exit(main())
