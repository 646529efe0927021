"""The grammar: from text to a tree, with errors that point at the column."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors import Malformed

#: Characters of a condition.
MAX_LENGTH = 4_096

#: Open brackets at any place.
MAX_NESTING = 32

#: Characters of the condition that an error shows on each side of its column.
_SHOWN = 60


class TqlError(Malformed):
    """A condition that cannot be read; the text shows where."""


def pointed(text: str, column: int, reason: str) -> TqlError:
    """The error with a line that points at the column; `column` counts from 1."""
    text = " ".join(text.split("\n"))
    start = max(0, column - 1 - _SHOWN)
    shown = text[start : column - 1 + _SHOWN]
    return TqlError(f"column {column}: {reason}\n  {shown}\n  {' ' * (column - 1 - start)}^", "condition")


@cache
def _parser() -> Any:
    from lark import Lark  # takes 60 ms to import: only where conditions are used

    grammar = Path(__file__).with_name("grammar.lark").read_text()
    return Lark(grammar, parser="earley", lexer="dynamic", maybe_placeholders=False, propagate_positions=True)


def parse(text: str) -> Any:
    """The tree of a condition. Raises `TqlError`."""
    from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput

    if len(text) > MAX_LENGTH:
        raise TqlError(f"a condition has at most {MAX_LENGTH} characters", "condition")
    _check_nesting(text)
    flat = " ".join(text.split("\n"))
    try:
        return _parser().parse(flat)
    except UnexpectedEOF as error:
        expected = _names(error.expected)
        raise pointed(flat, len(flat) + 1, f"the condition ends too early; expected {expected}") from None
    except UnexpectedCharacters as error:
        if _JOINT.match(flat, error.column - 1) and not _JOINTS.isdisjoint(error.allowed or ()):
            raise pointed(flat, error.column, "AND and OR do not mix; put one of them in brackets") from None
        raise pointed(flat, error.column, f"unexpected text; expected {_names(error.allowed or ())}") from None
    except UnexpectedInput as error:
        raise pointed(flat, max(1, error.column), "unexpected text") from None


def _check_nesting(text: str) -> None:
    depth = 0
    for column, character in enumerate(text, 1):
        depth += (character in "([") - (character in ")]")
        if depth > MAX_NESTING:
            raise pointed(text, column, f"brackets nest deeper than {MAX_NESTING}")


_JOINT = re.compile(r"(?:and|or)\b", re.IGNORECASE)
_JOINTS = frozenset(("AND", "OR"))

_WORDS = {
    "REFERENCE": "a reference such as profile@data.pii.firstname",
    "ESCAPED": "a quoted text",
    "NUMBER": "a number",
    "OPERATOR": "= != < <= > >=",
    "NAME": "a function",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "COMMA": ",",
    "TILDE": "~",
}


def _names(expected: Any) -> str:
    found = sorted({_WORDS.get(str(getattr(one, "name", one)), str(getattr(one, "name", one))) for one in expected})
    return ", ".join(one for one in found if one != "WS") or "the end"
