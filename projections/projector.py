"""Projecting batches of the log into the schema that a connection sees, each exactly once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import ConsumerRecord, TopicPartition
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row

from projections import staging, writer
from projections.anomalies import Finding
from projections.fold import Changes, Recorded, Runs, fold, read
from projections.locks import Lock, share_until_commit
from projections.position import Position
from projections.runs import Run
from projections.tasks import TASKS, run_of
from projections.writer import Move, Partition, ProjectedElsewhere

Batch = Mapping[TopicPartition, Sequence[ConsumerRecord]]

#: Unfinished tasks kept in memory, so that their next facts need no query.
REMEMBERED_TASKS_MAX = 20_000
#: Submissions larger than this are read again when needed.
REMEMBERED_SUBMISSION_BYTES_MAX = 16 * 1024

_LOAD = sql.SQL("SELECT {} FROM tasks WHERE task_id = ANY(%s)").format(
    sql.SQL(", ").join(sql.Identifier(column.name) for column in TASKS.columns)
)


class Projector:
    """Folds batches and writes what they change, each in one transaction with the offsets.

    The connection must be in autocommit mode, and be used by nobody else. After any error the projector must be
    thrown away and another one opened.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        lock: Lock | None,
        schema_id: int,
        offsets: dict[Partition, int],
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._schema_id = schema_id
        self._remembered: OrderedDict[str, Runs] = OrderedDict()
        #: The next offset to be projected, by topic and partition; as committed.
        self.offsets = offsets

    @classmethod
    async def open(cls, connection: AsyncConnection, *, lock: Lock | None = Lock.WRITE) -> Projector:
        """A projector that goes on from what the connection's schema holds.

        Without a lock the schema must be the caller's own: nobody else knows of it, and nobody is told of ends.
        """
        # What a crash of PostgreSQL takes back, offsets and rows alike, is projected again from the log.
        await connection.execute("SET synchronous_commit = off")
        await staging.prepare(connection, writer.STAGED)
        async with connection.transaction():
            if lock is not None:
                await share_until_commit(connection, lock)
            schema_id = await _schema_id(connection)
            rows = await connection.execute("SELECT topic, partition, next_offset FROM projection_offsets")
            offsets = {(topic, partition): offset for topic, partition, offset in await rows.fetchall()}
        return cls(connection, lock, schema_id, offsets)

    async def apply(self, batch: Batch, *, records_behind: int = 0) -> Changes:
        """Project a batch: each partition's records in order, from where its offset stands.

        Raises:
            ProjectedElsewhere: the read models were exchanged or moved by somebody else; open another projector.
            psycopg.Error: PostgreSQL went away or refused; nothing of the batch is written, or all of it.
        """
        moves = {(key.topic, key.partition): self._move(key, records) for key, records in batch.items() if records}
        items = [_read(record) for records in batch.values() for record in records]
        async with self._connection.transaction():
            await self._share_lock()
            changes = fold(items, await self._load(items))
            await writer.write(
                self._connection,
                changes,
                moves,
                few=writer.are_few([item.record for item in items if isinstance(item, Recorded)]),
                schema_id=self._schema_id,
                records_behind=records_behind,
                tells=self._lock is not None,
            )
        self.offsets.update({partition: move.next_offset for partition, move in moves.items()})
        self._remember(changes)
        return changes

    async def beat(self, records_behind: int) -> None:
        """Leave a sign of life. Raises as `apply` does."""
        async with self._connection.transaction():
            await self._share_lock()
            if await _schema_id(self._connection) != self._schema_id:
                raise ProjectedElsewhere("the read models have been exchanged for rebuilt ones")
            await writer.note_progress(self._connection, records_behind)

    async def _share_lock(self) -> None:
        """From here to the end of the transaction the schema cannot be exchanged."""
        if self._lock is not None:
            await share_until_commit(self._connection, self._lock)

    def _move(self, key: TopicPartition, records: Sequence[ConsumerRecord]) -> Move:
        expected = self.offsets.get((key.topic, key.partition))
        last = records[-1]
        return Move(expected, last.offset + 1, _position(last).appended_at)

    async def _load(self, items: Iterable[Recorded | Finding]) -> dict[str, Runs]:
        """All runs of the tasks that a batch touches."""
        task_ids = {item.fact.task_id for item in items if isinstance(item, Recorded)}
        loaded: dict[str, Runs] = {id_: self._remembered[id_] for id_ in task_ids if id_ in self._remembered}
        missing = [task_id for task_id in task_ids if task_id not in loaded]
        if not missing:
            return loaded
        found: dict[str, dict[int, Run]] = {}
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(_LOAD, [missing])
            async for row in cursor:
                run = run_of(row)
                found.setdefault(run.state.task_id, {})[run.state.run] = run
        return loaded | found

    def _remember(self, changes: Changes) -> None:
        for task_id, runs in changes.tasks.items():
            self._remembered.pop(task_id, None)
            if runs and _worth_remembering(runs):
                self._remembered[task_id] = runs
        while len(self._remembered) > REMEMBERED_TASKS_MAX:
            self._remembered.popitem(last=False)


def _worth_remembering(runs: Runs) -> bool:
    size = sum(len(run.submission_bytes or b"") for run in runs.values())
    return not runs[max(runs)].state.terminal and size <= REMEMBERED_SUBMISSION_BYTES_MAX


def _read(record: ConsumerRecord) -> Recorded | Finding:
    return read(record.value, _position(record))


def _position(record: ConsumerRecord) -> Position:
    return Position(record.timestamp, record.topic, record.partition, record.offset)


async def _schema_id(connection: AsyncConnection) -> int:
    """Identity of the schema that the connection sees: a swap exchanges it for another of the same name."""
    query = "SELECT oid FROM pg_namespace WHERE nspname = current_schema()"
    row = await (await connection.execute(query)).fetchone()
    return 0 if row is None else int(row[0])
