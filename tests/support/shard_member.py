"""A member in a process of its own, so that it can be killed: prints one line of JSON for each thing it sees.

python -m tests.support.shard_member faust '{"bootstrap_servers": ...}'
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from streams.shard_stream import GroupMembership, Ownership, ShardRecord
from tests.support.shards import STREAMS, RecordingOwner


def say(**what: Any) -> None:
    """Tell the test."""
    print(json.dumps(what), flush=True)


async def main(kind: str, membership: GroupMembership) -> None:
    """Acknowledge everything, until killed or until standard input ends."""
    stream = STREAMS[kind](membership)

    async def assigned(ownership: Ownership) -> None:
        say(generation=ownership.generation, shards=sorted(ownership.shards))

    def received(record: ShardRecord) -> None:
        say(topic=record.topic, shard=record.shard, value=(record.value or b"").decode())

    owner = RecordingOwner(stream, acknowledges=True, on_assigned=assigned, on_record=received)
    await stream.start(owner)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await stream.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], GroupMembership(**json.loads(sys.argv[2]))))
