"""What the log says at the end, read without any of the system's own processes: the judge of the acceptance tests."""

from collections import defaultdict

from domain.states import TERMINAL
from domain.task import TaskState, fold
from schemas.codec import decode
from schemas.events import TaskEvent, TaskSubmitted
from streams import history, topics


async def facts_by_task(bootstrap_servers: str, classes: list[str]) -> dict[str, list[TaskEvent]]:
    """Every fact of the log by task, submissions first, lifecycle facts in the order of the log."""
    submissions: dict[str, list[TaskEvent]] = defaultdict(list)
    facts: dict[str, list[TaskEvent]] = defaultdict(list)
    async with history.reader(bootstrap_servers, topics.recorded_topics(classes)) as consumer:
        await consumer.seek_to_beginning()
        async for records in history.read_to_end(consumer):
            for record in records:
                try:
                    fact = decode(record.value)
                except ValueError:
                    continue
                if isinstance(fact, TaskSubmitted):
                    submissions[fact.task_id].append(fact)
                else:
                    facts[fact.task_id].append(fact)  # type: ignore[arg-type]  # commands have a topic of their own
    return {task_id: submissions[task_id] + facts[task_id] for task_id in submissions.keys() | facts.keys()}


def effective_ends(task_id: str, facts: list[TaskEvent]) -> list[str]:
    """Terminal states that the task went through, by the rules of `evolve`; one each run is what is promised."""
    state = TaskState(task_id=task_id)
    ends = []
    for count in range(1, len(facts) + 1):
        after = fold(task_id, facts[:count])
        if after.status in TERMINAL and state.status != after.status:
            ends.append(str(after.status))
        state = after
    return ends
