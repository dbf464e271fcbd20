"""What the API needs of the world: the log, the broker's word, the read model, and a slice of the settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from domain.catalogue import Catalogue
from domain.configuration import Configuration
from domain.dispatch_status import Dispatcher
from domain.key_grants import WELL_KNOWN, KeyGrants
from domain.line import Line, Within
from domain.states import TaskStatus
from domain.strategies.estimates import Kind
from domain.submission import SubmissionDefaults
from domain.task import TaskState
from projections.history import HistoryEntry
from projections.offsets import Progress
from projections.selection import Selected, Selection
from projections.workflows import StepRow
from schemas.commands import TaskCommand
from schemas.configuration import ConfigurationEvent
from schemas.events import LifecycleEvent, TaskSubmitted
from schemas.workflows import WorkflowSubmitted
from streams.cluster import Offsets
from streams.log import Appended
from streams.ports import QueueSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The slice of the settings that this role goes by."""

    version: str
    #: Resource classes that exist here.
    classes: Sequence[str]
    #: Those whose agents must be at work for `/ready`; None means all.
    ready_classes: Sequence[str] | None = None
    max_queue_size: int = 10_000
    body_bytes_max: int = 1024 * 1024
    #: The longest `?wait=`.
    wait_seconds_max: float = 60.0
    #: How long a look-up waits for a projector that lags.
    lag_seconds_max: float = 2.0
    #: A projector that lags and has not moved for so long is stalled.
    stall_seconds_max: float = 10.0
    defaults: SubmissionDefaults = field(default_factory=SubmissionDefaults)
    #: Which environment variables may be sent to which providers, as far as this process knows.
    key_grants: KeyGrants = field(default_factory=partial(KeyGrants.of, WELL_KNOWN))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task as the read model has it."""

    state: TaskState
    #: Known of rejected tasks too, which have no submission.
    type: str | None
    tenant: str | None
    #: Why it is held, while it is; see `domain.holds`.
    hold_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks to list; None means any."""

    statuses: Collection[TaskStatus] | None = None
    type: str | None = None
    tenant: str | None = None


class ReadModel(Protocol):
    """Every method raises ReadModelUnavailable while PostgreSQL cannot be reached."""

    async def task(self, task_id: str) -> TaskRow | None:
        """The task, if the projector has seen it."""
        ...

    async def tasks(self, wanted: TaskFilter, *, page: int, page_size: int) -> tuple[int, Sequence[TaskRow]]:
        """How many there are, and one page of them, the newest first; pages count from 1."""
        ...

    async def history(self, task_id: str) -> Sequence[HistoryEntry]:
        """All facts of the task, in the order of the log."""
        ...

    async def terminal(self, task_ids: Collection[str]) -> set[str]:
        """Those of the tasks that have ended."""
        ...

    async def steps(self, workflow_id: str, task_ids: Collection[str] = ()) -> Sequence[StepRow]:
        """The tasks of a workflow, and those that have one of the ids."""
        ...

    async def queue(self) -> QueueSnapshot:
        """What waits now, and what of the log that takes into account."""
        ...

    async def projected(self) -> Offsets:
        """Up to where the projector has read."""
        ...

    async def progress(self) -> Progress | None:
        """The projector's last sign of life."""
        ...

    async def selection(self, wanted: Selection, *, after: str, limit: int) -> Sequence[Selected]:
        """So many of the tasks that match and have not ended, by task id, those behind `after`."""
        ...

    async def selected(self, wanted: Selection) -> int:
        """How many tasks match that have not ended."""
        ...

    async def line(self, task_id: str, strategy: str, seconds: Mapping[Kind, float], within: Within) -> Line | None:
        """What waits beside a waiting task, and what of it the strategy starts first."""
        ...

    async def dispatchers(self, resource_classes: Collection[str]) -> Sequence[Dispatcher]:
        """What the workers of the classes said of themselves last."""
        ...


class Registry(Protocol):
    """The configuration as this process knows it; see RegistryTail."""

    @property
    def configuration(self) -> Configuration:
        """What holds now."""
        ...

    async def run(self) -> None:
        """Follow the changes until cancelled."""
        ...

    async def caught_up(self) -> None:
        """Wait until it is complete."""
        ...

    async def applied(self, offset: int, timeout_seconds: float) -> bool:
        """Wait until a change has been applied; False when that takes too long."""
        ...


class Log(Protocol):
    """The appends that the API makes; see EventLog."""

    async def submit(self, submission: TaskSubmitted) -> Appended:
        """Accept a task."""
        ...

    async def hold(self, submission: TaskSubmitted) -> Appended:
        """Accept a task that waits for its time, or for others."""
        ...

    async def workflow(self, workflow: WorkflowSubmitted) -> Appended:
        """Accept a workflow."""
        ...

    async def fact(self, fact: LifecycleEvent) -> Appended:
        """Append a fact."""
        ...

    async def command(self, command: TaskCommand) -> Appended:
        """Ask a task's owner for something."""
        ...

    async def change(self, change: ConfigurationEvent) -> Appended:
        """Record a change of the configuration."""
        ...


class Broker(Protocol):
    """Questions to the broker; see Cluster. Each raises LogUnavailable."""

    async def ends(self, topics: Collection[str]) -> Offsets:
        """Where partitions end."""
        ...

    async def committed(self, group: str) -> Offsets:
        """Where a group is."""
        ...

    async def members(self, groups: Sequence[str]) -> Mapping[str, int]:
        """How many members groups have."""
        ...

    async def lag(self, group: str, topics: Collection[str]) -> int:
        """Records that a group has not acknowledged."""
        ...


class Notifications(Protocol):
    """Runs until cancelled and calls back whenever the projector says that tasks have ended."""

    async def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard()` on each notification; outages are waited for."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDeps:
    """Everything that the application is built from."""

    settings: ApiSettings
    catalogue: Catalogue
    log: Log
    broker: Broker
    read_model: ReadModel
    registry: Registry
    notifications: Notifications
