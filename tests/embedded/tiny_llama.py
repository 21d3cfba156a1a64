"""A tiny random Llama with a vocabulary of its own, for tests of the engine that need no trained weights."""

import msgspec
import numpy as np
from safetensors.numpy import save_file

from atts_core.embedded.jobs import Vocabulary
from atts_core.embedded.llama import Llama, LlamaConfig

SMALL = {
    "model_type": "llama",
    "hidden_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "intermediate_size": 70,
    "vocab_size": 83,
    "max_position_embeddings": 200,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500.0,
    "tie_word_embeddings": True,
}


def small_config(**changes):
    return msgspec.convert(SMALL | changes, LlamaConfig)


def random_weights(config, seed=0):
    random = np.random.default_rng(seed)
    hidden, inner = config.hidden_size, config.intermediate_size
    queries, keys = config.num_attention_heads * config.head_width, config.key_heads * config.head_width
    shapes = {"model.embed_tokens.weight": (config.vocab_size, hidden), "model.norm.weight": (hidden,)}
    for i in range(config.num_hidden_layers):
        name = f"model.layers.{i}."
        shapes |= {
            name + "input_layernorm.weight": (hidden,),
            name + "self_attn.q_proj.weight": (queries, hidden),
            name + "self_attn.k_proj.weight": (keys, hidden),
            name + "self_attn.v_proj.weight": (keys, hidden),
            name + "self_attn.o_proj.weight": (hidden, queries),
            name + "post_attention_layernorm.weight": (hidden,),
            name + "mlp.gate_proj.weight": (inner, hidden),
            name + "mlp.up_proj.weight": (inner, hidden),
            name + "mlp.down_proj.weight": (hidden, inner),
        }
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, hidden)
    return {
        name: (random.standard_normal(shape) * 0.2 + (len(shape) == 1)).astype(np.float32)
        for name, shape in shapes.items()
    }


def random_ids(config, count, seed=1):
    return np.random.default_rng(seed).integers(3, config.vocab_size, count).tolist()


def small_model(max_rows=64):
    config = small_config()
    return Llama(config, random_weights(config), max_rows)


def reference_logits(config, weights, ids, kind=np.float32):
    """The textbook Llama: whole sequence at once, no cache, no tricks."""
    w = {name: value.astype(kind) for name, value in weights.items()}
    n, width = len(ids), config.head_width
    heads, shared = config.num_attention_heads, config.key_heads
    angles = np.outer(np.arange(n), 1.0 / config.theta ** (np.arange(0, width, 2) / width))
    cos, sin = (np.concatenate([f(angles)] * 2, axis=1).astype(kind) for f in (np.cos, np.sin))

    def norm(x, weight):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + config.rms_norm_eps) * weight

    def rotate(x):
        first, second = x[..., : width // 2], x[..., width // 2 :]
        return x * cos + np.concatenate((-second, first), axis=-1) * sin

    def split(x, count):
        return x.reshape(n, count, width).transpose(1, 0, 2)

    x = w["model.embed_tokens.weight"][ids]
    for i in range(config.num_hidden_layers):
        part = {key.removeprefix(f"model.layers.{i}."): value for key, value in w.items()}
        h = norm(x, part["input_layernorm.weight"])
        q = rotate(split(h @ part["self_attn.q_proj.weight"].T, heads))
        k = rotate(split(h @ part["self_attn.k_proj.weight"].T, shared)).repeat(heads // shared, axis=0)
        v = split(h @ part["self_attn.v_proj.weight"].T, shared).repeat(heads // shared, axis=0)
        scores = q @ k.swapaxes(1, 2) / kind(np.sqrt(width))
        scores = np.where(np.tril(np.ones((n, n), bool)), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        x = x + (weights @ v).transpose(1, 0, 2).reshape(n, -1) @ part["self_attn.o_proj.weight"].T
        h = norm(x, part["post_attention_layernorm.weight"])
        gate = h @ part["mlp.gate_proj.weight"].T
        inner = gate / (1 + np.exp(-gate)) * (h @ part["mlp.up_proj.weight"].T)
        x = x + inner @ part["mlp.down_proj.weight"].T
    head = w["model.embed_tokens.weight"] if config.tie_word_embeddings else w["lm_head.weight"]
    return norm(x, w["model.norm.weight"]) @ head.T


def log_probabilities(logits):
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


EOS = 2
RAW = ["<pad>", "<s>", "</s>", "\n\n", *(f" w{i}" if i % 3 else chr(97 + i % 26) for i in range(4, 83))]
VOCABULARY = Vocabulary(raw=RAW, visible=["", "", "", *RAW[3:]], eos_ids=frozenset({EOS}))


def write_folder(folder, **changes):
    """The same model as a Hugging Face folder, tokenizer and all."""
    config = small_config(**changes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(msgspec.json.encode(SMALL | changes))
    save_file(random_weights(config), folder / "model.safetensors")
    ids = {text: i for i, text in enumerate(RAW)}
    (folder / "tokenizer.json").write_bytes(
        msgspec.json.encode(
            {
                "model": {"type": "WordLevel", "vocab": ids, "unk_token": "<pad>"},
                "added_tokens": [{"id": i, "content": RAW[i], "special": True} for i in range(3)],
            }
        )
    )
    (folder / "tokenizer_config.json").write_bytes(
        msgspec.json.encode({"add_bos_token": True, "chat_template": "none"})
    )
    return folder
