"""MariaDB (or MySQL) on loopback: root without a password, one database."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.servers import place
from cluster.servers.server import Server, dropped_rights
from pipeline.errors import Misconfigured

DATABASE = "rayfold"

#: One ask for a greeting.
_TIMEOUT_S = 2.0


class MariaDB(Server):
    """Ready when it greets."""

    name = "MariaDB"

    def __init__(self, folder: Path, environment: Mapping[str, str], configuration: Mapping[str, str] = {}) -> None:
        """`configuration`: options of the server that are to differ, without their dashes."""
        super().__init__(folder, environment)
        (self._port,) = self._ports(1)
        self._more = configuration
        found = place.mariadbd(environment)
        if found is None:
            raise Misconfigured("no mariadbd and no mysqld on PATH: `make servers` says how to get one")
        self._program = found

    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self._port}/{DATABASE}"

    def _prepare(self) -> None:
        (self.folder / "tmp").mkdir(exist_ok=True)
        if (self.folder / ".made").exists():
            return
        shutil.rmtree(self.folder / "data", ignore_errors=True)  # half made by a start that was killed
        (self.folder / "data").mkdir()
        self._give(self.folder)
        arguments, text = self._first_start()
        done = subprocess.run(
            [*dropped_rights(), *arguments], input=text.encode(), capture_output=True, cwd=self.folder, check=False
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-10:]
            raise Misconfigured("MariaDB cannot make its data folder: " + "\n".join(said))
        (self.folder / ".made").touch()

    def _is_mysql(self) -> bool:
        said = subprocess.run([self._program, "--version"], capture_output=True, text=True, check=False).stdout
        return "mariadb" not in said.lower()

    def _first_start(self) -> tuple[Sequence[str], str]:
        """What makes the tables of the server itself and our database: a command and its input."""
        create = f"create database if not exists {DATABASE} character set utf8mb4 collate utf8mb4_unicode_ci;\n"
        if self._is_mysql():
            (self.folder / "init.sql").write_text(create)
            return [*self._base(), "--initialize-insecure", f"--init-file={self.folder / 'init.sql'}"], ""
        share = self._program.parents[1] / "share" / "mysql"
        tables = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
        text = "create database if not exists mysql;\nuse mysql;\nset @auth_root_socket=null;\nset @skip_auth_anonymous=1;\n"
        text += "".join((share / name).read_text() for name in tables) + create
        return [*self._base(), "--bootstrap", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"], text

    def _base(self) -> Sequence[str]:
        return [
            str(self._program),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder / 'tmp'}",
            "--innodb-buffer-pool-size=64M",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_unicode_ci",
        ]

    def _command(self) -> Sequence[str]:
        return [
            *self._base(),
            *(f"--port={self._port}", "--bind-address=127.0.0.1", f"--socket={self.folder / 's.sock'}"),
            *(f"--pid-file={self.folder / 'mariadbd.pid'}", "--skip-name-resolve", "--skip-log-bin"),
            *("--performance-schema=OFF", "--innodb-flush-log-at-trx-commit=1", "--default-time-zone=+00:00"),
            *("--max-connections=100", "--max-allowed-packet=64M", "--table-open-cache=200"),
            *(f"--{name}={value}" for name, value in self._more.items()),
        ]

    async def _ready(self) -> bool:
        writer = None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                return bool(await reader.read(1))
        except (OSError, TimeoutError):
            return False
        finally:
            if writer is not None:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
