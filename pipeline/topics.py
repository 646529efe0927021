"""Names of topics and groups: what writers, readers, the account and the status must agree on."""

COLLECTED = "collected"  #: payloads and commands, as they came in
PROCESSED = "processed"  #: what they came to
RUNS = "runs"  #: finished workflow runs

TOPICS = (COLLECTED, PROCESSED, RUNS)

COLLECTOR_GROUP = "collector"  #: on `COLLECTED`
STORE_GROUP = "store"  #: on `PROCESSED`: what is committed here is in the document store
WORKFLOW_GROUP = "workflow"  #: on `PROCESSED`
DESTINATION_GROUPS = "dest."  #: on `PROCESSED`: one for each destination begins so
REPLAY_GROUPS = "replay."  #: on `PROCESSED` and `RUNS`: one for each replay begins so


def destination_group(destination: str) -> str:
    """The group that reads for this destination."""
    return f"{DESTINATION_GROUPS}{destination}"


def destination_of(group: str) -> str:
    """The destination a group reads for; empty for every other group."""
    return group.removeprefix(DESTINATION_GROUPS) if group.startswith(DESTINATION_GROUPS) else ""


def replay_group(replay: str) -> str:
    """The group that reads for this replay."""
    return f"{REPLAY_GROUPS}{replay}"


def belongs(group: str, groups: tuple[str, ...]) -> bool:
    """Whether a group is one of these names; a name ending in ``.`` stands for all that begin so."""
    return group in groups or any(name.endswith(".") and group.startswith(name) for name in groups)


def collector_outbox(partition: int) -> str:
    """Sender of what the owner of this partition of `COLLECTED` forwards."""
    return f"collector:{partition}"


def executor_outbox(partition: int) -> str:
    """Sender of the effects of the runs in this partition of `RUNS`."""
    return f"executor:{partition}"
