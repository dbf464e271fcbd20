"""Attempts that providers refused, which cost their tasks nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. No fact that was read before tells of a refusal."""
    comment = "those returned because a provider refused them"
    refused = sa.Column("attempts_refused", sa.BigInteger(), nullable=False, server_default="0", comment=comment)
    op.add_column("tasks", refused)
    op.alter_column("tasks", "attempts_refused", server_default=None)
    comment = "when a provider first refused the run"
    op.add_column("tasks", sa.Column("refused_since_at", sa.DateTime(timezone=True), nullable=True, comment=comment))
    comment = "when a retry, what a provider refused, or held work may go on"
    op.alter_column("tasks", "due_at", comment=comment)


def downgrade() -> None:
    """Read models are rebuilt from the log, never migrated back."""
    raise NotImplementedError("rebuild the read models instead")
