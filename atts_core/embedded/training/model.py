"""The pair's network in torch: a Llama decoder, with its matrices fused where that trains faster."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from atts_core.embedded.folder import Shape

Cache = list[tuple[Tensor, Tensor] | None]


class Block(nn.Module):  # type: ignore[misc,unused-ignore]
    """Attention and feed-forward, each on a normalised copy of the stream and added back to it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.hidden
        self.heads, self.epsilon = shape.heads, shape.norm_epsilon
        self.attention_norm = nn.Parameter(torch.ones(width))
        self.feed_norm = nn.Parameter(torch.ones(width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, width, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        batch, length, width = x.shape
        normed = functional.rms_norm(x, (width,), self.attention_norm, self.epsilon)
        parts = self.qkv(normed).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        cos, sin = cos.to(q.dtype), sin.to(q.dtype)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        if past is not None:
            k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
        # Written out: torch's fused attention takes three times as long backward on a CPU in bfloat16.
        weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            weights = weights + mask.to(weights.dtype)
        mixed = torch.softmax(weights, -1, dtype=weights.dtype) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        normed = functional.rms_norm(x, (width,), self.feed_norm, self.epsilon)
        gate, up = self.gate_up(normed).chunk(2, -1)
        return x + self.down(functional.silu(gate) * up), (k, v)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class Decoder(nn.Module):  # type: ignore[misc,unused-ignore]
    """Token ids [batch, length] to logits [batch, length, vocabulary]."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.hidden)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.hidden))
        self.head = nn.Linear(shape.hidden, shape.vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            if name == "embedding.weight":
                nn.init.normal_(parameter, std=0.02)
            elif parameter.dim() == 2:
                writes_stream = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5 * (0.5 if writes_stream else 1.0))
        nn.init.zeros_(self.head.weight)
        size = shape.hidden // shape.heads
        frequencies = shape.rope_theta ** (-torch.arange(0, size, 2).float() / size)
        angles = torch.outer(torch.arange(shape.context).float(), frequencies).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def matrices(self) -> list[nn.Parameter]:
        """The blocks' matrices, which Muon trains."""
        return [parameter for parameter in self.blocks.parameters() if parameter.dim() == 2]

    def others(self) -> list[nn.Parameter]:
        """Embedding, head and norms, which AdamW trains."""
        own = {id(parameter) for parameter in self.matrices()}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def states(
        self, ids: Tensor, cache: Cache | None = None, start: int = 0, mask: Tensor | None = None
    ) -> Tensor:
        """The normalised stream [batch, length, hidden] before the head; extends `cache` in place.

        `mask` is added to the attention weights; without it attention is causal.
        """
        x = self.embedding(ids)
        if mask is None and ids.shape[1] > 1:
            mask = torch.full((ids.shape[1], ids.shape[1]), float("-inf")).triu(1)
        cos, sin = self.cos[start : start + ids.shape[1]], self.sin[start : start + ids.shape[1]]
        for i, block in enumerate(self.blocks):
            x, kept = block(x, cos, sin, mask, None if cache is None else cache[i])
            if cache is not None:
                cache[i] = kept
        return functional.rms_norm(x, (self.shape.hidden,), self.norm, self.shape.norm_epsilon)

    def forward(
        self, ids: Tensor, cache: Cache | None = None, start: int = 0, mask: Tensor | None = None
    ) -> Tensor:
        logits: Tensor = self.head(self.states(ids, cache, start, mask))
        return logits
