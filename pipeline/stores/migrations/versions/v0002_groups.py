"""Definitions name their group on the log: those that have one keep the name it has."""

import json

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.String(191).with_variant(mysql.VARCHAR(191, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
_PREFIXES = {"destinations": "dest.", "replays": "replay."}


def upgrade() -> None:
    name = f"{context.config.attributes['prefix']}definition"
    connection = op.get_bind()
    if "log_group" not in {column["name"] for column in sa.inspect(connection).get_columns(name)}:
        op.add_column(name, sa.Column("log_group", _ID, nullable=True))
    table = sa.table(name, *map(sa.column, ("kind", "id", "deleted", "body", "log_group")))
    wanted = sa.select(table.c.kind, table.c.id, table.c.body).where(
        table.c.kind.in_(list(_PREFIXES)), table.c.deleted == sa.false()
    )
    for kind, id, body in connection.execute(wanted).fetchall():
        if json.loads(bytes(body)).get("enabled", True):
            row = sa.update(table).where(table.c.kind == kind, table.c.id == id)
            connection.execute(row.values(log_group=_PREFIXES[kind] + id))
