"""Settings that cannot be are refused in one sentence; rates are meant in decimal."""

import math
from typing import Any

import pytest

from atts_core.conformal import ConformalSettings, Decider
from atts_core.errors import SettingsError


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"alpha": 2.0}, "alpha is 2; it must lie strictly between 0 and 1"),
        ({"alpha": 0.0}, "alpha is 0"),
        ({"alpha": math.nan}, "alpha is nan"),
        ({"takeover_rate": 1.0}, "take-over rate is 1"),
        ({"takeover_rate": -0.1}, "take-over rate is -0.1"),
        ({"budget": 17, "samples": 16}, "budget is 17 of 16 samples"),
        ({"budget": 0, "samples": 16}, "budget is 0 of 16"),
        ({"budget": 4}, "say how many samples"),
        ({"samples": 0}, "samples is 0"),
        ({"alpha": 0.6, "takeover_rate": 0.4}, "alpha and takeover_rate say the same thing"),
        ({"gamma": 0.0}, "gamma is 0"),
        ({"gamma": math.inf}, "gamma is inf"),
        ({"window": 5}, "window is 5 scores"),
        ({"window": 100, "mode": "marginal"}, "window slides over online scores"),
        ({"mode": "pooled"}, "mode is 'pooled'; choose one of marginal, conditional"),
        ({"rule": "theirs"}, "rule is 'theirs'"),
        ({"adapt": "maybe"}, "adapt is 'maybe'"),
        ({"rule": "reference"}, "The reference rule is the authors'"),
        ({"rule": "reference", "mode": "marginal", "adapt": "one"}, "The reference rule is the authors'"),
        ({"rule": "reference", "mode": "marginal", "smoothed": True}, "The reference rule is the authors'"),
    ],
    ids=str,
)
def test_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ConformalSettings(**wrong)
    assert words in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "alpha", "rate"),
    [
        ({}, 0.6, 0.4),
        ({"alpha": 0.6}, 0.6, 0.4),
        ({"takeover_rate": 0.9}, 0.1, 0.9),
        ({"takeover_rate": 0.7}, 0.3, 0.7),
        ({"budget": 6.4, "samples": 16}, 0.6, 0.4),
        ({"budget": 4, "samples": 16}, 0.75, 0.25),
        ({"budget": 1, "samples": 3}, 2 / 3, 1 / 3),
    ],
    ids=str,
)
def test_three_words_for_one_threshold(given: dict[str, Any], alpha: float, rate: float) -> None:
    settings = ConformalSettings(**given)
    assert settings.nominal_alpha == alpha
    assert settings.nominal_rate == pytest.approx(rate, abs=1e-15)


def test_alpha_adapts_online_unless_told_otherwise() -> None:
    assert ConformalSettings().adaptation == "one"
    assert ConformalSettings(adapt="off").adaptation == "off"
    assert ConformalSettings(mode="marginal").adaptation == "off"
    assert ConformalSettings(mode="marginal", adapt="per-turn").adaptation == "per-turn"


@pytest.mark.parametrize("mode", ["marginal", "conditional", "per-turn", "centred"])
def test_a_stored_mode_without_a_calibration(mode: str) -> None:
    with pytest.raises(SettingsError, match="--calibration"):
        Decider(ConformalSettings(mode=mode))  # type: ignore[arg-type]
