"""Alembic's entry: runs the migrations on the connection that `projections.migrate` hands over."""

from alembic import context

from projections.database import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # Each schema of read models knows its own version, so that one built beside the live one can take its place.
    version_table_schema=context.config.attributes["schema"],
)
with context.begin_transaction():
    context.run_migrations()
