"""Registering handlers and functions, and running them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import pytest
from pydantic import BaseModel, ConfigDict

from agents.context import Progress, TaskContext
from agents.handlers.registry import BUILTIN_MODULES, DuplicateRegistration, HandlerLoadError, Registry, load_handlers
from agents.handlers.running import RESULT_BYTES_MAX, run_handler
from domain.errors import TaskError, UnknownTaskType
from tests.support import engine_functions
from tests.support.contexts import context, port_of


class Payload(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = 1


async def work(payload: Payload, ctx: TaskContext) -> Mapping[str, object]:
    """Do it.

    In some way.
    """
    return {"text": "x" * payload.size}


async def other(payload: Payload, ctx: TaskContext) -> Mapping[str, object]:
    return {}


def registry() -> Registry:
    registry = Registry()
    registry.handler("work", resource_class="cpu", payload=Payload, version=3)(work)
    return registry


def test_the_catalogue_says_what_was_registered() -> None:
    task_type = registry().catalogue()["work"]
    assert (task_type.resource_class, task_type.version, task_type.description) == ("cpu", 3, "Do it.")
    assert task_type.payload is Payload


def test_two_functions_cannot_have_one_name() -> None:
    known = registry()
    known.handler("work", resource_class="cpu", payload=Payload)(work)
    with pytest.raises(DuplicateRegistration, match=r"task type 'work' .*\.work and by .*\.other"):
        known.handler("work", resource_class="cpu", payload=Payload)(other)
    known.function("f")(work)
    with pytest.raises(DuplicateRegistration, match="function 'f'"):
        known.function("f")(other)


def test_a_plain_function_that_no_engine_process_could_find_is_refused() -> None:
    def nested(payload: Payload, ctx: object) -> Mapping[str, object]:
        return {}

    with pytest.raises(ValueError, match="top level"):
        Registry().handler("nested", resource_class="cpu", payload=Payload)(nested)


def test_an_unknown_type_names_those_that_are_known() -> None:
    with pytest.raises(UnknownTaskType, match="registered here: work"):
        registry().get("nothing")


def test_language_tasks_are_routed_by_their_model() -> None:
    loaded = load_handlers(registry=Registry())
    assert {h.name for h in loaded.handlers() if h.task_type.routed_by_model} == {
        "summarization", "text-generation", "translation"
    }  # fmt: skip
    assert {h.name for h in loaded.handlers("llm")} == {"summarization", "text-generation", "translation"}


def test_every_builtin_module_registers_something() -> None:
    loaded = load_handlers(registry=Registry())
    modules = {handler.function.__module__ for handler in loaded.handlers()}
    assert set(BUILTIN_MODULES) - modules == {"agents.handlers.functions"}
    assert {"noop", "sleep"} <= set(loaded.function_names())


def test_a_module_that_cannot_be_loaded_is_named() -> None:
    with pytest.raises(HandlerLoadError, match="no_such_module"):
        load_handlers(["no_such_module"], Registry())


async def test_a_coroutine_runs_here_and_its_payload_is_checked() -> None:
    async with context() as ctx:
        assert await run_handler(registry().get("work"), '{"size": 2}', ctx) == '{"text":"xx"}'
        with pytest.raises(TaskError) as caught:
            await run_handler(registry().get("work"), {"size": "many", "more": 1}, ctx)
    assert (caught.value.code, caught.value.retryable) == ("invalid_payload", False)
    assert "size: " in caught.value.detail
    assert "more: " in caught.value.detail


async def test_a_plain_function_runs_in_a_process_of_its_own_and_its_progress_arrives() -> None:
    plain = Registry()
    plain.handler("total", resource_class="cpu", payload=engine_functions.Numbers)(engine_functions.total)
    assert plain.modules() == ["tests.support.engine_functions"]
    async with context() as ctx:
        result = json.loads(await run_handler(plain.get("total"), {"numbers": [1, 2]}, ctx))
        assert port_of(ctx).seen == [Progress(percent=50, message="task-1")]
        assert port_of(ctx).heartbeats == 1
    assert result["total"] == 3
    assert result["pid"] != os.getpid()


async def test_a_long_result_is_stored_and_stood_for() -> None:
    async with context() as ctx:
        text = await run_handler(registry().get("work"), {"size": RESULT_BYTES_MAX}, ctx)
        artifact = json.loads(text)["artifact"]
        stored = json.loads(await ctx.artifacts.get(artifact["uri"]))
    assert stored == {"text": "x" * RESULT_BYTES_MAX}


@pytest.mark.parametrize("result", [None, {"a": object()}, {"a": float("nan")}, {"a": "\ud800"}])
async def test_what_is_not_json_is_no_result(result: object) -> None:
    async def give(payload: Payload, ctx: TaskContext) -> object:
        return result

    known = Registry()
    known.handler("give", resource_class="cpu", payload=Payload)(give)
    async with context() as ctx:
        with pytest.raises(TaskError) as caught:
            await run_handler(known.get("give"), {}, ctx)
    assert caught.value.code == "invalid_result"


async def test_an_exception_of_a_handler_is_worth_another_attempt() -> None:
    async def fail(payload: Payload, ctx: TaskContext) -> Mapping[str, object]:
        raise KeyError("lost")

    known = Registry()
    known.handler("fail", resource_class="cpu", payload=Payload)(fail)
    async with context() as ctx:
        with pytest.raises(TaskError) as caught:
            await run_handler(known.get("fail"), {}, ctx)
    assert (caught.value.code, caught.value.detail, caught.value.retryable) == (
        "handler_error",
        "KeyError: 'lost'",
        True,
    )


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"function": "missing"}, "unknown_function"),
        ({"function": "sleep", "args": {"minutes": 1}}, "invalid_payload"),
        ({"function": "sleep", "args": {"seconds": 0, "ctx": 1}}, "invalid_payload"),
    ],
)
async def test_custom_says_what_is_wrong_with_a_call(payload: dict[str, object], code: str) -> None:
    async with context() as ctx:
        with pytest.raises(TaskError) as caught:
            await run_handler(load_handlers().get("custom"), payload, ctx)
    assert (caught.value.code, caught.value.retryable) == (code, False)


async def test_custom_calls_functions_by_name() -> None:
    async with context() as ctx:
        payload = {"function": "noop", "args": {"a": [1]}}
        assert json.loads(await run_handler(load_handlers().get("custom"), payload, ctx)) == {"a": [1]}


def test_engine_processes_import_every_module_that_the_settings_list() -> None:
    """A module may register something else than handlers, such as a speech recogniser."""
    loaded = load_handlers(["tests.support.contexts"], Registry())
    assert "tests.support.contexts" in loaded.modules()
