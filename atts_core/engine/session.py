"""From settings to a pair of models that answer, and from there to a run.

Without URLs the embedded pair is started as two servers of its own on loopback and stopped afterwards; with
URLs the same code talks to them. Nothing below this file knows the difference.
"""

import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from atts_core import __version__
from atts_core import events as ev
from atts_core.bus import Bus
from atts_core.config import EMBEDDED, SERVERS, Layers, Settings
from atts_core.conformal.calibration import Calibration
from atts_core.conformal.card import calibration_card, round_card
from atts_core.conformal.decider import Decider
from atts_core.conformal.drift import DriftMonitor
from atts_core.conformal.files import load_calibration
from atts_core.conformal.identity import check_identity
from atts_core.embedded.launch import EmbeddedServers
from atts_core.embedded.tokenizer import EmbeddedTokenizer
from atts_core.engine.collect import collect_first_turns, identity
from atts_core.engine.connect import connect_side
from atts_core.engine.open_files import allow_requests, require_requests
from atts_core.engine.pair import Pair, Side
from atts_core.engine.requests import Gate
from atts_core.engine.run import Engine
from atts_core.engine.strategies.registry import ATTS, STRATEGIES
from atts_core.errors import SettingsError
from atts_core.problems.load import ProblemSet
from atts_core.runs.resume import RunProgress, refuse_differences, restore_decider
from atts_core.servers.use import started_processes
from atts_core.serving.tokenizers import Tokenizer
from atts_core.telemetry.sources import Source
from atts_core.telemetry.watch import watching

EMBEDDED_CALIBRATION = Path(__file__).parent.parent / "embedded" / "calibration.npz"


