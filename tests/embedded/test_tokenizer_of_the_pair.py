"""The pair's tokenizer: round trips, the blank line, the chat template, and what it does not know."""

from itertools import islice
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_core import embedded
from atts_core.embedded.tokenizer import EmbeddedTokenizer
from atts_core.errors import SettingsError
from atts_core.problems.builtin import endless

MODELS = Path(embedded.__file__).parent / "models"
tokenizer = EmbeddedTokenizer.load(MODELS / "draft")
printable = st.text(st.sampled_from([chr(code) for code in range(32, 127)] + ["\n"]), max_size=200)


@given(printable)
def test_printable_text_comes_back_unchanged(text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text(max_size=100))
def test_any_text_gives_ids_of_the_vocabulary(text):
    ids = tokenizer.encode(text)
    assert all(0 <= token < tokenizer.vocab_size for token in ids)
    assert not set(ids) & {tokenizer.bos_id, *tokenizer.eos_ids}


def test_problems_and_solutions_come_back_and_hold_no_unknown_word():
    for problem in islice(endless("train", 11), 300):
        text = problem.question + "\n\n" + "\n\n".join(problem.steps)
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.unknown_words(text) == []


def test_the_longest_piece_wins_and_digits_stand_alone():
    pieces = [
        tokenizer.decode([token]) for token in tokenizer.encode("(2) She finds 47 more: 5x\n\n\\boxed{9}")
    ]
    assert pieces == [
        *["(2)", " She", " finds", " ", "4", "7", " more", ": ", "5", "x", "\n\n", "\\boxed{", "9", "}"]
    ]
    assert tokenizer.encode("\n\n") == [tokenizer.step_end_id]


def test_special_tokens_are_never_read_from_text_and_never_shown():
    assert tokenizer.eos_id not in tokenizer.encode("</s><s>")
    assert tokenizer.decode([tokenizer.bos_id, *tokenizer.encode("So"), tokenizer.eos_id]) == "So"


def test_a_conversation_is_rendered_as_the_chat_template_says():
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " What is a?\n"},
        {"role": "assistant", "content": "a = 3."},
    ]
    asked = [tokenizer.bos_id, *tokenizer.encode("What is a?"), tokenizer.step_end_id]
    assert tokenizer.render(messages[:2]) == asked
    answered = [*asked, *tokenizer.encode("a = 3.")]
    assert tokenizer.render(messages, continue_final=True) == answered
    assert tokenizer.render(messages) == [*answered, tokenizer.eos_id]


def test_only_an_assistant_message_can_be_continued():
    with pytest.raises(SettingsError, match="assistant"):
        tokenizer.render([{"role": "user", "content": "Go on"}], continue_final=True)


def test_unknown_words_are_named_once_and_in_order():
    text = "Bob has 12 pears. Ann finds pears & 3 € more than Bob. So the answer is \\boxed{3}."
    assert tokenizer.unknown_words(text) == ["Bob", "pears", "€", "than"]


def test_both_models_share_one_tokenizer_and_the_template_is_part_of_its_identity(tmp_path):
    assert EmbeddedTokenizer.load(MODELS / "target").identity == tokenizer.identity
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((MODELS / "draft" / name).read_bytes())
    config = msgspec.json.decode((tmp_path / "tokenizer_config.json").read_bytes())
    config["chat_template"] += " "
    (tmp_path / "tokenizer_config.json").write_bytes(msgspec.json.encode(config))
    assert EmbeddedTokenizer.load(tmp_path).identity != tokenizer.identity


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(SettingsError, match=str(tmp_path)):
        EmbeddedTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}, "added_tokens": []}')
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": ""}')
    with pytest.raises(SettingsError, match="lacks"):
        EmbeddedTokenizer.load(tmp_path)
