"""The numpy forward pass against a plain reference, and bit for bit against itself in other company."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tiny_llama import SMALL, log_probabilities, random_ids, random_weights, reference_logits, small_config

from atts_core.embedded import llama
from atts_core.embedded.llama import BLOCK, TILE, Cache, Chunk, Linear, Llama, LlamaConfig, load_weights
from atts_core.embedded.tokenizer import EmbeddedTokenizer
from atts_core.errors import SettingsError

MODELS = Path(llama.__file__).parent / "models"


@pytest.fixture(scope="module")
def small():
    config = small_config()
    return Llama(config, random_weights(config), max_rows=64)


@pytest.fixture(scope="module", params=["draft", "target"])
def shipped(request):
    folder = MODELS / request.param
    if not (folder / "model.safetensors").exists():
        pytest.skip("the pair's weights are not in this checkout")
    config = LlamaConfig.load(folder)
    weights, _ = load_weights(folder)
    return Llama(config, weights, max_rows=64), weights, EmbeddedTokenizer.load(folder)


def whole(model, ids, cache=None, slot=0):
    """Logits of every token of one sequence, prefilled in the largest chunks."""
    cache = cache or Cache(model.config, slot + 1)
    parts = [
        model.forward(cache, [Chunk(slot, i, ids[i : i + model.max_rows], 0)]).copy()
        for i in range(0, len(ids), model.max_rows)
    ]
    return np.concatenate(parts)


QUESTIONS = (
    "Let a = 38 + 17. Let b = a - 51. Let c = b / 2. What is c mod 9?",
    "Solve 5x + 51 = 4x + 54 and give 9x.",
    "(1) Ann has 60 shells. (2) She finds 10 shells. (3) She gives away 53. How many has she now?",
)


@pytest.mark.parametrize("question", QUESTIONS)
def test_shipped_models_agree_with_the_reference_on_text_they_write(shipped, question):
    model, weights, tokenizer = shipped
    ids = tokenizer.render([{"role": "user", "content": question}])
    cache = Cache(model.config, 1)
    logits = [whole(model, ids, cache)]
    while len(ids) < 200 and ids[-1] != tokenizer.eos_id:
        ids.append(int(logits[-1][-1].argmax()))
        logits.append(model.forward(cache, [Chunk(0, len(ids) - 1, ids[-1:], 0)]).copy())
    difference = log_probabilities(np.concatenate(logits)) - log_probabilities(
        reference_logits(model.config, weights, ids)
    )
    assert np.abs(difference[np.arange(len(ids) - 1), ids[1:]]).max() < 1e-4


def test_on_nonsense_shipped_models_are_as_exact_as_float32_allows(shipped):
    """Far from what it was trained on a model magnifies rounding: float64 is the judge between the two."""
    model, weights, _ = shipped
    ids = random_ids(model.config, 300)
    exact = log_probabilities(reference_logits(model.config, weights, ids, np.float64))
    plain = log_probabilities(reference_logits(model.config, weights, ids))
    ours = log_probabilities(whole(model, ids))
    assert np.abs(ours - exact).max() < 3 * np.abs(plain - exact).max()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"num_key_value_heads": 1},
        {"num_key_value_heads": 6},
        {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 2},
        {"hidden_size": 130, "intermediate_size": 65, "vocab_size": 129},
    ],
)
def test_any_small_llama_agrees_with_the_reference(changes):
    config = small_config(**changes)
    weights = random_weights(config)
    ids = random_ids(config, 150)
    ours = log_probabilities(whole(Llama(config, weights), ids))
    assert np.abs(ours - log_probabilities(reference_logits(config, weights, ids))).max() < 1e-4


@given(seed=st.integers(0, 2**32), count=st.integers(1, 6), most=st.sampled_from([1, 5, 40]))
@settings(max_examples=60, deadline=None)
def test_a_row_has_the_same_bits_in_any_company(small, seed, count, most):
    """Random sequences, chunk sizes, orders and slots; the cache full of other requests' remains."""
    random = np.random.default_rng(seed)
    sequences = [random_ids(small.config, random.integers(1, 150), (seed, i)) for i in range(count)]
    alone = [whole(small, ids) for ids in sequences]
    cache = Cache(small.config, 9)
    cache.data[:] = random.standard_normal(cache.data.shape)
    slots = random.permutation(9)[:count].tolist()
    done = [0] * count
    while any(done[i] < len(sequences[i]) for i in range(count)):
        chunks, members, room = [], [], small.max_rows
        for i in random.permutation(count):
            size = min(int(random.integers(0, most + 1)), len(sequences[i]) - done[i], room)
            if size:
                chunks.append(Chunk(slots[i], done[i], sequences[i][done[i] : done[i] + size], 0))
                members.append(i)
                room -= size
        if not chunks:
            continue
        logits = small.forward(cache, chunks)
        row = 0
        for i, chunk in zip(members, chunks, strict=True):
            stop = done[i] + len(chunk.ids)
            assert logits[row : row + len(chunk.ids)].tobytes() == alone[i][done[i] : stop].tobytes()
            row, done[i] = row + len(chunk.ids), stop


