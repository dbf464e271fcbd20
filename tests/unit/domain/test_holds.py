"""The words of holds: written by owners, read by the held-work service."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import holds

NAMES = st.text(min_size=1, max_size=20)


@given(scope=st.sampled_from(holds.PAUSE_SCOPES), name=NAMES)
def test_a_pause_reads_as_it_was_written(scope: str, name: str) -> None:
    reason = holds.paused(scope, name)
    assert (holds.kind_of(reason), holds.paused_what(reason)) == (holds.PAUSED, (scope, name))
    assert holds.offline_model(reason) is None


@given(model=NAMES)
def test_an_absent_model_reads_as_it_was_written(model: str) -> None:
    reason = holds.model_offline(model)
    assert (holds.kind_of(reason), holds.offline_model(reason)) == (holds.MODEL_OFFLINE, model)
    assert holds.paused_what(reason) is None


@pytest.mark.parametrize("reason", [holds.RUN_AT, holds.QUEUE_FULL, holds.DEPENDENCIES, "paused: queue x", "of later"])
def test_other_reasons_are_neither(reason: str) -> None:
    assert holds.paused_what(reason) is None
    assert holds.offline_model(reason) is None
