"""Two or more runs against each other: what differs, by how much, how surely, and what cannot be compared.

Runs are compared over the problems that both finished, problem by problem: a hard problem is hard in both and
drops out of the difference. The samples of a problem are alike and count as one observation, their mean. With
n such differences the interval is mean ± t(n − 1) · s / √n; a problem and its copies (`--repeat`) are one
cluster, whose residuals are summed before they are squared. It needs no random numbers, and by simulation of
16 samples a problem it covers 94 to 96 times in 100 from ten problems on, where percentiles of a bootstrap
over problems cover 86 (ten problems) to 93 (fifty). Quotients of totals (tokens, take-over rates) are
linearised: the interval is that of the residuals, by problem as well.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from atts_core import events as ev
from atts_core.conformal.intervals import Estimate, t_quantile
from atts_core.conformal.live import realised
from atts_core.errors import SettingsError
from atts_core.problems.metrics import achieved, is_graded, stopped_early, target_share
from atts_core.reports.timeline import elapsed
from atts_core.state import ProblemState, RunState

Unit = Literal["points", "saved", "times"]
"""`points`: second − first, both shares. `saved`: 1 − second / first. `times`: first / second."""

COMPARED_SETTINGS = (
    "temperature",
    "draft_tokens",
    "target_tokens",
    "draft_concurrency",
    "target_concurrency",
)

Pairs = list[tuple[ProblemState, ProblemState]]

FEW = 10
"""Fewer common problems than this, copies not counted, make any interval a rough one."""


class Named(msgspec.Struct, frozen=True):
    """A run to compare. `origin`: where an imported run comes from."""

    name: str
    state: RunState
    origin: str = ""


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One run by itself, as `metrics` measures it; over its own problems. Intervals are by problem."""

    run: str
    end: str
    """How it ended, or `unfinished`."""
    dataset: str
    draft: str
    target: str
    strategy: str
    takeover: str
    mode: str
    alpha: float | None
    seed: int
    samples: int
    """Of each problem."""
    problems: int
    problems_finished: int
    samples_failed: int
    accuracy: Estimate
    majority: Estimate
    nominal: float | None
    realised: Estimate
    decisions: int
    draft_tokens: int
    """With those of scores that were collected before the run, as `verified_tokens`."""
    target_tokens: int
    target_share: Estimate
    """Of the tokens written in samples, discarded ones among them; scores collected before are left out."""
    verified_tokens: int
    seconds: float
    """From the first sample's start to the end."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of two runs over their common problems. `value` has the 95 % interval `low` … `high`, None
    where one observation is all there is. `problems`: how many it is over."""

    name: str
    unit: Unit
    first: float | None
    second: float | None
    value: float | None
    low: float | None
    high: float | None
    problems: int

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out `no difference`."""
        none = 1.0 if self.unit == "times" else 0.0
        return self.low is not None and self.high is not None and not self.low <= none <= self.high


class Pairing(msgspec.Struct, frozen=True, kw_only=True):
    """The second run against the first. `differs`: (setting, of the first, of the second). `cautions`: whole
    sentences about what these numbers cannot say."""

    first: str
    second: str
    common: int
    differs: list[tuple[str, str, str]]
    cautions: list[str]
    differences: list[Difference]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Runs by themselves, and each after the first against the first."""

    runs: list[RunFacts]
    pairs: list[Pairing]


def compare(runs: Sequence[Named]) -> Comparison:
    """The first run is what the others are measured against.

    Raises:
        SettingsError: there are fewer than two, or one has no beginning.
    """
    if len(runs) < 2:
        raise SettingsError("Comparing takes at least two runs.")
    return Comparison(
        runs=[facts(run) for run in runs], pairs=[pairing(runs[0], other) for other in runs[1:]]
    )


def facts(run: Named) -> RunFacts:
    """One run by itself. Raises SettingsError where it has not begun."""
    state, began = run.state, run.state.run
    if began is None:
        raise SettingsError(f"{run.name} holds no beginning of a run; there is nothing to compare.")
    reached = achieved(state)
    card = began.calibration
    return RunFacts(
        run=run.name,
        end=state.finished.end if state.finished is not None else "unfinished",
        dataset=began.dataset,
        draft=began.models[0].name,
        target=began.models[1].name,
        strategy=began.strategy,
        takeover=began.takeover,
        mode=card.mode if card is not None else "",
        alpha=card.alpha if card is not None else None,
        seed=began.seed,
        samples=began.samples,
        problems=len(state.problems),
        problems_finished=sum(problem.finished for problem in state.problems),
        samples_failed=state.samples_failed,
        accuracy=reached.sample,
        majority=reached.majority,
        nominal=card.nominal if card is not None else None,
        realised=realised(state).overall,
        decisions=state.overall.decisions,
        draft_tokens=state.draft_tokens,
        target_tokens=state.target_tokens,
        target_share=target_share(state),
        verified_tokens=state.verified_tokens,
        seconds=elapsed(state),
    )


