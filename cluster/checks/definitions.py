"""How old the definitions are that workers go by."""

from collections.abc import Mapping
from typing import Any

from cluster.checks.finding import Finding

#: Workers ask twice a second.
_OLD_S = 30.0


def definitions(status: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> Finding:
    """By the status of the private API; `rows`: every process by its name."""
    found = status.get("definitions", {})
    old = [name for name, row in rows.items() if (row.get("definitions_age_s") or 0) > _OLD_S]
    if not found.get("error") and not old:
        return Finding("definitions", True, f"every worker has asked within {_OLD_S:g} s")
    who = f"; {', '.join(old)} asked last more than {_OLD_S:g} s ago" if old else ""
    age = f"{found['age_s']:g} s old" if found.get("age_s") is not None else "never read"
    return Finding(
        "definitions",
        False,
        f"those of the private API are {age}: {found.get('error') or 'workers do not hear of changes'}{who}",
        "bring the definitions database back; workers go on meanwhile with those they have, changes act once it answers",
    )
