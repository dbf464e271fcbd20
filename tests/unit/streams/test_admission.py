"""How full a queue is, to a door that has just added to it."""

from hypothesis import given
from hypothesis import strategies as st

from streams.admission import Admission
from streams.log import Appended
from streams.ports import QueueSnapshot

TOPIC = "tasks-cpu-normal"


def test_what_the_read_model_has_not_seen_is_counted_here() -> None:
    admission = Admission(10)
    admission.observe(QueueSnapshot({"cpu": 3}, {(TOPIC, 0): 5}))
    for offset in (5, 6, 7):
        admission.appended("cpu", Appended(TOPIC, 0, offset))
    assert (admission.depth("cpu"), admission.room("cpu"), admission.unseen("cpu")) == (6, 4, 3)
    admission.observe(QueueSnapshot({"cpu": 5}, {(TOPIC, 0): 7}))
    assert (admission.depth("cpu"), admission.unseen("cpu")) == (6, 1)
    assert admission.depth("io") == 0


def test_what_the_read_model_saw_before_the_acknowledgement_is_not_counted_twice() -> None:
    admission = Admission(10)
    with admission.place("cpu") as place:
        admission.observe(QueueSnapshot({"cpu": 1}, {(TOPIC, 0): 1}))
        place.taken(Appended(TOPIC, 0, 0))
    assert admission.depth("cpu") == 1


def test_a_place_counts_while_its_task_is_appended_and_is_given_back_on_failure() -> None:
    admission = Admission(1)
    try:
        with admission.place("cpu"):
            assert admission.room("cpu") == 0
            raise OSError
    except OSError:
        assert admission.room("cpu") == 1


@given(offsets=st.permutations(range(8)), projected=st.integers(0, 8))
def test_acknowledgements_may_come_in_any_order(offsets: list[int], projected: int) -> None:
    admission = Admission(100)
    for offset in offsets:
        admission.appended("cpu", Appended(TOPIC, offset % 2, offset))
    admission.observe(QueueSnapshot({}, {(TOPIC, 0): projected, (TOPIC, 1): projected}))
    assert admission.unseen("cpu") == 8 - projected
