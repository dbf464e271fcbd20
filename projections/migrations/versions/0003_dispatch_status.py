"""What workers say of their queues: beside the leases, as no read model; no rebuild and no verification touches it."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: Repeatable, as those of the leases.
STATEMENTS = (
    """
    CREATE TABLE IF NOT EXISTS coordination.dispatch_status (
        worker text NOT NULL,
        resource_class text NOT NULL,
        updated_at timestamptz NOT NULL,
        status jsonb NOT NULL,
        PRIMARY KEY (worker, resource_class)
    ) WITH (fillfactor = 50)
    """,
    "COMMENT ON TABLE coordination.dispatch_status IS"
    " 'what each worker said last of its slots and lanes; written every second, deleted when its worker is long gone'",
)


def upgrade() -> None:
    """Create the table where it is not there yet."""
    for statement in STATEMENTS:
        op.execute(statement)