@dataclass(slots=True)
class Session:
    """A pair that answers, complete settings, and what the user should know before the run."""

    pair: Pair
    settings: Settings
    warnings: list[str] = field(default_factory=list)
    calibration: Calibration | None = None
    """What the run decides by, once it has started."""
    processes: dict[str, int] = field(default_factory=dict)
    """Process ids of the servers that this session started, by role."""

    def load_calibration(self, problems: ProblemSet) -> Calibration | None:
        """The calibration that the settings name, or the embedded pair's own, or None.

        Raises:
            SettingsError: the file is missing or bad, or differs from this run where `--strict` is on.
        """
        path = self.settings.calibration
        if path is None:
            mode, own_judge = self.settings.conformal.mode, self.settings.kind.own_judge
            if self.pair.profile is not EMBEDDED or own_judge or mode in ("conditional", "centred"):
                return None
            path = str(EMBEDDED_CALIBRATION)
        calibration = load_calibration(Path(path))
        if self.settings.calibration is None:
            calibration = dataclasses.replace(calibration, source="the embedded pair's own")
        mine = identity(self.pair, self.settings, problems, first_turn_only=False)
        self.warnings += check_identity(calibration.identity, mine, strict=self.settings.strict)
        self.warnings += shared_problems(calibration, problems, self.settings.conformal.mode)
        return calibration

    async def start(
        self,
        bus: Bus,
        problems: ProblemSet,
        *,
        command: str,
        run: str = "",
        warm: bool = True,
        gate: Gate | None = None,
    ) -> Engine:
        """Publish `RunStarted` and give the engine of this run, ready to `run()`.

        Where the mode ranks against a calibration and there is none, first steps are collected before. Not
        `warm`: the run ignores every calibration, because it is to make one. `run` is its identity. Closing
        `gate` pauses the run, from before it begins.

        Raises:
            SettingsError: calibration and settings do not go together.
            ServerError: a server failed while scores were collected.
        """
        gate = gate or Gate(bus.publish)
        decider = (
            await self._decider(bus, problems, gate, warm=warm) if self.settings.kind.calibrated else None
        )
        bus.publish(self._run_started(decider, problems, command, run))
        for warning in (*problems.notes, *self.warnings):
            bus.publish(ev.Warned(message=warning))
        return self._engine(decider, bus, problems, gate)

    def go_on(
        self,
        bus: Bus,
        problems: ProblemSet,
        progress: RunProgress,
        calibration: Calibration | None,
        gate: Gate | None = None,
    ) -> Engine:
        """The engine of a run that stopped, with its own calibration, ready to `run()` what is left.

        Raises:
            SettingsError: with these settings the rest would be another run than the beginning.
        """
        decider = restore_decider(progress, calibration)
        started = self._run_started(decider, problems, progress.run.command, progress.run.run)
        refuse_differences(progress, started)
        bus.publish(started)
        engine = self._engine(decider, bus, problems, gate or Gate(bus.publish))
        engine.restore(progress)
        return engine

    async def _decider(self, bus: Bus, problems: ProblemSet, gate: Gate, *, warm: bool) -> Decider:
        conformal = self.settings.conformal
        calibration = self.load_calibration(problems) if warm else None
        if calibration is None and conformal.mode != "online":
            calibration = await collect_first_turns(self.pair, self.settings, problems, bus, gate)
        decider = Decider(conformal, calibration)
        decider.require(problem.id for problem in problems.problems)
        return decider

    def _engine(self, decider: Decider | None, bus: Bus, problems: ProblemSet, gate: Gate) -> Engine:
        self.calibration = decider.calibration if decider else None
        monitor = self._monitor(self.calibration, problems)
        return Engine(self.pair, self.settings, decider, bus, problems.problems, monitor, gate)

    def watching(self, bus: Bus, sources: Sequence[Source] = ()) -> AbstractAsyncContextManager[None]:
        """Publishes what servers and GPUs, here and at `sources`, say of themselves while the block runs."""
        sides = self.pair.sides
        pages = {(side.role, worker.url): worker.client.page for side in sides for worker in side.workers}
        roles = {pid: role for role, pid in self.processes.items()}
        urls = {url for _, url in pages}
        routers = {
            worker.url for side in sides for worker in side.workers if worker.client.info.kind == "router"
        }
        return watching(
            bus,
            pages,
            routers=routers,
            processes=lambda: roles | started_processes(urls),
            sources=sources,
        )

    def _monitor(self, calibration: Calibration | None, problems: ProblemSet) -> DriftMonitor | None:
        if calibration is None:
            return None
        return DriftMonitor(
            calibration,
            [problem.id for problem in problems.problems],
            self.settings.samples,
            same_problems=bool(problems.fingerprint)
            and calibration.identity.dataset_fingerprint == problems.fingerprint,
        )

    def _run_started(
        self, decider: Decider | None, problems: ProblemSet, command: str, run: str
    ) -> ev.RunStarted:
        settings = self.settings
        card = None
        if decider is not None:
            card = calibration_card(settings.conformal, decider.calibration)
        elif settings.kind.rated:
            card = round_card(settings.conformal)
        return ev.RunStarted(
            run=run,
            command=command,
            started_at=time.time(),
            version=__version__,
            strategy=settings.strategy,
            takeover=settings.takeover,
            samples=settings.samples,
            turns=settings.turns,
            seed=settings.seed,
            models=self.pair.cards,
            calibration=card,
            settings=msgspec.to_builtins(settings),
            dataset=problems.dataset,
            fingerprint=problems.fingerprint,
        )


def shared_problems(calibration: Calibration, problems: ProblemSet, mode: str) -> list[str]:
    """What to say where problems of the run were calibrated on, though the mode does not need them."""
    if mode in ("conditional", "centred") or calibration.identity.dataset_fingerprint != problems.fingerprint:
        return []
    shared = len(set(calibration.problems) & {problem.id for problem in problems.problems})
    if not shared:
        return []
    total = len(problems.problems)
    warning = (
        f"{shared:,} of the run's {total:,} problems are among those that were calibrated on; evaluate on"
        " others to show what the threshold does on new problems."
    )
    return [warning]


