"""The first tables: counter, definition, heartbeat."""

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
    counter = op.create_table(
        f"{prefix}counter",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("n", sa.BigInteger),
    )
    op.bulk_insert(counter, [{"name": "revision", "n": 0}])
    op.create_table(
        f"{prefix}definition",
        sa.Column("kind", sa.String(32), primary_key=True),
        sa.Column("id", _ID, primary_key=True),
        sa.Column("revision", sa.BigInteger, index=True, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("schema", sa.Integer, nullable=False),
        sa.Column("body", _BODY, nullable=False),
    )
    op.create_table(
        f"{prefix}heartbeat",
        sa.Column("worker", _ID, primary_key=True),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("body", _BODY, nullable=False),
    )
