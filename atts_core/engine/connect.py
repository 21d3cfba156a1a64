"""From addresses to models that answer: every server of a role is reached and found to be the same model."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from atts_core.engine.limits import Limiter
from atts_core.engine.pair import Side, Worker
from atts_core.errors import SettingsError
from atts_core.events import Role
from atts_core.serving.address import key_of
from atts_core.serving.client import SGLangClient
from atts_core.serving.errors import KeyRefused, RequestRefused, ServerError
from atts_core.serving.server_info import ServerInfo, together
from atts_core.serving.timeouts import Timeouts
from atts_core.serving.tokenizers import Tokenizer, load_tokenizer

PROBE = "Let x = 3, so 2x + 51 = 57.\n\nThe answer is \\boxed{57}. Gauß, 素数\n"
"""Digits, signs, an escape, blank lines and letters beyond ASCII: what tokenizers do differently."""


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
        SettingsError: they serve different models, or the tokenizer cannot be read or is another one.
    """
    key = key_of(role, environment)
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
        await _agree(client, reader)
    limiter = Limiter(connections, len(clients))
    return Side(role, [Worker(client) for client in clients], info, reader, limiter)


async def _agree(client: SGLangClient, tokenizer: Tokenizer) -> None:
    """Raises SettingsError where the server reads a text by other ids than we do: every score would be of
    other text than the chain's."""
    try:
        theirs = await client.read_text(PROBE)
    except RequestRefused as error:
        if isinstance(error, KeyRefused):
            raise
        return  # started without a tokenizer of its own: it reads ids only
    except ServerError as error:
        error.exit_status = SettingsError.exit_status  # nothing has begun
        raise
    ours = tokenizer.encode(PROBE)
    if theirs[0] == tokenizer.bos_id:
        del theirs[0]
    last = tokenizer.vocab_size - 1
    same = len(ours) == len(theirs) and all(
        mine == its or (mine == last and its == 0) for mine, its in zip(ours, theirs, strict=True)
    )
    if not same:
        raise SettingsError(
            f"the tokenizer at hand is not that of the {client.role} server at {client.url}: a text of "
            f"{len(PROBE)} characters is {len(ours)} tokens to it, and {len(theirs)} or other ones to the "
            f"server; name the server's own with --{client.role}-tokenizer."
        )


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
