"""Every strategy by name: what it is in a sentence, which models and which settings it takes.

Imports nothing of the engine, so that `--help` and the settings can read it; `make` in `strategy` loads the
class itself.
"""

from typing import Final, Literal, NamedTuple

Role = Literal["draft", "target"]

RATE: Final = frozenset({"alpha", "takeover_rate", "budget"})
CALIBRATED: Final = RATE | {
    "calibration", "mode", "rule", "adapt", "gamma", "window", "smoothed", "strict",
}  # fmt: skip
_BOTH: Final = frozenset({"draft_tokens", "target_tokens"})


class Kind(NamedTuple):
    """One strategy."""

    name: str
    sentence: str
    made_by: str
    """`module:class`."""
    roles: tuple[Role, ...]
    """Models it needs. Only the draft, with `own_judge`: that one model is its own target as well."""
    takes: frozenset[str]
    """Settings of the method that mean something to it, of those in `METHOD`."""
    own_judge: bool = False
    takeover: Literal["continue", "rewrite"] | None = None
    """What becomes of a rejected step; None: as the settings say."""
    stop: tuple[str, ...] = ()
    """What ends its steps; empty: as the pair wants."""
    turns: int = 15
    """Turns at most, where nobody says otherwise."""
    whole_problems: bool = False
    """All samples of a problem must be under way at once."""
    plain: bool = True
    """It asks of the models only to go on with a text, which the embedded pair can as well."""

    @property
    def calibrated(self) -> bool:
        """Whether it ranks steps against calibration scores."""
        return "calibration" in self.takes

    @property
    def rated(self) -> bool:
        """Whether it has a nominal take-over rate."""
        return bool(RATE & self.takes)


ATTS: Final = "atts"
PARAGRAPH: Final = ("\n\n",)
_SHORT_STEPS: Final = 200
"""Turns of strategies whose steps are paragraphs: about the 8,192 tokens that their authors allow."""

_PACKAGE = "atts_core.engine.strategies"

STRATEGIES: Final = {
    kind.name: kind
    for kind in (
        Kind(
            ATTS,
            "the target scores each draft step and takes over where it is surprised; no sample waits",
            f"{_PACKAGE}.atts:Atts",
            ("draft", "target"),
            CALIBRATED | _BOTH | {"takeover"},
        ),
        Kind(
            "sync",
            "rounds with a barrier: all samples draft and are scored, then the share with the highest PPL is"
            " taken over",
            f"{_PACKAGE}.sync:Sync",
            ("draft", "target"),
            RATE | _BOTH | {"takeover"},
            whole_problems=True,
        ),
        Kind(
            "draft-only",
            "the draft alone writes every step",
            f"{_PACKAGE}.alone:DraftOnly",
            ("draft",),
            frozenset({"draft_tokens"}),
        ),
        Kind(
            "target-only",
            "the target alone writes every step",
            f"{_PACKAGE}.alone:TargetOnly",
            ("target",),
            frozenset({"target_tokens"}),
        ),
        Kind(
            "spec-reason",
            "the target rates each draft step from 0 to 9 and writes anew what it rates low",
            f"{_PACKAGE}.spec_reason:SpecReason",
            ("draft", "target"),
            _BOTH | {"min_rating"},
            takeover="rewrite",
            stop=PARAGRAPH,
            turns=_SHORT_STEPS,
            plain=False,
        ),
        Kind(
            "speculative-thinking",
            "the target helps with a few words where the draft's next ones show doubt or conclude",
            f"{_PACKAGE}.speculative_thinking:SpeculativeThinking",
            ("draft", "target"),
            frozenset({"draft_tokens"}),
            takeover="rewrite",
            stop=PARAGRAPH,
            turns=_SHORT_STEPS,
            plain=False,
        ),
        Kind(
            "self-refine",
            "one model drafts and scores itself, and goes on after a step that surprises it",
            f"{_PACKAGE}.self_refine:SelfRefine",
            ("draft",),
            CALIBRATED | _BOTH,
            own_judge=True,
            takeover="continue",
        ),
        Kind(
            "self-reject",
            "one model drafts and scores itself, and draws a step that surprises it again",
            f"{_PACKAGE}.self_reject:SelfReject",
            ("draft",),
            CALIBRATED | {"draft_tokens", "attempts"},
            own_judge=True,
            takeover="rewrite",
        ),
    )
}

METHOD: Final = frozenset(name for kind in STRATEGIES.values() for name in kind.takes)
"""Settings that mean something to some strategies only."""
