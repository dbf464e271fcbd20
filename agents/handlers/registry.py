"""Which function does which type of work.

A handler registers itself when its module is imported:

    @handler("resize", resource_class="cpu", payload=ResizePayload)
    def resize(payload: ResizePayload, ctx: ProcessContext) -> Mapping[str, object]: ...

The module is imported because the setting `handlers` lists it, or because an installed distribution names it, or a
function that takes the registry, as an entry point in the group `penstock.handlers`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel

from agents.engines.pool import check_reachable
from domain.catalogue import Catalogue, TaskType, TokenNeed
from domain.errors import PenstockError, UnknownTaskType

ENTRY_POINT_GROUP = "penstock.handlers"

#: Handlers that come with Penstock; each module registers what it holds.
BUILTIN_MODULES = (
    "agents.handlers.convert",
    "agents.handlers.api_request",
    "agents.handlers.custom",
    "agents.handlers.functions",
    "agents.handlers.text_generation",
    "agents.handlers.summarization",
    "agents.handlers.translation",
    "agents.handlers.subtitle",
)

F = TypeVar("F", bound=Callable[..., Any])


class DuplicateRegistration(PenstockError):
    """Two functions claim the same name; the operator must drop one of the modules."""

    def __init__(self, kind: str, name: str, first: Callable[..., Any], second: Callable[..., Any]) -> None:
        super().__init__(f"{kind} {name!r} is registered twice: by {_where(first)} and by {_where(second)}")


class HandlerLoadError(PenstockError):
    """A module of handlers cannot be imported; the operator must mend the setting or the module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A task type and the function that does its work."""

    task_type: TaskType
    function: Callable[..., Any]
    #: An attempt that gives no sign of life for so long is stopped, and has failed; None: it may be silent.
    heartbeat_timeout_seconds: float | None = None
    #: Memory that an attempt needs, in MB, where its worker's is dealt out; None: it counts for nothing.
    memory_mb: int | None = None

    @property
    def name(self) -> str:
        """The task type's name."""
        return self.task_type.name

    @property
    def version(self) -> int:
        """Recorded with each start: a worker holds what a newer version wrote."""
        return self.task_type.version

    @property
    def in_process(self) -> bool:
        """A plain `def` runs in an engine process that can be killed; an `async def` on the worker's event loop."""
        return not inspect.iscoroutinefunction(self.function)


