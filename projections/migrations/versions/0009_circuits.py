"""Circuits that are open: no read model, beside the leases of limits."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

#: Repeatable: every schema of read models passes here, that of a rebuild too, and all share this table.
STATEMENTS = (
    """
    CREATE TABLE IF NOT EXISTS coordination.circuits (
        name text PRIMARY KEY,
        until double precision NOT NULL,
        times integer NOT NULL,
        prober text
    )
    """,
    "COMMENT ON TABLE coordination.circuits IS"
    " 'providers that failed too often in a row; until: nobody calls it, but for prober; seconds since 1970'",
)


def upgrade() -> None:
    """Create what is not there yet."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Read models are rebuilt from the log, never migrated back."""
    raise NotImplementedError("rebuild the read models instead")
