"""Who owns which shard: Faust's assignor, made to fill every worker and to keep a class's topics together."""

from __future__ import annotations

from faust.assignor.partition_assignor import PartitionAssignor
from faust.types import AppT


class ShardAssignor(PartitionAssignor):
    """Co-partitioned like Faust's own, without standby replicas.

    Faust's default (one replica) gives a third worker of four shards nothing; `table_standby_replicas=0` makes Faust
    fall back to a round robin that tears the three topics of a shard apart.
    """

    def __init__(self, app: AppT, replicas: int = 0) -> None:
        super().__init__(app, replicas=0)
