"""Pulsar, Elasticsearch and MariaDB together, and the settings that put Rayfold on them."""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cluster.servers import place
from cluster.servers.elasticsearch import Elasticsearch
from cluster.servers.mariadb import MariaDB
from cluster.servers.pulsar import Pulsar
from cluster.servers.server import Server
from pipeline.errors import Misconfigured

#: As many as the cores of a small machine can make use of.
_PARTITIONS = "4"


class Trio:
    """Each in a folder of its own below one that a process without rights may enter."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Raises `Misconfigured` naming every program that is missing."""
        self._partitions = environment.get("RAYFOLD_PARTITIONS") or _PARTITIONS
        missing = place.missing(environment)
        if missing:
            raise Misconfigured("; ".join(missing))
        self.pulsar = Pulsar(folder / "pulsar", environment)
        self.elasticsearch = Elasticsearch(folder / "elasticsearch", environment)
        self.mariadb = MariaDB(folder / "mariadb", environment)

    @property
    def servers(self) -> tuple[Server, ...]:
        return self.pulsar, self.elasticsearch, self.mariadb

    @property
    def settings(self) -> Mapping[str, str]:
        """Environment variables of an installation on them."""
        return {
            "RAYFOLD_LOG": self.pulsar.url,
            "RAYFOLD_PULSAR_ADMIN": self.pulsar.admin_url,
            "RAYFOLD_DOCUMENTS": self.elasticsearch.url,
            "RAYFOLD_DOCUMENTS_REPLICAS": "0",  # one node has nowhere to put a copy
            "RAYFOLD_DEFINITIONS": self.mariadb.url,
            "RAYFOLD_PARTITIONS": self._partitions,
        }

    async def start(self) -> None:
        """All three at once; ready on return, none left when one fails."""
        try:
            await asyncio.gather(*(server.start() for server in self.servers))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        await asyncio.gather(*(server.stop() for server in self.servers))

    def members(self) -> list[int]:
        """All their processes."""
        return [pid for server in self.servers for pid in server.members()]

    def log_tail(self) -> str:
        return "\n".join(server.log_tail() for server in self.servers)


@contextmanager
def running(folder: Path, environment: Mapping[str, str]) -> Iterator[Trio]:
    """Started, and stopped in the end whatever becomes of the block."""
    trio = Trio(folder, environment)
    asyncio.run(trio.start())
    try:
        yield trio
    finally:
        asyncio.run(trio.stop())


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """For servers of one run, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="rayfold-servers-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def folder_of(data: Path) -> Path:
    """Where the servers of the installation in `data` keep theirs.

    Of root it is elsewhere, for the data folder is private and the servers run as somebody without rights.
    """
    if os.getuid() != 0:
        return data.with_name(f"{data.name}-servers")
    name = hashlib.blake2b(os.fsencode(data.absolute()), digest_size=6).hexdigest()
    return Path("/var/lib/rayfold") / f"servers-{name}"
