"""Clocks of machines that differ: times of events, retention and waits go by them."""

from collections.abc import Iterator, Mapping
from typing import Any

from cluster.checks.finding import Finding

#: Clocks in step differ by milliseconds; a heartbeat may take a while to be written, and an HTTP answer tells seconds.
SKEW_S = 5.0

_CHECK = "clocks"
_CURE = "let NTP or chrony set the clocks of all machines, the servers' too: times of events, retention and waits go by them"


def of_workers(rows: Mapping[str, Mapping[str, Any]]) -> Finding:
    """Every process' own time against that of the definitions database, as its heartbeats tell; `rows` by its name."""
    ahead = {
        f"{row['node']} (process {row['pid']})": row["clock_ahead_ms"] / 1000
        for row in rows.values()
        if abs(row.get("clock_ahead_ms") or 0) > SKEW_S * 1000
    }
    if not ahead:
        return Finding(_CHECK, True, f"all workers go by the time of the definitions database, within {SKEW_S:g} s")
    told = ", ".join(f"{who} by {seconds:+.1f} s" for who, seconds in ahead.items())
    return Finding(_CHECK, False, f"these differ from the definitions database's: {told}", _CURE)


def of_server(server: str, ahead_s: float | None) -> Iterator[Finding]:
    """The server's time against this machine's; nothing where they agree, or where it does not tell."""
    if ahead_s is not None and abs(ahead_s) > SKEW_S:
        yield Finding(_CHECK, False, f"that of {server} differs from this machine's by {ahead_s:+.1f} s", _CURE)
