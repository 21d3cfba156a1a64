"""What a server is: release, model, limits and features, found out once at the start.

`read_server` interprets the answers; `client.SGLangClient.open` fetches them. Nothing here sends anything.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from atts_core.errors import SettingsError
from atts_core.events import Role
from atts_core.serving.errors import ContextFull, NotSGLang
from atts_core.serving.requests import Bounds
from atts_core.serving.wording import readable

Kind = Literal["sglang", "embedded", "router"]

EMBEDDED_RELEASE: Final = "atts-embedded-"
"""What the release of the embedded pair's server begins with."""

OLDEST: Final = (0, 4, 3)
NEWEST: Final = (0, 5, 23)
"""First and last SGLang release that this client was tried on."""

_ABORT_SINCE: Final = (0, 4, 6)
_SEED_SINCE: Final = (0, 5, 3)
_OUTPUT_IDS_SINCE: Final = (0, 5, 2)
"""Read in the sources of 0.4.6.post5, 0.5.2 and 0.5.3; 0.4.10.post2 still has no token ids of its own."""

_HEADROOM: Final = 6
"""In every release `max_req_input_len` is the context length less this."""


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What the server can do beyond the oldest release."""

    sampling_seed: bool
    """Takes the sampling parameter `sampling_seed`; elsewhere it would be an error."""
    seeded: bool
    """A seed decides the text: on SGLang only where started with `--enable-deterministic-inference`."""
    abort: bool
    """Has POST /abort_request."""
    output_ids: bool
    """Gives the new token ids without log-probabilities."""
    incremental_text: bool = False
    """Was started with `--incremental-streaming-output`: nothing in its streams is cumulative."""
    incremental_ids: bool = False
    """Was started with `--stream-output` (to 0.5.x): the token ids alone are not cumulative."""


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One server, as found at the start."""

    role: Role
    url: str
    """Without credentials."""
    kind: Kind
    release: str
    """Such as `0.4.3.post4`; empty behind a router."""
    model: str
    """The name under which it is served."""
    model_path: str
    """The folder or hub name of the model on the server's machine."""
    tokenizer_path: str
    """The folder or hub name of its tokenizer on the server's machine."""
    context_length: int | None
    """Tokens; None where the server does not say (behind a router)."""
    max_prompt: int | None
    """Longest prompt in tokens."""
    vocab_size: int | None
    """None where the server does not say: SGLang never does."""
    metrics: bool | None
    """Started with `--enable-metrics`; None where unknown."""
    features: Features
    notes: tuple[str, ...] = ()
    """What a user should know, such as an untried release."""

    @property
    def bounds(self) -> Bounds:
        """The limits of requests. `vocab_size` is usually the tokenizer's to fill in."""
        return Bounds(
            vocab_size=self.vocab_size,
            context_length=self.context_length,
            max_prompt=self.max_prompt,
            sampling_seed=self.features.sampling_seed,
            output_ids=self.features.output_ids,
        )

    def room(self, prompt: int, wanted: int) -> int:
        """How many of `wanted` new tokens fit after a prompt of `prompt` tokens, at least 1.

        Raises `ContextFull` where not even one does.
        """
        left = wanted if self.context_length is None else self.context_length - 1 - prompt
        if left < 1 or (self.max_prompt is not None and prompt > self.max_prompt):
            raise ContextFull(
                f"{prompt} tokens leave no room in the context of the {self.role} server at {self.url}",
                role=self.role,
                url=self.url,
            )
        return min(wanted, left)


def together(infos: Sequence[ServerInfo]) -> ServerInfo:
    """What holds of all servers of one model: the first one's words, the tightest limits, what all can do.

    Raises `SettingsError` where they do not serve the same model with the same context.
    """
    first = infos[0]
    for other in infos[1:]:
        found = difference(first, other)
        if found:
            raise SettingsError(f"{found}: all servers of a model must serve the same.")
    features = {
        name: all(getattr(info.features, name) for info in infos)
        for name in ("sampling_seed", "seeded", "abort", "output_ids")
    }
    return msgspec.structs.replace(
        first,
        context_length=_smallest(*(info.context_length for info in infos)),
        max_prompt=_smallest(*(info.max_prompt for info in infos)),
        vocab_size=_smallest(*(info.vocab_size for info in infos)),
        features=msgspec.structs.replace(first.features, **features),
        notes=tuple(dict.fromkeys(note for info in infos for note in info.notes)),
    )


def difference(one: ServerInfo, other: ServerInfo) -> str:
    """In words, why two servers of a role are not the same model; empty where they are.

    Names count by their last part: machines keep the same model in different folders.
    """
    names = [info.model.rstrip("/").rpartition("/")[2] for info in (one, other)]
    if names[0] != names[1]:
        return f"the {one.role} server at {one.url} serves {one.model}, the one at {other.url} {other.model}"
    if None not in (one.context_length, other.context_length) and one.context_length != other.context_length:
        return (
            f"the {one.role} server at {one.url} has a context of {one.context_length} tokens, the one at "
            f"{other.url} of {other.context_length}"
        )
    return ""