def test_shipped_models_keep_their_bits_in_any_company(shipped):
    model, _, _ = shipped
    ids = random_ids(model.config, 140)
    alone = whole(model, ids)
    cache = Cache(model.config, 20)
    cache.data[:] = 7.0
    others = list(range(16))
    for position, token in enumerate(ids):
        company = others[: position % 17]
        chunks = [Chunk(slot, position, [5 + slot], 0) for slot in company]
        place = position % (len(chunks) + 1)
        chunks.insert(place, Chunk(19, position, [token], 0))
        assert model.forward(cache, chunks)[place].tobytes() == alone[position].tobytes()


@given(tokens=st.integers(1, 150), size=st.integers(1, 64))
@settings(max_examples=30, deadline=None)
def test_a_copied_prefix_is_as_good_as_a_computed_one(small, tokens, size):
    ids = random_ids(small.config, 160)
    alone = whole(small, ids)
    cache = Cache(small.config, 2)
    whole(small, ids, cache, slot=0)
    cache.copy_prefix(0, 1, tokens)
    rest = ids[tokens : tokens + size]
    assert (
        small.forward(cache, [Chunk(1, tokens, rest, 0)]).tobytes() == alone[tokens : tokens + size].tobytes()
    )


def test_only_wanted_logits_are_returned_in_the_order_of_the_chunks(small):
    a, b = random_ids(small.config, 20, 1), random_ids(small.config, 12, 2)
    cache = Cache(small.config, 2)
    logits = small.forward(cache, [Chunk(1, 0, a, 18), Chunk(0, 0, b, 12)])
    assert logits.tobytes() == whole(small, a)[18:].tobytes()
    assert small.forward(cache, [Chunk(0, 12, [4], 1)]).shape == (0, 83)


def test_where_places_in_a_tile_differ_each_row_gets_its_own_tile(monkeypatch):
    config = small_config()
    weights = random_weights(config)
    ids = random_ids(config, 70)
    expected = log_probabilities(reference_logits(config, weights, ids))
    monkeypatch.setattr(llama, "_rows_are_interchangeable", lambda weight: False)
    model = Llama(config, weights)
    assert np.abs(log_probabilities(whole(model, ids)) - expected).max() < 1e-4
    x = np.random.default_rng(3).standard_normal((TILE * 2, 130)).astype(np.float32)
    linear = Linear(np.random.default_rng(4).standard_normal((130, 200)).astype(np.float32))
    assert linear.one_row_tiles
    out = linear(x, np.empty((TILE * 2, 200), np.float32)).copy()
    again = linear(x[::-1].copy(), np.empty((TILE * 2, 200), np.float32))
    assert out.tobytes() == again[::-1].tobytes()


def test_the_trial_of_the_blas_notices_a_difference(monkeypatch):
    weight = np.ones((30, 64), np.float32)
    assert llama._rows_are_interchangeable(weight)

    class Uneven(np.ndarray):
        def __rmatmul__(self, other):
            product = np.asarray(other) @ np.asarray(self)
            product[3] = np.nextafter(product[3], 10)
            return product

        __array_priority__ = 100
        __array_ufunc__ = None

    assert not llama._rows_are_interchangeable(weight.view(Uneven))


def test_context_may_be_filled_to_the_last_position(small):
    ids = random_ids(small.config, 200)
    logits = whole(small, ids)
    assert small.config.max_position_embeddings == 200
    assert 200 % BLOCK
    assert np.isfinite(logits).all()


def write_model(folder, config=None, weights=None):
    (folder / "config.json").write_bytes(msgspec.json.encode(config or SMALL))
    save_file(weights or random_weights(small_config()), folder / "model.safetensors")


def test_folder_round_trip_in_float16(tmp_path):
    weights = random_weights(small_config())
    write_model(tmp_path, weights={name: value.astype(np.float16) for name, value in weights.items()})
    loaded, digest = load_weights(tmp_path)
    assert len(digest) == 64
    assert all(value.dtype == np.float32 for value in loaded.values())
    Llama(LlamaConfig.load(tmp_path), loaded)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "qwen2"}, "model_type is 'qwen2'"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "rotary"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rotary"),
        ({"attention_bias": True}, "biases"),
        ({"num_hidden_layers": 0}, "not positive"),
        ({"num_key_value_heads": 4}, "evenly"),
        ({"head_dim": 5}, "odd"),
        ({"hidden_size": "wide"}, "not the configuration"),
    ],
)
def test_a_configuration_that_the_engine_cannot_compute_is_refused(tmp_path, changes, message):
    write_model(tmp_path, SMALL | changes)
    with pytest.raises(SettingsError, match=message):
        LlamaConfig.load(tmp_path)


def test_bad_weights_are_refused(tmp_path):
    config = small_config()
    weights = random_weights(config)
    with pytest.raises(SettingsError, match="lack the tensor"):
        Llama(config, {k: v for k, v in weights.items() if k != "model.norm.weight"})
    with pytest.raises(SettingsError, match="has shape"):
        Llama(config, weights | {"model.norm.weight": np.ones(3, np.float32)})
    with pytest.raises(SettingsError, match="not finite"):
        Llama(config, weights | {"model.norm.weight": np.full(40, np.nan, np.float32)})
    with pytest.raises(SettingsError, match="no model folder"):
        LlamaConfig.load(tmp_path)
    with pytest.raises(SettingsError, match="holds no model"):
        load_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_weights(tmp_path)
