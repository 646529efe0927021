"""Elasticsearch as one node without security, on loopback."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from cluster.servers import place
from cluster.servers.server import Server

_TIMEOUT = aiohttp.ClientTimeout(total=5)
_HEAP = "512m"


class Elasticsearch(Server):
    """Ready when the cluster's health is at least yellow."""

    name = "Elasticsearch"

    def __init__(self, folder: Path, environment: Mapping[str, str], configuration: Mapping[str, str] = {}) -> None:
        """`configuration`: lines of its elasticsearch.yml that are to differ."""
        super().__init__(folder, environment)
        self._http, self._transport = self._ports(2)
        self._more = configuration

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http}"

    @property
    def _home(self) -> Path:
        return place.cache(self._environment) / place.ELASTICSEARCH

    def _prepare(self) -> None:
        for name in ("conf", "data", "logs", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        for path in (self._home / "config").iterdir():
            if path.is_file() and not (self.folder / "conf" / path.name).exists():
                shutil.copyfile(path, self.folder / "conf" / path.name)
        lines = {
            "cluster.name": "rayfold",
            "node.name": "n1",
            "discovery.type": "single-node",
            "network.host": "127.0.0.1",
            "http.port": str(self._http),
            "transport.port": str(self._transport),
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder / "logs"),
            "node.store.allow_mmap": "false",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            "action.destructive_requires_name": "true",
            "xpack.security.enabled": "false",
            "xpack.security.enrollment.enabled": "false",
            **self._more,
        }
        text = "".join(f"{name}: {value}\n" for name, value in lines.items())
        (self.folder / "conf" / "elasticsearch.yml").write_text(text)

    def _command(self) -> Sequence[str]:
        return ["/bin/bash", str(self._home / "bin" / "elasticsearch")]

    def _variables(self) -> Mapping[str, str]:
        return {
            "ES_JAVA_HOME": str(place.elasticsearch_java(self._environment)),
            "ES_PATH_CONF": str(self.folder / "conf"),
            "ES_TMPDIR": str(self.folder / "tmp"),
            "ES_JAVA_OPTS": f"-Xms{_HEAP} -Xmx{_HEAP}",
        }

    async def _ready(self) -> bool:
        try:
            async with (
                aiohttp.ClientSession(self.url, timeout=_TIMEOUT) as session,
                session.get("/_cluster/health", params={"wait_for_status": "yellow", "timeout": "1s"}) as answer,
            ):
                return answer.status == 200 and not (await answer.json())["timed_out"]
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    def _logs(self) -> Sequence[Path]:
        return [self.folder / "logs" / "rayfold.log"]
