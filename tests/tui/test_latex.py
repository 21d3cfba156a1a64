"""LaTeX becomes what a person reads, or stays as it is; nothing that a model writes breaks it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_tui.latex import readable


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (r"\frac{a}{b}", "a/b"),
        (r"\dfrac{1}{x+1}", "1/(x+1)"),
        (r"\frac{\frac{1}{2}}{3}", "(1/2)/3"),
        (r"x^2 + y_{12}^{n+1}", "x² + y₁₂ⁿ⁺¹"),
        (r"10^{-3}, e^{i\pi}, a^{\frac{1}{2}}", "10⁻³, e^(iπ), a^(1/2)"),
        (r"90^\circ and 30^{\circ}", "90° and 30°"),
        (r"\sqrt{2} \sqrt{x+1} \sqrt[3]{8} \sqrt[5]{2}", r"√2 √(x+1) ∛8 \sqrt[5]{2}"),
        (r"\left( 3 \times 4 \right) \le \pi r^2", "( 3 × 4 ) ≤ π r²"),
        (r"so $x = 7$, that costs $5 and $6", "so x = 7, that costs $5 and $6"),
        (r"\[ a \ne b \] \(c\)", " a ≠ b  c"),
        (r"\text{cm}^2 in \mathbb{R}", "cm² in ℝ"),
        ("foo_bar var_name __init__ a_i", "foo_bar var_name __init__ aᵢ"),
        (r"5\% of \$7", "5% of $7"),
        (r"\unknown{x} \\ \overline{AB}", r"\unknown{x} \\ \overline{AB}"),
        (r"\frac{1}{2", r"\frac{1}{2"),
        (r"x^{2", "x^{2"),
        ("no maths at all", "no maths at all"),
    ],
)
def test_read_as_a_person_reads_it(source: str, shown: str) -> None:
    assert readable(source).text == shown


def test_boxed_answers_are_where_they_are_said_to_be() -> None:
    text, boxed = readable(r"x^2, so \boxed{\frac{3}{4}} or \boxed{-1}; \boxed{open")
    assert [text[begin:end] for begin, end in boxed] == ["3/4", "-1"]
    assert text.endswith(r"\boxed{open")


@given(st.text(st.sampled_from("\\{}[]^_$ab12 frcsqtoxed\n"), max_size=200))
def test_any_text_gives_text_and_marks_within_it(source: str) -> None:
    text, boxed = readable(source)
    assert all(0 <= begin <= end <= len(text) for begin, end in boxed)
    assert text.count("\n") == source.count("\n")
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "source",
    [
        "{" * 100_000,
        r"\frac{" * 10_000 + "1" + "}{2}" * 10_000,
        r"\frac{" * 10_000 + "1" + "}" * 10_000,
        "x^" * 50_000,
        r"\boxed{" * 14_000,
        "$" * 100_000,
        r"\sqrt[" * 16_000,
        "x^{" * 30_000 + "}" * 30_000,
    ],
    ids=["braces", "fractions", "half fractions", "scripts", "boxes", "dollars", "roots", "nested scripts"],
)
def test_a_hostile_step_is_read_in_one_pass(source: str) -> None:
    assert len(readable(source).text) <= 2 * len(source)  # read twice at each depth it would never end
