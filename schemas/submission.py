"""The one shape in which work is handed in, on HTTP and on tasks-intake alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl, StringConstraints, field_validator

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PRIORITIES = {"low": 1, "normal": 2, "high": 3}

#: What a task id may be: safe as a path segment of a URL, a Kafka key and a file name alike.
TASK_ID_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._:~@=+-]{0,199}$"

TaskId = Annotated[str, StringConstraints(pattern=TASK_ID_PATTERN)]
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


SECONDS_MAX = 7 * 24 * 3600
#: What a duration may be written as, for readers of the JSON Schema.
DurationInput = (
    Annotated[float, Field(gt=0, le=SECONDS_MAX)]
    | Annotated[str, StringConstraints(pattern=r"^\s*\d+(\.\d+)?(ms|s|m|h)\s*$")]
)
Seconds = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=DurationInput),
    Field(gt=0, le=SECONDS_MAX, allow_inf_nan=False),
]
PriorityNumber = Annotated[
    int,
    BeforeValidator(_priority, json_schema_input_type=Literal[1, 2, 3, "low", "normal", "high"]),
    Field(ge=1, le=3, strict=True),
]


class Submission(BaseModel):
    """A task as its sender writes it. What is left out gets the installation's default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Name = Field(description="Task type; decides the handler and the shape of the payload.")
    payload: dict[str, Any] = Field(default_factory=dict, description="What the handler works on; its own schema.")
    id: TaskId | None = Field(default=None, description="Task id of the sender's choice; the same id is the same task.")
    priority: PriorityNumber = Field(default=2, description="1 low, 2 normal, 3 high, or the words.")
    tenant: Name = Field(default="default", description="On whose behalf: a label that lists can be filtered by.")
    model: Name | None = Field(default=None, description="Model to use, where the type uses one.")
    timeout: Seconds | None = Field(default=None, description='Time limit of one attempt: seconds, "60s", "5m".')
    max_retries: int | None = Field(
        default=None, ge=0, le=100, strict=True, description="Attempts after the first one."
    )
    run_at: datetime | None = Field(default=None, description="Not before this moment (RFC 3339, with an offset).")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Kept with the task, never interpreted.")
    callback_url: HttpUrl | None = Field(default=None, description="Kept with the task; nothing calls it yet.")

    @field_validator("run_at", mode="before")
    @classmethod
    def _written_out(cls, value: Any) -> Any:
        """Pydantic would take any number, in a text too, for seconds or milliseconds since 1970."""
        if isinstance(value, int | float) or (isinstance(value, str) and "-" not in value.strip()[1:]):
            raise ValueError("must be a moment in RFC 3339, such as 2026-11-21T09:30:00Z")
        return value

    @field_validator("run_at")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("needs a time zone offset, such as 2026-11-21T09:30:00Z")
        try:
            return value.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("lies outside the years 1 to 9999 in UTC") from error
