"""What became of the events, as far as somebody has to decide."""

from cluster.checks.finding import Finding
from cluster.client import Client

_KINDS = ("sources", "destinations", "workflows", "rules")


def definitions(client: Client) -> Finding:
    """Whether they can be read."""
    total = sum(client.get(f"/{kind}", limit=1)["total"] for kind in _KINDS)
    return Finding("definitions database", True, f"answers with {total} definitions")


def dead_letters(client: Client) -> Finding:
    """Deliveries that were given up."""
    waiting = client.get("/dead-letters", state="waiting", limit=1)["total"]
    if waiting:
        cure = "read the reasons with `rayfold dead list`, then `rayfold dead send` or `rayfold dead drop`"
        return Finding("dead letters", False, f"{waiting} deliveries were given up and wait for a decision", cure)
    return Finding("dead letters", True, "none waiting")


def account(client: Client) -> Finding:
    """Whether it balances."""
    found = client.get("/account")
    if not found["balanced"]:
        return Finding("account", False, "does not balance", "keep the data folder as it is and report this")
    if found["dead"]:
        return Finding("account", False, f"{found['dead']} events refused by the store", "read them at /api/events")
    return Finding("account", True, f"balances over {found['accepted']} events")
