"""Tasks that wait for others, in the hands of the held-work service."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain import decide, holds
from domain.configuration import Configuration
from domain.decide import OwnerCommand
from domain.states import TaskStatus
from domain.submission import SubmissionDefaults
from domain.task import TaskState, evolve
from domain.workflow import tasks_of, workflow_submitted
from schemas.codec import encode
from schemas.commands import CancelTask
from streams import dependants, topics
from streams.admission import Admission
from streams.held_work import HeldWork, held
from streams.intake import Intake, IntakeConfig
from tests.support.memory_world import CATALOGUE, CLASSES, MemoryWorld
from tests.unit.streams.test_intake import Record

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SOON = AT + timedelta(minutes=1)


class System:
    """Intake and held work over a memory log, and an owner that does what a test says."""

    def __init__(self, bound: int = 100) -> None:
        self.world = MemoryWorld()
        self.bound = bound
        self.restart()

    def restart(self) -> None:
        """As if the process had been killed: nothing is left but the log."""
        admission = Admission(self.bound)
        self.service = HeldWork(self.world.log, self.world.read_model, admission, CLASSES)
        self.service.configure(Configuration())
        config = IntakeConfig(bootstrap_servers="", catalogue=CATALOGUE, tasks=self.world.read_model, classes=CLASSES)
        self.intake = Intake(config, self.world.log, admission, self.service)

    async def submit(self, document: dict[str, Any], offset: int = 0) -> None:
        """A record of tasks-intake, and a turn."""
        await self.intake.copy([Record(json.dumps(document).encode(), offset)], AT)
        await self.service.turn(AT)

    async def does(self, task_id: str, *commands: OwnerCommand) -> None:
        """What its owner does with a task, and a turn."""
        state = self.state(task_id)
        for command in commands:
            for fact in decide.decide(command, state):
                state = evolve(state, fact)
                self.world.happens(fact)
        await self.service.turn(SOON)

    async def completes(self, task_id: str, result: Any = None) -> None:
        """It runs and ends well."""
        start = decide.Start(at=AT, epoch=3, worker="w")
        await self.does(task_id, start, decide.Complete(at=AT, epoch=3, result=json.dumps(result), duration_seconds=1))

    async def fails(self, task_id: str) -> None:
        """It runs and ends badly."""
        start = decide.Start(at=AT, epoch=3, worker="w")
        await self.does(task_id, start, decide.Fail(at=AT, epoch=3, code="broken", detail="no", retryable=False))

    def state(self, task_id: str) -> TaskState:
        """What the log says of a task."""
        self.world.read_model.project()
        return self.world.read_model.states[task_id]

    @property
    def released(self) -> list[str]:
        """Ids on the class topics, in order."""
        return [task.task_id for task in self.world.log.submissions]

    def payload(self, task_id: str) -> Any:
        """With which a task was released."""
        (found,) = [task for task in self.world.log.submissions if task.task_id == task_id]
        return json.loads(found.payload)

    @property
    def cancels(self) -> list[str]:
        """Tasks that were asked to stop."""
        return [command.task_id for command in self.world.log.records[topics.COMMANDS]]


@pytest.fixture
def system() -> System:
    """Everything at rest."""
    return System()


def echo(*depends_on: str, **payload: Any) -> dict[str, Any]:
    return {"type": "echo", "payload": {"text": "x"} | payload, "depends_on": list(depends_on)}


async def test_a_task_goes_on_when_all_that_it_depends_on_have_completed(system: System) -> None:
    await system.submit(echo() | {"id": "a"}, 0)
    await system.submit(echo("a", "b") | {"id": "c"}, 1)
    await system.completes("a")
    assert system.released == ["a"]
    await system.submit(echo() | {"id": "b"}, 2)
    await system.completes("b")
    assert system.released == ["a", "b", "c"]
    await system.service.turn(SOON)
    assert system.released == ["a", "b", "c"], "once"


async def test_an_id_that_nobody_submits_fails_what_waits_for_it(system: System) -> None:
    grace = timedelta(seconds=dependants.GRACE_SECONDS)
    await system.submit(echo("tpyo", "a") | {"id": "b", "on_dependency_failure": "continue"}, 0)
    await system.submit(echo("b") | {"id": "c"}, 1)
    await system.submit(echo("late") | {"id": "d"}, 2)
    await system.service.turn(AT + grace / 2)
    await system.submit(echo() | {"id": "late"}, 3)
    for _ in range(3):
        await system.service.turn(AT + grace)
    state = system.state("b")
    assert (state.status, state.error_code) == (TaskStatus.FAILED, "dependency_not_found")
    assert state.error_detail == "it depends on what nobody submitted within 300 s: tpyo, a"
    assert system.state("c").error_detail == "task b did not complete (failed, dependency_not_found)"
    assert system.state("d").status is TaskStatus.HELD
    await system.completes("late")
    assert system.released == ["late", "d"]


async def test_results_are_passed_on_and_the_read_model_shows_what_was_passed(system: System) -> None:
    steps = {"a": echo(), "b": echo(text={"$from": "a#/said/0"}, all={"$from": "a"})}
    await system.submit({"id": "w", "steps": steps})
    await system.completes("w:a", {"said": ["hello"]})
    assert system.payload("w:b") == {"text": "hello", "all": {"said": ["hello"]}}
    submission = system.state("w:b").submission
    assert submission is not None
    assert json.loads(submission.payload)["text"] == "hello"


async def test_dependencies_and_a_time_must_both_be_met(system: System) -> None:
    await system.submit(echo() | {"id": "a"}, 0)
    await system.submit(echo("a") | {"id": "b", "run_at": (SOON + timedelta(hours=1)).isoformat()}, 1)
    await system.completes("a")
    await system.service.turn(SOON + timedelta(minutes=59))
    assert system.released == ["a"]
    await system.service.turn(SOON + timedelta(hours=1))
    assert system.released == ["a", "b"]


async def test_what_depends_on_a_failed_task_fails_and_names_the_one_that_began_it(system: System) -> None:
    await system.submit(echo() | {"id": "a"}, 0)
    await system.submit(echo("a") | {"id": "b"}, 1)
    await system.submit(echo("b") | {"id": "c"}, 2)
    await system.submit(echo("a") | {"id": "d", "on_dependency_failure": "continue"}, 3)
    await system.fails("a")
    await system.service.turn(SOON)
    for name in "bc":
        state = system.state(name)
        assert (state.status, state.error_code) == (TaskStatus.FAILED, "dependency_failed")
        assert state.error_detail == "task a did not complete (failed, broken)"
    assert system.released == ["a", "d"]


async def test_a_workflow_that_fails_fast_stops_everything(system: System) -> None:
    """One step fails; of the others, one runs, one waits for a time, one for the failed step, one for what runs."""
    steps = {
        "bad": echo(),
        "runs": echo(),
        "later": echo() | {"delay": "1h"},
        "after_bad": echo("bad"),
        "after_runs": echo("runs"),
        "after_after": echo("after_runs"),
    }
    await system.submit({"id": "w", "steps": steps})
    await system.does("w:runs", decide.Start(at=AT, epoch=3, worker="w"))
    await system.fails("w:bad")
    assert sorted(system.cancels) == ["w:later", "w:runs"]
    for command in system.world.log.commands:
        system.service.ask(command)
    assert system.state("w:after_bad").error_code == "dependency_failed"
    await system.does("w:runs", decide.Complete(at=AT, epoch=3, result="1", duration_seconds=1))
    await system.service.turn(SOON)
    assert system.released == ["w:bad", "w:runs"]
    for name in ("later", "after_runs", "after_after"):
        state = system.state(f"w:{name}")
        assert state.status is TaskStatus.CANCELLED, name
        assert "step bad (task w:bad) did not complete" in (state.error_detail or "") or name == "after_after"
    await system.service.turn(SOON)
    assert len(system.cancels) == 2, "each is asked once"


async def test_a_workflow_that_continues_leaves_out_only_what_depends_on_the_failed_step(system: System) -> None:
    steps = {"bad": echo(), "good": echo(), "after_bad": echo("bad"), "after_good": echo("good")}
    await system.submit({"id": "w", "on_failure": "continue", "steps": steps})
    await system.fails("w:bad")
    await system.completes("w:good")
    assert system.released == ["w:bad", "w:good", "w:after_good"]
    assert system.state("w:after_bad").status is TaskStatus.FAILED
    assert not system.cancels


async def test_a_cancelled_step_cancels_what_waits_for_it(system: System) -> None:
    await system.submit({"id": "w", "on_failure": "continue", "steps": {"a": echo(), "b": echo("a"), "c": echo("b")}})
    await system.does("w:a", decide.Cancel(at=AT, epoch=3, reason="requested"))
    await system.service.turn(SOON)
    assert system.state("w:c").error_detail == "step b (task w:b) was cancelled"
    assert system.released == ["w:a"]


async def test_a_result_without_the_wanted_part_fails_the_task_that_wants_it(system: System) -> None:
    await system.submit({"id": "w", "steps": {"a": echo(), "b": echo(text={"$from": "a#/nothing"})}})
    await system.completes("w:a", {"some": 1})
    state = system.state("w:b")
    assert (state.status, state.error_code) == (TaskStatus.FAILED, "unresolved_reference")


@pytest.mark.parametrize("killed_after", range(8))
async def test_a_kill_at_any_moment_changes_nothing_of_the_outcome(killed_after: int) -> None:
    """A diamond; the process dies once, between two steps of its life or in the middle of taking the workflow in."""
    system = System()
    steps = {
        "a": echo(),
        "b": echo(text={"$from": "a#/said"}),
        "c": echo("a"),
        "d": echo("c", text={"$from": "b#/said"}),
    }
    record = {"id": "w", "steps": steps}
    moments: list[Callable[[], Awaitable[None]]] = [
        lambda: system.submit(record),
        lambda: system.submit(record),
        lambda: system.completes("w:a", {"said": "1"}),
        lambda: system.service.turn(SOON),
        lambda: system.completes("w:b", {"said": "2"}),
        lambda: system.completes("w:c"),
        lambda: system.service.turn(SOON),
        lambda: system.completes("w:d"),
    ]
    for number, moment in enumerate(moments):
        await moment()
        if number == killed_after:
            system.restart()
            await system.service.turn(SOON)
    assert sorted(system.released) == ["w:a", "w:b", "w:c", "w:d"]
    assert (system.payload("w:b")["text"], system.payload("w:d")["text"]) == ("1", "2")
    assert {system.state(f"w:{name}").status for name in "abcd"} == {TaskStatus.COMPLETED}


async def test_a_workflow_cut_off_while_it_is_taken_in_is_completed_by_the_next_reader() -> None:
    workflow = workflow_submitted({"id": "w", "steps": {"a": echo(), "b": echo("a")}}, at=AT, new_id="", source="http")
    first, _ = tasks_of(workflow, CATALOGUE, SubmissionDefaults())
    system = System()
    # The process that died had appended the first of two.
    await system.world.log.write("tasks-cpu-normal", first)
    await system.intake.copy([Record(encode(workflow), 0)], AT)
    assert system.released == ["w:a"]
    assert system.state("w:b").status is TaskStatus.HELD


async def test_room_bounds_what_is_released_and_the_rest_follows() -> None:
    system = System(bound=2)
    await system.submit(echo() | {"id": "a"}, 0)
    for number in range(5):
        await system.submit(echo("a") | {"id": f"b{number}"}, number + 1)
    await system.completes("a")
    assert len(system.released) == 3
    for name in list(system.released[1:]):
        await system.completes(name)
    for name in list(system.released[3:]):
        await system.completes(name)
    assert sorted(system.released) == ["a", "b0", "b1", "b2", "b3", "b4"]


async def test_more_than_a_page_is_gone_through_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependants, "PAGE", 2)
    system = System()
    await system.submit(echo() | {"id": "z"}, 0)
    await system.submit(echo() | {"id": "never"}, 1)
    for number in range(6):
        await system.submit(echo("z" if number == 5 else "never") | {"id": f"b{number}"}, number + 2)
    await system.completes("z")
    for _ in range(4):
        await system.service.turn(SOON)
    assert system.released == ["z", "never", "b5"]


async def test_an_end_that_was_heard_of_is_looked_into_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependants, "PAGE", 2)
    system = System()
    await system.submit(echo() | {"id": "z"}, 0)
    for number in range(9):
        await system.submit(echo("z" if number == 8 else "never") | {"id": f"b{number}"}, number + 1)
    system.restart()
    system.service.ended(["z"])
    await system.completes("z")
    assert system.released == ["z", "b8"]


async def test_a_cancel_reaches_a_task_that_waits_for_others(system: System) -> None:
    await system.submit(echo("nobody") | {"id": "a"}, 0)
    system.service.ask(CancelTask(task_id="a", requested_at=AT))
    await system.service.turn(AT)
    assert system.state("a").status is TaskStatus.CANCELLED


async def test_steps_that_are_run_again_by_hand_go_on_although_others_have_failed(system: System) -> None:
    await system.submit({"id": "w", "steps": {"a": echo(), "b": echo("a")}})
    await system.fails("w:a")
    await system.service.turn(SOON)
    assert system.state("w:b").status is TaskStatus.FAILED
    again = {name: decide.retry(system.state(f"w:{name}"), AT) for name in "ab"}
    await system.world.log.submit(again["a"])
    system.world.happens(held(again["b"], encode(again["b"]), holds.DEPENDENCIES, None, AT))
    await system.completes("w:a")
    assert not system.cancels
    assert system.released == ["w:a", "w:a", "w:b"]
