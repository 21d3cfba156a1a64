"""A suite: many evaluations out of one file, as data.

    [settings]              # of every run: options of `atts eval`, with _ for -
    dataset = "builtin"
    limit = 100

    [[pair]]                # none: the embedded pair
    name = "1.5B + QwQ"
    draft = "http://gpu1:30000"
    target = "http://gpu2:30001"

    [calibration]           # optional: scores for every pair and data set, collected once, before its runs
    limit = 200

    [matrix]                # every combination is a run
    strategy = ["draft-only", "target-only", "sync", "atts"]
    takeover = ["continue", "rewrite"]
    takeover_rate = [0.2, 0.4, 0.6]

    [[run]]                 # and single ones besides
    name = "atts, conditional"
    mode = "conditional"

A setting that means nothing to a strategy is left out of its runs; of runs that then are the same, one is
kept.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from atts_core.errors import SettingsError

MOST_RUNS = 1000
"""Of one suite: a matrix with a typing error grows quickly."""

Value = str | int | float | bool


class PairSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two models: servers that answer, or a preset that is started for the pair's runs and stopped after."""

    name: str
    draft: str | list[str] | None = None
    target: str | list[str] | None = None
    preset: str | None = None
    servers: dict[str, Value] = {}
    """Options of `atts servers up` besides the preset, with _ for -, such as draft_gpus."""
    settings: dict[str, Value] = {}


class CalibrationSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the scores of a pair and data set are collected before its runs."""

    limit: int = 100
    samples: int = 4
    dataset: str | None = None
    """Default: that of the run; its calibration problems are taken."""


class SuiteFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a suite file may hold."""

    settings: dict[str, Value] = {}
    pair: list[PairSpec] = []
    calibration: CalibrationSpec | None = None
    matrix: dict[str, list[Value]] = {}
    run: list[dict[str, Value]] = []
    baseline: str | None = None
    """Name of the run that the others are compared with; default: the first."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a suite."""

    name: str
    pair: PairSpec | None
    options: dict[str, Value]
    """Options of `atts eval` by their names with `_`, the data set as `dataset`."""

    @property
    def key(self) -> str:
        """Names this run whatever else is in the suite: the same key is the same run."""
        pair = None if self.pair is None else msgspec.structs.replace(self.pair, name="")
        told = msgspec.json.encode([pair, sorted(self.options.items())], order="deterministic")
        return hashlib.sha256(told).hexdigest()[:12]


def read_suite(path: Path) -> SuiteFile:
    """The file, checked. Raises `SettingsError` that names the place of what is wrong."""
    try:
        suite = msgspec.toml.decode(path.read_bytes(), type=SuiteFile)
    except OSError as error:
        raise SettingsError(f"The suite {path} cannot be read: {error.strerror}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The suite {path}: {error}.") from None
    for pair in suite.pair:
        if (pair.preset is None) == (pair.draft is None and pair.target is None):
            raise SettingsError(
                f"The suite {path}: pair {pair.name!r} needs either the URLs of its servers, or a preset."
            )
        if pair.servers and pair.preset is None:
            raise SettingsError(
                f"The suite {path}: pair {pair.name!r} has options for starting servers, but no preset."
            )
    names = [pair.name for pair in suite.pair]
    if len(set(names)) < len(names):
        raise SettingsError(f"The suite {path}: two pairs have the same name.")
    for key, values in suite.matrix.items():
        if not values:
            raise SettingsError(f"The suite {path}: matrix.{key} has no value, so there would be no run.")
    return suite


def expand(
    suite: SuiteFile,
    known: Iterable[str],
    *,
    drop: Callable[[Mapping[str, Value]], set[str]] = lambda _: set(),
    override: Mapping[str, Value] | None = None,
) -> list[Cell]:
    """Every run of a suite, in order, none twice.

    `known` are the options that there are; `drop` says which of a run's mean nothing to its strategy;
    `override` wins over all.

    Raises:
        SettingsError: an option that does not exist, no data set, two runs of one name, or too many runs.
    """
    names = set(known)
    keys = list(suite.matrix)
    combined = [dict(zip(keys, values, strict=True)) for values in itertools.product(*suite.matrix.values())]
    wanted: list[dict[str, Value]] = [*(combined if keys else []), *suite.run]
    wanted = wanted or [{}]
    pairs: list[PairSpec | None] = [*suite.pair] or [None]
    if len(wanted) * len(pairs) > MOST_RUNS:
        raise SettingsError(
            f"The suite makes {len(wanted) * len(pairs):,} runs; at most {MOST_RUNS:,} are taken."
        )
    cells: dict[str, Cell] = {}
    for pair, single in itertools.product(pairs, wanted):
        options: dict[str, Value] = {
            **suite.settings,
            **(pair.settings if pair else {}),
            **single,
            **(override or {}),
        }
        given = options.pop("name", None)
        unknown = sorted(set(options) - names)
        if unknown:
            raise SettingsError(f"The suite gives {unknown[0]!r}, which is no option of `atts eval`.")
        if "dataset" not in options:
            raise SettingsError(
                "The suite names no data set: give `dataset` under [settings] or in [matrix]."
            )
        unused = drop(options)
        options = {key: value for key, value in options.items() if key not in unused}
        varied = {key: options[key] for key in single if key in options}
        label = str(given) if given is not None else _label(varied)
        if pair is not None and len(pairs) > 1:
            label = f"{pair.name}: {label}"
        cell = Cell(name=label, pair=pair, options=options)
        cells.setdefault(cell.key, cell)
    by_name: dict[str, Cell] = {}
    for cell in cells.values():
        if cell.name in by_name:
            raise SettingsError(
                f"Two runs of the suite are called {cell.name!r}: give them names of their own."
            )
        by_name[cell.name] = cell
    if suite.baseline is not None and suite.baseline not in by_name:
        raise SettingsError(
            f"The suite's baseline {suite.baseline!r} is none of its runs: {', '.join(by_name)}."
        )
    return list(by_name.values())


def _label(varied: Mapping[str, Value]) -> str:
    """`atts rewrite, takeover_rate 0.4`: words speak for themselves, numbers need their setting's name."""
    words = [str(value) for value in varied.values() if isinstance(value, str)]
    numbers = [f"{key} {value}" for key, value in varied.items() if not isinstance(value, str)]
    return ", ".join([*([" ".join(words)] if words else []), *numbers]) or "as set"
