"""Between the trainer's fused matrices and Hugging Face's Llama names."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from atts_core.embedded.folder import Shape
from atts_core.embedded.training.model import Decoder

Arrays = dict[str, NDArray[Any]]


def to_hugging_face(model: Decoder) -> Arrays:
    """The model's weights, float32, under Hugging Face's names."""
    state = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    arrays: Arrays = {
        "model.embed_tokens.weight": state["embedding.weight"],
        "model.norm.weight": state["norm"],
        "lm_head.weight": state["head.weight"],
    }
    for i in range(model.shape.layers):
        old, new = f"blocks.{i}.", f"model.layers.{i}."
        arrays[new + "input_layernorm.weight"] = state[old + "attention_norm"]
        arrays[new + "post_attention_layernorm.weight"] = state[old + "feed_norm"]
        for letter, part in zip("qkv", np.split(state[old + "qkv.weight"], 3), strict=True):
            arrays[f"{new}self_attn.{letter}_proj.weight"] = part
        arrays[new + "self_attn.o_proj.weight"] = state[old + "out.weight"]
        for word, part in zip(("gate", "up"), np.split(state[old + "gate_up.weight"], 2), strict=True):
            arrays[f"{new}mlp.{word}_proj.weight"] = part
        arrays[new + "mlp.down_proj.weight"] = state[old + "down.weight"]
    return arrays


def from_hugging_face(arrays: Arrays, shape: Shape) -> Decoder:
    """The inverse of `to_hugging_face`; computes in float32 whatever the arrays' type."""
    state = {
        "embedding.weight": arrays["model.embed_tokens.weight"],
        "norm": arrays["model.norm.weight"],
        "head.weight": arrays["lm_head.weight"],
    }
    for i in range(shape.layers):
        new, old = f"blocks.{i}.", f"model.layers.{i}."
        state[new + "attention_norm"] = arrays[old + "input_layernorm.weight"]
        state[new + "feed_norm"] = arrays[old + "post_attention_layernorm.weight"]
        state[new + "qkv.weight"] = np.concatenate(
            [arrays[f"{old}self_attn.{letter}_proj.weight"] for letter in "qkv"]
        )
        state[new + "out.weight"] = arrays[old + "self_attn.o_proj.weight"]
        state[new + "gate_up.weight"] = np.concatenate(
            [arrays[f"{old}mlp.{word}_proj.weight"] for word in ("gate", "up")]
        )
        state[new + "down.weight"] = arrays[old + "mlp.down_proj.weight"]
    model = Decoder(shape)
    model.load_state_dict({name: torch.from_numpy(value.astype(np.float32)) for name, value in state.items()})
    model.eval()
    return model


def load_decoder(folder: Path) -> Decoder:
    """The model of a Hugging Face Llama folder, in torch, float32."""
    config = msgspec.json.decode((folder / "config.json").read_bytes())
    shape = Shape(
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        feed_forward=config["intermediate_size"],
        vocabulary=config["vocab_size"],
        context=config["max_position_embeddings"],
        rope_theta=config["rope_theta"],
        norm_epsilon=config["rms_norm_eps"],
    )
    return from_hugging_face(load_file(folder / "model.safetensors"), shape)
