"""Database engines of SQLAlchemy, set up so that SQLite orders writers as MySQL's row locks do."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

#: Seconds a writer waits for another one.
_BUSY_TIMEOUT_S = 10.0


def open_engine(url: str) -> AsyncEngine:
    """One connection a process: definitions are asked seldom and briefly."""
    if not url.startswith("sqlite"):
        return create_async_engine(url, pool_pre_ping=True, pool_recycle=1800, pool_size=2)
    engine = create_async_engine(url, poolclass=StaticPool, connect_args={"timeout": _BUSY_TIMEOUT_S})

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver must not open transactions by itself
        cursor = connection.cursor()
        cursor.execute("pragma journal_mode=wal")
        cursor.execute("pragma synchronous=full")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Any) -> None:
        immediate = connection.get_execution_options().get("writes", True)
        connection.exec_driver_sql("begin immediate" if immediate else "begin")

    return engine
