"""The table of predefined event types, compiled: how properties become event fields and profile fields.

`event_types.json` holds, per type: `journey` (a state, or one for the first visit and one for later), `tags`, `copy`
(property → event field), `profile` (operation, profile field, property or ``{"value": …}`` or ``{"property", "default"}``;
``{name}`` in a field stands for that property's text), `same` (property x → event data.x and profile data.x) and
`compute`; `fields` lists which fields are text, numbers and lists.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from importlib.resources import files
from typing import Any, Literal, NamedTuple

import msgspec

from pipeline.mapping.computed import COMPUTED
from pipeline.operations import OPERATIONS, Applied, FieldError
from pipeline.path import MISSING, Json, compile_get, parent_of, split

#: Characters of a text that becomes part of a field's name, and such names in one object: clients choose them.
_MAX_NAME = 128
_MAX_NAMES = 1_000

#: What a field of each kind may hold, as decoded; others may hold anything.
_KINDS: Mapping[str, frozenset[type]] = {
    "string": frozenset((str,)),
    "number": frozenset((int, float, Decimal)),
    "list": frozenset((list,)),
}


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    journey: str | dict[str, str] = ""
    tags: list[str] = []
    copy: dict[str, str] = {}
    profile: list[list[Any]] = []
    same: list[str] = []
    compute: list[str] = []


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    fields: dict[Literal["string", "number", "list"], list[str]]
    types: dict[str, _Row]


class _Copy(NamedTuple):
    get: Callable[[Json], Any]
    field: str
    parts: tuple[str, ...]
    kind: str


class _Rule(NamedTuple):
    function: Callable[[Json, str, tuple[str, ...], Any], Applied]
    field: str
    parts: tuple[str, ...]
    get: Callable[[Json], Any]
    kind: str
    name_of: Callable[[Json], Any] | None  #: the property that names the last part


class EventType:
    """One compiled row."""

    def __init__(self, row: _Row, kinds: Mapping[str, str]) -> None:
        copies = [*row.copy.items(), *((path, f"data.{path}") for path in row.same)]
        rules = [*row.profile, *(["=", f"data.{path}", path] for path in row.same)]
        self._copies = [_Copy(compile_get(a), b, split(b), kinds.get(b, "")) for a, b in copies]
        self._rules = [_rule(rule, kinds) for rule in rules]
        self._compute = [COMPUTED[name] for name in row.compute]
        self._journey = row.journey
        self._tags = row.tags
        #: Whether folding such an event changes the profile.
        self.changes_profile = bool(rules)

    def fold(self, properties: Json, event: Json, profile: Json | None) -> list[FieldError]:
        """Copy into the event document and, if there is one, into the profile; returns the refused fields."""
        errors: list[FieldError] = []
        for get, field, parts, kind in self._copies:
            value = get(properties)
            if value is MISSING or value is None:
                continue
            if kind and type(value) not in _KINDS[kind]:
                errors.append(FieldError(field, f"expected {kind}, got {type(value).__name__}"))
                continue
            parent = parent_of(event, parts)
            if parent is None:
                errors.append(FieldError(field, "something else stands in its way"))
            else:
                parent[parts[-1]] = value
        self._label(event, profile)
        if profile is not None:
            for rule in self._rules:
                error = _apply(rule, properties, profile)
                if error is not None and error not in errors:
                    errors.append(error)
            for compute in self._compute:
                compute(profile)
        return errors

    def _label(self, event: Json, profile: Json | None) -> None:
        journey = self._journey
        if journey:
            if not isinstance(journey, str):
                visits = 1 if profile is None else profile["metadata"]["time"]["visit"]["count"]
                journey = journey["first_visit" if visits <= 1 else "later"]
            event["journey"] = {"state": journey}
        if self._tags:
            given = event.get("tags")
            values = [*self._tags, *given["values"]] if given else self._tags
            event["tags"] = {"values": values, "count": len(values)}


def _rule(rule: list[Any], kinds: Mapping[str, str]) -> _Rule:
    operation, field, *source = rule
    name_of = None
    parts = split(field)
    if parts[-1].startswith("{"):
        name_of = compile_get(parts[-1].strip("{}"))
    return _Rule(OPERATIONS[operation], field, parts, _source(source), kinds.get(field, ""), name_of)


def _source(source: list[Any]) -> Callable[[Json], Any]:
    if not source:
        return lambda properties: None
    (given,) = source
    if isinstance(given, str):
        get = compile_get(given)
        return lambda properties: _not_null(get(properties))
    if "value" in given:
        constant = given["value"]
        return lambda properties: constant
    get_property, default = compile_get(given["property"]), given["default"]

    def get_or_default(properties: Json) -> Any:
        value = get_property(properties)
        return default if value is MISSING or value is None else value

    return get_or_default


def _not_null(value: Any) -> Any:
    return MISSING if value is None else value


def _apply(rule: _Rule, properties: Json, profile: Json) -> Applied:
    value = rule.get(properties)
    if value is MISSING:
        return None
    parts = rule.parts
    if rule.name_of is not None:
        name = rule.name_of(properties)
        if type(name) is not str or not 0 < len(name) <= _MAX_NAME:
            return FieldError(rule.field, f"expected a name of 1 to {_MAX_NAME} characters in the property")
        parts = (*parts[:-1], name)
        named = parent_of(profile, parts)
        if named is not None and name not in named and len(named) >= _MAX_NAMES:
            return FieldError(rule.field, f"has {_MAX_NAMES} names already")
    if rule.kind and type(value) not in _KINDS[rule.kind]:
        return FieldError(rule.field, f"expected {rule.kind}, got {type(value).__name__}")
    return rule.function(profile, rule.field, parts, value)


def load_table() -> Mapping[str, EventType]:
    """All predefined event types, compiled."""
    table = msgspec.json.decode(files(__package__).joinpath("event_types.json").read_bytes(), type=_Table)
    kinds = {field: kind for kind, fields in table.fields.items() for field in fields}
    return {name: EventType(row, kinds) for name, row in table.types.items()}
