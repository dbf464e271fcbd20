"""What starts and ends tell since their second version, and priorities that were changed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Rows written before lack what their facts did not tell."""
    for name, comment in (
        ("waited_ms", "JSON text: milliseconds waited before it, by cause"),
        ("strategy", "the strategy that chose it"),
        ("model", "the model that it ran on"),
        ("usage", "JSON text: what it used, by name and unit; null unless it completed"),
    ):
        op.add_column("attempts", sa.Column(name, sa.Text(), nullable=True, comment=comment))
    comment = "given to it since its submission; null for none"
    op.add_column("tasks", sa.Column("changed_priority", sa.SmallInteger(), nullable=True, comment=comment))
    # A start tells its waits since then, and an older one is read as if it told none.
    op.execute("UPDATE attempts SET waited_ms = '{}'")


def downgrade() -> None:
    """Read models are rebuilt from the log, never migrated back."""
    raise NotImplementedError("rebuild the read models instead")
