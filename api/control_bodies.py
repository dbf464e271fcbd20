"""What operators ask, checked: the bodies of the control routes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from api.problems import invalid
from domain.submission import flaws_of
from schemas.models import COUNT_MAX, Count
from schemas.submission import FarSeconds, Name, PriorityNumber, Seconds

B = TypeVar("B", bound="Body")

#: Tasks that one request asks to end; the answer says where the next one goes on.
CANCELLED_AT_ONCE_MAX = 1000
Reason = Annotated[str, Field(min_length=1, max_length=500, description="For whoever wonders later.")]
#: With 0 nothing starts.
Bound = Annotated[int, Field(ge=0, le=COUNT_MAX)]
PauseScope = Literal["class", "model", "tenant"]


class Body(BaseModel):
    """What all of them share."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


def parsed(kind: type[B], body: bytes) -> B:
    """The body of a request.

    Raises:
        Problem: 422, with a pointer to everything that is wrong with it.
    """
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise invalid(*flaws_of(error)) from error


class StrategyBody(Body):
    """The order in which one class's waiting tasks start."""

    resource_class: Name = Field(alias="class", description="The resource class that it is for.")
    strategy: Name = Field(description="Its name; GET lists them.")
    options: dict[str, Any] = Field(default_factory=dict, description="What differs from the strategy's defaults.")


class EveryStrategyBody(Body):
    """The same order for every class."""

    strategy: Name = Field(description="Its name.")
    time_slice: Seconds | None = Field(default=None, description="Seconds of one turn, under round_robin.")


class LimitBody(Body):
    """How much may go on; what is left out is not limited."""

    concurrency: Bound | None = Field(default=None, description="Attempts at a time; with 0 nothing starts.")
    requests_per_minute: Bound | None = Field(default=None, description="Attempts begun in a minute.")
    tokens_per_minute: Bound | None = Field(default=None, description="Prompt and answer together.")

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if not self.model_fields_set or all(value is None for value in self.model_dump().values()):
            raise ValueError("give concurrency, requests_per_minute or tokens_per_minute; DELETE lifts the limit")
        return self


class PauseBody(Body):
    """What is to stop starting, or to start again."""

    scope: PauseScope = Field(description="What the name is the name of.")
    name: Name
    reason: Reason = "requested"


class PriorityBody(Body):
    """How urgent a waiting task is from now on."""

    priority: PriorityNumber = Field(description="1 low, 2 normal, 3 high, or the words.")
    reason: Reason = "requested"


class CancelBody(Body):
    """Which unfinished tasks are to end: those that fit all that is given."""

    status: Name | None = Field(default=None, description="Only those in this state; `pending`: all still to start.")
    type: Name | None = None
    tenant: Name | None = None
    model: Name | None = None
    priority: PriorityNumber | None = None
    older_than: FarSeconds | None = Field(
        default=None, description='Only those submitted at least so long ago: seconds, "90m", "3d".'
    )
    all: bool = Field(default=False, description="Must be true where nothing else is given.")
    dry_run: bool = Field(default=False, description="Only say how many there are.")
    limit: int = Field(default=CANCELLED_AT_ONCE_MAX, ge=1, le=CANCELLED_AT_ONCE_MAX, description="Most of them.")
    after: str = Field(default="", max_length=200, description="`next` of the answer before: go on from there.")
    reason: Reason = "requested"

    @model_validator(mode="after")
    def _picks_something(self) -> Self:
        given = (self.status, self.type, self.tenant, self.model, self.priority, self.older_than)
        if not self.all and all(value is None for value in given):
            raise ValueError("say which: status, type, tenant, model, priority or older_than; or all: true")
        return self


class ModelStatusBody(Body):
    """Whether a model's tasks may start."""

    status: Literal["online", "offline"]
    reason: Reason = "requested"


class WeightBody(Body):
    """A tenant's share, where the strategy is fair."""

    weight: float = Field(gt=0, le=1_000_000, allow_inf_nan=False, description="Beside 1, everybody's unless said.")


class ModelConfig(Body):
    """Where a model answers, as the shape of the first seed has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    api_key: str | None = Field(default=None, description="`env:NAME`, the environment variable that holds the key.")
    base_url: str | None = None
    model: str | None = Field(default=None, description="What the endpoint calls it.")
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    model_path: str | None = Field(default=None, description="A GGUF file, served on the worker's machine.")
    max_tokens: Count | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
