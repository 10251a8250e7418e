"""The Alembic environment of every service: connection and version table come from the runner."""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    version_table=attributes["version_table"],
    transaction_per_migration=True,
    # SQLite's transactions cover schema changes too, once the driver does not interfere (see targets.py).
    transactional_ddl=True,
    render_as_batch=attributes["connection"].dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
