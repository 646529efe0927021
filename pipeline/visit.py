"""Visits: a new session of a profile is a visit; a session lasts as long as payloads come."""

from pipeline import instant
from pipeline.record import Json


def begin(profile: Json, context: Json, now_ms: int) -> None:
    """Count one more visit and shift the times of the last and the current one."""
    visit = profile["metadata"]["time"]["visit"]
    visit["last"] = visit["current"]
    visit["current"] = instant.to_text(now_ms)
    visit["count"] += 1
    profile["stats"]["visits"] = visit["count"]
    time = context.get("time")
    if isinstance(time, dict) and isinstance(time.get("tz"), str):
        visit["tz"] = time["tz"]


def touch(session: Json, now_ms: int) -> None:
    """The session goes on."""
    time = session["metadata"]["time"]
    time["update"] = instant.to_text(now_ms)
    time["duration"] = max(0, now_ms - instant.parse(time["insert"])) // 1000