class Registry:
    """Handlers by task type, and functions that tasks of type `custom` may call by name."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._functions: dict[str, Callable[..., Any]] = {}
        self._listed_modules: set[str] = set()

    def handler(
        self,
        name: str,
        *,
        resource_class: str,
        payload: type[BaseModel],
        version: int = 1,
        description: str = "",
        routed_by_model: bool | None = None,
        preemptible: bool = False,
        tokens: Callable[[Any], TokenNeed] | None = None,
        heartbeat_timeout_seconds: float | None = None,
        memory_mb: int | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function as the handler of a task type.

        Without a description the first line of the function's docstring is taken; unless said otherwise, work of
        the class llm is routed by its model. `preemptible` promises that the function calls `ctx.checkpoint` every few
        seconds, so that it can be asked for its slot; `tokens` gives the most that a payload may use, where limits
        and fairness go by tokens; `heartbeat_timeout_seconds` that it gives a sign of life
        (`ctx.heartbeat`, `progress` or `checkpoint`) at least so often; `memory_mb` that an attempt needs no more
        memory than that, so that a worker starts no more at a time than the setting `memory_mb` of its class allows.

        Raises:
            DuplicateRegistration: another function has the name.
            ValueError: a plain `def` that an engine process could not import.
        """

        def register(function: F) -> F:
            task_type = TaskType(
                name=name,
                resource_class=resource_class,
                payload=payload,
                version=version,
                description=description or (inspect.getdoc(function) or "").partition("\n")[0],
                routed_by_model=resource_class == "llm" if routed_by_model is None else routed_by_model,
                preemptible=preemptible,
                tokens=tokens,
            )
            handler = Handler(
                task_type=task_type,
                function=function,
                heartbeat_timeout_seconds=heartbeat_timeout_seconds,
                memory_mb=memory_mb,
            )
            if handler.in_process:
                check_reachable(function)
            known = self._handlers.setdefault(name, handler)
            if known is not handler and not _same(known.function, function):
                raise DuplicateRegistration("task type", name, known.function, function)
            return function

        return register

    def function(self, name: str) -> Callable[[F], F]:
        """Register the decorated function for tasks of type `custom`; it takes keyword arguments.

        A parameter named `ctx` is given the context and cannot be set by the task.

        Raises:
            DuplicateRegistration: another function has the name.
            ValueError: a plain `def` that an engine process could not import.
        """

        def register(function: F) -> F:
            if not inspect.iscoroutinefunction(function):
                check_reachable(function)
            known = self._functions.setdefault(name, function)
            if known is not function and not _same(known, function):
                raise DuplicateRegistration("function", name, known, function)
            return function

        return register

    def include(self, other: Registry) -> None:
        """Take over everything that the other registry holds.

        Raises:
            DuplicateRegistration: both have a name, for different functions.
        """
        for name, handler in other._handlers.items():
            known = self._handlers.setdefault(name, handler)
            if not _same(known.function, handler.function):
                raise DuplicateRegistration("task type", name, known.function, handler.function)
        for name, function in other._functions.items():
            self.function(name)(function)
        self._listed_modules |= other._listed_modules

    def get(self, name: str) -> Handler:
        """The handler of a task type.

        Raises:
            UnknownTaskType: nobody registered one.
        """
        try:
            return self._handlers[name]
        except KeyError:
            raise UnknownTaskType(name, list(self._handlers)) from None

    def get_function(self, name: str) -> Callable[..., Any] | None:
        """The function that `custom` knows under the name; None if there is none."""
        return self._functions.get(name)

    def handlers(self, resource_class: str | None = None) -> list[Handler]:
        """All handlers, or those of one class, by name."""
        found = (handler for _, handler in sorted(self._handlers.items()))
        return [handler for handler in found if resource_class in (None, handler.task_type.resource_class)]

    def function_names(self) -> list[str]:
        """What `custom` can call, sorted."""
        return sorted(self._functions)

    def modules(self) -> list[str]:
        """Modules that an engine process imports to run everything in here, sorted.

        Those of the settings are among them whatever they register: it may be a speech recogniser.
        """
        functions = [handler.function for handler in self._handlers.values() if handler.in_process]
        functions += [function for function in self._functions.values() if not inspect.iscoroutinefunction(function)]
        return sorted(self._listed_modules.union(function.__module__ for function in functions))

    def list_modules(self, modules: Iterable[str]) -> None:
        """Have engine processes import these modules too."""
        self._listed_modules.update(modules)

    def catalogue(self) -> Catalogue:
        """The task types, for the doors and the intake."""
        return Catalogue(handler.task_type for handler in self.handlers())


#: Where the module-level decorators register.
DEFAULT = Registry()
handler = DEFAULT.handler
function = DEFAULT.function


def load_handlers(modules: Iterable[str] = (), registry: Registry = DEFAULT) -> Registry:
    """Import the built-in handlers, those of installed distributions, and the modules named; idempotent.

    Returns the registry, filled.

    Raises:
        HandlerLoadError: a module or entry point cannot be imported; says which and why.
        DuplicateRegistration: two of them claim one name.
    """
    listed = tuple(modules)
    for module in (*BUILTIN_MODULES, *listed):
        _load(module, partial(importlib.import_module, module))
    registry.list_modules(listed)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        loaded = _load(entry.value, entry.load)
        registry.list_modules([entry.module])
        if callable(loaded) and not isinstance(loaded, ModuleType):
            loaded(registry)
    if registry is not DEFAULT:
        registry.include(DEFAULT)
    return registry


def _load(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except PenstockError:
        raise
    except Exception as error:
        raise HandlerLoadError(f"cannot load the handlers in {name!r}: {type(error).__name__}: {error}") from error


def _same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """The same definition, perhaps of a module that was loaded again."""
    return _where(one) == _where(other)


def _where(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
