"""What models write must not leave its place: no control character, no reordering, no wrong width."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len, get_character_cell_size

from atts_tui.text import boxed_spans, clean, clean_line, pad, shorten, wrap

HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1b\x9b\x07\x00\r\n\t\u202e\u200d\ufe0f\u0301\u0336🇫🇷👩\U0001f3fd[/bold]日本"),
    )
)


@given(HOSTILE)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    for character in clean(text):
        category = unicodedata.category(character)
        assert character == "\n" or category not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(HOSTILE)
def test_the_width_is_the_sum_of_its_characters(text: str) -> None:
    for line in clean(text).split("\n"):
        assert cell_len(line) == sum(get_character_cell_size(character) for character in line)


@given(HOSTILE)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(HOSTILE, st.integers(2, 40))
def test_wrapped_lines_fit_and_lose_only_spaces(text: str, width: int) -> None:
    text = clean(text)
    spans = wrap(text, width)
    assert all(cell_len(text[start:end]) <= width for start, end in spans)
    kept = "".join(text[start:end] for start, end in spans)
    assert kept.replace(" ", "") == text.replace(" ", "").replace("\n", "")


@given(HOSTILE, st.integers(0, 30))
def test_padding_gives_exactly_the_cells_asked_for(text: str, width: int) -> None:
    assert cell_len(pad(clean_line(text), width)) == width
    assert cell_len(shorten(clean_line(text), width)) <= width


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain [bold]text[/] stays", "plain [bold]text[/] stays"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x9b31mred", "red"),
        ("\x1b]52;c;c3RlYWw=\x1b\\after", "after"),
        ("a\u202eb\u2066c", "abc"),
        ("q" + "\u0301" * 50 + "x", "q" + "\u0301" * 2 + "x"),
        ("\u0301\u0301no letter before", "no letter before"),
        ("👩\u200d👧 👍\U0001f3fd", "👩👧 👍"),
        ("🇫🇷", "FR"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("tab\there", "tab    here"),
    ],
)
def test_examples(raw: str, shown: str) -> None:
    assert clean(raw) == shown


def test_a_line_of_100_kb_is_wrapped() -> None:
    assert len(wrap("x" * 100_000, 80)) == 1250
    assert len(wrap("日" * 50_000, 80)) == 1250


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        (r"So \boxed{93}.", [r"\boxed{93}"]),
        (r"\boxed{\frac{1}{2}} or \boxed{3}", [r"\boxed{\frac{1}{2}}", r"\boxed{3}"]),
        (r"not closed \boxed{1", [r"\boxed{1"]),
        ("nothing", []),
    ],
)
def test_boxes_are_found_by_balanced_braces(text: str, boxes: list[str]) -> None:
    assert [text[start:end] for start, end in boxed_spans(text)] == boxes