def pairing(first: Named, second: Named) -> Pairing:
    """The second run against the first."""
    pairs, strangers = common_problems(first.state, second.state)
    differences = _differences(first.state, second.state, pairs)
    return Pairing(
        first=first.name,
        second=second.name,
        common=len(pairs),
        differs=differing(first.state, second.state),
        cautions=[*_cautions(first, second, pairs, strangers), *_of_times(differences)],
        differences=differences,
    )


def common_problems(first: RunState, second: RunState) -> tuple[Pairs, int]:
    """Problems that both finished, by id and, where an id comes again, by its how-many-eth time; and how many
    have the same id and another question, which makes them no pair."""
    known, strangers = _by_id(first), 0
    pairs: Pairs = []
    for key, other in _by_id(second).items():
        mine = known.get(key)
        if mine is None:
            continue
        if mine.question != other.question:
            strangers += 1
        elif mine.finished and other.finished:
            pairs.append((mine, other))
    return pairs, strangers


def differing(first: RunState, second: RunState) -> list[tuple[str, str, str]]:
    """Settings and models that are not the same: (name, of the first, of the second)."""
    if first.run is None or second.run is None:
        return []
    one, two = first.run, second.run
    found: list[tuple[str, object, object]] = [
        ("data set", one.dataset, two.dataset),
        ("strategy", one.strategy, two.strategy),
        ("take-over", one.takeover, two.takeover),
        ("samples", one.samples, two.samples),
        ("turns", one.turns, two.turns),
        ("seed", one.seed, two.seed),
    ]
    for mine, other in zip(one.models, two.models, strict=True):
        found.append((f"{mine.role} model", mine.name, other.name))
        found.append((f"{mine.role} release", mine.release, other.release))
    for name in ("mode", "rule", "adaptation", "alpha", "size", "fingerprint"):
        mine_value, other_value = (
            getattr(run.calibration, name) if run.calibration is not None else "none" for run in (one, two)
        )
        label = name if name in ("mode", "rule", "alpha") else f"calibration {name}"
        found.append((label, mine_value, other_value))
    found += [
        (name.replace("_", " "), one.settings.get(name), two.settings.get(name)) for name in COMPARED_SETTINGS
    ]
    return [(name, _said(mine), _said(other)) for name, mine, other in found if mine != other]


# The differences.


def _differences(first: RunState, second: RunState, pairs: Pairs) -> list[Difference]:
    graded = [pair for pair in pairs if all(map(is_graded, pair))]
    # Where votes were decided early, chance decided neither which samples ended nor which problems are whole.
    whole_ones = [] if _early(pairs) else graded
    decided = [pair for pair in pairs if all(_decided(problem)[1] for problem in pair)]
    timed = [pair for pair in pairs if all((_seconds(problem) or 0) > 0 for problem in pair)]
    found = [
        _points("accuracy per sample", whole_ones, right_share),
        _points("accuracy by vote", graded, lambda problem: float(problem.correct is True)),
        _rates("taken over", decided),
        _saved("target tokens", pairs, target_tokens),
        _saved("draft tokens", pairs, lambda problem: problem.draft_tokens),
        _saved("verified tokens", pairs, lambda problem: problem.verified_tokens),
        _speed_up("speed-up by problem", timed),
    ]
    whole = len(pairs) == len(first.problems) == len(second.problems)
    times = elapsed(first), elapsed(second)
    if whole and min(times) > 0:
        found.append(
            Difference(
                name="speed-up of the run", unit="times", first=times[0], second=times[1],
                value=times[0] / times[1], low=None, high=None, problems=len(pairs),
            )
        )  # fmt: skip
    return [difference for difference in found if difference.value is not None]


def _points(name: str, pairs: Pairs, of: Callable[[ProblemState], float]) -> Difference:
    one, two = _both(pairs, of)
    low, high = _mean_interval(two - one, pairs)
    clusters = len({mine.cluster for mine, _ in pairs})
    if clusters > 1 and not (two - one).any():
        # No problem differed: by the rule of three at most so many of all problems do.
        high = 1 - 0.05 ** (1 / clusters)
        low = -high
    return Difference(
        name=name, unit="points", first=_mean(one), second=_mean(two), value=_mean(two - one),
        low=None if low is None else max(low, -1.0), high=None if high is None else min(high, 1.0),
        problems=len(pairs),
    )  # fmt: skip


