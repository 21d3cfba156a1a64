"""Calibration scores: collected by a run as it goes, or before a run that has none."""

import asyncio
from collections.abc import Sequence

import numpy as np

from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import Settings
from atts_core.conformal.calibration import Calibration
from atts_core.conformal.identity import Identity
from atts_core.engine.chain import Chain
from atts_core.engine.pair import Pair
from atts_core.engine.prompts import PROMPT_VERSION
from atts_core.engine.requests import Context, Gate, Requests
from atts_core.engine.run import first_error
from atts_core.engine.servers import Servers
from atts_core.errors import RunError
from atts_core.problems.load import ProblemSet
from atts_core.problems.problem import Problem
from atts_core.serving.errors import ContextFull


class Scores:
    """PPLs in the order in which they came, with what each belongs to."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, int, int, int]] = []

    def add(self, ppl: float | None, turn: int, problem: int, sample: int) -> None:
        """Keep one score; a step that could not be scored is left out."""
        if ppl is not None:
            self._rows.append((ppl, turn, problem, sample))

    def add_events(self, stamps: Sequence[ev.Stamped]) -> None:
        """Keep the score of every verdict among the events."""
        for stamped in stamps:
            event = stamped.event
            if isinstance(event, ev.VerdictReached):
                self.add(event.ppl, event.turn, event.problem, event.sample)

    def __len__(self) -> int:
        return len(self._rows)

    def calibration(self, problems: Sequence[Problem], identity: Identity, source: str) -> Calibration:
        """The scores sorted by problem, sample and turn, so that the order of arrival leaves no trace.

        Raises:
            RunError: there is not a single score.
        """
        if not self._rows:
            raise RunError("No step could be scored, so there is no calibration; look at the errors above.")
        rows = sorted(self._rows, key=lambda row: (row[2], row[3], row[1]))
        used = sorted({row[2] for row in rows})
        place = {problem: k for k, problem in enumerate(used)}
        return Calibration(
            ppl=np.array([row[0] for row in rows]),
            turn=np.array([row[1] for row in rows], dtype=np.int32),
            problem=np.array([place[row[2]] for row in rows], dtype=np.int32),
            sample=np.array([row[3] for row in rows], dtype=np.int32),
            problems=tuple(problems[problem].id for problem in used),
            identity=identity,
            source=source,
        )


def identity(pair: Pair, settings: Settings, problems: ProblemSet, *, first_turn_only: bool) -> Identity:
    """What scores of this pair under these settings are."""
    return Identity(
        draft_model=pair.draft.info.model,
        target_model=pair.target.info.model,
        draft_tokenizer=pair.draft.tokenizer.identity,
        target_tokenizer=pair.target.tokenizer.identity,
        dataset=problems.dataset,
        dataset_fingerprint=problems.fingerprint,
        prompt_version=PROMPT_VERSION,
        draft_tokens=settings.draft_tokens,
        target_tokens=settings.target_tokens,
        temperature=settings.temperature,
        stop_rule=repr(settings.stop),
        takeover="none" if first_turn_only else settings.takeover,
    )


async def collect_first_turns(
    pair: Pair, settings: Settings, problems: ProblemSet, bus: Bus, gate: Gate
) -> Calibration:
    """Before a run: let the draft write the first step of every sample once more and score it.

    This is the paper's way of calibrating without a held-out set (m outputs pre-sampled for each input). Its
    tokens are counted with the run's. Publishes `ScoreCollected` for each.

    Raises:
        ServerError: a server failed for good.
        RunError: no step could be scored.
    """
    scores = Scores()
    total = len(problems.problems) * settings.samples
    servers = Servers(pair, bus.publish, settings.patience)
    quiet = Context(pair, settings, Bus(), gate, servers)
    work = iter([(i, k) for k in range(settings.samples) for i in range(len(problems.problems))])

    async def worker() -> None:
        for index, sample in work:
            problem = problems.problems[index]
            # Other seeds than the run's own samples have: a score must not be ranked against itself.
            requests = Requests(quiet, index, f"calibration of {problem.id}", sample)
            chain = Chain(pair, problem.question, instruct=settings.instruct)
            try:
                async with requests.place(pair.draft, "draft", 0) as held:
                    step = await requests.write(held, chain.draft_ids, 0)
                ids = chain.for_target(step)
                async with requests.place(pair.target, "verify", 0) as held:
                    ppl, _ = await requests.score(held, chain.target_ids, ids)
                for side in (pair.draft, pair.target):
                    side.limiter.forget((index, sample))
            except ContextFull:
                continue  # a problem that fills the context gives no score; its samples will say so
            scores.add(ppl, 0, index, sample)
            done[0] += 1
            bus.publish(
                ev.ScoreCollected(
                    ppl=ppl,
                    draft_tokens=step.generated,
                    verified_tokens=len(ids),
                    collected=done[0],
                    total=total,
                )
            )

    done = [0]
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(total, pair.draft.limiter.total + pair.target.limiter.total)):
                group.create_task(worker())
    except BaseExceptionGroup as failed:
        raise first_error(failed) from None
    finally:
        await servers.close()
    card = identity(pair, settings, problems, first_turn_only=True)
    return scores.calibration(problems.problems, card, "first steps collected before the run")
