"""How far the scheduler is from the best possible: 1,600 recorded chains on a clock that only requests move.

    python tests/benchmarks/bench_makespan.py

The real engine, strategies, limiters and decider run on an event loop whose clock jumps to the next moment at
which something happens. The servers are pretended: a request takes what the authors' recorded run took for
that step (MATH-500, DeepSeek-R1-Distill-Llama-8B → QwQ-32B; a sample's seconds shared out by the length of
its texts, scoring a tenth of writing), and gives the recorded PPL. Nothing but the order of requests is
measured, so the load of the machine does not matter and the figures repeat. Where a decision differs from the
recorded one, a step that was never written takes as long as one drawn from those that were.

The workload: the 96 problems of the two recorded runs at hand and the first four once more, 16 samples each.
The lower bound is the largest of (all requests of a server) / (its places) and the longest chain: no
scheduler can beat it. Budget: makespan ≤ 1.05 × the bound.

Measured, seconds of the recorded servers (places at draft and target):

| | 16 + 16 | 16 + 4 | 32 + 8 |
|---|---|---|---|
| atts | 2,211 | 3,835 | 1,915 |
| against its lower bound | 1.022 × | 1.038 × | 1.037 × |
| atts with a barrier per problem, as the authors run it | 2.26 × atts | 1.56 × | 2.64 × |
| sync | 3.61 × atts | 2.31 × | 4.16 × |
| sync, four problems at once | 1.17 × atts | 0.97 × | 1.21 × |

Sync decides otherwise than atts (by rank in its round), so its work differs a little too: with four problems
at once and four places at the target it has less to do, and stays 1.06 × above its own bound.
"""

import asyncio
import dataclasses
import gzip
import json
import math
import random
import selectors
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from atts_core.bus import Bus
from atts_core.config import SERVERS, Given, load
from atts_core.conformal import Decider, flat_calibration
from atts_core.engine.limits import Limiter
from atts_core.engine.pair import Pair, Side, Worker
from atts_core.engine.requests import Gate
from atts_core.engine.run import Engine
from atts_core.engine.seeds import request_seed
from atts_core.problems.problem import Problem
from atts_core.runs.chains import VERIFYING, duration, read_chain
from atts_core.serving.answers import Finish, GenerateUpdate, StepScore

DATA = Path(__file__).parents[3] / "shared" / "data"
RUNS = ("math500_ct0_dev48", "math500_ct1_dev48")
ARRAY = "math500_qwq32b_rllama8b_ct0"
PROBLEMS, SAMPLES, TURNS, ALPHA = 100, 16, 15, 0.6
BUDGET = 1.05


