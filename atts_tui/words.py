"""Numbers and states in words, as the screens say them."""

from typing import Literal

from atts_core.events import SampleEnd, VerdictReached
from atts_core.forecast import progress
from atts_core.overview import Look
from atts_core.percent import percent
from atts_core.state import ProblemState, RunState, SampleState

PHASES: dict[str, tuple[str, str]] = {
    "pending": ("not started", "-"),
    "queued": ("waits", "waits"),
    "round": ("waits: round", "round"),
    "draft": ("draft writes", "draft"),
    "verify": ("target checks", "check"),
    "target": ("target writes", "target"),
    "between": ("next step", "next"),
}
"""What a running sample does: long and short."""

ENDS: dict[SampleEnd, tuple[str, str]] = {
    "answered": ("answered", "done"),
    "end-of-text": ("text ended", "ended"),
    "turn-limit": ("turn limit", "limit"),
    "context-limit": ("context full", "full"),
    "decided": ("vote decided", "vote"),
    "stopped": ("stopped", "stop"),
    "failed": ("failed", "failed"),
}
"""Why a sample ended: long and short."""

RunWord = Literal["WAITING", "LIVE", "PAUSED", "LOST", "DONE", "INCOMPLETE", "FAILED", "INTERRUPTED"]

WHAT_HAPPENS = "A small model drafts each step; a large one checks it or takes over."
"""The whole method in one line, for somebody who sees it for the first time."""

WHAT_WILL_HAPPEN = (
    "A small, fast draft model will reason step by step, in many samples of the problem at once.",
    (
        "A large target model reads each step. Where a step surprises it more than most steps did before, "
        "it takes over and writes on its own; all other steps are accepted as they are."
    ),
    "Each sample that finds an answer votes. The answer with most votes wins.",
)
"""What there will be to see, while nothing is there yet."""


def phase_words(sample: SampleState) -> tuple[str, str]:
    """What a sample does now, or why it ended: long and short."""
    if sample.end is not None:
        return ENDS[sample.end]
    if sample.phase == "queued" and sample.queued_for is not None:
        waits_for = "draft" if sample.queued_for == "draft" else "target"
        return f"waits: {waits_for}", "waits"
    return PHASES.get(sample.phase, (sample.phase, sample.phase))


def run_word(state: RunState) -> RunWord:
    """The state of the run in one word."""
    if state.finished is not None:
        return state.finished.end.upper()  # type: ignore[return-value]  # RunEnd is exactly these, in small
    if any(server.lost for server in state.servers.values()):
        return "LOST"
    if state.paused:
        return "PAUSED"
    return "WAITING" if state.run is None else "LIVE"


def lost_words(state: RunState) -> str:
    """Which servers do not answer and why; empty where both do or the run is over."""
    if state.finished is not None:
        return ""
    return "; ".join(
        f"{role} server does not answer: {server.lost}"
        for role, server in state.servers.items()
        if server.lost
    )


def waiting_words(state: RunState, notice: str) -> str:
    """What is being done before the run begins."""
    if state.collecting is not None:
        done = f"{state.collecting.collected} of {state.collecting.total}"
        return f"collecting calibration scores of first steps: {done}"
    return notice or "waiting for the run to begin"


def explain(verdict: VerdictReached) -> str:
    """The verdict for somebody who has never heard of conformal prediction."""
    turn = f"Turn {verdict.turn + 1}" + (f" (PPL {ppl(verdict.ppl)}): " if verdict.ppl is not None else ": ")
    accepted = verdict.verdict == "accept"
    follows = outcome_of(verdict).replace("target", "the target")
    if verdict.verdict == "unverifiable":
        return turn + f"the draft's step could not be checked, so {'it was ' * verdict.again}{follows}."
    if verdict.rating is not None:
        enough = f"{verdict.least_rating} is enough"
        return turn + f"the target rated the step {verdict.rating} of 9, {enough}: {follows}."
    if verdict.rank is not None:
        place = f"the step surprised the target {_ordinal(verdict.rank)}most of {verdict.size} in its round: "
        return turn + place + follows + "."
    if verdict.p is None:
        return turn + follows + "."
    p, alpha = percent_pair(verdict.p, verdict.alpha)
    surprise = f"the step surprised the target more than {p} of the calibration steps did; "
    fine = f"up to {alpha} is fine" if accepted else f"over {alpha} is too much"
    return turn + surprise + f"{fine}: {follows}."


