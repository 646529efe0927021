"""All settings, read once: environment over rayfold.toml over defaults."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cluster import setting_values as read
from cluster.setting_values import EMBEDDED
from pipeline.errors import Misconfigured
from pipeline.limits import Limits

#: Partitions of a new installation.
_EMBEDDED_PARTITIONS = 4
_PULSAR_PARTITIONS = 16

_DAY_MS = 86_400_000

#: Of the largest message that the broker takes, what a body may come to: its events repeat its context, and in the same
#: envelope lie the profile and the session.
_SHARE_OF_MESSAGE = 0.4


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One installation. Secrets are not shown."""

    data: Path = Path("./data")
    log: str = EMBEDDED
    documents: str = EMBEDDED
    definitions: str = field(default=EMBEDDED, repr=False)  # may hold a password
    partitions: int = _EMBEDDED_PARTITIONS
    layout: str = "compact"
    collector_enabled: bool = True
    workflow_enabled: bool = True
    retention_ms: int = 7 * _DAY_MS
    max_body: int = 10_000_000
    max_events: int = 1_000
    max_event: int = 256_000
    scale_records: int = 20_000  #: waiting records for which one more worker is started
    host: str = "127.0.0.1"
    port: int = 8585
    instance: str = ""
    dedup_days: int = 7
    pulsar_admin: str = ""
    pulsar_tenant: str = "rayfold"
    pulsar_namespace: str = "system"
    pulsar_token: str = field(default="", repr=False)
    pulsar_ca_file: str = ""
    pulsar_max_message: int = 5_000_000
    documents_username: str = ""
    documents_password: str = field(default="", repr=False)
    documents_api_key: str = field(default="", repr=False)
    documents_ca_file: str = ""
    documents_by: Literal["day", "month", "year"] = "month"  #: what an index of sessions or events spans
    documents_refresh: str = "10s"
    documents_replicas: int = 1
    documents_retention_ms: int = 0  #: 0: kept for ever
    secret_key: str = field(default="", repr=False)
    admin_token: str = field(default="", repr=False)

    @property
    def limits(self) -> Limits:
        """A body is never larger than an envelope of it fits into one message of the broker."""
        largest = self.max_body if self.log == EMBEDDED else int(self.pulsar_max_message * _SHARE_OF_MESSAGE)
        return Limits(min(self.max_body, largest), self.max_events, min(self.max_event, largest))

    @property
    def prefix(self) -> str:
        """Before the name of everything that this installation has on servers."""
        return f"{self.instance}_" if self.instance else ""

    @property
    def uses_servers(self) -> bool:
        """Whether anything but the data folder is needed."""
        return {self.log, self.documents, self.definitions} != {EMBEDDED}

    @property
    def url(self) -> str:
        """Where both APIs answer."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


#: Name in `Settings` → how its text is read. The variable is RAYFOLD_ and the name in capitals.
_READ: Mapping[str, Callable[[Any], Any]] = {
    "data": Path,
    "log": read.log,
    "documents": read.documents,
    "definitions": read.definitions,
    "partitions": read.partitions,
    "layout": read.layout,
    "collector_enabled": read.flag,
    "workflow_enabled": read.flag,
    "retention": read.duration,
    "dedup_days": read.count,
    "max_body": read.size,
    "max_events": read.count,
    "max_event": read.size,
    "scale_records": read.count,
    "host": read.text,
    "port": read.port,
    "instance": read.instance,
    "pulsar_admin": read.http,
    "pulsar_tenant": read.name,
    "pulsar_namespace": read.name,
    "pulsar_token": read.text,
    "pulsar_ca_file": read.text,
    "pulsar_max_message": read.message,
    "documents_username": read.text,
    "documents_password": read.text,
    "documents_api_key": read.text,
    "documents_ca_file": read.text,
    "documents_by": read.time_partition,
    "documents_refresh": read.text,
    "documents_replicas": read.natural,
    "documents_retention": read.duration,
    "secret_key": read.text,
    "admin_token": read.text,
}

#: Kept in other units than they are written.
_NAMES: Mapping[str, str] = {"retention": "retention_ms", "documents_retention": "documents_retention_ms"}

#: Never shown, not even where they cannot be used.
_SECRET = frozenset(
    ("definitions", "secret_key", "admin_token", "pulsar_token", "documents_password", "documents_api_key")
)


def read_settings(environment: Mapping[str, str], **given: Any) -> Settings:
    """`given` (from the command line, None = not given) wins. Raises `Misconfigured` naming the culprit."""
    found: dict[str, Any] = {}
    config = environment.get("RAYFOLD_CONFIG")
    if config:
        found.update(_from_file(Path(config)))
    for name in _READ:
        value = environment.get(f"RAYFOLD_{name.upper()}")
        if value:
            found[name] = value
    found.update({name: value for name, value in given.items() if value is not None})
    values: dict[str, Any] = {}
    for name, value in found.items():
        try:
            values[_NAMES.get(name, name)] = _READ[name](value)
        except ValueError as error:
            shown = "" if name in _SECRET else f"={value!s:.64}"
            raise Misconfigured(f"RAYFOLD_{name.upper()}{shown} cannot be used: {error}") from None
    if "collector_enabled" not in values:
        values["collector_enabled"] = values.get("layout", Settings.layout) != "v1.0"
    if "partitions" not in values and values.get("log", EMBEDDED) != EMBEDDED:
        values["partitions"] = _PULSAR_PARTITIONS
    settings = Settings(**values)
    if 0 < settings.documents_retention_ms < settings.dedup_days * _DAY_MS:
        raise Misconfigured(
            f"RAYFOLD_DOCUMENTS_RETENTION is shorter than RAYFOLD_DEDUP_DAYS={settings.dedup_days}: repeats are recognised by "
            "the documents, so keep them for longer, or recognise repeats for less long"
        )
    if settings.log != EMBEDDED and not settings.pulsar_admin:
        raise Misconfigured(
            "RAYFOLD_LOG names a Pulsar, so RAYFOLD_PULSAR_ADMIN must name its admin API, as http://host:8080"
        )
    return settings


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise Misconfigured(f"RAYFOLD_CONFIG={path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path} is not valid TOML: {error}") from None
    unknown = sorted(content.keys() - _READ.keys())
    if unknown:
        raise Misconfigured(f"{path} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(_READ))}")
    return content
