"""Members of groups that are made for the test."""

from pipeline.log.port import Log, Membership


async def joined(log: Log, topic: str, group: str, worker: str) -> Membership:
    """A member of the group, which is made at the topic's start unless it exists."""
    await log.create_group(topic, group, "start")
    return await log.join(topic, group, worker)
