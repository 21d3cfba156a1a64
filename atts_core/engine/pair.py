"""The two models of a run, each with its servers, its tokenizer and its limit of requests."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

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
    missing: Role | None = None
    """A model that the strategy does without; its side is the other one's and is never asked."""
    own_judge: bool = False
    """Both sides are one model on the same servers."""

    @classmethod
    def of(cls, sides: Mapping[Role, Side], profile: Profile, *, own_judge: bool = False) -> "Pair":
        """The pair of two sides, or of one where the strategy needs no other."""
        present = sides.get("draft") or sides["target"]
        made: dict[Role, Side] = {
            role: sides.get(role) or dataclasses.replace(present, role=role) for role in ("draft", "target")
        }
        missing = next((role for role in made if role not in sides), None)
        return cls(made["draft"], made["target"], profile, None if own_judge else missing, own_judge)

    @property
    def sides(self) -> tuple[Side, ...]:
        """Those that have servers of their own."""
        if self.own_judge:
            return (self.draft,)
        return tuple(side for side in (self.draft, self.target) if side.role != self.missing)

    @property
    def cards(self) -> tuple[ModelCard, ModelCard]:
        """What a run records of draft and target; a model that is not there has no name."""
        nobody = ModelCard(role="draft", name="", url="", release="", context_length=0, tokenizer="", urls=())
        return (
            msgspec.structs.replace(nobody, role="draft") if self.missing == "draft" else self.draft.card(),
            msgspec.structs.replace(nobody, role="target")
            if self.missing == "target"
            else self.target.card(),
        )

    @property
    def same_tokenizer(self) -> bool:
        """Both models read the same ids, so a step needs no second tokenisation."""
        return self.draft.tokenizer.identity == self.target.tokenizer.identity
