"""The newest revision of a definitions database on MySQL: asked for every batch, so in one round trip and little work."""

import asyncio

from sqlalchemy import Select, text
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class MysqlRevision:
    """A connection of its own on which every statement stands alone: neither looked at before nor set back after.

    Opened by the first question, and again by the first after one that failed.
    """

    def __init__(self, engine: AsyncEngine, statement: Select[tuple[int]]) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        compiled = statement.compile(dialect=mysql.dialect(), compile_kwargs={"literal_binds": True})
        self._statement = text(str(compiled))
        self._one_at_a_time = asyncio.Lock()
        self._connection: AsyncConnection | None = None

    async def read(self) -> int:
        """Sees every transaction that was committed before. Raises SQLAlchemy's errors."""
        async with self._one_at_a_time:
            if self._connection is None:
                self._connection = await self._engine.connect()
            try:
                return int((await self._connection.execute(self._statement)).scalar_one())
            except BaseException:  # given up half-way, its answer would be taken for the next one's
                await self._drop()
                raise

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
