"""References such as ``profile@data.contact.email.main``, and JSON templates made of them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pipeline import envelope
from pipeline.errors import Malformed
from pipeline.path import MISSING, compile_get

Scope = Mapping[str, Any]

ROOTS = ("profile", "event", "session", "payload", "flow", "memory")

_REFERENCE = re.compile(rf"^({'|'.join(ROOTS)})@(.*)$", re.DOTALL)
_WHOLE = re.compile(rf'^(?:{"|".join(ROOTS)})@(?:"[^"]*"?|[A-Za-z0-9_.-])*$')
_EMBEDDED = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


def compile_reference(text: str) -> Callable[[Scope], Any]:
    """A function from a scope to the value, `MISSING` when there is none; ``profile@`` alone is the whole profile.

    Raises `Malformed`.
    """
    found = _REFERENCE.match(text.strip())
    if found is None:
        raise Malformed(f"{text!r} is no reference; write it as profile@a.b, with one of {', '.join(ROOTS)}", text)
    root, path = found.groups()
    if not path:
        return lambda scope: scope.get(root, MISSING)
    get = compile_get(path)
    return lambda scope: get(scope.get(root))


def is_reference(text: str) -> bool:
    """Whether a template's string stands for a value."""
    return _WHOLE.match(text) is not None


def compile_template(value: Any, path: str = "") -> Callable[[Scope], Any]:
    """A function from a scope to JSON of the template's shape.

    A string that is a reference becomes its value (null when missing). ``{{profile@a.b}}`` inside a longer string is
    replaced by its text (nothing when missing). A string after a backtick is taken as it stands.

    Raises `Malformed` naming the place below `path` and the reference.
    """
    if isinstance(value, dict):
        parts = {key: compile_template(item, f"{path}.{key}" if path else key) for key, item in value.items()}
        return lambda scope: {key: part(scope) for key, part in parts.items()}
    if isinstance(value, list):
        items = [compile_template(item, f"{path}[{index}]") for index, item in enumerate(value)]
        return lambda scope: [item(scope) for item in items]
    if not isinstance(value, str):
        return lambda scope: value
    if value.startswith("`"):
        literal = value[1:]
        return lambda scope: literal
    try:
        if is_reference(value):
            get = compile_reference(value)
            return lambda scope: _present(get(scope))
        return compile_text(value)
    except Malformed as error:
        raise Malformed(f"{path}: {error}" if path else str(error), path or error.field) from None


def _present(value: Any) -> Any:
    return None if value is MISSING else value


def compile_text(text: str, escape: Callable[[str], str] = str) -> Callable[[Scope], str]:
    """A function from a scope to the text with each ``{{reference}}`` replaced by its escaped text. Raises `Malformed`."""
    pieces = _EMBEDDED.split(text)
    getters = [compile_reference(piece) for piece in pieces[1::2]]
    literals = pieces[0::2]

    def render(scope: Scope) -> str:
        parts = [literals[0]]
        for get, literal in zip(getters, literals[1:], strict=True):
            parts += (escape(_text(get(scope))), literal)
        return "".join(parts)

    return render


def _text(value: Any) -> str:
    if value is MISSING or value is None:
        return ""
    return value if isinstance(value, str) else envelope.encode(value).decode()
