"""What tasks say of their own length: it decides places in line under shortest_job_first."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Rows written before say nothing, which is read as no estimate."""
    comment = "how long one attempt takes, as its sender says"
    op.add_column("tasks", sa.Column("estimated_seconds", sa.Double(), nullable=True, comment=comment))


def downgrade() -> None:
    """Read models are rebuilt from the log, never migrated back."""
    raise NotImplementedError("rebuild the read models instead")
