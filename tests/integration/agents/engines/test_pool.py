"""Functions in engine processes: what they return, how they fail, and that a stopped one is gone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import psutil
import pytest

from agents.engines.pool import EnginePool
from domain.errors import TaskError
from tests.support import engine_functions as functions

DEADLINE_SECONDS = 20


@pytest.fixture
async def pool() -> AsyncIterator[EnginePool]:
    pool = EnginePool(2)
    yield pool
    await pool.close()


async def failure(pool: EnginePool, function: Callable[..., object], *args: object) -> TaskError:
    with pytest.raises(TaskError) as caught:
        await pool.run(function, *args)
    return caught.value


async def test_a_function_runs_in_another_process_that_is_kept(pool: EnginePool) -> None:
    pids = {await pool.run(functions.own_pid) for _ in range(3)}
    assert len(pids) == 1
    assert os.getpid() not in pids


async def test_a_task_error_comes_back_as_it_was_raised(pool: EnginePool) -> None:
    error = await failure(pool, functions.raise_task_error)
    assert (error.code, error.detail, error.retryable, error.retry_after_seconds) == ("busy", "come back", True, 7.0)


async def test_any_other_exception_is_worth_another_attempt_and_costs_no_process(pool: EnginePool) -> None:
    pid = await pool.run(functions.own_pid)
    error = await failure(pool, functions.raise_value_error)
    assert (error.code, error.detail, error.retryable) == ("handler_error", "ValueError: not today", True)
    assert await pool.run(functions.own_pid) == pid


@pytest.mark.parametrize(
    ("function", "how"),
    [
        (functions.kill_itself, "was killed by SIGKILL"),
        (functions.fault, "was killed by SIGSEGV"),
        (functions.leave, "exited with status 3"),
    ],
)
async def test_a_death_fails_its_call_alone_and_says_how(
    pool: EnginePool, function: Callable[[], None], how: str
) -> None:
    error = await failure(pool, function)
    assert (error.code, error.retryable) == ("engine_died", True)
    assert how in error.detail
    assert await pool.run(functions.add, 2, 3) == 5


async def test_a_process_that_died_while_idle_is_replaced(pool: EnginePool) -> None:
    pid = await pool.run(functions.own_pid)
    process = psutil.Process(pid)
    process.kill()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while pool.pids:
            await asyncio.sleep(0.01)
    assert await pool.run(functions.own_pid) != pid


async def test_a_cancelled_call_has_no_process_left_when_the_caller_learns_of_it(pool: EnginePool) -> None:
    started, pids = asyncio.Event(), list[int]()

    async def hear(fields: Mapping[str, object]) -> None:
        pids.append(int(str(fields["message"])))
        started.set()

    call = asyncio.create_task(pool.run(functions.spin_with_a_child, on_report=hear))
    await asyncio.wait_for(started.wait(), DEADLINE_SECONDS)
    pids.extend(pool.pids)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(pids) == 2
    assert not psutil.pid_exists(pids[1])
    # The grandchild is killed too, and reaped by init or whoever stands in for it.
    async with asyncio.timeout(DEADLINE_SECONDS):
        while psutil.pid_exists(pids[0]) and psutil.Process(pids[0]).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)
    assert await pool.run(functions.add, 1, 1) == 2


async def test_a_call_that_takes_too_long_is_killed(pool: EnginePool) -> None:
    with pytest.raises(TaskError) as caught:
        await pool.run(functions.spin_for_ever, timeout_seconds=0.2)
    assert (caught.value.code, caught.value.retryable) == ("timeout", True)
    assert pool.pids == []


async def test_a_function_that_takes_too_much_memory_fails_for_good_and_the_pool_goes_on() -> None:
    pool = EnginePool(1, memory_bytes_max=256 * 1024 * 1024)
    try:
        error = await failure(pool, functions.take_memory, 1024 * 1024 * 1024)
        assert (error.code, error.retryable) == ("out_of_memory", False)
        assert await pool.run(functions.take_memory, 1024) == 1024
    finally:
        await pool.close()


async def test_what_a_function_prints_and_reads_stays_out_of_the_answers(pool: EnginePool) -> None:
    assert await pool.run(functions.print_and_read) == ""


async def test_a_value_that_cannot_be_sent_back_is_an_error_of_the_function(pool: EnginePool) -> None:
    error = await failure(pool, functions.unpicklable)
    assert error.code == "handler_error"
    assert await pool.run(functions.add, 1, 1) == 2


async def test_no_more_processes_than_slots(pool: EnginePool) -> None:
    pids = await asyncio.gather(*(pool.run(functions.own_pid) for _ in range(8)))
    assert len(set(pids)) <= 2


async def test_a_module_that_cannot_be_imported_is_named() -> None:
    pool = EnginePool(1, modules=["there_is_no_such_module"])
    error = await failure(pool, functions.add, 1, 1)
    assert error.code == "engine_died"
    assert "there_is_no_such_module" in error.detail
    await pool.close()


async def test_nested_functions_are_refused_at_once(pool: EnginePool) -> None:
    def nested() -> None: ...

    with pytest.raises(ValueError, match="top level"):
        await pool.run(nested)


def test_engine_processes_die_with_an_owner_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves the owner no time to tell anybody."""
    program = textwrap.dedent("""
        import asyncio
        from agents.engines.pool import EnginePool
        from tests.support import engine_functions as functions
        async def main():
            async def hear(fields):
                print(fields["message"], flush=True)
            await EnginePool(1).run(functions.spin_for_ever, on_report=hear)
        asyncio.run(main())
    """)
    repository = Path(__file__).parents[4]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=repository, text=True) as owner:
        assert owner.stdout is not None
        engine = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
    psutil.wait_procs([engine], timeout=DEADLINE_SECONDS)
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE
