"""The pairs of the paper (arXiv 2509.15148), as its authors served them: the draft alone on one GPU with
0.9 of its memory, the target on two with 0.7 (the rest is for the log-probabilities of long prompts)."""

from typing import Final

from atts_core.servers.settings import RoleGiven

EMBEDDED: Final = "embedded"
"""The preset that needs no GPU and no SGLang."""

CONTEXT: Final = 32768
"""Tokens: what the smallest context of these models holds, and twice what 15 turns of 1,000 tokens need."""


def _draft(model: str) -> RoleGiven:
    return RoleGiven(model=model, gpus=(0,), tp=1, mem_fraction=0.9, context_length=CONTEXT)


def _target(model: str) -> RoleGiven:
    return RoleGiven(model=model, gpus=(1, 2), tp=2, mem_fraction=0.7, context_length=CONTEXT)


PRESETS: Final[dict[str, tuple[RoleGiven, RoleGiven]]] = {
    "r1-1.5b+qwq": (_draft("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"), _target("Qwen/QwQ-32B")),
    "r1-8b+qwq": (_draft("deepseek-ai/DeepSeek-R1-Distill-Llama-8B"), _target("Qwen/QwQ-32B")),
    "qwen7b+qwq": (_draft("Qwen/Qwen2.5-7B-Instruct"), _target("Qwen/QwQ-32B")),
    "llama8b+s1.1": (_draft("meta-llama/Llama-3.1-8B-Instruct"), _target("simplescaling/s1.1-32B")),
    EMBEDDED: (RoleGiven(model="draft"), RoleGiven(model="target")),
}
"""Draft and target by the preset's name."""
