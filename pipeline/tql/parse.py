"""The grammar: from text to a tree, with errors that point at the column."""

from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors import Malformed

#: Characters of a condition.
MAX_LENGTH = 4_096

#: Open brackets at any place.
MAX_NESTING = 32


class TqlError(Malformed):
    """A condition that cannot be read; the text shows where."""


def _pointed(text: str, column: int, reason: str) -> TqlError:
    """`column` counts from 1."""
    return TqlError(f"column {column}: {reason}\n  {text}\n  {' ' * (column - 1)}^", "condition")


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
        raise _pointed(
            flat, len(flat) + 1, f"the condition ends too early; expected {_names(error.expected)}"
        ) from None
    except UnexpectedCharacters as error:
        raise _pointed(flat, error.column, f"unexpected text; expected {_names(error.allowed or ())}") from None
    except UnexpectedInput as error:
        raise _pointed(flat, max(1, error.column), "unexpected text") from None


def _check_nesting(text: str) -> None:
    depth = 0
    for column, character in enumerate(text, 1):
        depth += (character in "([") - (character in ")]")
        if depth > MAX_NESTING:
            raise _pointed(text, column, f"brackets nest deeper than {MAX_NESTING}")


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
    "__ANON_0": "~",
}


def _names(expected: Any) -> str:
    found = sorted({_WORDS.get(str(getattr(one, "name", one)), str(getattr(one, "name", one))) for one in expected})
    found = [one for one in found if one != "WS"]
    return ", ".join(found[:12]) or "AND, OR, or the end (use brackets to mix AND and OR)"
