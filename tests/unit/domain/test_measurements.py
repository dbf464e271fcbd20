"""Measurements of models: robust, forgetful, and the same whichever worker has made them."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from domain.dispatch_status import Closure, Dispatcher, LaneStatus
from domain.measurements import SAMPLE_SECONDS_MAX, SAMPLES_MAX, Block, Samples, Summary, combined, measured, summary_of
from schemas.models import ModelDefinition

SECONDS = st.floats(0.001, 100)


def samples(*seconds: float | None, at: float = 0.0) -> Samples:
    found = Samples()
    for each in seconds:
        found.add(at, each)
    return found


def test_one_outlier_does_not_make_a_model_slow() -> None:
    assert samples(1.0, 1.1, 0.9, 500.0, 1.0).summary(0.0).seconds == 1.0


def test_old_calls_and_too_many_calls_are_forgotten() -> None:
    found = samples(*[9.0] * 10)
    found.add(SAMPLE_SECONDS_MAX, 1.0)
    assert found.summary(SAMPLE_SECONDS_MAX + 1) == Summary(1.0, 1, 0)
    assert samples(*[9.0] * 100, *[1.0] * SAMPLES_MAX).summary(0.0) == Summary(1.0, SAMPLES_MAX, 0)


def test_a_single_failure_says_little_and_many_say_much() -> None:
    assert combined([samples(None).summary(0.0)]).error_rate == 0.5
    assert combined([samples(*[None] * 49).summary(0.0)]).error_rate == 0.98
    assert combined([]).error_rate == 0.0


@given(st.lists(SECONDS, min_size=1, max_size=20), st.integers(1, 5))
def test_workers_that_measure_the_same_agree(seconds: list[float], workers: int) -> None:
    one = samples(*seconds).summary(0.0)
    assert combined([one] * workers).seconds == one.seconds
    assert combined([one] * workers).samples == workers * len(seconds)


def test_a_worker_weighs_as_much_as_it_has_measured() -> None:
    assert combined([Summary(1.0, 9, 0), Summary(50.0, 1, 0)]).seconds == 1.0


def test_a_summary_survives_being_told() -> None:
    assert summary_of(Summary(1.5, 3, 1).as_json()) == Summary(1.5, 3, 1)
    assert summary_of({}) == Summary()


def test_queues_and_blocks_of_all_workers_count() -> None:
    models = {name: ModelDefinition(name=name, provider="p") for name in ("a", "b")}
    until = datetime(2026, 11, 21, tzinfo=UTC)
    closed = Closure("backoff", "provider", "p", until)
    lanes = (LaneStatus("a", "p", "t", "x", 3, 1, closed), LaneStatus("a", "p", "t", "y", 2, 0))
    workers = [Dispatcher(str(n), "llm", until, 4, 1, "fifo", lanes) for n in range(2)]
    found = measured(models, {}, workers, {"p": Block(until.timestamp() - 5, "rate limited")})
    assert (found["a"].waiting, found["a"].running, found["b"].waiting) == (10, 2, 0)
    assert (found["b"].blocked_until, found["b"].blocked_by) == (until.timestamp(), "circuit open")
