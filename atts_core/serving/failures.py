"""What a failed exchange means: every status, body, stream error and socket error as one typed error."""

import socket
import ssl
from typing import Any

import httpx2
import msgspec

from atts_core.events import Role
from atts_core.serving.answers import Finish, StreamedError
from atts_core.serving.connection import Patience, Unanswered
from atts_core.serving.errors import (
    BadAnswer,
    KeyRefused,
    RequestRefused,
    ServerBusy,
    ServerError,
    ServerFailed,
    ServerTimeout,
    ServerUnreachable,
    Side,
    StreamCut,
)
from atts_core.serving.wording import SHOWN, readable


def server_words(body: bytes) -> str:
    """The message inside a failed request's body: one of the five shapes that SGLang releases send.

    `{"error": {"message": …}}`, `{"error": "…"}`, `{"detail": [{"loc": …, "msg": …}, …]}`,
    `{"object": "error", "message": …}` and plain text. Control characters are removed; at most 300
    characters are kept. Input values, which some servers echo, are left out.
    """
    try:
        text = _message(msgspec.json.decode(body))
    except (msgspec.DecodeError, RecursionError):
        text = body[: 4 * SHOWN].decode("utf-8", "replace")
    return readable(text)


def _message(body: Any) -> str:
    match body:
        case {"error": {"message": str(text)}} | {"error": str(text)}:
            return text
        case {"object": "error", "message": str(text)}:
            return text
        case {"detail": [*problems]}:
            return "; ".join(filter(None, map(_detail, problems)))
        case {"detail": str(text)} | {"message": str(text)} | str(text):
            return text
        case _:
            return ""


def _detail(problem: Any) -> str:
    match problem:
        case {"msg": str(text), "loc": [*where]}:
            return f"{'.'.join(map(str, where))}: {text}"
        case {"msg": str(text)}:
            return text
        case _:
            return ""


def refusal(status: int, body: bytes, *, role: Side, url: str) -> ServerError:
    """The error that a status other than 200 and its body mean."""
    words = server_words(body)
    said = f": {words}" if words else ""
    where = f"the {role} server at {url}"
    if status in (401, 403):
        return KeyRefused(
            f"{where} refuses the key (status {status}): give it the right one", role=role, url=url
        )
    if status in (429, 503):
        return ServerBusy(f"{where} is too busy or shutting down (status {status}){said}", role=role, url=url)
    if status >= 500:
        return ServerFailed(f"{where} failed (status {status}){said}", role=role, url=url)
    if status == 404:
        return RequestRefused(
            f"{where} does not know this request (status 404){said}: is it an SGLang server, "
            "and the URL without a path such as /v1?",
            role=role,
            url=url,
        )
    return RequestRefused(f"{where} refused the request (status {status}){said}", role=role, url=url)


def stream_refusal(error: StreamedError | str, *, role: Role, url: str) -> ServerError:
    """The error that `{"error": …}` inside a 200 stream means. Without a code (0.4.x) it is a refusal."""
    if isinstance(error, str):
        error = StreamedError(message=error)
    status = error.code if isinstance(error.code, int) and 400 <= error.code < 600 else 400
    found = refusal(status, msgspec.json.encode({"error": {"message": error.message}}), role=role, url=url)
    if error.retryable is not None:
        found.retryable = error.retryable
    return found


def aborted(finish: Finish, *, role: Role, url: str) -> ServerError:
    """The error that a `finish` of type `abort` means where nobody asked for it.

    0.5.x ends a bad request so as well (status 400); without a status it may go through next time.
    """
    it, words = f"the {role} server at {url}", readable(finish.message or "no reason given")
    if isinstance(finish.status_code, int) and 400 <= finish.status_code < 500:
        return RequestRefused(f"{it} refused the request: {words}", role=role, url=url)
    return ServerFailed(f"{it} aborted the request: {words}", role=role, url=url)


def transport_error(error: httpx2.HTTPError, patience: Patience, *, role: Side, url: str) -> ServerError:
    """The error that a broken or too slow exchange means."""
    it = f"the {role} server at {url}"
    match patience.ran_out:
        case "connect":
            what = f"could not be reached within {patience.connect:g} s"
        case "first token":
            what = f"was silent for {patience.first:g} s: it may be overloaded, or its scheduler dead"
        case "between tokens":
            what = f"stopped sending for {patience.between:g} s in the middle of an answer"
        case "total":
            what = f"did not finish within {patience.total:g} s"
        case None:
            return _broken(it, error, role, url)
    return ServerTimeout(f"{it} {what}", role=role, url=url, kind=patience.ran_out)


def _broken(it: str, error: httpx2.HTTPError, role: Side, url: str) -> ServerError:
    if isinstance(error, httpx2.ConnectError):
        cause = error.__cause__
        start = f"start it, or give its address with --{role}"
        if isinstance(cause, ConnectionRefusedError):
            what = f"nothing listens at {url} for the {role} server: {start}"
        elif isinstance(cause, socket.gaierror):
            what = f"{it} cannot be found by that name: {start}"
        elif isinstance(cause, ssl.SSLCertVerificationError):
            return ServerUnreachable(
                f"{it} shows a certificate that is not trusted ({cause.verify_message}): name the file of "
                "its authority in the variable SSL_CERT_FILE",
                role=role,
                url=url,
                retryable=False,
            )
        elif isinstance(cause, ssl.SSLError):
            what = f"{it} does not speak TLS as expected: is it http:// rather than https://?"
        else:
            what = f"{it} cannot be reached ({readable(str(error)) or 'no connection'}): {start}"
        return ServerUnreachable(what, role=role, url=url)
    if isinstance(error, Unanswered):
        return ServerFailed(f"{it} closed the connection without an answer", role=role, url=url)
    if isinstance(error, httpx2.ReadError):
        return StreamCut(f"{it} closed the connection in the middle of an answer", role=role, url=url)
    return BadAnswer(f"{it} gave an unusable answer: {readable(str(error))}", role=role, url=url)
