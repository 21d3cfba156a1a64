"""What calibration scores were collected with, and how that differs from a run that would use them."""

import msgspec

from atts_core.errors import SettingsError


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides what a score means. None: not known (the authors' files know nothing).

    `draft_tokenizer`, `target_tokenizer`: a hash over vocabulary and chat template. `draft_tokens`: K_d.
    `takeover`: the variant of the runs that wrote later turns, `continue` or `rewrite`; `none` where only
    turn 0 was collected, which no take-over has touched.
    """

    draft_model: str | None = None
    target_model: str | None = None
    draft_tokenizer: str | None = None
    target_tokenizer: str | None = None
    dataset: str | None = None
    dataset_fingerprint: str | None = None
    prompt_version: str | None = None
    draft_tokens: int | None = None
    target_tokens: int | None = None
    temperature: float | None = None
    stop_rule: str | None = None
    takeover: str | None = None


_WORDS = {
    "draft_model": "the draft model",
    "target_model": "the target model",
    "draft_tokenizer": "the draft's tokenizer or chat template",
    "target_tokenizer": "the target's tokenizer or chat template",
    "dataset": "the data set",
    "dataset_fingerprint": "the problems of the data set",
    "prompt_version": "the prompt",
    "draft_tokens": "the tokens of a draft step",
    "target_tokens": "the tokens of a target step",
    "temperature": "the temperature",
    "stop_rule": "the stop rule",
    "takeover": "the take-over variant",
}
_TURN_0_IS_FREE_OF = ("target_tokens", "takeover")
"""What only a target's step depends on: scores of turn 0 alone are the same under any of these."""


def differences(calibration: Identity, run: Identity) -> list[str]:
    """One readable phrase for each thing that both know and that differs, such as
    "the draft model (calibrated with 'A', the run uses 'B')"."""
    found = []
    for field, words in _WORDS.items():
        ours, theirs = getattr(calibration, field), getattr(run, field)
        if ours is None or theirs is None or ours == theirs:
            continue
        if calibration.takeover == "none" and field in _TURN_0_IS_FREE_OF:
            continue
        found.append(f"{words} (calibrated with {ours!r}, the run uses {theirs!r})")
    return found


def unknowns(calibration: Identity) -> list[str]:
    """What the calibration does not say about itself, in words."""
    return [words for field, words in _WORDS.items() if getattr(calibration, field) is None]


def check_identity(calibration: Identity, run: Identity, *, strict: bool = False) -> list[str]:
    """Warnings, one sentence each, for using `calibration` in `run`; SettingsError where `strict` and any."""
    warnings = []
    differing = differences(calibration, run)
    if differing:
        warnings.append(
            "The calibration does not belong to this run; different: "
            + "; ".join(differing)
            + ". Its take-over rate is then not controlled: calibrate again, or use mode online."
        )
    missing = unknowns(calibration)
    if missing:
        warnings.append(
            "The calibration file does not say " + ", ".join(missing) + "; nobody can check these."
        )
    if strict and warnings:
        raise SettingsError(" ".join(warnings))
    return warnings