def _rates(name: str, pairs: Pairs) -> Difference:
    """Take-over rates: quotients of counts, linearised at each run's own rate."""
    if not pairs:
        return _nothing(name, "points")
    counts = np.array([[_decided(problem) for problem in pair] for pair in pairs], dtype=np.float64)
    totals = counts.sum(axis=0)
    rates = totals[:, 0] / totals[:, 1]
    residuals = (counts[:, :, 0] - rates * counts[:, :, 1]) / counts[:, :, 1].mean(axis=0)
    value = float(rates[1] - rates[0])
    low, high = _mean_interval(residuals[:, 1] - residuals[:, 0], pairs)
    return Difference(
        name=name, unit="points", first=float(rates[0]), second=float(rates[1]), value=value,
        low=None if low is None else max(value + low, -1.0),
        high=None if high is None else min(value + high, 1.0), problems=len(pairs),
    )  # fmt: skip


def _saved(name: str, pairs: Pairs, of: Callable[[ProblemState], float]) -> Difference:
    """What share of the first run's total the second did without; the quotient linearised."""
    one, two = _both(pairs, of)
    total, other = float(one.sum()), float(two.sum())
    if not pairs or total <= 0:
        return msgspec.structs.replace(
            _nothing(name, "saved"), first=total, second=other, problems=len(pairs)
        )
    quotient = other / total
    low, high = _mean_interval((two - quotient * one) / float(one.mean()), pairs)
    return Difference(
        name=name, unit="saved", first=total, second=other, value=1 - quotient,
        low=None if high is None else 1 - quotient - high, high=None if low is None else 1 - quotient - low,
        problems=len(pairs),
    )  # fmt: skip


def _speed_up(name: str, pairs: Pairs) -> Difference:
    """How many times as fast a problem was done: the geometric mean, with its interval on the logarithm."""
    one, two = _both(pairs, lambda problem: _seconds(problem) or 0.0)
    logs = np.log(one / two) if pairs else np.empty(0)
    value = _mean(logs)
    low, high = _mean_interval(logs, pairs)
    return Difference(
        name=name, unit="times", first=_mean(one), second=_mean(two),
        value=None if value is None else math.exp(value), low=None if low is None else math.exp(low),
        high=None if high is None else math.exp(high), problems=len(pairs),
    )  # fmt: skip


