"""All settings, read once: environment over rayfold.toml over defaults."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import Misconfigured
from pipeline.limits import Limits

EMBEDDED = "embedded"
LAYOUTS = ("compact", "v1.0", "v1.1")

#: Partitions of a new embedded installation.
_EMBEDDED_PARTITIONS = 4
_MOST_PARTITIONS = 256

_SIZE = re.compile(r"^(\d+)\s*(b|kb|mb|gb)?$", re.IGNORECASE)
_SIZES = {"b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000}
_DURATION = re.compile(r"^(\d+)\s*(s|seconds?|m|minutes?|h|hours?|d|days?)$", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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
    retention_ms: int = 7 * 86_400_000
    max_body: int = 10_000_000
    max_events: int = 1_000
    max_event: int = 256_000
    scale_records: int = 20_000  #: waiting records for which one more worker is started
    host: str = "127.0.0.1"
    port: int = 8585
    secret_key: str = field(default="", repr=False)
    admin_token: str = field(default="", repr=False)

    @property
    def limits(self) -> Limits:
        return Limits(self.max_body, self.max_events, self.max_event)

    @property
    def url(self) -> str:
        """Where both APIs answer."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def _text(value: Any) -> str:
    return str(value)


def _flag(value: Any) -> bool:
    text = str(value).lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise ValueError("use true or false")


def _size(value: Any) -> int:
    found = _SIZE.match(str(value).strip())
    if found is None:
        raise ValueError("write a size as 10 MB")
    return _at_least_one(int(found.group(1)) * _SIZES[(found.group(2) or "b").lower()])


def _count(value: Any) -> int:
    return _at_least_one(int(value))


def _at_least_one(number: int) -> int:
    if number < 1:
        raise ValueError("a number from 1")
    return number


def _duration(value: Any) -> int:
    found = _DURATION.match(str(value).strip())
    if found is None:
        raise ValueError("write a duration as 7 days or 12 h")
    return int(found.group(1)) * _SECONDS[found.group(2)[0].lower()] * 1000


def _port(value: Any) -> int:
    number = int(value)
    if not 0 < number < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return number


def _partitions(value: Any) -> int:
    number = int(value)
    if not 0 < number <= _MOST_PARTITIONS:
        raise ValueError(f"a number from 1 to {_MOST_PARTITIONS}")
    return number


def _layout(value: Any) -> str:
    if value not in LAYOUTS:
        raise ValueError(f"one of {', '.join(LAYOUTS)}")
    return str(value)


#: Name in `Settings` → how its text is read. The variable is RAYFOLD_ and the name in capitals.
_READ: Mapping[str, Callable[[Any], Any]] = {
    "data": Path,
    "log": _text,
    "documents": _text,
    "definitions": _text,
    "partitions": _partitions,
    "layout": _layout,
    "collector_enabled": _flag,
    "workflow_enabled": _flag,
    "retention": _duration,
    "max_body": _size,
    "max_events": _count,
    "max_event": _size,
    "scale_records": _count,
    "host": _text,
    "port": _port,
    "secret_key": _text,
    "admin_token": _text,
}

#: Without effect on embedded storage; accepted so that one file serves both.
_OF_SERVERS = frozenset(
    (
        "instance", "dedup_days",
        "pulsar_admin", "pulsar_tenant", "pulsar_namespace", "pulsar_token",
        "documents_username", "documents_password", "documents_api_key", "documents_ca_file",
    )
)  # fmt: skip


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
            values["retention_ms" if name == "retention" else name] = _READ[name](value)
        except ValueError as error:
            raise Misconfigured(f"RAYFOLD_{name.upper()}={value!s:.64} cannot be used: {error}") from None
    if "collector_enabled" not in values:
        values["collector_enabled"] = values.get("layout", Settings.layout) != "v1.0"
    settings = Settings(**values)
    _refuse_servers(settings)
    return settings


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise Misconfigured(f"RAYFOLD_CONFIG={path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path} is not valid TOML: {error}") from None
    unknown = sorted(content.keys() - _READ.keys() - _OF_SERVERS)
    if unknown:
        raise Misconfigured(f"{path} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(_READ))}")
    return {name: value for name, value in content.items() if name in _READ}


def _refuse_servers(settings: Settings) -> None:
    for name in ("log", "documents", "definitions"):
        if getattr(settings, name) != EMBEDDED:
            raise Misconfigured(
                f"RAYFOLD_{name.upper()} names a server, but this version of Rayfold only has embedded storage: unset it"
            )
