"""What every shard stream promises, on a real broker: Faust and plain aiokafka pass the same tests."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from streams.shard_stream import GroupMembership, Ownership, ShardRecord
from tests.support.memory_worker import until
from tests.support.shards import STREAMS, MakeStream, bands, committed, member, new_class, produce

pytestmark = pytest.mark.external_service
ROOT = Path(__file__).parents[3]


@pytest.fixture(params=sorted(STREAMS))
def kind(request: pytest.FixtureRequest) -> str:
    """Name of the stream under test."""
    return str(request.param)


@pytest.fixture
def make(kind: str) -> MakeStream:
    """The stream under test."""
    return STREAMS[kind]


async def test_every_record_is_handed_out_as_it_was_written(kafka: str, make: MakeStream) -> None:
    group = await new_class(kafka)
    high = group.topics[0]
    await produce(kafka, [(topic, shard, f"{shard}".encode()) for topic, shard in bands(group)])
    await produce(kafka, [(high, 2, None)])
    async with member(make, group) as owner:
        await until(lambda: len(owner.records) == 13, seconds=30)
        assert owner.stream.member
    assert {band: offsets for band, offsets in owner.by_band.items() if offsets != [0]} == {(high, 2): [0, 1]}
    assert {record.generation for record in owner.records} == {owner.ownerships[-1].generation}
    assert all(record.value == f"{record.shard}".encode() for record in owner.records if record.offset == 0)
    assert [record.value for record in owner.records if record.offset == 1] == [None]
    assert {tuple(record.headers.items()) for record in owner.records} == {(("h", b"v"),)}
    assert owner.ownerships[-1].shards == frozenset(range(4))


async def test_a_member_in_doubt_of_its_session_has_it_confirmed(kafka: str, make: MakeStream) -> None:
    """As after an outage of the broker that was longer than the session: nothing is handed out again because of it."""
    group = await new_class(kafka)
    await produce(kafka, [(group.topics[0], 0, b"")])
    async with member(make, group) as owner:
        await until(lambda: owner.records and owner.stream.in_session, seconds=30)
        stream: Any = owner.stream
        stream._session._certain_until = 0.0
        assert not owner.stream.in_session
        await until(lambda: owner.stream.in_session, seconds=30)
        assert (len(owner.ownerships), len(owner.records)) == (1, 1)


async def test_a_slow_assigned_is_awaited_before_the_first_record(kafka: str, make: MakeStream) -> None:
    """Longer than the session, so that a stream that stops its heartbeats meanwhile would be thrown out."""
    group = await new_class(kafka)
    await produce(kafka, [(group.topics[0], 0, b"")])

    async def slowly(_: Ownership) -> None:
        await asyncio.sleep(group.session_timeout_seconds + 1.5)

    async with member(make, group, on_assigned=slowly) as owner:
        await until(lambda: owner.records, seconds=30)
        assert owner.calls[:4] == ["revoked", "assigning", "assigned", "record"]
        assert owner.ownerships[0].generation == owner.records[0].generation


async def test_the_committed_offset_is_behind_the_last_acknowledged_record(kafka: str, make: MakeStream) -> None:
    group = await new_class(kafka)
    low = group.topics[-1]
    await produce(kafka, [(low, 1, b"") for _ in range(20)])
    async with member(make, group) as owner:
        await until(lambda: len(owner.records) == 20, seconds=30)
        for record in owner.records[:7]:
            owner.stream.ack(record)

        async with asyncio.timeout(30):
            while (await committed(group)).get((low, 1)) != 7:
                await asyncio.sleep(0.1)
        for record in owner.records[7:9]:
            owner.stream.ack(record)
    assert (await committed(group))[(low, 1)] == 9, "what was acknowledged before the end is committed by the end"


async def test_what_was_not_acknowledged_is_handed_out_again(kafka: str, make: MakeStream) -> None:
    group = await new_class(kafka)
    low = group.topics[-1]
    await produce(kafka, [(low, 1, b"") for _ in range(20)])
    async with member(make, group) as owner:
        await until(lambda: len(owner.records) == 20, seconds=30)
        for record in owner.records[:5]:
            owner.stream.ack(record)
    async with member(make, group) as successor:
        await until(lambda: len(successor.records) == 15, seconds=30)
    assert successor.by_band[(low, 1)] == list(range(5, 20))
    assert successor.ownerships[0].generation > owner.ownerships[0].generation


async def test_an_acknowledgement_of_an_older_generation_counts_for_nothing(kafka: str, make: MakeStream) -> None:
    group = await new_class(kafka)
    low = group.topics[-1]
    await produce(kafka, [(low, 1, b"") for _ in range(5)])
    async with member(make, group) as owner:
        await until(lambda: len(owner.records) == 5, seconds=30)
        old = list(owner.records)
        async with member(make, group) as other:
            await until(lambda: other.shards, seconds=30)
        # One generation for the join, one for the leave; a busy broker makes more of them.
        newest = old[0].generation + 2
        await until(lambda: sum(record.generation >= newest for record in owner.records) >= 5, seconds=30)
        for record in old:
            owner.stream.ack(record)
    assert (low, 1) not in await committed(group)


async def test_a_full_band_does_not_delay_the_others_and_loses_nothing(kafka: str, make: MakeStream) -> None:
    group = await new_class(kafka, shards=2)
    high, _, low = group.topics
    count, bound = 6_000, 300
    await produce(kafka, [(low, number % 2, b"") for number in range(count)])
    held: dict[int, list[ShardRecord]] = defaultdict(list)

    async with member(make, group) as owner:

        def hold(record: ShardRecord) -> None:
            if record.topic == low:
                held[record.shard].append(record)
                if len(held[record.shard]) >= bound:
                    owner.stream.full(low, record.shard)

        owner.on_record = hold
        await until(lambda: all(len(held[shard]) >= bound for shard in (0, 1)), seconds=30)
        await produce(kafka, [(high, shard, b"") for shard in (0, 1)])
        await until(lambda: owner.by_band[(high, 0)] and owner.by_band[(high, 1)], seconds=30)

        def taken() -> int:
            return len(owner.by_band[(low, 0)]) + len(owner.by_band[(low, 1)])

        assert taken() < count / 2, "a full band was read on"
        while (seen := taken()) < count:
            for shard in (0, 1):
                held[shard].clear()
                owner.stream.drained(low, shard)
            await until(partial(lambda before: taken() > before, seen), what="for records after drained", seconds=30)
        assert owner.by_band[(low, 0)] == list(range(count // 2))
        assert owner.by_band[(low, 1)] == list(range(count // 2))


async def test_bands_that_were_all_full_for_long_go_on(kafka: str, make: MakeStream) -> None:
    group = await new_class(kafka, shards=1)
    async with member(make, group) as owner:

        def stop(record: ShardRecord) -> None:
            owner.stream.full(record.topic, record.shard)

        owner.on_record = stop
        await produce(kafka, [(topic, 0, b"") for topic in group.topics])
        await until(lambda: len(owner.records) == 3, seconds=30)
        await asyncio.sleep(group.session_timeout_seconds + 1)  # the time itself is what is tested
        await produce(kafka, [(topic, 0, b"") for topic in group.topics])
        for topic in group.topics:
            owner.stream.drained(topic, 0)
        await until(lambda: len(owner.records) == 6, seconds=30)
        assert owner.stream.member


async def test_drained_for_a_shard_that_has_left_harms_nobody(kafka: str, make: MakeStream) -> None:
    group = await new_class(kafka, shards=2)
    low = group.topics[-1]
    async with member(make, group) as first:

        def stop(record: ShardRecord) -> None:
            first.stream.full(record.topic, record.shard)

        first.on_record = stop
        await produce(kafka, [(low, shard, b"") for shard in (0, 1)])
        await until(lambda: len(first.records) == 2, seconds=30)
        async with member(make, group) as second:
            await until(lambda: first.shards | second.shards == {0, 1} and len(first.shards) == 1, seconds=30)
            first.on_record = None
            for shard in (0, 1):
                first.stream.drained(low, shard)
            before = len(first.records)
            await produce(kafka, [(low, shard, b"") for shard in (0, 1)])
            await until(lambda: len(first.records) > before, seconds=30)
            assert {record.shard for record in first.records[before:]} == first.shards
            assert first.stream.member


async def test_the_barrier_ends_before_a_successor_begins(kafka: str, make: MakeStream) -> None:
    group = await new_class(kafka)
    moments: list[str] = []

    async def leave() -> None:
        await asyncio.sleep(1.0)
        moments.append("given up")

    async def take(_: Ownership) -> None:
        moments.append("taken")

    async with member(make, group) as first:
        await until(lambda: first.shards, seconds=30)
        first.on_revoked = leave
        async with member(make, group, on_assigned=take) as second:
            await until(lambda: second.shards, seconds=30)
            assert moments[:2] == ["given up", "taken"]
            await until(lambda: not first.shards & second.shards, seconds=30)
            assert first.shards | second.shards == frozenset(range(4))
            first.on_revoked = None


async def test_shards_move_while_nothing_is_committed(kafka: str, make: MakeStream) -> None:
    """A fetch under way may take what must not be handed out yet: before the new owner is ready. It comes again."""
    group = await new_class(kafka, shards=2)
    low = group.topics[-1]
    await produce(kafka, [(low, number % 2, b"") for number in range(40)])

    async def slowly(_: Ownership) -> None:
        await asyncio.sleep(0.5)

    async with member(make, group, on_assigned=slowly) as first:
        await until(lambda: len(first.records) == 40, seconds=30)
        async with member(make, group, on_assigned=slowly) as second:

            def handed_out_anew() -> set[tuple[int, int]]:
                newest = max(one.ownerships[-1].generation for one in (first, second))
                records = [*first.records, *second.records]
                return {(one.shard, one.offset) for one in records if one.generation == newest}

            await until(lambda: len(first.shards) == len(second.shards) == 1, seconds=30)
            await until(lambda: len(handed_out_anew()) == 40, seconds=30)


async def test_an_error_in_assigned_ends_the_stream(kafka: str, make: MakeStream) -> None:
    group = await new_class(kafka)

    async def fail(_: Ownership) -> None:
        raise RuntimeError("the log cannot be read")

    async with member(make, group, on_assigned=fail) as owner:
        with pytest.raises(RuntimeError, match="the log cannot be read"):
            async with asyncio.timeout(15):
                await owner.stream.ended()
    assert not owner.records


async def test_a_stopped_stream_has_ended_without_an_error(kafka: str, make: MakeStream) -> None:
    group = await new_class(kafka)
    async with member(make, group) as owner:
        await until(lambda: owner.shards, seconds=30)
        ending = asyncio.ensure_future(owner.stream.ended())
    async with asyncio.timeout(30):
        await ending


async def test_a_member_without_a_shard_is_told_so_and_waits(kafka: str, make: MakeStream) -> None:
    group = await new_class(kafka, shards=1)
    async with member(make, group) as first:
        await until(lambda: first.shards, seconds=30)
        async with member(make, group) as second:
            await until(lambda: second.ownerships and len(first.ownerships) > 1, seconds=30)
            assert sorted(len(one.shards) for one in (first, second)) == [0, 1]
            await until(lambda: first.stream.member and second.stream.member, seconds=30)


class Member:
    """A member in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.shards: frozenset[int] = frozenset()
        self.generation = -1
        self.values: list[str] = []
        self.bands: set[tuple[str, int]] = set()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            said = json.loads(line)
            if "shards" in said:
                self.shards, self.generation = frozenset(said["shards"]), said["generation"]
            else:
                self.values.append(said["value"])
                self.bands.add((said["topic"], said["shard"]))


