"""Settings: defaults < `atts.toml` < environment < command line.

A layer is a `Given`: what somebody said, None where they said nothing. Layers are merged with the origin of
every value kept, so that a message can name it. `resolve` fills what nobody said from the profile of the pair
of models at hand (the embedded pair writes short steps and rewrites, servers write long ones and continue)
and gives the complete, checked `Settings`.
"""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from atts_core.config_places import config_path, from_environment, from_file
from atts_core.conformal.settings import DEFAULT_GAMMA, Adaptation, ConformalSettings, Mode, Rule
from atts_core.engine.strategies.registry import ATTS, METHOD, STRATEGIES, Kind
from atts_core.errors import SettingsError
from atts_core.problems.catalogue import Columns
from atts_core.servers.settings import ServersGiven
from atts_core.serving.timeouts import Timeouts

T = TypeVar("T")

TakeOver = Literal["continue", "rewrite"]
Color = Literal["auto", "truecolor", "256", "16", "none"]

DEFAULT_TIMEOUTS = Timeouts()
PATIENCE = 600.0
"""Seconds that samples wait for a model none of whose servers answers: a large one takes minutes to load."""
OWN_PATIENCE = 15.0
"""The same where the run started the embedded pair itself: nobody starts a dead one of these again."""


class Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One layer of settings. A field's name is its key in `atts.toml`, and with `ATTS_` its variable."""

    draft: str | tuple[str, ...] | None = None
    """URLs of the draft's servers: a list, or one text with commas between them."""
    target: str | tuple[str, ...] | None = None
    draft_tokenizer: str | None = None
    target_tokenizer: str | None = None
    samples: int | None = None
    turns: int | None = None
    draft_tokens: int | None = None
    target_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    alpha: float | None = None
    takeover_rate: float | None = None
    budget: float | None = None
    calibration: str | None = None
    mode: Mode | None = None
    rule: Rule | None = None
    adapt: Adaptation | None = None
    gamma: float | None = None
    window: int | None = None
    smoothed: bool | None = None
    takeover: TakeOver | None = None
    seed: int | None = None
    strategy: str | None = None
    attempts: int | None = None
    min_rating: int | None = None
    at_once: int | None = None
    stop_when_decided: float | None = None
    draft_concurrency: int | None = None
    target_concurrency: int | None = None
    timeout_connect: float | None = None
    timeout_first_token: float | None = None
    timeout_between_tokens: float | None = None
    timeout_total: float | None = None
    patience: float | None = None
    strict: bool | None = None
    gpu_metrics: str | tuple[str, ...] | None = None
    """Pages about the GPUs of other machines, each as `draft=URL` or `target=URL`."""
    metrics_port: int | None = None
    """Where the run's own metrics are served; None: nowhere."""
    metrics_host: str | None = None
    fps: int | None = None
    theme: str | None = None
    ascii: bool | None = None
    color: Color | None = None
    bell: bool | None = None
    title: bool | None = None
    keys: dict[str, str | list[str]] | None = None
    """By action, the keys of the screens; only a file can say it."""
    servers: ServersGiven | None = None
    """What `atts servers up` starts; said in `atts.toml` alone."""


ONLY_IN_FILES = frozenset({"servers", "keys"})
"""Fields of `Given` that no variable can say."""

_ROLES: tuple[Literal["draft", "target"], ...] = ("draft", "target")

