"""Compiles a condition's tree to closures over a scope."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from pipeline.errors import Malformed
from pipeline.path import MISSING
from pipeline.reference import Scope, compile_reference
from pipeline.tql.compare import COMPARISONS, consists, equal, full_text, is_empty, to_datetime
from pipeline.tql.parse import parse, pointed

Condition = Callable[[Scope], bool]
Value = Callable[[Scope], Any]
Now = Callable[[], datetime]

_ESCAPE = re.compile(r"\\(.)")
_OFFSET = re.compile(r"^([+-]?[0-9]{1,15})\s*(s|m|h|d|w)[a-z]*$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def compile_condition(text: str, now: Now) -> Condition:
    """A condition as a function; `now` gives the time for now(). Raises `TqlError` pointing at the column."""
    return _Compiler(text, now).condition(parse(text))


class _Compiler:
    def __init__(self, text: str, now: Now) -> None:
        self._text = text
        self._now = now

    def condition(self, tree: Any) -> Condition:
        """By the name of the tree's rule."""
        compiled: Condition = getattr(self, f"_{tree.data}")(*tree.children)
        return compiled

    def _all(self, *terms: Any) -> Condition:
        parts = [self.condition(term) for term in terms]
        return lambda scope: all(part(scope) for part in parts)

    def _any(self, *terms: Any) -> Condition:
        parts = [self.condition(term) for term in terms]
        return lambda scope: any(part(scope) for part in parts)

    def _negation(self, inner: Any) -> Condition:
        part = self.condition(inner)
        return lambda scope: not part(scope)

    def _compare(self, left: Any, operator: Any, right: Any) -> Condition:
        one, other, compare = self.value(left), self.value(right), COMPARISONS[str(operator)]
        if right.data in ("string", "number", "true", "false", "null"):
            constant = other({})
            return lambda scope: compare(one(scope), constant)
        return lambda scope: compare(one(scope), other(scope))

    def _exact(self, left: Any, right: Any) -> Condition:
        one, other = self.value(left), self.value(right)
        return lambda scope: equal(one(scope), other(scope))

    def _between(self, value: Any, low: Any, high: Any) -> Condition:
        one, least, most = self.value(value), self.value(low), self.value(high)
        at_least, at_most = COMPARISONS[">="], COMPARISONS["<="]
        return lambda scope: at_least(one(scope), least(scope)) and at_most(one(scope), most(scope))

    def _is_null(self, value: Any) -> Condition:
        one = self.value(value)
        return lambda scope: one(scope) is None

    def _is_not_null(self, value: Any) -> Condition:
        one = self.value(value)
        return lambda scope: one(scope) is not None and one(scope) is not MISSING

    def _exists(self, value: Any) -> Condition:
        one = self.value(value)
        return lambda scope: one(scope) is not MISSING

    def _not_exists(self, value: Any) -> Condition:
        one = self.value(value)
        return lambda scope: one(scope) is MISSING

    def _empty(self, value: Any) -> Condition:
        one = self.value(value)
        return lambda scope: is_empty(one(scope))

    def _not_empty(self, value: Any) -> Condition:
        one = self.value(value)
        return lambda scope: not is_empty(one(scope))

    def _consists(self, left: Any, right: Any) -> Condition:
        one, other = self.value(left), self.value(right)
        return lambda scope: consists(one(scope), other(scope))

    def _starts_with(self, left: Any, right: Any) -> Condition:
        return self._affix(left, right, str.startswith)

    def _ends_with(self, left: Any, right: Any) -> Condition:
        return self._affix(left, right, str.endswith)

    def _affix(self, left: Any, right: Any, test: Callable[[str, str], bool]) -> Condition:
        one, other = self.value(left), self.value(right)

        def check(scope: Scope) -> bool:
            whole, part = one(scope), other(scope)
            return isinstance(whole, str) and isinstance(part, str) and test(whole, part)

        return check

    def _in_list(self, value: Any, choices: Any) -> Condition:
        one, many = self.value(value), [self.value(choice) for choice in choices.children]
        return lambda scope: any(equal(one(scope), choice(scope)) for choice in many)

    def _not_in(self, value: Any, choices: Any) -> Condition:
        one, inside = self.value(value), self._in_list(value, choices)
        return lambda scope: one(scope) is not MISSING and not inside(scope)

    def _full_text(self, left: Any, right: Any) -> Condition:
        one, other = self.value(left), self.value(right)
        return lambda scope: full_text(one(scope), other(scope))

    # ---- values

    def value(self, tree: Any) -> Value:
        """A function from a scope to the value of an operand."""
        kind, children = tree.data, tree.children
        if kind == "reference":
            try:
                return compile_reference(str(children[0]))
            except Malformed as error:
                raise pointed(self._text, tree.meta.column, str(error)) from None
        if kind == "call":
            return self._call(str(children[0]), [self.value(child) for child in children[1:]], tree)
        if kind in ("list", "list_value"):
            items = [self.value(child) for child in (children[0].children if kind == "list_value" else children)]
            return lambda scope: [item(scope) for item in items]
        constant = self._constant(tree)
        return lambda scope: constant

    def _call(self, name: str, arguments: list[Value], tree: Any) -> Value:
        functions: Mapping[str, tuple[int, Callable[..., Any]]] = {
            "now": (0, self._now),
            "utcnow": (0, self._now),
            "now.offset": (1, self._offset),
            "datetime": (1, lambda value: to_datetime(value) or MISSING),
            "lowercase": (1, lambda value: value.lower() if isinstance(value, str) else MISSING),
            "uppercase": (1, lambda value: value.upper() if isinstance(value, str) else MISSING),
        }
        if name not in functions:
            reason = f"there is no function {name}(); known are {', '.join(functions)}"
            raise pointed(self._text, tree.meta.column, reason)
        count, function = functions[name]
        if count != len(arguments):
            raise pointed(self._text, tree.meta.column, f"{name}() takes {count} values, not {len(arguments)}")
        return lambda scope: function(*(argument(scope) for argument in arguments))

    def _offset(self, text: Any) -> Any:
        found = _OFFSET.match(text.strip()) if isinstance(text, str) else None
        if found is None:
            return MISSING
        try:
            return self._now() + timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})
        except OverflowError:  # outside the years 1 to 9999
            return MISSING

    def _constant(self, tree: Any) -> Any:
        kind, children = tree.data, tree.children
        if kind == "string":
            return _ESCAPE.sub(r"\1", str(children[0])[1:-1])
        if kind == "number":
            text = str(children[0])
            try:
                return int(text) if text.lstrip("-").isdigit() else Decimal(text)
            except InvalidOperation:
                raise pointed(self._text, tree.meta.column, "this number is too large or too small") from None
        return {"true": True, "false": False, "null": None}[kind]
