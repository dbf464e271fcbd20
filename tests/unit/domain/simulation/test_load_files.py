import json
from random import Random

import pytest

from domain.simulation.jobs import MICROSECONDS
from domain.simulation.load_files import InvalidLoad, read_load, written_load
from domain.simulation.loads import LoadSpec, TenantLoad, make_load
from domain.simulation.simulator import simulate
from tests.support.strategies import strategy_of


def line(**values: object) -> str:
    return json.dumps({"arrives_at": 1.5, "service_seconds": 2, **values})


def test_two_figures_make_a_task() -> None:
    (job,) = read_load([line(), ""])
    assert (job.arrives_us, job.service_us, job.task.accepted_ms) == (1_500_000, 2_000_000, 1500)
    assert (job.task.task_id, job.task.priority, job.task.lane.tenant) == ("line-1", 2, "default")


def test_moments_may_be_iso_8601() -> None:
    first, second = read_load(
        [
            line(arrives_at="2026-11-21T12:00:00Z", deadline_at="2026-11-21T12:00:09Z"),
            line(arrives_at="2026-11-21T13:00:03.000001+01:00"),
        ]
    )
    assert second.arrives_us - first.arrives_us == 3 * MICROSECONDS + 1
    assert first.task.deadline_ms == first.task.accepted_ms + 9000


def test_what_was_written_is_read_as_the_same_load() -> None:
    tenants = (TenantLoad("a"), TenantLoad("b", weight=2.0, estimate_factor=3.0))
    jobs = make_load(LoadSpec(200, 2, 1.1, tenants=tenants, deadlines=0.5, preemptible=0.5), Random(1))
    again = read_load(written_load(jobs))
    for name in ("priority", "deadline", "preemptive", "fair", "shortest_job_first"):
        starts = [simulate(load, strategy_of(name), 2).starts for load in (jobs, again)]
        assert starts[0] == starts[1]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["{"], "line 1 of the load: .*JSON"),
        ([line(), line(service_seconds=-1)], "line 2 of the load: service_seconds: .*greater"),
        ([line(priority=4)], "line 1 of the load: priority"),
        ([line(slots=3)], "line 1 of the load: slots: .*not permitted"),
        ([line(task_id="t"), line(task_id="t")], "line 2 of the load: the task 't' is there twice"),
        (['{"service_seconds": 1}'], "line 1 of the load: arrives_at: .*required"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(lines: list[str], says: str) -> None:
    with pytest.raises(InvalidLoad, match=says):
        read_load(lines)