POLICIES = ("alpha", "takeover_rate", "budget")
"""Three ways to say one thing: a layer gives at most one, and the nearest layer that gives one wins."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Complete, checked settings of one run."""

    draft: tuple[str, ...] = ()
    """URLs of the draft's servers, without credentials; empty: the embedded pair's own."""
    target: tuple[str, ...] = ()
    samples: int
    turns: int
    draft_tokens: int
    """At most so many tokens a draft step (K_d)."""
    target_tokens: int
    """At most so many tokens a target step (K_t)."""
    temperature: float
    top_p: float
    conformal: ConformalSettings
    calibration: str | None
    """A calibration file; None: the pair's own where it has one, else scores collected at the start."""
    takeover: TakeOver
    seed: int
    draft_concurrency: int
    """Requests under way at each of the draft's servers."""
    target_concurrency: int
    timeout_connect: float = DEFAULT_TIMEOUTS.connect
    timeout_first_token: float = DEFAULT_TIMEOUTS.first_token
    timeout_between_tokens: float = DEFAULT_TIMEOUTS.between_tokens
    timeout_total: float = DEFAULT_TIMEOUTS.total
    patience: float = PATIENCE
    """Seconds that samples wait for a model none of whose servers answers, before they fail."""
    strict: bool
    stop: tuple[str, ...]
    """Strings that end a step besides its token limit."""
    instruct: bool
    """Whether the problem is wrapped in our instruction."""
    strategy: str = ATTS
    attempts: int = 3
    """Drafts of a turn at most (`self-reject`)."""
    min_rating: int = 7
    """From which a step is kept (`spec-reason`)."""
    at_once: int | None = None
    """Problems under way at a time; None: as many as there are places, or as the strategy wants."""
    stop_when_decided: float | None = None
    """Stop a problem's samples when its vote is decided but for this chance of error; None: never."""

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"there is no strategy {self.strategy}")

    @property
    def kind(self) -> Kind:
        """The strategy."""
        return STRATEGIES[self.strategy]

    @property
    def timeouts(self) -> Timeouts:
        """How long a request may wait for what."""
        return Timeouts(
            connect=self.timeout_connect,
            first_token=self.timeout_first_token,
            between_tokens=self.timeout_between_tokens,
            total=self.timeout_total,
        )


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a pair of models wants where nobody says otherwise."""

    name: str
    draft_tokens: int
    target_tokens: int
    takeover: TakeOver
    mode: Mode
    draft_concurrency: int
    target_concurrency: int
    stop: tuple[str, ...]
    instruct: bool


SERVERS = Profile(
    name="servers",
    draft_tokens=500,
    target_tokens=500,
    takeover="continue",
    mode="online",
    draft_concurrency=64,
    target_concurrency=64,
    stop=(),
    instruct=True,
)
EMBEDDED = Profile(
    name="embedded",
    draft_tokens=96,
    target_tokens=96,
    takeover="rewrite",  # its small target cannot repair a wrong step that stays
    mode="marginal",  # online sets depend on who ends first; a newcomer's first run should repeat exactly
    draft_concurrency=16,
    target_concurrency=16,
    stop=("\n\n",),
    instruct=False,
)


def said(field: str) -> str:
    """How a setting is written on the command line."""
    return "--" + field.replace("_", "-")


def _at_least(low: int, why: str) -> Callable[[float], str | None]:
    return lambda value: None if value >= low else f"must be at least {low}: {why}"


def _seconds(value: float) -> str | None:
    return None if 0 < value < math.inf else "must be a number of seconds above 0"


def _strategy(name: str) -> str | None:
    return None if name in STRATEGIES else f"must be one of {', '.join(STRATEGIES)}"


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "strategy": _strategy,
    "attempts": lambda v: None if 1 <= v <= 100 else "must lie between 1 and 100: the drafts of a turn",
    "min_rating": lambda v: None if 0 <= v <= 9 else "must lie between 0 and 9: it is the least rating kept",
    "at_once": _at_least(1, "it is the number of problems under way at a time"),
    "stop_when_decided": lambda v: None if 0 <= v < 0.5 else "must lie between 0 (certain) and 0.5",
    "samples": _at_least(1, "it is the number of chains for each problem"),
    "turns": _at_least(1, "it is the number of draft → verify → take-over rounds of a chain"),
    "draft_tokens": _at_least(1, "it is the length limit of a draft step"),
    "target_tokens": _at_least(1, "it is the length limit of a target step"),
    "temperature": lambda v: None if 0 <= v <= 10 else "must lie between 0 (greedy) and 10",
    "top_p": lambda v: None if 0 < v <= 1 else "must lie above 0 and at most at 1",
    "seed": lambda v: None if 0 <= v < 2**63 else "must lie between 0 and 2⁶³ − 1",
    "draft_concurrency": _at_least(1, "it is how many requests may be under way at each draft server"),
    "target_concurrency": _at_least(1, "it is how many requests may be under way at each target server"),
    "metrics_port": lambda v: None if 1 <= v <= 65_535 else "must lie between 1 and 65535",
    "timeout_connect": _seconds,
    "timeout_first_token": _seconds,
    "timeout_between_tokens": _seconds,
    "timeout_total": _seconds,
    "patience": lambda v: None if 0 <= v < math.inf else "must be a number of seconds, 0 or more",
    "fps": lambda v: None if 1 <= v <= 60 else "must lie between 1 and 60 frames a second",
}


class Layers:
    """Settings as they were said, nearest layer last, with the origin of each."""

    def __init__(self) -> None:
        self._values: dict[str, object] = {}
        self._origins: dict[str, str] = {}
        self._depths: dict[str, int] = {}
        self._depth = 0

    def add(self, given: Given, origin: Callable[[str], str]) -> "Layers":
        """Lay one layer over the others; `origin` names a field's place for messages. Returns itself.

        Raises:
            SettingsError: a value is out of range, or one layer gives two of alpha, rate and budget.
        """
        values = {
            name: value for name in given.__struct_fields__ if (value := getattr(given, name)) is not None
        }
        for name, value in values.items():
            check = _CHECKS.get(name)
            problem = check(value) if check else None
            if problem:
                raise SettingsError(f"{origin(name)} {value}: {_words(name)} {problem}.")
        for name in _ROLES:
            if name in values:
                values[name] = _addresses(values[name], origin(name))
        policies = [name for name in POLICIES if name in values]
        if len(policies) > 1:
            names = " and ".join(origin(name) for name in policies)
            raise SettingsError(f"{names} say the same thing in different ways: give one of them.")
        if policies:
            for name in POLICIES:
                self._values.pop(name, None)
        self._depth += 1
        for name, value in values.items():
            self._values[name] = value
            self._origins[name] = origin(name)
            self._depths[name] = self._depth
        return self

    def given(self) -> Given:
        """All layers merged. What does not go with the strategy is left out where the strategy was said
        nearer: it was meant for another one.

        Raises:
            SettingsError: it was said as near as the strategy.
        """
        strategy = str(self._values.get("strategy", ATTS))
        kind, depth = STRATEGIES[strategy], self._depths.get("strategy", 0)
        foreign = {name for name in self._values if name in METHOD - kind.takes}
        for name in sorted(foreign):
            if self._depths[name] >= depth:
                raise SettingsError(
                    f"{self._origins[name]} means nothing to the strategy {strategy}: {kind.sentence}."
                )
        kept = {name: value for name, value in self._values.items() if name not in foreign}
        return Given(**kept)  # type: ignore[arg-type]  # each value came out of a Given

    def urls(self, role: Literal["draft", "target"]) -> tuple[str, ...]:
        """The addresses of a model's servers, as they were said; empty where nobody said any."""
        said_urls = self._values.get(role, ())
        assert isinstance(said_urls, tuple)  # noqa: S101  # `add` keeps them so
        return said_urls

    def origin(self, field: str) -> str:
        """Where the value of a field was said; the option's name where it is a default."""
        return self._origins.get(field, said(field))

    def resolve(self, profile: Profile) -> Settings:
        """Complete settings for a pair with this profile.

        Raises:
            SettingsError: conformal settings that cannot be, such as alpha 2 or a budget above the samples.
        """
        given = self.given()
        kind = STRATEGIES[_or(given.strategy, ATTS)]
        samples = _or(given.samples, 16)
        conformal = self._conformal(given, samples, profile)
        return Settings(
            draft=tuple(map(without_credentials, self.urls("draft"))),
            target=tuple(map(without_credentials, self.urls("target"))),
            samples=samples,
            turns=_or(given.turns, kind.turns),
            draft_tokens=_or(given.draft_tokens, profile.draft_tokens),
            target_tokens=_or(given.target_tokens, profile.target_tokens),
            temperature=_or(given.temperature, 0.8),
            top_p=_or(given.top_p, 1.0),
            conformal=conformal,
            calibration=given.calibration,
            takeover=_or(kind.takeover, _or(given.takeover, profile.takeover)),
            seed=_or(given.seed, 0),
            draft_concurrency=_or(given.draft_concurrency, profile.draft_concurrency),
            target_concurrency=_or(given.target_concurrency, profile.target_concurrency),
            timeout_connect=_or(given.timeout_connect, DEFAULT_TIMEOUTS.connect),
            timeout_first_token=_or(given.timeout_first_token, DEFAULT_TIMEOUTS.first_token),
            timeout_between_tokens=_or(given.timeout_between_tokens, DEFAULT_TIMEOUTS.between_tokens),
            timeout_total=_or(given.timeout_total, DEFAULT_TIMEOUTS.total),
            patience=_or(given.patience, PATIENCE if any(map(self.urls, _ROLES)) else OWN_PATIENCE),
            strict=_or(given.strict, False),
            stop=kind.stop or profile.stop,
            instruct=profile.instruct,
            strategy=kind.name,
            attempts=_or(given.attempts, 3),
            min_rating=_or(given.min_rating, 7),
            at_once=given.at_once,
            stop_when_decided=given.stop_when_decided,
        )

    def _conformal(self, given: Given, samples: int, profile: Profile) -> ConformalSettings:
        try:
            return ConformalSettings(
                mode=_or(given.mode, "marginal" if given.rule == "reference" else profile.mode),
                rule=_or(given.rule, "conformal"),
                alpha=given.alpha,
                takeover_rate=given.takeover_rate,
                budget=given.budget,
                samples=samples,
                adapt=given.adapt,
                gamma=_or(given.gamma, DEFAULT_GAMMA),
                window=given.window,
                smoothed=_or(given.smoothed, False),
            )
        except SettingsError as error:
            said_at = [
                self._origins[name] for name in ConformalSettings.__struct_fields__ if name in self._origins
            ]
            if not said_at:
                raise
            raise SettingsError(f"{', '.join(said_at)}: {error}") from None


