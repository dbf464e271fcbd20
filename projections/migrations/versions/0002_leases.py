"""Leases of limits: no read model, so in a schema of its own, which no rebuild and no verification touches."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: Repeatable: every schema of read models passes here, that of a rebuild too, and all share these tables.
STATEMENTS = (
    "CREATE SCHEMA IF NOT EXISTS coordination",
    """
    CREATE TABLE IF NOT EXISTS coordination.limits (
        scope text NOT NULL,
        name text NOT NULL,
        request_level double precision,
        request_level_at double precision,
        token_level double precision,
        token_level_at double precision,
        PRIMARY KEY (scope, name)
    )
    """,
    "COMMENT ON TABLE coordination.limits IS"
    " 'one row a limit that work has met: its lock, and its token buckets; moments are seconds since 1970'",
    """
    CREATE TABLE IF NOT EXISTS coordination.leases (
        scope text NOT NULL,
        name text NOT NULL,
        holder text NOT NULL,
        serial bigint NOT NULL,
        granted integer NOT NULL CHECK (granted >= 0),
        wanted integer NOT NULL,
        served_at double precision NOT NULL,
        request_held double precision NOT NULL,
        request_wanted double precision NOT NULL,
        request_credited double precision NOT NULL,
        request_waiting_since double precision,
        token_held double precision NOT NULL,
        token_wanted double precision NOT NULL,
        token_credited double precision NOT NULL,
        token_waiting_since double precision,
        expires_at double precision NOT NULL,
        PRIMARY KEY (scope, name, holder)
    ) WITH (fillfactor = 50)
    """,
    "COMMENT ON TABLE coordination.leases IS"
    " 'what each worker has of each limit until expires_at; holders are random; moments are seconds since 1970'",
    """
    CREATE TABLE IF NOT EXISTS coordination.blocked_providers (
        name text PRIMARY KEY,
        until double precision NOT NULL
    )
    """,
    "COMMENT ON TABLE coordination.blocked_providers IS"
    " 'providers that asked to be left alone, and until when; seconds since 1970'",
)


def upgrade() -> None:
    """Create what is not there yet."""
    for statement in STATEMENTS:
        op.execute(statement)
