"""Alembic's environment: always on the connection that ``guilder.db.migrate`` hands over."""

from alembic import context

from guilder.tables import metadata

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=metadata,
    render_item=attributes.get("render_item"),
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
