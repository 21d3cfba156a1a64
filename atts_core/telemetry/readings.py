"""What a GPU or a server said about itself at one moment. A field that a source could not give is None."""

import msgspec


class GpuReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One GPU, or one MIG instance of it."""

    index: int
    """As the driver of its machine counts."""
    name: str
    uuid: str = ""
    instance: str = ""
    """Of a MIG instance its profile and number, such as `1g.10gb #7`; the GPU itself is read before it."""
    memory_used: int | None = None
    """Bytes."""
    memory_total: int | None = None
    """Bytes."""
    memory_by_role: dict[str, int] = {}
    """Bytes held by the processes of the draft and the target servers, where they could be told apart."""
    utilisation: float | None = None
    """0 to 1, sampled by the driver over its own window: memory is the number to trust."""
    power: float | None = None
    """Watts."""
    power_limit: float | None = None
    """Watts."""
    temperature: float | None = None
    """Degrees Celsius."""
    clock: int | None = None
    """Of the streaming multiprocessors, MHz."""
    clock_limit: int | None = None
    """The most that the clock can be, MHz."""
    memory_clock: int | None = None
    """MHz."""
    throttled: tuple[str, ...] = ()
    """What holds the clocks down, in words; empty where nothing does or nobody can tell (`missing`)."""
    ecc_errors: int | None = None
    """Uncorrected memory errors since the driver was loaded."""
    missing: dict[str, str] = {}
    """Why a field is None: name of the field → the driver's own words."""


class ServerReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one server says of itself.

    SGLang writes the gauges of /metrics (`running` to `used_tokens`) only at a prefill and every 40 decode
    steps: after the last request they keep its values (measured on 0.4.3.post4). `fresh` says that they
    are of the moment of asking. The counts since the start are exact; those of 0.4.3 grow when a
    request ends.
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
    capacity: int | None = None
    """Tokens that the KV cache can hold."""
    prompt_tokens: int | None = None
    """Prompt tokens since the server's start."""
    generated_tokens: int | None = None
    """New tokens since the server's start."""
    cached_tokens: int | None = None
    """Prompt tokens found in the prefix cache since the server's start."""
    requests: int | None = None
    """Requests finished since the server's start."""
    fresh: bool = False
    """Whether the gauges are of the moment of asking (/v1/loads not long written, or an idle /get_load)."""
    source: str = ""
    """The paths that were read, such as `/metrics` or `/v1/loads and /metrics`."""
    unavailable: str = ""
    """Why there are no metrics and what would give them; empty where there are."""