def release_number(release: str) -> tuple[int, int, int] | None:
    """`0.4.3.post4` → (0, 4, 3); None for a release that is not numbered so."""
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?", release)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def read_server(
    *, role: Role, url: str, server: bytes | None, model: bytes | None, models: bytes | None
) -> ServerInfo:
    """Interprets the bodies of /get_server_info, /get_model_info and /v1/models; None where there is none.

    Raises `NotSGLang` where they are not those of an SGLang server.
    """
    about, model_info, listed = _object(server), _object(model), _object(models)
    path = _text(model_info, "model_path") or _text(about, "model_path")
    if _is_router(about):
        return _router(role, url, path, model_info, listed)
    release = _text(about, "version") or ""
    if not path or not release:
        raise NotSGLang(
            f"what answers at {url} is not an SGLang server: give the {role} server's address with --{role}, "
            "as in http://127.0.0.1:30000",
            role=role,
            url=url,
        )
    if model_info.get("is_generation") is False:
        raise NotSGLang(
            f"the {role} server at {url} serves {readable(path)}, which does not generate text",
            role=role,
            url=url,
        )
    longest = _number(about, "max_req_input_len")
    context = _smallest(
        _number(_first_model(listed), "max_model_len"),
        _number(about, "context_length"),
        longest + _HEADROOM if longest is not None else None,
    )
    embedded = release.startswith(EMBEDDED_RELEASE)
    number = release_number(release)
    return ServerInfo(
        role=role,
        url=url,
        kind="embedded" if embedded else "sglang",
        release=readable(release),
        model=readable(_text(_first_model(listed), "id") or _text(about, "served_model_name") or path),
        model_path=readable(path),
        tokenizer_path=readable(
            _text(model_info, "tokenizer_path") or _text(about, "tokenizer_path") or path
        ),
        context_length=context,
        max_prompt=longest,
        vocab_size=_number(about, "vocab_size") or _number(model_info, "vocab_size"),
        metrics=True if embedded else _flag(about, "enable_metrics"),
        features=_features(about, number, embedded),
        notes=() if embedded else _notes(role, release, number),
    )


def _features(about: dict[str, Any], number: tuple[int, int, int] | None, embedded: bool) -> Features:
    if embedded:
        return Features(sampling_seed=True, seeded=True, abort=True, output_ids=True)
    # The flag and the parameter came in one release (0.5.3), and the flag can be seen: a release that is not
    # numbered, or a fork, is judged by it. Without the flag switched on, SGLang ignores the seed.
    deterministic = _flag(about, "enable_deterministic_inference")
    return Features(
        sampling_seed=deterministic is not None and (number is None or number >= _SEED_SINCE),
        seeded=deterministic is True,
        abort=number is None or number >= _ABORT_SINCE,
        output_ids=number is not None and number >= _OUTPUT_IDS_SINCE,
        incremental_text=bool(_flag(about, "incremental_streaming_output")),
        incremental_ids=bool(_flag(about, "stream_output")),
    )


def _notes(role: Role, release: str, number: tuple[int, int, int] | None) -> tuple[str, ...]:
    if number is None:
        return (f"the {role} server runs SGLang {readable(release)}, a release this program does not know",)
    shown = ".".join(map(str, NEWEST))
    if number > NEWEST:
        return (f"the {role} server runs SGLang {readable(release)}, newer than {shown}, the last one tried",)
    if number < OLDEST:
        return (f"the {role} server runs SGLang {readable(release)}, older than 0.4.3, the first one tried",)
    return ()


def _is_router(about: dict[str, Any]) -> bool:
    return about.get("router_manager") is True


def _router(
    role: Role, url: str, path: str | None, model_info: dict[str, Any], listed: dict[str, Any]
) -> ServerInfo:
    """A sglang-router from 0.3.2 on whose workers are not known: what all releases can do is used."""
    model = _first_model(listed)
    note = (
        f"the workers of the {role} router at {url} cannot be asked from here: their context is unknown, and "
        "no seeds are sent"
    )
    return ServerInfo(
        role=role,
        url=url,
        kind="router",
        release="",
        model=readable(_text(model, "id") or path or ""),
        model_path=readable(path or ""),
        tokenizer_path=readable(_text(model_info, "tokenizer_path") or path or ""),
        context_length=_number(model, "max_model_len"),
        max_prompt=None,
        vocab_size=None,
        metrics=False,
        features=Features(sampling_seed=False, seeded=False, abort=False, output_ids=False),
        notes=(note,),
    )


MOST_WORKERS: Final = 64
"""Workers of a router that are asked; one that names more is asked for none."""


def router_workers(body: bytes | None) -> list[str]:
    """The URLs in a router's answer to /workers (0.3.2): `{"workers": [{"url": …}, …]}`."""
    listed = _object(body).get("workers")
    workers = listed if isinstance(listed, list) else []
    urls = [worker.get("url") for worker in workers if isinstance(worker, dict)]
    known = [url for url in urls if isinstance(url, str)]
    return known if len(known) == len(workers) <= MOST_WORKERS else []


def behind_router(router: ServerInfo, workers: Sequence[ServerInfo]) -> ServerInfo:
    """What is known of a router's model once its workers told what they are; `router` where none did.

    Raises `SettingsError` where they are not the same model.
    """
    if not workers:
        return router
    all_of_them = together(workers)
    releases = sorted({worker.release for worker in workers})
    return msgspec.structs.replace(
        all_of_them,
        url=router.url,
        kind="router",
        release=" and ".join(releases),
        model=router.model or all_of_them.model,
        model_path=router.model_path or all_of_them.model_path,
        tokenizer_path=router.tokenizer_path or all_of_them.tokenizer_path,
        metrics=False,
        # it has no /abort_request; all else passes (seen with 0.3.2)
        features=msgspec.structs.replace(all_of_them.features, abort=False),
    )


def _object(body: bytes | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body) if body else {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _first_model(listed: dict[str, Any]) -> dict[str, Any]:
    match listed:
        case {"data": [dict(first), *_]}:
            return first
        case _:
            return {}


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) and value else None


def _number(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    return value if type(value) is int and 0 < value < 2**40 else None


def _flag(body: dict[str, Any], name: str) -> bool | None:
    value = body.get(name)
    return value if isinstance(value, bool) else None


def _smallest(*values: int | None) -> int | None:
    known = [value for value in values if value is not None]
    return min(known, default=None)
