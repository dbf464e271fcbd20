from hypothesis import given
from hypothesis import strategies as st

from agents.frontier import AckFrontier
from streams.shard_stream import ShardRecord


def record(offset: int) -> ShardRecord:
    return ShardRecord("tasks-cpu-low", 0, offset, 1, 0, None, None, {})


def offsets(records: list[ShardRecord]) -> list[int]:
    return [each.offset for each in records]


def frontier_of(received: list[int]) -> AckFrontier:
    frontier = AckFrontier()
    for offset in received:
        frontier.received(record(offset))
    return frontier


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Offsets as handed out, holes included, and the order in which some of them are finished, repeats included."""
    received = sorted(draw(st.sets(st.integers(0, 40), max_size=20)))
    finished = draw(st.lists(st.sampled_from(received or [0]), max_size=60)) if received else []
    return received, finished


@given(lives())
def test_records_are_released_in_order_once_and_never_past_an_unfinished_one(
    life: tuple[list[int], list[int]],
) -> None:
    received, finished = life
    frontier = frontier_of(received)
    released: list[int] = []
    for count, offset in enumerate(finished, 1):
        released += offsets(frontier.finish(offset, now=float(count)))
        unfinished = [one for one in received if one not in finished[:count]]
        first = unfinished[0] if unfinished else 41
        assert released == [one for one in received if one < first]
    assert len(frontier) == len(received) - len(released)


@given(lives())
def test_stragglers_are_exactly_the_unfinished_records_before_a_finished_one(
    life: tuple[list[int], list[int]],
) -> None:
    received, finished = life
    frontier = frontier_of(received)
    for offset in finished:
        frontier.finish(offset, now=0.0)
    expected = [one for one in received if one not in finished and one < max(finished, default=-1)]
    assert offsets(frontier.stragglers(10.0, trailing_seconds_max=10.0, finished_max=1_000)) == expected


@given(lives(), st.integers(0, 60))
def test_nothing_is_a_straggler_before_a_finished_record_has_waited_too_long(
    life: tuple[list[int], list[int]], bound: int
) -> None:
    received, finished = life
    frontier = frontier_of(received)
    now = 0
    for now, offset in enumerate(finished, 1):
        frontier.finish(offset, now=float(now))
    unfinished = [one for one in received if one not in finished]
    held_back = [finished.index(one) + 1 for one in set(finished) if unfinished and one > unfinished[0]]
    late = bool(held_back) and now - min(held_back) >= bound
    assert bool(frontier.stragglers(float(now), trailing_seconds_max=float(bound), finished_max=1_000)) == late


def test_too_many_finished_records_make_stragglers_at_once() -> None:
    frontier = frontier_of([1, 2, 3, 4])
    frontier.finish(2, now=0.0)
    assert not frontier.stragglers(0.0, trailing_seconds_max=60.0, finished_max=2)
    frontier.finish(4, now=0.0)
    assert offsets(frontier.stragglers(0.0, trailing_seconds_max=60.0, finished_max=2)) == [1, 3]


def test_progress_at_the_head_does_not_excuse_what_has_waited_long() -> None:
    frontier = frontier_of([1, 2, 3, 4])
    frontier.finish(4, now=0.0)
    frontier.finish(1, now=50.0)
    assert offsets(frontier.stragglers(60.0, trailing_seconds_max=60.0, finished_max=100)) == [2, 3]


def test_a_record_that_was_never_received_gives_nothing() -> None:
    assert frontier_of([1]).finish(7, now=0.0) == []
