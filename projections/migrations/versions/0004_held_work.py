"""What held work is found by: dependencies, workflows, schedules, deadlines; and where a task was routed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_HELD = "latest AND status = 'held'"
_WAITING = f"{_HELD} AND hold_reason = 'dependencies'"


def upgrade() -> None:
    """Add the columns and their indexes. Rows written before are right: their tasks have none of it."""
    columns: tuple[sa.Column[Any], ...] = (
        sa.Column("routing_key", sa.Text(), nullable=True, comment="as submitted, or as routed since"),
        sa.Column(
            "routed_to",
            sa.ARRAY(sa.Text()),
            nullable=True,
            comment="models that it was routed to, in order; null for none",
        ),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "depends_on", sa.ARRAY(sa.Text()), nullable=True, comment="tasks that must have ended first; null for none"
        ),
        sa.Column(
            "on_dependency_failure",
            sa.Text(),
            nullable=True,
            comment="fail, continue or fail_fast; null without submission",
        ),
        sa.Column("workflow_id", sa.Text(), nullable=True),
        sa.Column("schedule_id", sa.Text(), nullable=True),
    )
    for column in columns:
        op.add_column("tasks", column)
    op.create_index(
        "ix_tasks_workflow",
        "tasks",
        ["workflow_id"],
        unique=False,
        postgresql_where=sa.text("latest AND workflow_id IS NOT NULL"),
    )
    op.create_index(
        "ix_tasks_schedule",
        "tasks",
        ["schedule_id", "task_id"],
        unique=False,
        postgresql_where=sa.text("schedule_id IS NOT NULL"),
    )
    op.create_index(
        "ix_tasks_hold_reason",
        "tasks",
        ["hold_reason", "resource_class", "created_at"],
        unique=False,
        postgresql_where=sa.text(_HELD),
    )
    op.create_index(
        "ix_tasks_held_deadline",
        "tasks",
        ["deadline_at"],
        unique=False,
        postgresql_where=sa.text(f"{_HELD} AND deadline_at IS NOT NULL"),
    )
    op.create_index("ix_tasks_waiting", "tasks", ["task_id"], unique=False, postgresql_where=sa.text(_WAITING))
    op.create_index(
        "ix_tasks_depends_on",
        "tasks",
        ["depends_on"],
        unique=False,
        postgresql_using="gin",
        postgresql_where=sa.text(_WAITING),
    )
    op.create_index(
        "ix_tasks_unfinished_steps",
        "tasks",
        ["task_id"],
        unique=False,
        postgresql_where=sa.text("latest AND on_dependency_failure = 'fail_fast' AND finished_at IS NULL"),
    )


def downgrade() -> None:
    """Read models are rebuilt from the log, never migrated back."""
    raise NotImplementedError("rebuild the read models instead")
