"""A cause of lost data elsewhere, and none here."""

from cluster.checks.finding import Finding


def licence() -> Finding:
    """Said, so that nobody looks for it."""
    return Finding("licence", True, "does not apply: Rayfold is free software, and nothing in it expires")
