"""From addresses to models that answer: every server of a role is reached and found to be the same model."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from atts_core.engine.limits import Limiter
from atts_core.engine.pair import Side, Worker
from atts_core.errors import SettingsError
from atts_core.events import Role
from atts_core.serving.client import SGLangClient
from atts_core.serving.server_info import ServerInfo, together
from atts_core.serving.timeouts import Timeouts
from atts_core.serving.tokenizers import Tokenizer, load_tokenizer


async def connect_side(
    role: Role,
    urls: Sequence[str],
    stack: AsyncExitStack,
    *,
    connections: int,
    timeouts: Timeouts,
    environment: Mapping[str, str],
    tokenizer: str | None,
) -> Side:
    """Reaches all servers of a model; `stack` closes them. `connections` go to each, and are its places.

    Raises:
        ServerError: one of them does not answer, or is no SGLang server; the sentence names it.
        SettingsError: they serve different models, or the tokenizer cannot be read.
    """
    key = environment.get(f"ATTS_{role.upper()}_API_KEY") or environment.get("ATTS_API_KEY")
    clients = [
        SGLangClient(url, role=role, connections=connections, timeouts=timeouts, api_key=key) for url in urls
    ]
    for client in clients:
        stack.push_async_callback(client.close)
    # All are asked at once, and the first in their order that is wrong is named.
    found = await asyncio.gather(*(client.connect() for client in clients), return_exceptions=True)
    infos: list[ServerInfo] = []
    for info in found:
        if isinstance(info, BaseException):
            raise info
        infos.append(info)
    info = together(infos)
    reader = load_tokenizer(tokenizer) if tokenizer else _tokenizer_of(infos)
    for client in clients:
        client.use_vocabulary(reader.vocab_size)
    limiter = Limiter(connections, len(clients))
    return Side(role, [Worker(client) for client in clients], info, reader, limiter)


def _tokenizer_of(infos: Sequence[ServerInfo]) -> Tokenizer:
    """The tokenizer that the servers name. Those of their folders that are on this machine must agree."""
    read: dict[str, Tokenizer] = {}
    missing: SettingsError | None = None
    for path in dict.fromkeys(info.tokenizer_path for info in infos):
        try:
            read[path] = load_tokenizer(path)
        except SettingsError as error:
            missing = missing or error
    if not read:
        assert missing is not None  # noqa: S101  # there is at least one server
        raise missing
    first, *others = read.items()
    for path, tokenizer in others:
        if tokenizer.identity != first[1].identity:
            raise SettingsError(
                f"the {infos[0].role} servers have different tokenizers, those of {first[0]} and of {path}: "
                "all servers of a model must serve the same."
            )
    return first[1]
