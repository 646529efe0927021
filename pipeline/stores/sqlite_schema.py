"""Tables of the embedded document store: one per kind, its searchable fields as columns."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from pipeline.stores.documents import CREATE_ONLY, FIELDS, Kind

FORMAT = 1

_TIMED: Mapping[Kind, Sequence[str]] = {
    "profile": ("primary",),
    "session": ("session", "profile"),
    "event": ("type", "source", "profile", "session"),
    "dead": ("destination",),
    "run": ("workflow", "profile"),
}
"""Fields that get an index of their own, with the time."""


class Table(NamedTuple):
    """How one kind is kept."""

    kind: Kind
    columns: tuple[str, ...]  #: searchable fields
    extract: Callable[[bytes], tuple[Any, ...]]  #: their values; raises `msgspec.DecodeError`
    nothing: tuple[Any, ...]  #: their values in a document that has none of them
    insert: str


def tables() -> Mapping[Kind, Table]:
    """All tables, compiled."""
    return {kind: _table(kind) for kind in FIELDS}


def _table(kind: Kind) -> Table:
    columns = tuple(FIELDS[kind])
    names = ", ".join(f'"{name}"' for name in ("id", "version", "refused", "reason", *columns, "body"))
    marks = ", ".join("?" * (len(columns) + 5))
    insert = f"insert into {kind}({names}) values ({marks})"  # noqa: S608  (names are constants)
    if kind in CREATE_ONLY:
        insert += " on conflict(id) do nothing"
    else:
        updates = ", ".join(
            f'"{name}" = excluded."{name}"' for name in ("version", "refused", "reason", *columns, "body")
        )
        insert += f" on conflict(id) do update set {updates} where excluded.version > {kind}.version"
    nothing = tuple(_missing(name) for name in columns)
    return Table(kind, columns, _extractor(FIELDS[kind]), nothing, insert)


def _missing(name: str) -> str | None:
    """A missing time is stored as the lowest one: null compares with nothing, so a cursor would pass such rows over."""
    return "" if name == "time" else None


def statements() -> list[str]:
    """What creates the file's tables and indices."""
    found = ["create table if not exists meta(name text primary key, value integer not null)"]
    for kind, fields in FIELDS.items():
        columns = "".join(f', "{name}" {"integer" if name == "client" else "text"}' for name in fields)
        found.append(
            f"create table if not exists {kind}(id text primary key, version integer not null,"
            f" refused integer not null, reason text{columns}, body blob not null)"
        )
        if "time" in fields:
            # With what every search asks for, an index alone can count: no row with its body is read.
            more = ", refused, merged_into" if kind == "profile" else ", refused"
            found.append(f"create index if not exists {kind}_time on {kind}(time, id{more})")
            for name in _TIMED.get(kind, ()):
                found.append(f'create index if not exists {kind}_{name} on {kind}("{name}", time, id{more})')
        found.append(f"create index if not exists {kind}_refused on {kind}(refused) where refused = 1")
    return found


def _extractor(fields: Mapping[str, str]) -> Callable[[bytes], tuple[Any, ...]]:
    """One decode of just these paths into a nested struct, then a tuple in the order of the fields."""
    tree: dict[str, Any] = {}
    for name, path in fields.items():
        node = tree
        *parents, leaf = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = bool if name == "client" else str
    decode = msgspec.json.Decoder(_struct("Root", tree)).decode
    paths = [(path.split("."), _missing(name)) for name, path in fields.items()]

    def extract(body: bytes) -> tuple[Any, ...]:
        root = decode(body)
        values = []
        for path, missing in paths:
            value: Any = root
            for part in path:
                value = getattr(value, part, None)
            values.append(missing if value is None else value)
        return tuple(values)

    return extract


def _struct(name: str, tree: Mapping[str, Any]) -> type[msgspec.Struct]:
    fields = [
        (key, (_struct(key.title(), kind) if isinstance(kind, dict) else kind) | None, None)
        for key, kind in tree.items()
    ]
    return msgspec.defstruct(name, fields)
