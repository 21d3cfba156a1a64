"""A Llama decoder in numpy whose every row is computed alike, whatever shares the batch with it.

The rule of the embedded pair is *same seed, same text, bit for bit*, and floating-point sums keep it only if
their order never changes. So the shape of a computation depends on a token's own position and nothing else:

- linear layers multiply tiles of exactly `TILE` rows, so that BLAS always runs one and the same kernel;
- a token attends to whole blocks of positions up to its own, one row at a time, in prefill as in decode;
- everything else works row by row.

That a row's bits do not depend on where in its tile it stands is a property of the BLAS at hand; it is tried
out for every shape when a model is loaded, and where it does not hold, each row gets a tile of its own.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from atts_core.errors import SettingsError

Floats = NDArray[np.float32]

TILE: Final = 8
BLOCK: Final = 64
# Weights lie in panels of so many columns: small enough for OpenBLAS to multiply without repacking them
# (twice as fast for 8 rows), and read from end to end, which the prefetcher follows (again 1.5 times).
PANEL: Final = 64


class LlamaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a Hugging Face `config.json` that a Llama forward pass needs."""

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    rms_norm_eps: float = 1e-6
    rope_theta: float | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    hidden_act: str = "silu"
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False

    @property
    def key_heads(self) -> int:
        """Number of heads of the keys and values; the query heads share them in equal groups."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head_width(self) -> int:
        """Numbers in one head's query, key or value."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def theta(self) -> float:
        """Base of the rotary frequencies; transformers 5 writes it into `rope_parameters`."""
        value = self.rope_theta or (self.rope_parameters or {}).get("rope_theta", 10_000.0)
        return float(value)

    @classmethod
    def load(cls, folder: Path) -> "LlamaConfig":
        """Reads and checks `config.json`.

        Raises:
            SettingsError: it is absent, damaged, or of a model that this engine does not compute.
        """
        path = folder / "config.json"
        try:
            config = msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise SettingsError(f"{folder} is no model folder: config.json: {error.strerror}.") from error
        except msgspec.MsgspecError as error:
            raise SettingsError(f"{path} is not the configuration of a Llama model: {error}.") from error
        problem = config._problem()
        if problem:
            raise SettingsError(f"{path}: {problem}; the embedded server runs plain small Llama models.")
        return config

    def _problem(self) -> str | None:
        sizes = {name: getattr(self, name) for name in (
            "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
            "vocab_size", "max_position_embeddings", "key_heads", "head_width",
        )}  # fmt: skip
        scaling = {**(self.rope_scaling or {}), **(self.rope_parameters or {})}
        checks = {
            f"model_type is {self.model_type!r}, not 'llama'": self.model_type != "llama",
            f"hidden_act is {self.hidden_act!r}, not 'silu'": self.hidden_act != "silu",
            "it has biases": self.attention_bias or self.mlp_bias,
            "it scales its rotary positions": scaling.get("rope_type", scaling.get("type", "default"))
            != "default",
            f"a size is not positive ({sizes})": min(sizes.values()) < 1,
        }
        for problem, found in checks.items():
            if found:
                return problem
        if self.head_width % 2:
            return "the width of a head is odd"
        if self.num_attention_heads % self.key_heads:
            return "the query heads cannot share the key heads evenly"
        return None


class Chunk(NamedTuple):
    """Tokens that join the sequence in one slot of the cache.

    `start` is the position of the first of `ids`; the slot must already hold all positions before it. Logits
    are returned for `ids[logits_from:]` (`len(ids)`: for none).
    """

    slot: int
    start: int
    ids: Sequence[int]
    logits_from: int


