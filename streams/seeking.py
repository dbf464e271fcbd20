"""Has a member of a group read again what it took but may not hand out.

A read that is under way when the shards are assigned anew may bring records of the new generation before their owner is
ready for them. They are dropped, and have to come again: `AIOKafkaConsumer.seek_to_committed` passes over a partition
with nothing committed, whose records would be gone until the next rebalance.
"""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition


async def seek_to_committed(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int | None]:
    """Go on at the committed offsets, which are returned; where there is none, at the first record.

    Raises:
        KafkaError: the group's coordinator cannot be asked.
    """
    committed: dict[TopicPartition, int | None] = {}
    for partition in consumer.assignment():
        committed[partition] = await consumer.committed(partition)
        if partition in consumer.assignment():
            # Where retention has removed the first records, the broker says so, and the earliest one is fetched.
            consumer.seek(partition, committed[partition] or 0)
    return committed
