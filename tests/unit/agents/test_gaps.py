"""A stream that goes past records: what was not handed out stays unacknowledged, so that it comes again."""

from agents.gaps import Gaps
from domain.states import TaskStatus
from domain.task import fold
from streams.shard_stream import ShardRecord
from tests.support.memory_worker import MemoryWorker, World, neighbour, until, worker

ALL = {0, 1, 2, 3}


def record(offset: int) -> ShardRecord:
    return ShardRecord("tasks-llm-low", 3, offset, 1, 0, b"k", b"v", {"h": b"v"})


def test_the_record_that_was_expected_leaves_no_gap() -> None:
    gaps = Gaps()
    assert gaps.before(record(7), 7) is None
    assert list(gaps) == []


def test_a_gap_is_told_from_its_first_offset_to_its_last_one() -> None:
    gaps = Gaps()
    gap = gaps.before(record(7), 4)
    assert gap is not None
    assert (gap.first, gap.last, str(gap)) == (4, 6, "tasks-llm-low/3, offsets 4 to 6")
    assert list(gaps) == [gap]
    gaps.close(gap)
    assert list(gaps) == []


async def pass_over(world: World, w: MemoryWorker) -> tuple[str, tuple[str, int]]:
    """Task `t` is not handed out, and one behind it completes: its id, and the topic and shard of both."""
    w.stream.blind = True
    lost = await world.submit("t")
    w.stream.blind = False
    behind = neighbour(lost)
    await world.submit(behind)
    await until(lambda: fold(behind, world.log.facts(behind)).status is TaskStatus.COMPLETED)
    return behind, (lost.topic, lost.partition)


async def test_nothing_behind_a_gap_is_acknowledged_before_somebody_has_looked_into_the_log() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        _, band = await pass_over(world, w)
        assert world.group.committed.get(band, 0) == 0
        (gap,) = w.owner.gaps
        w.owner.nothing_in(gap)
        assert world.group.committed[band] == 2
        assert list(w.owner.gaps) == []


async def test_what_was_passed_over_is_handed_out_in_the_next_generation() -> None:
    world = World()
    async with worker(world) as w:
        await world.group.rebalance({w.stream: ALL})
        behind, _ = await pass_over(world, w)
        await world.group.rebalance({w.stream: ALL})
        assert list(w.owner.gaps) == []
        await until(lambda: world.lag == 0)
    assert world.log.types("t") == ["started", "completed"]
    assert world.log.types(behind) == ["started", "completed"]
