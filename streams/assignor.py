"""Who owns which shard: Faust's assignor, made to fill every worker and to keep a class's topics together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from faust.assignor.partition_assignor import PartitionAssignor
from faust.types import AppT


class ShardAssignor(PartitionAssignor):
    """Co-partitioned like Faust's own, without standby replicas, and without a look at the cluster.

    Faust's default (one replica) gives a third worker of four shards nothing; `table_standby_replicas=0` makes Faust
    fall back to a round robin that tears the three topics of a shard apart. And it leaves out topics that the leader
    of the group does not know yet, as after a restart of the broker: then nobody owns them, and the group is content.
    """

    #: Partitions of each topic, as the class is set to.
    shards: ClassVar[int]

    def __init__(self, app: AppT, replicas: int = 0) -> None:
        super().__init__(app, replicas=0)

    @classmethod
    def _get_copartitioned_groups(cls, topics: Iterable[str], cluster: Any, subscriptions: Any) -> Any:
        return {cls.shards: cls._group_co_subscribed(set(topics), subscriptions)}


def assignor_of(shards: int) -> type[ShardAssignor]:
    """The assignor of a class with so many shards."""
    return type("ShardAssignor", (ShardAssignor,), {"shards": shards})
