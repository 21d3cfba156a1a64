"""What a GPU or a server said about itself at one moment. A field that a source could not give is None."""

import msgspec


class GpuReading(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU of this machine."""

    index: int
    name: str
    memory_used: int | None = None
    """Bytes."""
    memory_total: int | None = None
    """Bytes."""
    memory_by_role: dict[str, int] = {}
    """Bytes held by the processes of the draft and the target server, where they could be told apart."""
    utilisation: float | None = None
    """0 to 1, sampled by the driver over its own window: memory is the number to trust."""
    power: float | None = None
    """Watts."""
    temperature: float | None = None
    """Degrees Celsius."""
    missing: dict[str, str] = {}
    """Why a field is None: name of the field → the driver's own words."""


class ServerReading(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics of one server.

    SGLang writes its gauges (`running` to `used_tokens`) only at a prefill and every 40 decode steps: after
    the last request they keep its values (measured on 0.4.3.post4). The counts since the start are exact.
    """

    running: int | None = None
    queued: int | None = None
    cache_usage: float | None = None
    """Share of the KV cache in use, 0 to 1."""
    cache_hit_rate: float | None = None
    generation_throughput: float | None = None
    """Tokens per second, as the server counts them."""
    used_tokens: int | None = None
    """Tokens in the KV cache that running requests hold."""
    prompt_tokens: int | None = None
    """Prompt tokens since the server's start."""
    generated_tokens: int | None = None
    """New tokens since the server's start."""
    cached_tokens: int | None = None
    """Prompt tokens found in the prefix cache since the server's start."""
    requests: int | None = None
    """Requests finished since the server's start."""
    unavailable: str = ""
    """Why there are no metrics and what would give them; empty where there are."""
