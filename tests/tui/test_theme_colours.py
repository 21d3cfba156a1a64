"""What a theme promises: surfaces that differ in 256 colours, text to be read, hues that all can tell."""

import itertools

import pytest
from rich.color import Color, ColorSystem

from atts_tui.themes import find_themes, to_textual

OURS = [name for name, theme in find_themes().found.items() if name.startswith("atts-") and not theme.ansi]
Triple = tuple[float, float, float]

# Viénot, Brettel and Mollon 1999, for linear light: what is left of a colour without the red or green cones.
WITHOUT_RED = ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, -0.0), (0.00401, -0.00401, 1.0))
WITHOUT_GREEN = ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, -0.0), (-0.02234, 0.02234, 1.0))


def linear(value: str) -> Triple:
    triplet = Color.parse(value).triplet
    assert triplet is not None
    parts = [part / 255 for part in triplet]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return red, green, blue


def luminance(colour: Triple) -> float:
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(linear(one)), luminance(linear(other))))
    return (high + 0.05) / (low + 0.05)


def lab(colour: Triple) -> Triple:
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    parts = [sum(a * b for a, b in zip(row, colour, strict=True)) for row in rows]
    x, y, z = (_root(max(part, 0.0) / w) for part, w in zip(parts, white, strict=True))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _root(share: float) -> float:
    return share ** (1 / 3) if share > 0.008856 else 7.787 * share + 16 / 116


def apart(one: str, other: str, eye: tuple[Triple, ...] | None) -> float:
    def seen(value: str) -> Triple:
        colour = linear(value)
        if eye is not None:
            red, green, blue = (sum(a * b for a, b in zip(row, colour, strict=True)) for row in eye)
            colour = red, green, blue
        return lab(colour)

    return float(sum((a - b) ** 2 for a, b in zip(seen(one), seen(other), strict=True)) ** 0.5)


def values(name: str) -> dict[str, str]:
    theme = to_textual(find_themes().pick(name))
    plain = {part: str(getattr(theme, part)) for part in ("background", "surface", "panel")}
    return plain | {key.removeprefix("atts-"): value for key, value in theme.variables.items()}


def test_there_are_the_themes_that_people_need() -> None:
    assert {"atts-dark", "atts-light", "atts-contrast", "atts-colour-blind", "ansi"} <= set(
        find_themes().found
    )


@pytest.mark.parametrize("name", OURS)
def test_surfaces_and_the_selection_differ_in_256_colours(name: str) -> None:
    found = values(name)
    reduced = {
        part: Color.parse(found[part]).downgrade(ColorSystem.EIGHT_BIT).number
        for part in ("background", "surface", "panel", "selected", "border-blurred")
    }
    assert len(set(reduced.values())) == len(reduced), reduced


@pytest.mark.parametrize("name", OURS)
def test_every_text_can_be_read_on_every_surface(name: str) -> None:
    found, least = values(name), 7.0 if name == "atts-contrast" else 4.5
    meanings = (
        "text",
        "title",
        "muted",
        "accent",
        "accept",
        "take-over",
        "right",
        "error",
        "warning",
        "boxed",
    )
    for meaning in meanings:
        for surface in ("background", "panel"):
            assert contrast(found[meaning], found[surface]) >= least, (meaning, surface)
    assert contrast(found["text"], found["selected"]) >= least
    for badge in ("right", "accept", "warning", "accent", "muted", "error"):
        assert contrast(found["on-badge"], found[badge]) >= 4.5, badge


@pytest.mark.parametrize("eye", [None, WITHOUT_RED, WITHOUT_GREEN], ids=["all", "no-red", "no-green"])
def test_the_colour_blind_theme_keeps_its_meanings_apart(eye: tuple[Triple, ...] | None) -> None:
    found = values("atts-colour-blind")
    for one, other in itertools.combinations(("accept", "take-over", "right", "error", "warning"), 2):
        assert apart(found[one], found[other], eye) > 15, (one, other)
