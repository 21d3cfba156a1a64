"""What may be said about the servers that `atts servers up` starts: `[servers]` in `atts.toml`."""

import msgspec


class RoleGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[servers.draft]` or `[servers.target]`; None where nobody said anything."""

    model: str | None = None
    """A folder, or a name of the hub."""
    gpus: tuple[int | str, ...] | None = None
    """Indices or UUIDs, as CUDA_VISIBLE_DEVICES takes them; all workers of the role share them out."""
    tp: int | None = None
    """Tensor parallelism: GPUs that hold one copy of the model."""
    dp: int | None = None
    """Data parallelism inside one server: copies of the model."""
    mem_fraction: float | None = None
    """Share of the free GPU memory that weights and KV cache take (`--mem-fraction-static`)."""
    context_length: int | None = None
    host: str | None = None
    port: int | None = None
    """Of the role; its workers take the ports after it where there are several."""
    args: tuple[str, ...] | None = None
    """More arguments of the server, after ours, so that they win."""
    env: dict[str, str] | None = None


class ServersGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[servers]`; None where nobody said anything."""

    preset: str | None = None
    python: str | None = None
    """A Python that has sglang."""
    host: str | None = None
    workers: int | None = None
    """Servers of each role."""
    router: bool | None = None
    restart: bool | None = None
    deterministic: bool | None = None
    patience: float | None = None
    """Seconds that a server may take until it answers."""
    args: tuple[str, ...] | None = None
    env: dict[str, str] | None = None
    draft: RoleGiven = RoleGiven()
    target: RoleGiven = RoleGiven()
