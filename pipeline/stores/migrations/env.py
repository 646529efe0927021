"""Run by Alembic with the connection and prefix that `pipeline.stores.migrate` hands over."""

from alembic import context

_attributes = context.config.attributes

context.configure(
    connection=_attributes["connection"],
    version_table=f"{_attributes['prefix']}alembic_version",
)
with context.begin_transaction():
    context.run_migrations()
