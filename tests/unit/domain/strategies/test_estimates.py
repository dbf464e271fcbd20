import statistics

from hypothesis import given
from hypothesis import strategies as st

from domain.strategies.estimates import KINDS_MAX, SAMPLES_MAX, UNKNOWN_SECONDS, Estimates, RollingMedian


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=3 * SAMPLES_MAX))
def test_the_estimate_is_the_median_of_the_latest(values: list[float]) -> None:
    median = RollingMedian()
    for value in values:
        median.add(value)
    assert median.value() == statistics.median_low(values[-SAMPLES_MAX:])


def test_outliers_do_not_move_it() -> None:
    learned = Estimates()
    for number in range(SAMPLES_MAX):
        learned.learn("chat", "m", 1e9 if number % 3 == 0 else 2.0)
    assert learned.seconds("chat", "m") == 2.0


def test_it_follows_a_lasting_change() -> None:
    learned = Estimates()
    for seconds in [2.0] * 1000 + [8.0] * SAMPLES_MAX:
        learned.learn("chat", "m", seconds)
    assert learned.seconds("chat", "m") == 8.0


def test_types_and_models_are_learned_apart() -> None:
    learned = Estimates()
    learned.learn("chat", "large", 30.0)
    learned.learn("chat", "small", 3.0)
    assert (learned.known("chat", "large"), learned.known("chat", "small")) == (30.0, 3.0)
    assert learned.known("chat", None) is None


def test_what_is_not_known_is_taken_for_what_is_usual() -> None:
    learned = Estimates()
    assert learned.seconds("chat", None) == UNKNOWN_SECONDS
    for seconds in (1.0, 5.0, 100.0):
        learned.learn("other", str(seconds), seconds)
    assert learned.seconds("chat", None) == 5.0


def test_the_number_of_kinds_is_bounded_and_the_longest_unseen_is_forgotten() -> None:
    learned = Estimates()
    for number in range(KINDS_MAX + 1):
        learned.learn(f"type-{number}", None, 1.0)
    assert learned.known("type-0", None) is None
    assert learned.known("type-1", None) == 1.0
