"""Tables of the embedded document store: one per kind, its searchable fields as columns."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.stores.documents import CREATE_ONLY, FIELDS, Kind
from pipeline.stores.fields import extractor, missing

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
    nothing = tuple(missing(name) for name in columns)
    return Table(kind, columns, extractor(FIELDS[kind]), nothing, insert)


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
