"""The one shape in which work is handed in, on HTTP and on tasks-intake alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h|d)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PRIORITIES = {"low": 1, "normal": 2, "high": 3}

#: What a task id may be: safe as a path segment of a URL, a Kafka key and a file name alike.
TASK_ID_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._:~@=+-]{0,199}$"

#: What workflows, steps and schedules may be called; ids of their tasks put a colon or an at sign behind such a name.
LABEL_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._~-]{0,98}$"

TaskId = Annotated[str, StringConstraints(pattern=TASK_ID_PATTERN)]
Label = Annotated[str, StringConstraints(pattern=LABEL_PATTERN)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _seconds(value: Any) -> Any:
    """`60`, `"60s"`, `"5m"` and `"1.5h"` are seconds; anything else is left for pydantic to refuse."""
    if isinstance(value, bool):
        raise ValueError("must be a number of seconds or a text such as 60s")
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match["number"]) * _UNIT_SECONDS[match["unit"]]
    return value


def _priority(value: Any) -> Any:
    return _PRIORITIES.get(value.lower(), value) if isinstance(value, str) else value


def _moment(value: Any) -> Any:
    """A moment as RFC 3339 writes it; pydantic would take any number, in a text too, for seconds since 1970."""
    if isinstance(value, int | float) or (isinstance(value, str) and "-" not in value.strip()[1:]):
        raise ValueError("must be a moment in RFC 3339, such as 2026-11-21T09:30:00Z")
    return value


def _deadline(value: Any) -> datetime | float:
    """A moment, or seconds from the submission on."""
    try:
        seconds = _seconds(value)
        if isinstance(seconds, int | float):
            return float(_FAR_SECONDS.validate_python(seconds))
        return _aware(_DATETIME.validate_python(_moment(value)))
    except ValidationError as error:
        raise ValueError(error.errors(include_url=False)[0]["msg"]) from error


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("needs a time zone offset, such as 2026-11-21T09:30:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("lies outside the years 1 to 9999 in UTC") from error


SECONDS_MAX = 7 * 24 * 3600
#: The longest delay, and the farthest deadline that is given as a duration.
FAR_SECONDS_MAX = 10 * 366 * 24 * 3600
#: Tasks that one task may depend on.
DEPENDENCIES_MAX: Final = 1000
STEPS_MAX: Final = 1000
FALLBACKS_MAX: Final = 10
_DurationText = Annotated[str, StringConstraints(pattern=r"^\s*\d+(\.\d+)?(ms|s|m|h|d)\s*$")]
#: What a duration may be written as, for readers of the JSON Schema.
DurationInput = Annotated[float, Field(gt=0, le=SECONDS_MAX)] | _DurationText
FarDurationInput = Annotated[float, Field(gt=0, le=FAR_SECONDS_MAX)] | _DurationText
Seconds = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=DurationInput),
    Field(gt=0, le=SECONDS_MAX, allow_inf_nan=False),
]
FarSeconds = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=FarDurationInput),
    Field(gt=0, le=FAR_SECONDS_MAX, allow_inf_nan=False),
]
Deadline = Annotated[datetime | float, PlainValidator(_deadline, json_schema_input_type=datetime | FarDurationInput)]
_FAR_SECONDS: TypeAdapter[float] = TypeAdapter(FarSeconds)
_DATETIME: TypeAdapter[datetime] = TypeAdapter(datetime)
PriorityNumber = Annotated[
    int,
    BeforeValidator(_priority, json_schema_input_type=Literal[1, 2, 3, "low", "normal", "high"]),
    Field(ge=1, le=3, strict=True),
]


class Work(BaseModel):
    """What is to be done and how: what a single task and a step of a workflow have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Name = Field(description="Task type; decides the handler and the shape of the payload.")
    payload: dict[str, Any] = Field(default_factory=dict, description="What the handler works on; its own schema.")
    priority: PriorityNumber = Field(default=2, description="1 low, 2 normal, 3 high, or the words.")
    model: Name | None = Field(default=None, description="Model to use, where the type uses one.")
    timeout: Seconds | None = Field(default=None, description='Time limit of one attempt: seconds, "60s", "5m".')
    max_retries: int | None = Field(
        default=None, ge=0, le=100, strict=True, description="Attempts after the first one."
    )
    run_at: datetime | None = Field(default=None, description="Not before this moment (RFC 3339, with an offset).")
    delay: FarSeconds | None = Field(
        default=None, description='Not before so long after the submission: seconds, "90m", "3d". Excludes run_at.'
    )
    deadline: Deadline | None = Field(
        default=None,
        description="A task that has not started by then expires: RFC 3339, or a duration after the submission.",
    )
    estimated_time: Seconds | None = Field(
        default=None, description="How long one attempt will probably take, for strategies that ask."
    )
    route_by: Literal["cost", "speed", "quality"] | None = Field(
        default=None, description="How a target is picked for the model `auto`."
    )
    fallbacks: tuple[Name, ...] = Field(
        default=(), max_length=FALLBACKS_MAX, description="Models to go on with, in order, where one cannot be had."
    )
    metadata: dict[str, Any] = Field(default_factory=dict, description="Kept with the task, never interpreted.")
    callback_url: HttpUrl | None = Field(default=None, description="Kept with the task; nothing calls it yet.")

    @field_validator("run_at", mode="before")
    @classmethod
    def _written_out(cls, value: Any) -> Any:
        return _moment(value)

    @field_validator("run_at")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return None if value is None else _aware(value)

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.run_at is not None and self.delay is not None:
            raise ValueError("give run_at or delay, not both")
        return self


class Submission(Work):
    """A task as its sender writes it. What is left out gets the installation's default."""

    id: TaskId | None = Field(default=None, description="Task id of the sender's choice; the same id is the same task.")
    tenant: Name = Field(default="default", description="On whose behalf: a label that lists can be filtered by.")
    depends_on: tuple[TaskId, ...] = Field(
        default=(),
        max_length=DEPENDENCIES_MAX,
        description="Tasks that must have ended first; the payload may take values from their results.",
    )
    on_dependency_failure: Literal["fail", "continue"] = Field(
        default="fail", description="What becomes of it when one of those does not complete."
    )


class Step(Work):
    """One task of a workflow."""

    depends_on: tuple[Label, ...] = Field(
        default=(),
        max_length=DEPENDENCIES_MAX,
        description="Steps that must have completed first, besides those whose results the payload takes values from.",
    )


class Workflow(BaseModel):
    """Tasks that depend on one another, accepted all at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Label | None = Field(
        default=None, description="Id of the sender's choice; the task of step `a` in workflow `w` is `w:a`."
    )
    tenant: Name = Field(default="default", description="On whose behalf.")
    on_failure: Literal["fail_fast", "continue"] = Field(
        default="fail_fast",
        description="When a step does not complete: stop the whole workflow, or only what depends on that step.",
    )
    steps: dict[Label, Step] = Field(min_length=1, max_length=STEPS_MAX, description="Each step by its name.")


class Schedule(BaseModel):
    """A task that is submitted again and again, at the times of a cron expression."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Label | None = Field(default=None, description="Id of the sender's choice; the same id is the same schedule.")
    cron: str = Field(max_length=200, description="Five fields: minute, hour, day of month, month, day of week.")
    time_zone: str = Field(default="UTC", max_length=100, description="The zone that `cron` is meant in.")
    catch_up: Literal["none", "last", "all"] = Field(
        default="last", description="What becomes of times that passed while nobody was there."
    )
    submission: Submission = Field(
        description="What is submitted each time, without id, run_at or depends_on; a deadline is a duration."
    )
