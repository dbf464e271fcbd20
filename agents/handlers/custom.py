"""Runs a function that users have registered by name; see `agents.handlers.registry.function`."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from agents.context import TaskContext
from agents.handlers.registry import DEFAULT, handler
from agents.handlers.running import call_function
from domain.errors import TaskError


class CustomPayload(BaseModel):
    """Which function, with which keyword arguments."""

    model_config = ConfigDict(extra="forbid")

    function: str = Field(min_length=1, description="Name under which the function is registered")
    args: dict[str, object] = Field(default_factory=dict, description="Its keyword arguments")


@handler("custom", resource_class="cpu", payload=CustomPayload)
async def custom(payload: CustomPayload, ctx: TaskContext) -> Mapping[str, object]:
    """Run a registered Python function; what it returns is the result, under `value` unless it is an object."""
    function = DEFAULT.get_function(payload.function)
    if function is None:
        known = ", ".join(DEFAULT.function_names())
        raise TaskError("unknown_function", f"no function {payload.function!r} is registered here; there are: {known}")
    value = await call_function(function, payload.args, ctx)
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return value if isinstance(value, Mapping) else {"value": value}
