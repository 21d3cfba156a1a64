"""Tokenizers as model families have them, built here: byte-level, of the Llama 2 kind, thinking templates."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atts_core.config import Given, load
from atts_core.engine.chain import Chain, Written
from atts_core.engine.limits import Limiter
from atts_core.engine.pair import Pair, Side
from atts_core.engine.session import open_session
from atts_core.errors import SettingsError
from atts_core.serving.tokenizers import Tokenizer, load_tokenizer

tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("transformers")

TEXTS = [
    "Let x = 3, so 2x + 51 = 57.\n\nThe answer is \\boxed{57}. Gauß, 素数\n",
    " and so on",
    "  two spaces",
    "\n\n### A head\n",
    "naïve café — “quotes” 🙂",
]
THINKING = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}<|user|>{{ m['content'] }}"
    "{% else %}<|assistant|>{{ m['content'].split('</think>')[-1] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
"""As in the R1 distillations and QwQ: the model is put into its thoughts before it writes its first token."""
SPECIAL = ["<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<think>", "</think>"]


def byte_level(size: int) -> Any:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet
    )
    made.train_from_iterator(TEXTS, trainer)
    return made


def llama_2_kind() -> Any:
    bytes_ = {f"<0x{byte:02X}>": byte + 1 for byte in range(256)}
    words = ["▁", "a", "n", "d", "s", "o", "▁and", "▁so", "on", "▁on", "▁a", "an", "and", "T", "h", "e", "."]
    merges = [("a", "n"), ("an", "d"), ("▁", "and"), ("s", "o"), ("▁", "so"), ("o", "n"), ("▁", "on")]
    pieces = dict.fromkeys(["<unk>", *bytes_, *words, "so"])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    unknown = {"unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges, **unknown))
    made.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    )
    made.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("▁", " "),
            tokenizers.decoders.ByteFallback(),
            tokenizers.decoders.Fuse(),
            tokenizers.decoders.Strip(content=" ", left=1),
        ]
    )
    made.add_special_tokens(SPECIAL)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(made: Any, template: str = THINKING, **files: Any) -> Path:
        path = tmp_path_factory.mktemp("model")
        made.save(str(path / "tokenizer.json"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin|>",
            "eos_token": "<|end|>",
            "chat_template": template,
            "clean_up_tokenization_spaces": True,
        }
        (path / "tokenizer_config.json").write_text(json.dumps(config))
        for name, content in files.items():
            (path / f"{name}.json").write_text(json.dumps(content))
        return path

    return make


@pytest.fixture(scope="module", params=["byte-level", "llama 2"])
def tokenizer(request: pytest.FixtureRequest, folder: Callable[..., Path]) -> Tokenizer:
    return load_tokenizer(folder(byte_level(320) if request.param == "byte-level" else llama_2_kind()))


@pytest.mark.parametrize("text", TEXTS)
def test_a_step_comes_back_as_it_was_written(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert max(ids) < tokenizer.vocab_size


def test_steps_joined_read_as_they_were_written(tokenizer: Tokenizer) -> None:
    """No word is glued to its neighbour, none gets a space that nobody wrote."""
    steps = ["The", " and", "so", " on.", "\n\n", "and so"]
    ids = [id_ for step in steps for id_ in tokenizer.encode(step)]
    assert tokenizer.decode(ids) == "".join(steps)
    for step in steps:
        assert tokenizer.decode(tokenizer.encode(step)) == step


def test_a_thinking_template_ends_inside_the_thoughts(tokenizer: Tokenizer) -> None:
    ids = tokenizer.render([{"role": "user", "content": "1 + 1?"}])
    begin, think = (tokenizer.encode(mark)[-1:] for mark in ("<|begin|>", "<think>"))
    assert ids[:1] == begin
    assert ids.count(begin[0]) == 1  # the template writes it; no second one is put before it
    assert think[0] in ids[-4:]
    assert tokenizer.decode(ids).endswith("\n")
    assert tokenizer.eos_ids == frozenset(tokenizer.encode("<|end|>")[-1:])


def test_a_template_may_refuse_and_a_model_may_have_several_ends(folder: Callable[..., Path]) -> None:
    path = folder(byte_level(320), "{{ raise_exception('no users') }}")
    with pytest.raises(SettingsError, match="refuses this conversation: no users"):
        load_tokenizer(path).render([{"role": "user", "content": "1"}])
    several = load_tokenizer(folder(byte_level(320), generation_config={"eos_token_id": [1, 3]}))
    assert several.eos_ids == {1, 3}


def test_models_of_two_families_read_the_same_chain(folder: Callable[..., Path]) -> None:
    """Each keeps its own ids for what it wrote, and reads the other's words by its own vocabulary."""

    def side(role: Any, tokenizer: Tokenizer) -> Side:
        return Side(role, [], None, tokenizer, Limiter(1))  # type: ignore[arg-type]  # no server is asked

    draft, target = (load_tokenizer(folder(made)) for made in (llama_2_kind(), byte_level(300)))
    pair = Pair(side("draft", draft), side("target", target), None)  # type: ignore[arg-type]
    assert not pair.same_tokenizer
    chain = Chain(pair, "1 + 1?", instruct=False)
    at = len(chain.draft_ids), len(chain.target_ids)
    for text, by_draft in ((" and so on.", True), (" and", False), (" so on\n\n", True)):
        ids = (draft if by_draft else target).encode(text)
        step = Written(tuple(ids), text, len(ids), False, 0.0, 0.0)
        if by_draft:
            chain.append_draft(step, chain.for_target(step))
        else:
            chain.append_target(step)
    assert draft.decode(chain.draft_ids[at[0] :]) == chain.text
    assert target.decode(chain.target_ids[at[1] :]) == chain.text


async def test_a_tokenizer_that_is_not_the_servers_is_refused_before_anything_is_asked(
    embedded_pair: tuple[str, str], folder: Callable[..., Path]
) -> None:
    draft, target = embedded_pair
    given = Given(draft=draft, target=target, target_tokenizer=str(folder(byte_level(300))))
    with pytest.raises(SettingsError, match=r"not that of the target server at .*--target-tokenizer"):
        async with open_session(load(given, {}), {}):
            pass