def load(
    command_line: Given, environment: Mapping[str, str] = os.environ, *, run: Settings | None = None
) -> Layers:
    """All layers of this invocation. `run`: the settings of a run that goes on, which its own command line
    may still contradict (and is then refused), but no file or variable.

    Reads `ATTS_CONFIG`, or else `./atts.toml`, or else `atts.toml` in the user's configuration folder.

    Raises:
        SettingsError: a file cannot be read, a key is unknown, or a value is wrong; it names the place.
    """
    layers = Layers()
    path = config_path(environment)
    if path is not None:
        layers.add(_said_in_file(path), lambda name: f"{path}: {name} =")
    from_variables = from_environment(environment, Given, not_there=ONLY_IN_FILES)
    layers.add(from_variables, lambda name: f"ATTS_{name.upper()}")
    if run is not None:
        layers.add(_given_of(run), lambda name: f"the run's {_words(name)}")
    layers.add(command_line, said)
    return layers


def recorded_settings(found: Mapping[str, object]) -> Settings:
    """The settings that a run file holds. Those of older runs name one server of a model, or null.

    Raises `msgspec.ValidationError` where this version does not understand them.
    """
    known = dict(found)
    for role in _ROLES:
        urls = known.get(role) or ()
        known[role] = (urls,) if isinstance(urls, str) else urls
    return msgspec.convert(known, Settings)


