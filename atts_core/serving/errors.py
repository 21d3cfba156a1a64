"""What can go wrong between us and a server, as one typed hierarchy under `atts_core.errors`.

Every error names the role and the URL (without credentials), reads as one sentence, and says by `retryable`
whether the same request may succeed later. `failures` makes them out of what a server or a socket did.
"""

# ruff: noqa: N818  # the names say what happened; all of them are errors by their base

from typing import Literal

from atts_core.errors import RunError, SettingsError
from atts_core.events import Role

Side = Role | Literal["judge"]
"""Whose server: one of the two models', or that of a language model that judges answers."""

TimeoutKind = Literal["connect", "first token", "between tokens", "total"]


class ServerError(RunError):
    """Base: a server could not be reached, refused, failed or answered with something unusable."""

    retryable = False

    def __init__(self, message: str, *, role: Side, url: str, retryable: bool | None = None) -> None:
        super().__init__(message)
        self.role: Side = role
        self.url = url
        if retryable is not None:
            self.retryable = retryable


class ServerUnreachable(ServerError):
    """No connection: nothing listens there, the name is unknown, or TLS fails."""

    retryable = True


class NotSGLang(ServerError):
    """Something answers at the URL, but not as an SGLang server does."""

    exit_status = SettingsError.exit_status


class RequestRefused(ServerError):
    """The server (or our own check, see `InvalidRequest`) refuses this request; repeating it is useless."""


class InvalidRequest(RequestRefused):
    """Our own check found the request bad; it never left. A bad value can kill a shared server."""


class ContextFull(InvalidRequest):
    """Prompt and new tokens together do not fit the model's context; the request never left."""


class KeyRefused(RequestRefused):
    """The server wants a key, or another one."""

    exit_status = SettingsError.exit_status


class ServerBusy(ServerError):
    """The server's queue is full or it is draining (503, 429)."""

    retryable = True


class ServerFailed(ServerError):
    """The server failed while it worked on the request: a 5xx, or a connection closed without an answer."""

    retryable = True


class StreamCut(ServerError):
    """A stream ended before its last event: the server, a worker or the network went away."""

    retryable = True


class ServerTimeout(ServerError):
    """The server was silent for too long. `kind` says which limit ran out."""

    retryable = True

    def __init__(self, message: str, *, role: Side, url: str, kind: TimeoutKind) -> None:
        super().__init__(message, role=role, url=url)
        self.kind: TimeoutKind = kind


class BadAnswer(ServerError):
    """The server answered, but not with what was asked for: wrong lengths, types, ids or numbers."""

    retryable = True
