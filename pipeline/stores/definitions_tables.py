"""Tables of the definitions database, under an installation's prefix."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.dialects import mysql

#: The migration this code belongs to.
REVISION = "0002"

#: Ids compare byte by byte on MySQL as on SQLite, but for spaces at their end, which no id has.
_ID = String(191).with_variant(mysql.VARCHAR(191, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
_BODY = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


class Tables:
    """The tables under one prefix."""

    def __init__(self, prefix: str) -> None:
        metadata = MetaData()
        self.version = Table(f"{prefix}alembic_version", metadata, Column("version_num", String(32), primary_key=True))
        self.counter = Table(
            f"{prefix}counter", metadata, Column("name", String(32), primary_key=True), Column("n", BigInteger)
        )
        self.definition = Table(
            f"{prefix}definition",
            metadata,
            Column("kind", String(32), primary_key=True),
            Column("id", _ID, primary_key=True),
            Column("revision", BigInteger, index=True, nullable=False),
            Column("deleted", Boolean, nullable=False),
            Column("schema", Integer, nullable=False),
            Column("body", _BODY, nullable=False),
            Column("log_group", _ID),
        )
        self.heartbeat = Table(
            f"{prefix}heartbeat",
            metadata,
            Column("worker", _ID, primary_key=True),
            Column("stage", String(32), nullable=False),
            Column("time_ms", BigInteger, nullable=False),
            Column("body", _BODY, nullable=False),
        )
