"""Runs one attempt of a handler, whatever kind of function it is, and brings its outcome into one form."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from agents.artifacts import ArtifactStore
from agents.context import ProcessContext, TaskContext
from agents.handlers.registry import Handler
from domain.errors import TaskError

#: A result with a longer JSON text goes to the artifact store: a record of the log holds less than 1 MiB.
RESULT_BYTES_MAX = 512 * 1024


async def run_handler(handler: Handler, payload: Mapping[str, object] | str, ctx: TaskContext) -> str:
    """The attempt's result as JSON text, at most RESULT_BYTES_MAX long; `payload` is a mapping or its JSON text.

    A longer result is stored, and `{"artifact": {...}}` stands for it.

    Raises:
        TaskError: every way in which the attempt can fail; nothing but this and CancelledError escapes.
        asyncio.CancelledError: the attempt was cancelled, and its engine has stopped.
    """
    parsed = _parse(handler, payload)
    try:
        if handler.in_process:
            result = await ctx.run_in_process(_call_handler, handler.function, parsed, ctx.for_process())
        else:
            result = await handler.function(parsed, ctx)
    except TaskError:
        raise
    except Exception as error:
        ctx.log.warning("handler raised", action="handler_error", task_id=ctx.task_id, exc_info=True)
        raise TaskError("handler_error", f"{type(error).__name__}: {error}", retryable=True) from error
    return await _as_text(result, ctx.artifacts)


async def call_function(function: Callable[..., Any], args: Mapping[str, object], ctx: TaskContext) -> Any:
    """What a registered function returns for keyword arguments; see `Registry.function`.

    Raises:
        TaskError: `invalid_payload` when the arguments do not fit; otherwise as `run_handler`.
    """
    wants_context = "ctx" in _signature(function).parameters
    _check_arguments(function, args, wants_context)
    if inspect.iscoroutinefunction(function):
        return await function(**args, **({"ctx": ctx} if wants_context else {}))
    process_context = ctx.for_process() if wants_context else None
    return await ctx.run_in_process(_call_with, function, dict(args), process_context)


@lru_cache(maxsize=1024)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Working it out costs as much as all else that a small task needs."""
    return inspect.signature(function)


def _check_arguments(function: Callable[..., Any], args: Mapping[str, object], wants_context: bool) -> None:
    if wants_context and "ctx" in args:
        raise TaskError("invalid_payload", "args: ctx is given by the system and cannot be set")
    try:
        _signature(function).bind(**args, **({"ctx": None} if wants_context else {}))
    except TypeError as error:
        raise TaskError("invalid_payload", f"args: {error}") from None


def _parse(handler: Handler, payload: Mapping[str, object] | str) -> BaseModel:
    model = handler.task_type.payload
    try:
        return model.model_validate_json(payload) if isinstance(payload, str) else model.model_validate(payload)
    except ValidationError as error:
        flaws = "; ".join(f"{'.'.join(map(str, flaw['loc']))}: {flaw['msg']}" for flaw in error.errors())
        raise TaskError("invalid_payload", flaws) from None


async def _as_text(result: object, artifacts: ArtifactStore) -> str:
    if isinstance(result, BaseModel):
        result = result.model_dump(mode="json")
    if not isinstance(result, Mapping):
        raise TaskError("invalid_result", f"the handler returned {type(result).__name__}, not a mapping")
    try:
        text = json.dumps(dict(result), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        content = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskError("invalid_result", f"the handler's result is not JSON: {error}") from None
    if len(content) <= RESULT_BYTES_MAX:
        return text
    artifact = await artifacts.put(content, "application/json")
    return json.dumps({"artifact": artifact.as_json()})


def _call_handler(function: Callable[..., object], payload: BaseModel, context: ProcessContext) -> object:
    """Runs in the engine process."""
    result = function(payload, context)
    return result.model_dump(mode="json") if isinstance(result, BaseModel) else result


def _call_with(function: Callable[..., object], args: Mapping[str, object], context: ProcessContext | None) -> object:
    """Runs in the engine process."""
    return function(**args) if context is None else function(**args, ctx=context)
