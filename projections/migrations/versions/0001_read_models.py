"""The first read models: tasks, attempts, history, queue depth, daily statistics, anomalies, offsets."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table and index, in the schema that the connection's search_path names."""
    op.create_table(
        "anomalies",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("appended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True, comment="null where the record could not be read"),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "offset", name="pk_anomalies"),
    )
    op.create_table(
        "attempts",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("handler_version", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True, comment="null while it runs"),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("task_id", "run", "attempt", name="pk_attempts"),
    )
    op.create_table(
        "daily_statistics",
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("submitted", sa.BigInteger(), nullable=False),
        sa.Column("completed", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("expired", sa.BigInteger(), nullable=False),
        sa.Column("run_microseconds", sa.BigInteger(), nullable=False),
        sa.Column("wait_microseconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("date", "type", "tenant", name="pk_daily_statistics"),
    )
    op.create_table(
        "history",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "accepted", sa.Boolean(), nullable=False, comment="false: a stale or impossible fact, without effect"
        ),
        sa.Column("data", sa.Text(), nullable=False, comment="JSON text: the fact's small fields"),
        sa.Column("appended_ms", sa.BigInteger(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_history"),
    )
    op.create_index("ix_history_task", "history", ["task_id"], unique=False)
    op.create_table(
        "projection_offsets",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column(
            "appended_at", sa.DateTime(timezone=True), nullable=False, comment="append time of the last record folded"
        ),
        sa.PrimaryKeyConstraint("topic", "partition", name="pk_projection_offsets"),
    )
    op.create_table(
        "projector_progress",
        sa.Column("singleton", sa.Boolean(), nullable=False, comment="always true: one row"),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False, comment="last sign of life of the projector"),
        sa.Column("records_behind", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("singleton", name="pk_projector_progress"),
    )
    op.create_table(
        "queue_depth",
        sa.Column("resource_class", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tasks", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resource_class", "priority", "status", name="pk_queue_depth"),
    )
    op.create_table(
        "tasks",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("latest", sa.Boolean(), nullable=False, comment="no later run of the task is known"),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=True, comment="null while only later facts have been read"),
        sa.Column("tenant", sa.Text(), nullable=True),
        sa.Column("resource_class", sa.Text(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("attempts_returned", sa.BigInteger(), nullable=False),
        sa.Column("attempts_lost", sa.BigInteger(), nullable=False),
        sa.Column("running_attempt", sa.BigInteger(), nullable=True, comment="the attempt that occupies a slot now"),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True, comment="when a retry or held work may go on"),
        sa.Column("hold_reason", sa.Text(), nullable=True),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=True, comment="when the log took the hold"),
        sa.Column(
            "appended_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the log last took the submission on a class topic",
        ),
        sa.Column("checkpoint", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True, comment="JSON text"),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="submission, or the first fact where none is known",
        ),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True, comment="start of the latest attempt"),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("run_microseconds", sa.BigInteger(), nullable=False, comment="time that ended attempts took"),
        sa.Column(
            "submission",
            sa.LargeBinary(),
            nullable=True,
            comment="TaskSubmitted as appended: Avro single-object encoding",
        ),
        sa.Column(
            "submission_ms", sa.BigInteger(), nullable=True, comment="place of the submission in the log: append time"
        ),
        sa.Column("submission_topic", sa.Text(), nullable=True),
        sa.Column("submission_partition", sa.BigInteger(), nullable=True),
        sa.Column("submission_offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("task_id", "run", name="pk_tasks"),
    )
    op.create_index(
        "ix_tasks_created", "tasks", ["created_at", "task_id"], unique=False, postgresql_where=sa.text("latest")
    )
    op.create_index(
        "ix_tasks_held",
        "tasks",
        ["resource_class", "due_at", "created_at"],
        unique=False,
        postgresql_where=sa.text("latest AND status = 'held'"),
    )
    op.create_index(
        "ix_tasks_status", "tasks", ["status", "created_at"], unique=False, postgresql_where=sa.text("latest")
    )
    op.create_index(
        "ix_tasks_tenant", "tasks", ["tenant", "created_at"], unique=False, postgresql_where=sa.text("latest")
    )
    op.create_index("ix_tasks_type", "tasks", ["type", "created_at"], unique=False, postgresql_where=sa.text("latest"))


def downgrade() -> None:
    """Read models are rebuilt from the log, never migrated back."""
    raise NotImplementedError("rebuild the read models instead")
