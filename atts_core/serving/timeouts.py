"""How long a request may wait for what."""

import msgspec


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. None is infinite: a server whose scheduler died accepts requests and never answers."""

    connect: float = 5.0
    first_token: float = 120.0
    """From sending to the first token: queueing and prefill."""
    between_tokens: float = 60.0
    total: float = 1800.0
    """One attempt of a request, from sending to the end."""
    control: float = 10.0
    """Requests that ask the server about itself."""
