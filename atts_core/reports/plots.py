"""The plots of a report: each reads folded states and gives an SVG, or nothing where there is none."""

from collections.abc import Sequence
from itertools import pairwise

from atts_core.conformal.live import realised
from atts_core.conformal.pvalues import is_score
from atts_core.percent import percent
from atts_core.problems.metrics import achieved, is_graded
from atts_core.reports.compare import Named, right_share, target_tokens
from atts_core.reports.svg import Axis, Plot
from atts_core.reports.timeline import elapsed, intervals
from atts_core.state import ProblemState, RunState

MOST_DOTS = 3000
"""Of a scatter plot: more are not told apart, and make a page heavy."""
MOST_LANES = 48
LANE = 12
"""User units from lane to lane."""
COLUMNS = 240
"""Parts of the run time in the throughput plot."""


def ppl_plot(state: RunState) -> tuple[str, str]:
    """PPL of every verified step against the threshold it was held to, over time; and how many are shown."""
    found = [
        (judged.at, judged)
        for problem in state.problems
        for sample in problem.samples
        for judged in sample.judged()
        if is_score(judged.ppl)
    ]
    if not found:
        return "", ""
    found.sort(key=lambda pair: pair[0])
    every = max(-(-len(found) // MOST_DOTS), 1)
    shown = found[::every]
    ppls = sorted(verdict.ppl or 1.0 for _, verdict in shown)
    high = ppls[min(int(len(ppls) * 0.999), len(ppls) - 1)]
    plot = Plot(
        Axis(0.0, max(at for at, _ in found), "run time, seconds"),
        Axis(max(ppls[0], 1.0), high * 1.05, "PPL of the step", log=True),
        title="PPL of every step against the threshold",
    )
    plot.dots([(at, v.ppl or 1.0) for at, v in shown if v.verdict == "accept"], "c-draft")
    plot.dots([(at, v.ppl or 1.0) for at, v in shown if v.verdict != "accept"], "c-target")
    plot.line([(at, v.threshold) for at, v in shown if v.threshold], "c-threshold")
    left_out = f", one in {every} shown" if every > 1 else ""
    return plot.svg(), f"{len(found):,} verified steps{left_out}"


def turns_plot(state: RunState) -> str:
    """The share taken over by turn, with 95 % intervals by problem, against the nominal rate."""
    found = realised(state)
    if not found.by_turn:
        return ""
    card = state.run.calibration if state.run is not None else None
    plot = Plot(
        Axis(0.5, found.by_turn[-1].turn + 1.5, "turn", whole=True),
        Axis(0.0, 1.0, "share taken over", percent=True),
        title="Realised take-over rate by turn",
    )
    if card is not None:
        plot.rule(card.nominal, "c-threshold", f"nominal {percent(card.nominal)}")
    for turn in found.by_turn:
        if turn.share.value is not None and turn.share.low is not None and turn.share.high is not None:
            plot.interval(turn.turn + 1, turn.share.low, turn.share.high, "c-target")
            plot.dots([(turn.turn + 1, turn.share.value)], "c-target", 4)
    return plot.svg()


def accuracy_plot(runs: Sequence[Named]) -> str:
    """Accuracy against target tokens: every problem as a faint dot, every run with its interval."""
    dots: list[tuple[float, float]] = []
    means: list[tuple[str, float, float, float, float]] = []
    for run in runs:
        own = [
            (target_tokens(problem), right_share(problem))
            for problem in run.state.problems
            if is_graded(problem)
        ]
        accuracy = achieved(run.state).sample
        if own and accuracy.value is not None and accuracy.low is not None and accuracy.high is not None:
            dots += own
            mean = sum(tokens for tokens, _ in own) / len(own)
            means.append((run.name, mean, accuracy.value, accuracy.low, accuracy.high))
    if not means:
        return ""
    plot = Plot(
        Axis(0.0, max(x for x, _ in dots) * 1.1, "tokens that the target wrote, per problem"),
        Axis(0.0, 1.0, "samples that are right", percent=True),
        title="Accuracy against target tokens",
    )
    plot.dots(dots[:MOST_DOTS], "c-faint", 3)
    for name, tokens, value, low, high in means:
        plot.interval(tokens, low, high, "c-draft")
        plot.dots([(tokens, value)], "c-draft", 5)
        plot.word(tokens, value, name if len(means) > 1 else "mean")
    return plot.svg()


def lanes_plot(state: RunState) -> tuple[str, str]:
    """What each sample of the first problems did when; and which problems these are."""
    chosen: list[ProblemState] = []
    lanes = 0
    for problem in state.problems:
        if problem.started_at is None or (chosen and lanes + len(problem.samples) > MOST_LANES):
            break
        chosen.append(problem)
        lanes += min(len(problem.samples), MOST_LANES)
    rows = [sample for problem in chosen for sample in problem.samples][:MOST_LANES]
    drawn = [intervals(sample, state.now) for sample in rows]
    ends = [part.end for lane in drawn for part in lane]
    if not ends:
        return "", ""
    plot = Plot(
        Axis(min(lane[0].start for lane in drawn if lane), max(ends), "run time, seconds"),
        Axis(0.0, float(len(rows)), "samples"),
        height=len(rows) * LANE + 56,
        title="What every sample did when",
    )
    for number, lane in enumerate(drawn):
        for doing, start, end in lane:
            thick = {"draft": 0.5, "verify": 0.35, "target": 0.85, "wait": 0.08}[doing]
            plot.box(start, end, len(rows) - number - 0.5, LANE * thick, f"c-{doing}")
    names = ", ".join(problem.id for problem in chosen)
    return plot.svg(y_ticks=False), names


def throughput_plot(state: RunState) -> str:
    """Tokens a second of both models: each step's tokens spread evenly over its writing."""
    began = [problem.started_at for problem in state.problems if problem.started_at is not None]
    length = elapsed(state)
    if not began or length <= 0:
        return ""
    start, width = min(began), length / COLUMNS
    sums: dict[str, list[float]] = {"draft": [0.0] * COLUMNS, "target": [0.0] * COLUMNS}
    for problem in state.problems:
        for sample in problem.samples:
            for tokens, span in sample.written():
                first, last = span.start - start, (span.end or 0.0) - start
                _spread(sums[span.stage], tokens, first / width, last / width)
    top = max(max(values) for values in sums.values()) / width
    plot = Plot(
        Axis(start, start + length, "run time, seconds"),
        Axis(0.0, top * 1.05, "tokens a second"),
        title="Throughput",
    )
    for role, values in sums.items():
        points = [(start + (place + 0.5) * width, value / width) for place, value in enumerate(values)]
        plot.line(points, f"c-{role}")
    return plot.svg()


def _spread(into: list[float], amount: float, first: float, last: float) -> None:
    """Add an amount evenly from one place to another, in columns."""
    first, last = max(first, 0.0), min(last, float(len(into)))
    if last - first < 1e-9:
        into[min(int(first), len(into) - 1)] += amount
        return
    cuts = [first, *range(int(first) + 1, -int(-last // 1)), last]
    for low, high in pairwise(cuts):
        into[min(int(low), len(into) - 1)] += amount * (high - low) / (last - first)
