"""The log that a worker would have written which had done what a simulation did."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from domain.simulation.jobs import Job
from domain.simulation.recording import RecordedEvent
from domain.simulation.simulator import Simulated
from schemas import events

BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def moment(us: int) -> datetime:
    """So many microseconds after 1970 began."""
    return BEGIN + timedelta(microseconds=us)


def submission_of(job: Job) -> RecordedEvent:
    """The record that brought the job."""
    task = job.task
    event = events.TaskSubmitted(
        task_id=task.task_id,
        occurred_at=moment(job.arrives_us),
        type=task.lane.task_type,
        resource_class="cpu",
        routing_key=task.task_id,
        tenant=task.lane.tenant,
        priority=task.priority,
        model=task.lane.model,
        metadata=str(task.cost),
        estimated_seconds=task.estimate_seconds,
        deadline_at=None if task.deadline_ms is None else moment(task.deadline_ms * 1000),
    )
    return RecordedEvent(event, task.accepted_ms, *task.tie)


def facts_of(
    jobs: list[Job], simulated: Simulated, strategy: Callable[[int], str], worker: str = "host/1"
) -> list[RecordedEvent]:
    """Facts in the order in which they were decided; `strategy` names the one that was at work at a microsecond."""
    by_id = {job.task.task_id: job for job in jobs}
    stays = dict.fromkeys(by_id, 0)
    found: list[tuple[int, events.TaskEvent]] = []
    for turn in sorted(simulated.turns, key=lambda turn: turn.started_us):
        job = by_id[turn.task_id]
        started = events.TaskStarted(
            task_id=turn.task_id,
            occurred_at=moment(turn.started_us),
            worker=worker,
            strategy=strategy(turn.started_us),
            entered_at=moment(job.arrives_us),
        )
        found.append((turn.started_us, started))
        if turn.end == "failed":
            stays[turn.task_id] += 1
        found.append((turn.ended_us, _end(job, turn.end, turn.ended_us, stays[turn.task_id])))
    for outcome in simulated.outcomes:
        if outcome.started_us is None:
            late = outcome.job.task
            at_us = (late.deadline_ms or 0) * 1000
            found.append((at_us, events.TaskExpired(task_id=late.task_id, occurred_at=moment(at_us), reason="late")))
    found.sort(key=lambda fact: fact[0])
    return [RecordedEvent(fact, at_us // 1000, 0, offset) for offset, (at_us, fact) in enumerate(found)]


def _end(job: Job, end: str, at_us: int, stay: int) -> events.TaskEvent:
    task_id, at = job.task.task_id, moment(at_us)
    if end == "yielded":
        return events.TaskYielded(task_id=task_id, occurred_at=at, checkpoint="{}")
    if end == "failed":
        due_at = moment(at_us + job.stays[stay].delay_us)
        return events.TaskRetryScheduled(
            task_id=task_id, occurred_at=at, due_at=due_at, error_code="busy", error_detail="busy"
        )
    tokens = job.stays[-1].tokens
    usage = {} if tokens is None else {"prompt_tokens": tokens / 2, "completion_tokens": tokens / 2}
    return events.TaskCompleted(task_id=task_id, occurred_at=at, result="{}", duration_seconds=0.0, usage=usage)