def _mean_interval(values: NDArray[np.float64], pairs: Pairs) -> tuple[float | None, float | None]:
    """The interval of the mean of one value a pair, by cluster; nothing for fewer than two clusters.

    With G clusters it is mean ± t(G − 1) · √(G / (G − 1) · Σ r²) / n with r a cluster's summed residuals,
    which is mean ± t(n − 1) · s / √n where every problem is a cluster of its own.
    """
    places: dict[str, int] = {}
    codes = [places.setdefault(mine.cluster, len(places)) for mine, _ in pairs]
    if len(places) < 2:
        return None, None
    mean, groups = float(values.mean()), len(places)
    sums = np.bincount(codes, weights=values - mean)
    half = t_quantile(groups - 1) * math.sqrt(groups / (groups - 1) * float((sums**2).sum())) / len(values)
    return mean - half, mean + half


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _both(
    pairs: Pairs, of: Callable[[ProblemState], float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (
        np.array([of(mine) for mine, _ in pairs], dtype=np.float64),
        np.array([of(other) for _, other in pairs], dtype=np.float64),
    )


def _nothing(name: str, unit: Unit) -> Difference:
    return Difference(
        name=name, unit=unit, first=None, second=None, value=None, low=None, high=None, problems=0
    )


# What a problem came to.


def _early(pairs: Pairs) -> bool:
    """Whether a vote that counts was decided before all samples had ended."""
    return any(stopped_early(problem) for pair in pairs if all(map(is_graded, pair)) for problem in pair)


def right_share(problem: ProblemState) -> float:
    """The share of a problem's samples that are right."""
    return sum(sample.correct is True for sample in problem.samples) / max(len(problem.samples), 1)


def _decided(problem: ProblemState) -> tuple[int, int]:
    """(taken over, decisions), unverifiable steps counting as taken over."""
    decisions = sum(sample.decisions for sample in problem.samples)
    return decisions - sum(sample.accepted for sample in problem.samples), decisions


def target_tokens(problem: ProblemState) -> float:
    """Tokens that the target wrote."""
    return problem.target_tokens


def _seconds(problem: ProblemState) -> float | None:
    """From the first sample's start to the vote."""
    if problem.started_at is None or problem.finished_at is None:
        return None
    return problem.finished_at - problem.started_at


def _by_id(state: RunState) -> dict[tuple[str, int], ProblemState]:
    seen: dict[str, int] = {}
    found = {}
    for problem in state.problems:
        time = seen[problem.id] = seen.get(problem.id, -1) + 1
        found[problem.id, time] = problem
    return found


# What the numbers cannot say.


def _cautions(first: Named, second: Named, pairs: Pairs, strangers: int) -> list[str]:
    one, two = first.state.run, second.state.run
    if one is None or two is None:
        return []
    found = [*_of_data_sets(first.name, second.name, one, two, strangers)]
    if not pairs:
        return [*found, "No problem was finished in both, so nothing can be compared problem by problem."]
    most = max(len(first.state.problems), len(second.state.problems))
    found += _of_problems(pairs, most)
    found += _of_methods(first.name, second.name, one, two)
    for run in (first, second):
        if run.origin:
            found.append(f"{run.name} was imported: its times are as far as its records tell them.")
        if run.state.finished is None:
            found.append(f"{run.name} has not finished.")
    return found


def _of_data_sets(
    first: str, second: str, one: ev.RunStarted, two: ev.RunStarted, strangers: int
) -> Iterator[str]:
    if one.dataset != two.dataset:
        names = (one.dataset or "an unnamed one", two.dataset or "an unnamed one")
        yield f"The data sets differ: {first} is of {names[0]}, {second} of {names[1]}."
    elif one.fingerprint != two.fingerprint:
        yield (
            "The data sets have one name and other contents or another choice of problems; only the problems"
            " in both are compared."
        )
    if strangers:
        has = _count(strangers, "problem has", "problems have")
        yield f"{has} the same id in both and another question; no pairs are made of them."


def _of_problems(pairs: Pairs, most: int) -> Iterator[str]:
    if len(pairs) < most:
        yield (
            f"Only {len(pairs):,} of {most:,} problems were finished in both; the others are left out, and"
            " the times of the whole runs are not compared."
        )
    clusters = len({mine.cluster for mine, _ in pairs})
    if clusters < FEW:
        few = _count(clusters, "problem is", "problems are")
        yield f"{few} too few to trust the intervals, which take the differences for bell-shaped."
    failed = sum(any(s.end in ("failed", "stopped") for p in pair for s in p.samples) for pair in pairs)
    if failed:
        has = _count(failed, "problem has", "problems have")
        yield f"{has} samples that failed or were stopped; accuracy leaves out such problems."
    if _early(pairs):
        yield (
            "Votes were decided before all samples had ended, and which samples ended then is not left to"
            " chance: accuracy is compared by vote alone."
        )
    if all(problem.gold is None for pair in pairs for problem in pair):
        yield "No gold answers are known, so accuracy is not compared."


def _of_methods(first: str, second: str, one: ev.RunStarted, two: ev.RunStarted) -> Iterator[str]:
    if one.samples != two.samples:
        yield (
            f"A problem has {one.samples} samples in {first} and {two.samples} in {second}: more samples make"
            " a surer vote, and take longer."
        )
    for mine, other in zip(one.models, two.models, strict=True):
        if mine.name != other.name:
            yield f"The {mine.role} models differ, so their tokens and PPLs are not of one kind."
        elif mine.tokenizer != other.tokenizer:
            yield f"The {mine.role} model has one name and two tokenizers or chat templates."
    if _machines(one) != _machines(two):
        yield (
            "The runs asked other servers, or sent them another number of requests at a time: their times are"
            " those of other machines, not of the methods alone."
        )
    if one.seed != two.seed:
        yield (
            f"The seeds differ ({one.seed} and {two.seed}): the differences hold the chance of sampling as"
            " well, which the intervals cover."
        )


def _of_times(differences: list[Difference]) -> Iterator[str]:
    factors = [found.value for found in differences if found.unit == "times" and found.value is not None]
    if len(factors) == 2 and min(factors) < 1 < max(factors):
        yield (
            "A single problem and the whole run differ in opposite ways: one run works at more problems at"
            " once, so that each takes longer and all of them together less."
        )


def _machines(run: ev.RunStarted) -> tuple[object, ...]:
    urls = tuple(_host(model.url) for model in run.models)
    return (*urls, *(run.settings.get(name) for name in ("draft_concurrency", "target_concurrency")))


def _host(url: str) -> str:
    """Without the port where it is this machine: the embedded pair takes whichever is free."""
    for local in ("http://127.0.0.1:", "http://localhost:"):
        if url.startswith(local):
            return "this machine"
    return url


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _said(value: object) -> str:
    if value is None or value == "":
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
