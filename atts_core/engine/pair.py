"""The two models of a run, each with its servers, its tokenizer and its limit of requests."""

from collections.abc import Sequence
from dataclasses import dataclass

from atts_core.config import Profile
from atts_core.engine.limits import Limiter
from atts_core.events import ModelCard, Role
from atts_core.serving.client import SGLangClient
from atts_core.serving.server_info import ServerInfo
from atts_core.serving.tokenizers import Tokenizer


@dataclass(slots=True)
class Worker:
    """One server of a model."""

    client: SGLangClient
    lost: bool = False
    failures: int = 0
    """Requests that failed there since the last that did not."""

    @property
    def url(self) -> str:
        """Without credentials."""
        return self.client.url


@dataclass(slots=True)
class Side:
    """One model."""

    role: Role
    workers: Sequence[Worker]
    """Its servers, as many as the limiter has."""
    info: ServerInfo
    """What holds of all of them."""
    tokenizer: Tokenizer
    limiter: Limiter

    @property
    def urls(self) -> tuple[str, ...]:
        """Of its servers, without credentials."""
        return tuple(worker.url for worker in self.workers)

    def card(self) -> ModelCard:
        """What a run records of this model."""
        return ModelCard(
            role=self.role,
            name=self.info.model,
            url=self.urls[0],
            release=self.info.release,
            context_length=self.info.context_length or 0,
            tokenizer=self.tokenizer.identity,
            urls=self.urls,
        )


@dataclass(slots=True)
class Pair:
    """Draft and target."""

    draft: Side
    target: Side
    profile: Profile

    @property
    def same_tokenizer(self) -> bool:
        """Both models read the same ids, so a step needs no second tokenisation."""
        return self.draft.tokenizer.identity == self.target.tokenizer.identity
