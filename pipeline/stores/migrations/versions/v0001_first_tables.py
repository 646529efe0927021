"""The first tables: counter, definition, heartbeat.

MySQL commits each statement by itself: one that was killed half-way is begun again.
"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.String(191).with_variant(mysql.VARCHAR(191, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
_BODY = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    prefix = context.config.attributes["prefix"]
    op.create_table(
        f"{prefix}counter",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("n", sa.BigInteger),
        if_not_exists=True,
        mysql_engine="InnoDB",  # revisions are ordered by its row locks
    )
    connection = op.get_bind()
    counter = sa.table(f"{prefix}counter", sa.column("name", sa.String), sa.column("n", sa.BigInteger))
    if not connection.scalar(sa.select(sa.func.count()).select_from(counter)):
        op.bulk_insert(counter, [{"name": "revision", "n": 0}])
    op.create_table(
        f"{prefix}definition",
        sa.Column("kind", sa.String(32), primary_key=True),
        sa.Column("id", _ID, primary_key=True),
        sa.Column("revision", sa.BigInteger, index=True, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("schema", sa.Integer, nullable=False),
        sa.Column("body", _BODY, nullable=False),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
    op.create_table(
        f"{prefix}heartbeat",
        sa.Column("worker", _ID, primary_key=True),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("body", _BODY, nullable=False),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