class Clock(asyncio.SelectorEventLoop):
    """An event loop that never waits: its time is the time of what happens next."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.now


class _Jump(selectors.DefaultSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("nothing is under way and nothing will happen: a deadlock")
        self._clock.now += timeout
        return super().select(0)


@dataclasses.dataclass
class Turn:
    """What was recorded of a turn, seconds; `target` is None where the target did not write."""

    draft: float
    verify: float
    ppl: float
    target: float | None


class Workload:
    """The recorded chains, and what requests on them cost."""

    def __init__(self) -> None:
        records = [record for run in RUNS for record in _records(run)]
        per_problem = [records[n : n + SAMPLES] for n in range(0, len(records), SAMPLES)]
        chosen = (per_problem * 2)[:PROBLEMS]
        self.chains = [[_turns(record) for record in problem] for problem in chosen]
        turns = [turn for problem in self.chains for chain in problem for turn in chain]
        self._targets = [turn.target for turn in turns if turn.target is not None]
        self._drafts = [turn.draft for turn in turns]
        self._by_seed = {
            (request_seed(0, f"p{p}", s, t, stage), stage): (p, s, t)
            for p in range(PROBLEMS)
            for s in range(SAMPLES)
            for t in range(TURNS)
            for stage in ("draft", "target")
        }
        self.places: list[tuple[int, int, int]] = []
        """By token: problem, sample and turn of the step that it stands for."""
        self.spent = {"draft": 0.0, "target": 0.0}
        self.of_chain: dict[tuple[int, int], float] = {}

    def write(self, seed: int, stage: str) -> tuple[int, float]:
        """The token of the step that a request asks for, and its seconds."""
        place = self._by_seed[seed, stage]  # type: ignore[index]
        self.places.append(place)
        turn = self._turn(place)
        recorded = turn.draft if stage == "draft" else turn.target
        if recorded is None:
            recorded = random.Random(f"{place}").choice(self._targets)
        self._spend(stage, place, recorded)
        return len(self.places) - 1, recorded

    def score(self, token: int) -> tuple[float, float]:
        """PPL and seconds of scoring a step."""
        place = self.places[token]
        turn = self._turn(place)
        self._spend("target", place, turn.verify)
        return turn.ppl, turn.verify

    def text(self, token: int) -> str:
        """A chain ends with the turn in which it was recorded to end."""
        problem, sample, turn = self.places[token]
        return "\\boxed{1}" if turn >= len(self.chains[problem][sample]) - 1 else "step "

    def _turn(self, place: tuple[int, int, int]) -> Turn:
        problem, sample, turn = place
        return self.chains[problem][sample][turn]

    def _spend(self, server: str, place: tuple[int, int, int], seconds: float) -> None:
        self.spent[server] += seconds
        self.of_chain[place[:2]] = self.of_chain.get(place[:2], 0.0) + seconds


class Server:
    """A client whose requests take recorded time."""

    def __init__(self, workload: Workload, role: str) -> None:
        self.url, self._workload, self._role = f"http://{role}", workload, role

    async def generate(self, request: Any) -> AsyncIterator[GenerateUpdate]:
        token, seconds = self._workload.write(request.sampling.seed, self._role)
        await asyncio.sleep(seconds)
        yield GenerateUpdate(
            ids=[token], text=self._workload.text(token), completion_tokens=1, prompt_tokens=1,
            finish=Finish("stop"),
        )  # fmt: skip

    async def score(self, prefix: Sequence[int], step: Sequence[int]) -> StepScore:
        ppl, seconds = self._workload.score(step[0])
        await asyncio.sleep(seconds)
        return StepScore(logprobs=(-math.log(ppl),), prompt_tokens=1, cached_tokens=0, seconds=seconds)


class Words:
    """A tokenizer whose tokens are whole steps."""

    eos_ids, identity = frozenset[int](), "words"

    def __init__(self, workload: Workload) -> None:
        self._workload = workload

    def render(self, messages: object) -> list[int]:
        return [0]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(self._workload.text, ids))


def run(places: tuple[int, int], **given: Any) -> tuple[float, float]:
    """Makespan and its lower bound, seconds, with so many places at draft and target."""
    workload = Workload()
    known = {
        "samples": SAMPLES, "turns": TURNS, "alpha": ALPHA, "takeover": "continue",
        "draft_concurrency": places[0], "target_concurrency": places[1],
    }  # fmt: skip
    settings = load(Given(**known, **given), {}).resolve(SERVERS)
    info = SimpleNamespace(room=lambda _, wanted: wanted, role="draft")
    sides = [
        Side(role, [Worker(Server(workload, role))], info, Words(workload), Limiter(count))  # type: ignore[arg-type]
        for role, count in zip(("draft", "target"), places, strict=True)
    ]
    decider = None
    if settings.kind.calibrated:
        decider = Decider(
            settings.conformal, flat_calibration(np.load(DATA / "arrays" / f"{ARRAY}.npy"), SAMPLES)
        )
    problems = [Problem(id=f"p{number}", question="?") for number in range(PROBLEMS)]
    bus, clock = Bus(), Clock()

    async def whole() -> None:
        engine = Engine(Pair(*sides, SERVERS), settings, decider, bus, problems, None, Gate(bus.publish))
        assert await engine.run() == "done"

    with asyncio.Runner(loop_factory=lambda: clock) as runner:
        runner.run(whole())
    spent = [workload.spent[role] / count for role, count in zip(("draft", "target"), places, strict=True)]
    return clock.now, max(*spent, *workload.of_chain.values())


def _records(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / "runs" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return sorted(records, key=lambda record: int(record["problem_index"]))


def _turns(record: dict[str, Any]) -> list[Turn]:
    """The turns of a record. A sample's seconds are shared out as when such a run is imported."""
    chain = read_chain(record, ALPHA)
    lengths = [1 + len(step.text) * (1 + (VERIFYING if step.verdict else 0)) for step in chain.steps]
    unit = duration(record) / sum(lengths)
    turns: dict[int, Turn] = {}
    for step in chain.steps:
        seconds = (1 + len(step.text)) * unit
        if step.role == "draft":
            turns[step.turn] = Turn(seconds, VERIFYING * len(step.text) * unit, step.ppl or 1.0, None)
        elif step.turn in turns:
            turns[step.turn].target = seconds
    return [turns[turn] for turn in sorted(turns)]


def main() -> None:
    """Prints makespans; exit status 1 beyond the budget."""
    if not DATA.is_dir():
        print("skipped: the recorded runs are not on this machine")  # noqa: T201
        return
    calibrated = {"mode": "marginal", "rule": "reference"}
    over = False
    for places in ((16, 16), (16, 4), (32, 8)):
        atts, bound = run(places, **calibrated)
        print(f"{places[0]} places at the draft, {places[1]} at the target; atts: {atts:,.0f} s")  # noqa: T201
        print(f"  lower bound {bound:,.0f} s: {atts / bound:.3f} × (budget {BUDGET})")  # noqa: T201
        over |= atts > BUDGET * bound
        for name, given in (
            ("atts, a barrier per problem", {**calibrated, "at_once": 1}),
            ("sync", {"strategy": "sync"}),
            ("sync, four problems at once", {"strategy": "sync", "at_once": 4}),
        ):
            makespan, own = run(places, **given)
            against = f"{makespan / atts:.2f} × atts, {makespan / own:.2f} × its bound"
            print(f"  {name}: {makespan:,.0f} s, {against}")  # noqa: T201
    sys.exit(over)


if __name__ == "__main__":
    main()
