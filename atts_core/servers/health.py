"""How the servers of a pair are: by their processes first, then by what they answer."""

import asyncio
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from atts_core.errors import SettingsError
from atts_core.servers.logs import progress
from atts_core.servers.state import PairState, Server, log_path
from atts_core.serving.address import key_of
from atts_core.serving.client import SGLangClient
from atts_core.serving.errors import KeyRefused, NotSGLang, RequestRefused, ServerError
from atts_core.serving.timeouts import Timeouts

Condition = Literal["answers", "starting", "silent", "broken", "gone"]
"""`silent`: its processes live, but no token came (in time). `broken`: a process that it needs is gone."""

PATIENCE: Final = 10.0
"""Seconds for one token: more than it takes under load."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """One server, now."""

    label: str
    role: str
    kind: str
    model: str
    url: str
    pid: int
    began: float
    condition: Condition
    release: str = ""
    restarts: int = 0
    words: str = ""
    """What there is to say beside the condition."""


async def pair_health(state: PairState, environment: Mapping[str, str]) -> tuple[Health, ...]:
    """All servers of a pair, asked at the same time; for a silent one this takes `PATIENCE`."""
    starting = any(process is not None and process.alive for process in (state.starter, state.keeper))
    looks = (_look(server, state.name, environment, starting) for server in state.servers)
    return tuple(await asyncio.gather(*looks))


async def _look(server: Server, name: str, environment: Mapping[str, str], starting: bool) -> Health:
    condition, release, words = await _condition(server, name, environment, starting)
    return Health(
        label=server.label,
        role=server.role,
        kind=server.kind,
        model=server.model,
        url=server.url,
        pid=server.process.pid,
        began=server.began,
        condition=condition,
        release=release,
        restarts=server.restarts,
        words=words,
    )


async def _condition(
    server: Server, name: str, environment: Mapping[str, str], starting: bool
) -> tuple[Condition, str, str]:
    if not server.process.here:
        return "gone", "", "started on another machine, or before a restart of this one"
    why = server.dead_part()
    if why is not None:
        left = len(server.members())
        rest = f"; {left} of its processes left" if left else ""
        return ("broken" if left else "gone"), "", f"{why}{rest}{_comma(server.note)}"
    if not server.ready and starting:
        return "starting", "", progress(log_path(name, server.label))
    client = SGLangClient(
        server.url,
        role=server.role,
        connections=1,
        timeouts=Timeouts(connect=2, control=5, first_token=PATIENCE, between_tokens=PATIENCE),
        api_key=key_of(server.role, environment),
    )
    try:
        return await _asked(client, server.note)
    finally:
        await client.close()


async def _asked(client: SGLangClient, note: str) -> tuple[Condition, str, str]:
    """By a request that takes all of its processes: /health_generate, as long as the scheduler is busy, says
    yes while the detokenizer is dead."""
    release = ""
    try:
        release = (await client.connect()).release
        await client.read_text("1")
    except (
        KeyRefused,
        NotSGLang,
        SettingsError,
    ) as error:  # something answers, but nobody can tell more of it
        return ("answers" if await client.works(PATIENCE) else "silent"), release, str(error)
    except RequestRefused:
        return "answers", release, note  # it was started without a tokenizer, and reads ids only
    except ServerError as error:
        return "silent", release, f"{error}{_comma(note)}"
    return "answers", release, note


def _comma(words: str) -> str:
    return f", {words}" if words else ""