@asynccontextmanager
async def process(kind: str, group: GroupMembership) -> AsyncIterator[Member]:
    """A member that can be killed."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.shard_member", kind, json.dumps(asdict(group))),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    found = Member(running)
    try:
        yield found
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()
        await found.reading


@pytest.mark.slow
async def test_three_members_share_four_shards_and_stay_co_partitioned(kafka: str, kind: str) -> None:
    """Through a start, a SIGKILL and a join: 2, 1, 1 and the three bands of a shard always with one member."""
    group = await new_class(kafka)

    async def balanced(members: list[Member], wave: str) -> None:
        sizes = {1: [4], 2: [2, 2], 3: [1, 1, 2]}[len(members)]
        await until(
            lambda: (
                len({one.generation for one in members}) == 1
                and sorted(len(one.shards) for one in members) == sizes
                and len(frozenset().union(*(one.shards for one in members))) == 4
            ),
            what=f"for balance of {wave}",
            seconds=40,
        )
        for one in members:
            one.bands.clear()
        await produce(kafka, [(topic, shard, wave.encode()) for topic, shard in bands(group)])
        await until(lambda: sum(one.values.count(wave) for one in members) >= 12, what=f"for {wave}", seconds=30)
        for one in members:
            assert one.bands == {(topic, shard) for topic in group.topics for shard in one.shards}

    async with process(kind, group) as first, process(kind, group) as second, process(kind, group) as third:
        await balanced([first, second, third], "start")
        second.process.kill()
        await balanced([first, third], "kill")
        async with process(kind, group) as fourth:
            await balanced([first, third, fourth], "join")