def explain_short(verdict: VerdictReached) -> str:
    """The same in about half the room."""
    turn = f"Turn {verdict.turn + 1}: "
    outcome = outcome_of(verdict)
    if verdict.verdict == "unverifiable":
        return turn + f"step could not be checked, {outcome}"
    if verdict.p is None:
        found = judged_by(verdict)
        return turn + (f"{found}: {outcome}" if found else outcome)
    sign = "≤" if verdict.verdict == "accept" else ">"
    p, alpha = percent_pair(verdict.p, verdict.alpha)
    return turn + f"surprise {p} {sign} {alpha} limit: {outcome}"


def outcome_of(verdict: VerdictReached) -> str:
    """What followed a verdict."""
    if verdict.verdict == "accept":
        return "accepted"
    return "drawn again" if verdict.again else "target took over"


def judged_by(verdict: VerdictReached) -> str:
    """What a verdict without a p-value went by; empty where the run does not say."""
    if verdict.rating is not None:
        return f"rated {verdict.rating} of 9"
    return f"rank {verdict.rank} of {verdict.size}" if verdict.rank is not None else ""


def _ordinal(number: int) -> str:
    """`""`, `2nd `, `3rd `, `4th ` …: what stands before "most"."""
    if number == 1:
        return ""
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')} "


def leader_words(problem: ProblemState) -> str:
    """Who leads the vote of a problem, in words; says a tie."""
    if not problem.tally:
        if problem.finished:
            return "no sample found an answer"
        return "no votes yet: a sample votes when it finds its answer"
    most = problem.tally[0][1]
    first = [answer for answer, votes in problem.tally if votes == most]
    if problem.finished:
        said = f"the vote: {problem.answer}" if problem.answer is not None else "no answer"
        return said + (f" (tied with {len(first) - 1} more)" if problem.tied and len(first) > 1 else "")
    if len(first) > 1:
        return f"tied: {len(first)} answers with {votes_word(most)} each"
    return f"leads: {first[0]} with {votes_word(most)} so far"


LOOKS: dict[Look, str] = {
    "failed": "failed", "wrong": "sure, wrong", "undecided": "undecided", "slow": "slow",
}  # fmt: skip
"""Why a problem needs a look, in a word or two."""


def look_words(look: Look, problem: ProblemState, median: float | None) -> str:
    """Why a problem needs a look, in a sentence. `median`: of the finished problems' durations, seconds."""
    match look:
        case "failed":
            why = next((sample.message for sample in problem.samples if sample.end == "failed"), "")
            said = f"{problem.failed} of {len(problem.samples)} samples failed"
            return f"{said}: {why}" if why else said
        case "wrong":
            return f"all {problem.voted} votes are for {problem.answer}; right is {problem.gold}"
        case "undecided":
            if problem.answer is None:
                return "no sample found an answer"
            most = problem.tally[0][1]
            tied = [answer for answer, votes in problem.tally if votes == most]
            return f"{len(tied)} answers are tied with {votes_word(most)} each: {', '.join(tied[:4])}"
        case "slow":
            times = f", {problem.seconds / median:.1f} times the middle one" if median else ""
            return f"took {clock(problem.seconds)}{times}"


def votes_word(count: int) -> str:
    """`1 vote`, `2 votes`."""
    return f"{count} vote" + ("" if count == 1 else "s")


def percent_pair(first: float, second: float) -> tuple[str, str]:
    """Two shares as percent, with as many decimals as it takes to tell them apart (at most two)."""
    for decimals in range(3):
        pair = (f"{first * 100:.{decimals}f} %", f"{second * 100:.{decimals}f} %")
        if first == second or pair[0] != pair[1]:
            break
    return pair


def number(count: float) -> str:
    """A count in at most five characters or so: 1,282, 12.3k, 4.5M."""
    if count < 10_000:
        return f"{count:,.0f}"
    if count < 1_000_000:
        return f"{count / 1000:.1f}k" if count < 100_000 else f"{count / 1000:.0f}k"
    return f"{count / 1_000_000:.1f}M"


def ppl(value: float | None) -> str:
    """A perplexity with about four figures."""
    if value is None:
        return "–"
    return f"{value:.3f}" if value < 100 else number(value)


def probability(value: float | None) -> str:
    """A p-value or alpha in three characters: .81, 1.0."""
    if value is None:
        return " – "
    return "1.0" if value >= 0.995 else f"{value:.2f}"[1:]


def clock(seconds: float) -> str:
    """A duration as 0:42, 12:03 or 1:02:03."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def span(seconds: float) -> str:
    """How long, in one word or two: 24 s, 3 min, 2 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"


def gigabytes(size: int) -> str:
    """Bytes as GB, one decimal below 10."""
    value = size / 1e9
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def window_title(title: str, word: str, state: RunState) -> str:
    """What the terminal's own title says of the run, so that a look at a list of windows is enough."""
    name = f"atts {title}".strip()
    return f"{name}: {word.lower()} {percent(progress(state))}" if state.run is not None else name