@asynccontextmanager
async def open_session(
    layers: Layers,
    environment: Mapping[str, str],
    *,
    say: Callable[[str], None] = lambda _: None,
    pace: float | None = None,
) -> AsyncIterator[Session]:
    """A session for these settings; `say` is told in a few words what is being waited for.

    `pace` holds the embedded pair to so many tokens a second and stream, so that an eye can follow.

    Raises:
        SettingsError: bad settings, or a URL that is not an SGLang server.
        ServerError: a server does not answer.
    """
    given = layers.given()
    kind = STRATEGIES[given.strategy or ATTS]
    urls: dict[ev.Role, tuple[str, ...]] = {role: layers.urls(role) for role in kind.roles}
    missing = [f"--{role}" for role in kind.roles if not urls[role]]
    if missing and (layers.urls("draft") or layers.urls("target")):
        needed = " and ".join(f"--{role}" for role in kind.roles)
        raise SettingsError(
            f"{missing[0]} is missing: the strategy {kind.name} runs on the servers of {needed}; give no"
            " server at all for the embedded pair."
        )
    likely = EMBEDDED if missing else SERVERS
    places: dict[ev.Role, int] = {
        "draft": given.draft_concurrency or likely.draft_concurrency,
        "target": given.target_concurrency or likely.target_concurrency,
    }
    counts = {role: max(len(found), 1) for role, found in urls.items()}
    servers_in_all = sum(counts.values())
    allow_requests(sum(places[role] * count for role, count in counts.items()), servers_in_all)
    async with AsyncExitStack() as stack:
        processes: dict[str, int] = {}
        if missing:
            say(f"starting the embedded {'pair' if len(kind.roles) > 1 else kind.roles[0]}")
            servers = await stack.enter_async_context(EmbeddedServers(started=kind.roles, pace=pace))
            started = {role: servers.draft if role == "draft" else servers.target for role in kind.roles}
            urls = {role: (server.url,) for role, server in started.items()}
            processes = {role: server.pid for role, server in started.items()}
        say("connecting to the servers")
        sides: dict[ev.Role, Side] = {}
        for role in kind.roles:
            sides[role] = await connect_side(
                role,
                urls[role],
                stack,
                connections=places[role],
                timeouts=layers.resolve(SERVERS).timeouts,
                environment=environment,
                tokenizer=given.draft_tokenizer if role == "draft" else given.target_tokenizer,
            )
        profile = EMBEDDED if all(_is_embedded(side.tokenizer) for side in sides.values()) else SERVERS
        settings = layers.resolve(profile)
        places = {"draft": settings.draft_concurrency, "target": settings.target_concurrency}
        for role, side in sides.items():
            side.limiter.capacity = places[role]
        require_requests(
            sum(places[role] * count for role, count in counts.items()),
            servers_in_all,
            "--draft-concurrency and --target-concurrency",
        )
        pair = Pair.of(sides, profile, own_judge=kind.own_judge)
        session = Session(pair, settings, processes=processes)
        for side in sides.values():
            session.warnings += side.info.notes
        if settings.temperature > 0 and not all(side.info.features.seeded for side in sides.values()):
            session.warnings.append(
                "A server of this pair honours no seed, so --seed cannot make this run repeatable."
            )
        if profile is EMBEDDED and not kind.plain:
            session.warnings.append(
                f"The embedded models were never taught what {kind.name} asks of them, so this run does not"
                " show what it can do; give it real models with --draft and --target."
            )
        if settings.stop_when_decided is not None and given.seed is not None:
            session.warnings.append(
                "Which samples end before a vote is decided depends on the servers, so --seed cannot make a"
                " run with --stop-when-decided repeatable."
            )
        if settings.kind.calibrated and settings.conformal.mode == "online" and given.seed is not None:
            session.warnings.append(
                "Mode online decides by the steps before, in the order in which they come, so --seed alone "
                "cannot make this run repeatable; any other mode can."
            )
        yield session


def _is_embedded(tokenizer: Tokenizer) -> bool:
    return isinstance(tokenizer, EmbeddedTokenizer)
