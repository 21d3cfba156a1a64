"""Writes a model as a Hugging Face Llama folder: SGLang, transformers and the embedded server all read it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from atts_core.embedded.tokenizer import BOS, CHAT_TEMPLATE, EOS, PAD, UNKNOWN, split_pattern

CONTEXT: Final = 512
Dtype = Literal["float16", "float32"]


class Shape(msgspec.Struct, frozen=True):
    """Sizes of a Llama decoder: RMSNorm, rotary positions, SwiGLU, no biases, untied head, full attention."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    context: int = CONTEXT
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5


def write_folder(
    folder: Path, shape: Shape, weights: Mapping[str, NDArray[Any]], vocabulary: Sequence[str], dtype: Dtype
) -> None:
    """Writes all files of one model into the existing `folder`; `weights` carry Hugging Face's Llama names.

    `vocabulary` is the tokens' texts in id order. Raises OSError as the file system does.
    """
    ids = {text: i for i, text in enumerate(vocabulary)}
    write_weights(folder, weights, dtype)
    _write(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.heads,
            "head_dim": shape.hidden // shape.heads,
            "intermediate_size": shape.feed_forward,
            "hidden_act": "silu",
            "rms_norm_eps": shape.norm_epsilon,
            "rope_theta": shape.rope_theta,
            "rope_scaling": None,
            "attention_bias": False,
            "mlp_bias": False,
            "max_position_embeddings": shape.context,
            "vocab_size": shape.vocabulary,
            "pad_token_id": ids[PAD],
            "bos_token_id": ids[BOS],
            "eos_token_id": ids[EOS],
            "tie_word_embeddings": False,
            "torch_dtype": dtype,
        },
    )
    _write(
        folder / "generation_config.json",
        {
            "bos_token_id": ids[BOS],
            "eos_token_id": ids[EOS],
            "pad_token_id": ids[PAD],
            "do_sample": True,
            "temperature": 0.8,
        },
    )
    specials = [text for text in (PAD, BOS, EOS, UNKNOWN) if text in ids]
    _write(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": ids[text],
                    "content": text,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": True,
                }
                for text in specials
            ],
            "normalizer": None,
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": split_pattern(text for text in vocabulary if text not in specials)},
                "behavior": "Isolated",
                "invert": False,
            },
            "post_processor": None,
            "decoder": {"type": "Fuse"},
            "model": {"type": "WordLevel", "vocab": ids, "unk_token": UNKNOWN},
        },
    )
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": EOS,
            "pad_token": PAD,
            "unk_token": UNKNOWN,
            "add_bos_token": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": shape.context,
            "chat_template": CHAT_TEMPLATE,
        },
    )


def write_weights(folder: Path, weights: Mapping[str, NDArray[Any]], dtype: Dtype) -> None:
    """Writes `model.safetensors` alone, each array stored as `dtype`."""
    stored = {name: np.ascontiguousarray(value.astype(dtype)) for name, value in sorted(weights.items())}
    (folder / "model.safetensors").write_bytes(save(stored, metadata={"format": "pt"}))


def _write(path: Path, content: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
