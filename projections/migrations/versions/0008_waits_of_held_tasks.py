"""Since when a task waits and is held: what a start after a hold says of its wait counts from that."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Waits that began before count from their submission, as they did."""
    for name, comment in (
        ("wait_began_at", "when its latest attempt left it to wait again"),
        ("first_held_at", "when it was first held since it waits"),
    ):
        op.add_column("tasks", sa.Column(name, sa.DateTime(timezone=True), nullable=True, comment=comment))


def downgrade() -> None:
    """Read models are rebuilt from the log, never migrated back."""
    raise NotImplementedError("rebuild the read models instead")
