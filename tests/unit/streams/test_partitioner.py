"""Other clients must find our keys where they look for them."""

from __future__ import annotations

from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as of_aiokafka
from hypothesis import given
from hypothesis import strategies as st

from streams.partitioner import murmur2, partition_of


@given(key=st.binary(max_size=70), partitions=st.integers(1, 50))
def test_a_key_goes_where_every_kafka_client_sends_it(key: bytes, partitions: int) -> None:
    every = list(range(partitions))
    assert murmur2(key) == of_aiokafka(key) & 0xFFFFFFFF
    assert partition_of(key, every, every) == DefaultPartitioner()(key, every, every)


def test_without_a_key_any_available_partition_will_do() -> None:
    assert {partition_of(None, [0, 1, 2, 3], [1, 2]) for _ in range(100)} == {1, 2}
    assert partition_of(None, [3], []) == 3
