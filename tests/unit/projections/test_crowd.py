"""Pauses that make larger batches are for crowds: neither for single tasks nor for a projector that lags."""

from projections.runner import BATCH_RECORDS_MAX, CROWD_RECORDS, CROWD_REST_SECONDS, _crowd_rest


def test_only_a_crowd_waits_for_more() -> None:
    assert _crowd_rest(3) == 0.0
    assert _crowd_rest(CROWD_RECORDS) == CROWD_REST_SECONDS
    assert _crowd_rest(BATCH_RECORDS_MAX) == 0.0
