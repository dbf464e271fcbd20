"""Who gets the memory of a worker, and who waits for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.limits.memory import Memory, Need


def need(attempt_mb: int = 0, model: str = "", model_mb: int = 0) -> Need:
    return Need(attempt_mb=attempt_mb, model=model, model_mb=model_mb)


def test_attempts_run_side_by_side_as_far_as_their_memory_goes() -> None:
    memory = Memory(1000)
    memory.begin("one", need(600))
    assert memory.fits("b", need(400))
    assert not memory.fits("c", need(401))
    assert memory.end("one")
    assert memory.fits("c", need(401))


def test_without_a_budget_everything_fits() -> None:
    memory = Memory(None)
    memory.begin("one", need(10**9))
    assert memory.fits("b", need(10**9))
    assert memory.possible(need(10**9, "m", 10**9))
    assert memory.idle(need(10**9)) == []


def test_what_an_empty_worker_has_no_room_for_is_impossible() -> None:
    memory = Memory(1000)
    assert memory.possible(need(400, "m", 600))
    assert not memory.possible(need(401, "m", 600))


def test_a_loaded_model_counts_once_and_until_it_is_unloaded() -> None:
    memory = Memory(1000)
    memory.begin("one", need(100, "m", 600))
    assert memory.fits("b", need(300, "m", 600)), "the model is there already"
    assert memory.end("one")
    assert memory.used_mb == 600
    memory.unload("m")
    assert memory.used_mb == 0


def test_who_was_refused_first_comes_before_smaller_ones() -> None:
    memory = Memory(1000)
    memory.begin("one", need(500))
    memory.begin("two", need(300))
    assert not memory.fits("large", need(700))
    assert not memory.fits("small", need(200)), "200 MB are free, and the large one waits for them"
    memory.end("two")
    assert not memory.fits("large", need(700))
    assert not memory.fits("small", need(200))
    memory.end("one")
    assert memory.fits("large", need(700))


def test_who_fits_beside_the_first_need_not_wait() -> None:
    memory = Memory(1000)
    memory.begin("one", need(900))
    assert not memory.fits("large", need(200))
    assert memory.fits("none", need(0))


def test_models_that_nobody_uses_make_room_the_longest_unused_one_first() -> None:
    memory = Memory(1000)
    for model in ("a", "b", "c"):
        memory.load(model, 300)
    memory.begin("one", need(0, "b", 300))
    memory.load("a", 300)
    assert memory.idle(need(0, "d", 300)) == ["c"]
    assert memory.idle(need(0, "d", 700)) == ["c", "a"]
    assert memory.idle(need(0, "d", 701)) == [], "unloading would serve nobody"


def test_an_end_that_freed_nothing_says_so() -> None:
    memory = Memory(1000)
    memory.begin("one", need())
    assert not memory.end("one")
    assert not memory.end("unknown")


NEEDS = st.builds(need, st.integers(0, 10), st.sampled_from(["", "a", "b"]), st.just(4)).map(
    lambda each: each if each.model else Need(attempt_mb=each.attempt_mb)
)


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(0, 4), NEEDS), max_size=60))
def test_the_budget_holds_and_whoever_waits_has_somebody_to_wait_for(
    total_mb: int, steps: list[tuple[int, Need]]
) -> None:
    """Each step ends an attempt, or asks for one; a refused one is served once all others have ended."""
    memory, running = Memory(total_mb), list[str]()
    for number, (ended, wanted) in enumerate(steps):
        if ended and len(running) >= ended:
            memory.end(running.pop(ended - 1))
        if not memory.possible(wanted):
            continue
        if memory.fits(number, wanted):
            memory.begin(str(number), wanted)
            running.append(str(number))
        else:
            idle = memory.idle(wanted)
            for model in idle:
                memory.unload(model)
            assert running or memory.fits(number, wanted)
        assert memory.used_mb <= total_mb
    refused = need(total_mb)
    for task in running:
        memory.end(task)
    for model in memory.idle(refused):
        memory.unload(model)
    assert memory.fits("last", refused)


@pytest.mark.parametrize("model", ["", "m"])
def test_a_total_is_of_attempt_and_model(model: str) -> None:
    assert need(1, model, 2).total_mb == 3