class Cache:
    """Keys and values of `slots` sequences of up to `context` tokens each.

    `data` is (slots, layers, 2, blocks, heads, `BLOCK`, width): what a token reads in a layer lies together.
    """

    def __init__(self, config: LlamaConfig, slots: int) -> None:
        self.slots = slots
        blocks = -(-config.max_position_embeddings // BLOCK)
        shape = (slots, config.num_hidden_layers, 2, blocks, config.key_heads, BLOCK, config.head_width)
        # Zeros are not touched before use: the memory of a slot is taken when its first request comes.
        self.data: Floats = np.zeros(shape, np.float32)

    def copy_prefix(self, source: int, destination: int, tokens: int) -> None:
        """Gives slot `destination` at least the first `tokens` positions of slot `source`."""
        blocks = -(-tokens // BLOCK)
        self.data[destination, :, :, :blocks] = self.data[source, :, :, :blocks]


class Linear:
    """`x @ weight`, in tiles of `TILE` rows: a row's result is the same bits in any company."""

    def __init__(self, weight: Floats) -> None:
        self.inputs, self.outputs = weight.shape
        whole = self.outputs - self.outputs % PANEL
        panels = weight[:, :whole].reshape(self.inputs, -1, PANEL).transpose(1, 0, 2)
        self._parts = [
            (columns, np.ascontiguousarray(part)[:, None])
            for columns, part in ((slice(0, whole), panels), (slice(whole, None), weight[None, :, whole:]))
            if part.size
        ]
        self.one_row_tiles = not all(_rows_are_interchangeable(part[0, 0]) for _, part in self._parts)

    def __call__(self, x: Floats, out: Floats) -> Floats:
        """Writes `x @ weight` into `out`; both C-contiguous, their rows a multiple of `TILE`."""
        if self.one_row_tiles:
            tiles = np.zeros((len(x), TILE, self.inputs), np.float32)
            tiles[:, 0] = x
            for columns, part in self._parts:
                out[:, columns] = np.matmul(tiles, part)[:, :, 0].swapaxes(0, 1).reshape(len(x), -1)
            return out
        tiles = x.reshape(-1, TILE, self.inputs)
        for columns, part in self._parts:
            target = out[:, columns].reshape(-1, TILE, len(part), part.shape[-1]).transpose(2, 0, 1, 3)
            np.matmul(tiles, part, out=target)
        return out


def _rows_are_interchangeable(weight: Floats) -> bool:
    """Whether this BLAS gives a row the same bits in each place of a tile and beside any neighbours."""
    random = np.random.default_rng(0)
    tile = random.standard_normal((TILE, len(weight)), np.float32)
    row = tile[0].copy()
    expected = (tile @ weight)[0].tobytes()
    for place in range(TILE):
        tile = random.standard_normal((TILE, len(weight)), np.float32)
        tile[place] = row
        if (tile @ weight)[place].tobytes() != expected:
            return False
    return True


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: Linear
    output: Linear
    gate: Linear
    up: Linear
    down: Linear


class _Piece(NamedTuple):
    """Rows of a pass that are in one slot and one block of positions; `places` is where in their group.

    `keys` is (layers, blocks, heads, width, `BLOCK`), `values` (layers, blocks, heads, `BLOCK`, width).
    """

    rows: slice
    places: slice
    keys: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class _Group:
    """Pieces that attend to equally many blocks; `future` (rows, 1, 1, `BLOCK`) hides the last one's rest."""

    blocks: int
    pieces: list[_Piece]
    rows: NDArray[np.intp]
    future: Floats


@dataclass(slots=True)
class _Plan:
    ids: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    groups: list[_Group] = field(default_factory=list)


def _future(blocks: int, positions: NDArray[np.intp]) -> Floats:
    hidden = np.arange((blocks - 1) * BLOCK, blocks * BLOCK) > positions[:, None]
    return np.where(hidden, np.float32(-np.inf), np.float32(0.0))[:, None, None]


class Llama:
    """The forward pass. One thread at a time: the buffers are shared between calls."""

    def __init__(self, config: LlamaConfig, weights: Mapping[str, Floats], max_rows: int = 64) -> None:
        """`weights` carry Hugging Face's names, float32; `max_rows` is the most tokens of one pass.

        Raises:
            SettingsError: a tensor is absent, of the wrong shape, or not finite.
        """
        self.config = config
        self.max_rows = -(-max_rows // TILE) * TILE
        hidden, width = config.hidden_size, config.head_width
        queries, keys = config.num_attention_heads * width, config.key_heads * width
        take = _Taker(weights)
        self._embedding = take("model.embed_tokens.weight", config.vocab_size, hidden)
        pairs = _pair_order(width)
        self._layers = []
        for i in range(config.num_hidden_layers):
            name = f"model.layers.{i}."
            attention_norm = take(name + "input_layernorm.weight", hidden)
            q = take(name + "self_attn.q_proj.weight", queries, hidden).reshape(-1, width, hidden)
            k = take(name + "self_attn.k_proj.weight", keys, hidden).reshape(-1, width, hidden)
            v = take(name + "self_attn.v_proj.weight", keys, hidden)
            qk = np.concatenate((q * np.float32(width**-0.5), k))[:, pairs].reshape(-1, hidden)
            feed_norm = take(name + "post_attention_layernorm.weight", hidden)
            inner = config.intermediate_size
            self._layers.append(
                _Layer(
                    # The norms' weights are folded into the layers that follow them.
                    qkv=Linear((np.concatenate((qk, v)) * attention_norm).T),
                    output=Linear(take(name + "self_attn.o_proj.weight", hidden, queries).T),
                    gate=Linear((take(name + "mlp.gate_proj.weight", inner, hidden) * feed_norm).T),
                    up=Linear((take(name + "mlp.up_proj.weight", inner, hidden) * feed_norm).T),
                    down=Linear(take(name + "mlp.down_proj.weight", hidden, inner).T),
                )
            )
        if config.tie_word_embeddings or "lm_head.weight" not in weights:
            head = self._embedding
        else:
            head = take("lm_head.weight", config.vocab_size, hidden)
        self._head = Linear((head * take("model.norm.weight", hidden)).T)
        self._turns = _rotations(config)
        self._allocate(queries, keys)

    def _allocate(self, queries: int, keys: int) -> None:
        config, rows = self.config, self.max_rows
        self._x = np.zeros((rows, config.hidden_size), np.float32)
        self._normed = np.zeros_like(self._x)
        self._delta = np.zeros_like(self._x)
        self._qkv = np.zeros((rows, queries + 2 * keys), np.float32)
        self._attended = np.zeros((rows, queries), np.float32)
        self._gate = np.zeros((rows, config.intermediate_size), np.float32)
        self._up = np.zeros_like(self._gate)
        self._inner = np.zeros_like(self._gate)
        self._logits = np.zeros((rows, config.vocab_size), np.float32)

    def forward(self, cache: Cache, chunks: Sequence[Chunk]) -> Floats:
        """Appends the chunks to the cache; returns the logits asked for, (tokens, vocabulary), in order.

        All chunks together hold 1 to `max_rows` tokens, each slot at most one chunk. The result is a view
        that the next call overwrites.
        """
        plan = self._plan(cache, chunks)
        count = len(plan.ids)
        padded = -(-count // TILE) * TILE
        x, normed, delta = self._x[:padded], self._normed[:padded], self._delta[:padded]
        gate, up, inner = self._gate[:padded], self._up[:padded], self._inner[:padded]
        qkv, attended = self._qkv[:padded], self._attended[:padded]
        x[:count] = self._embedding[plan.ids]
        x[count:] = 0.0

        width, shared = self.config.head_width, self.config.key_heads
        queries = self.config.num_attention_heads * width
        turned = qkv[:count, : queries + shared * width].view(np.complex64)
        turns = self._turns[plan.positions]
        slots, (blocks, places) = np.array(plan.slots), np.divmod(plan.positions, BLOCK)
        q = qkv[:count, :queries].reshape(count, shared, -1, width)
        kv = qkv[:count, queries:].reshape(count, 2, shared, width)
        out = attended[:count].reshape(count, shared, -1, width)

        with np.errstate(
            over="ignore"
        ):  # exp(-gate) may overflow to infinity, which is right: silu is then 0
            for number, layer in enumerate(self._layers):
                layer.qkv(self._normalise(x, normed), qkv)
                np.multiply(turned, turns, out=turned)
                cache.data[slots, number, :, blocks, :, places] = kv
                for group in plan.groups:
                    _attend(group, number, q, out)
                x += layer.output(attended, delta)
                self._normalise(x, normed)
                layer.gate(normed, gate)
                layer.up(normed, up)
                np.negative(gate, out=inner)
                np.exp(inner, out=inner)
                inner += 1.0
                gate /= inner
                gate *= up
                x += layer.down(gate, delta)
            return self._read_out(x, plan.wanted)

    def _plan(self, cache: Cache, chunks: Sequence[Chunk]) -> "_Plan":
        plan = _Plan()
        groups: dict[int, tuple[list[_Piece], list[int]]] = {}
        for chunk in chunks:
            row, position, stop = len(plan.ids), chunk.start, chunk.start + len(chunk.ids)
            plan.ids += chunk.ids
            plan.slots += [chunk.slot] * len(chunk.ids)
            plan.positions += range(position, stop)
            plan.wanted += range(row + chunk.logits_from, row + len(chunk.ids))
            while position < stop:
                blocks = position // BLOCK + 1
                size = min(stop, blocks * BLOCK) - position
                pieces, rows = groups.setdefault(blocks, ([], []))
                store = cache.data[chunk.slot, :, :, :blocks]
                places = slice(len(rows), len(rows) + size)
                pieces.append(
                    _Piece(slice(row, row + size), places, store[:, 0].swapaxes(-1, -2), store[:, 1])
                )
                rows += range(row, row + size)
                row += size
                position += size
        positions = np.array(plan.positions)
        for blocks, (pieces, rows) in groups.items():
            index = np.array(rows)
            plan.groups.append(_Group(blocks, pieces, index, _future(blocks, positions[index])))
        return plan

    def _normalise(self, x: Floats, out: Floats) -> Floats:
        squares: Floats = np.einsum("ij,ij->i", x, x)
        squares /= self.config.hidden_size
        squares += self.config.rms_norm_eps
        np.sqrt(squares, out=squares)
        np.divide(x, squares[:, None], out=out)
        return out

    def _read_out(self, x: Floats, wanted: list[int]) -> Floats:
        count = len(wanted)
        padded = -(-count // TILE) * TILE
        if not count:
            return self._logits[:0]
        last = self._delta[:padded]
        last[:count] = x[wanted]
        last[count:] = 0.0
        return self._head(self._normalise(last, self._normed[:padded]), self._logits[:padded])[:count]


def _attend(group: _Group, layer: int, q: Floats, out: Floats) -> None:
    """Attention of one group's rows; `q` and `out` are (rows, key heads, queries a key head, width)."""
    shape = (len(group.rows), group.blocks, *q.shape[1:3])
    weights = np.empty((*shape, BLOCK), np.float32)
    for piece in group.pieces:
        np.matmul(q[piece.rows, None], piece.keys[layer], out=weights[piece.places])
    weights[:, -1] += group.future
    weights -= weights.max(axis=-1).max(axis=1)[:, None, :, :, None]
    np.exp(weights, out=weights)
    total = weights.sum(axis=-1).sum(axis=1)
    parts = np.empty((*shape, q.shape[-1]), np.float32)
    for piece in group.pieces:
        np.matmul(weights[piece.places], piece.values[layer], out=parts[piece.places])
    out[group.rows] = parts.sum(axis=1) / total[..., None]


def _pair_order(width: int) -> list[int]:
    """Order of a head's dimensions that brings the two of each rotation together, as one complex number."""
    half = width // 2
    return [i for pair in zip(range(half), range(half, width), strict=True) for i in pair]


def _rotations(config: LlamaConfig) -> NDArray[np.complex64]:
    """exp(i · position · frequency) for all queries and keys of a row: (positions, heads · width / 2)."""
    width = config.head_width
    frequencies = config.theta ** (-np.arange(0, width, 2) / width)
    angles = np.outer(np.arange(config.max_position_embeddings), frequencies)
    turns = np.exp(1j * angles).astype(np.complex64)
    return np.tile(turns, config.num_attention_heads + config.key_heads)


class _Taker:
    """Picks tensors by name and checks them."""

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._weights = weights

    def __call__(self, name: str, *shape: int) -> Floats:
        value = self._weights.get(name)
        if value is None:
            raise SettingsError(f"The model's weights lack the tensor {name}.")
        if value.shape != shape:
            raise SettingsError(
                f"The tensor {name} has shape {value.shape}, but config.json asks for {shape}."
            )
        if not np.isfinite(value).all():
            raise SettingsError(f"The tensor {name} holds numbers that are not finite.")
        return value


def load_weights(folder: Path) -> tuple[dict[str, Floats], str]:
    """Reads all `*.safetensors` of a folder as float32, and the SHA-256 of the files.

    Raises:
        SettingsError: there is none, or one is damaged or of a type that numpy cannot read.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise SettingsError(f"{folder} holds no model: there is no *.safetensors file in it.")
    weights: dict[str, Floats] = {}
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(path.read_bytes())
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise SettingsError(f"{path} cannot be read: {error}.") from error
        for name, value in tensors.items():
            if value.dtype not in (np.float16, np.float32):
                raise SettingsError(f"{path}: {name} is {value.dtype}; store it as float16 or float32.")
            weights[name] = value.astype(np.float32)
    return weights, digest.hexdigest()