def _addresses(value: object, origin: str) -> tuple[str, ...]:
    """One text, or several, each perhaps with commas between addresses."""
    texts = [value] if isinstance(value, str) else value
    assert isinstance(texts, list | tuple)  # noqa: S101  # what a `Given` holds
    urls = tuple(url.strip() for text in texts for url in text.split(","))
    shown = [without_credentials(url).rstrip("/") for url in urls]
    if not all(urls):
        raise SettingsError(f"{origin} has an empty address: write it as in http://127.0.0.1:30000.")
    twice = next((url for url in shown if shown.count(url) > 1), None)
    if twice is not None:
        raise SettingsError(f"{origin} names {twice} twice: name each server once.")
    return urls


def without_credentials(url: str) -> str:
    """A URL as it may be recorded and shown."""
    if "@" not in url:
        return url
    scheme, slashes, rest = url.rpartition("://")
    host = rest.split("/", 1)
    return "/".join([scheme + slashes + host[0].rpartition("@")[2], *host[1:]])


def _given_of(run: Settings) -> Given:
    names = set(Given.__struct_fields__) - (METHOD - run.kind.takes)
    values = {name: getattr(run, name) for name in run.__struct_fields__ if name in names}
    conformal = {
        name: getattr(run.conformal, name) for name in run.conformal.__struct_fields__ if name in names
    }
    urls: dict[str, object] = {role: getattr(run, role) or None for role in _ROLES}
    return Given(**{**conformal, **values, **urls})


class _File(Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `atts.toml` holds: settings, and data sets by their names."""

    datasets: dict[str, Columns] = {}


def data_sets(environment: Mapping[str, str] = os.environ) -> dict[str, Columns]:
    """The `[datasets.NAME]` tables of the file that `load` reads; paths are relative to that file.

    Raises:
        SettingsError: as `load`.
    """
    path = config_path(environment)
    if path is None:
        return {}

    def beside(said: str | None) -> str | None:
        return None if said is None else str(path.parent / Path(said).expanduser())

    return {
        name: msgspec.structs.replace(
            said, path=beside(said.path), calibration_path=beside(said.calibration_path)
        )
        for name, said in from_file(path, _File).datasets.items()
    }


def _said_in_file(path: Path) -> Given:
    said = from_file(path, _File)
    return Given(**{name: getattr(said, name) for name in Given.__struct_fields__})


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _words(field: str) -> str:
    return field.replace("takeover", "take-over").replace("_", " ").replace("fps", "frame rate")
