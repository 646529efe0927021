"""Names of topics and groups: what writers, readers, the account and the status must agree on."""

COLLECTED = "collected"  #: payloads and commands, as they came in
PROCESSED = "processed"  #: what they came to
RUNS = "runs"  #: finished workflow runs

TOPICS = (COLLECTED, PROCESSED, RUNS)

COLLECTOR_GROUP = "collector"  #: on `COLLECTED`
STORE_GROUP = "store"  #: on `PROCESSED`: what is committed here is in the document store
WORKFLOW_GROUP = "workflow"  #: on `PROCESSED`
DESTINATION_GROUPS = "dest."  #: on `PROCESSED`: one for each enabled destination begins so
REPLAY_GROUPS = "replay."  #: on `PROCESSED` and `RUNS`: one for each replay begins so


#: Between a destination and its life; no id of a definition holds it.
_LIFE = "~"


def destination_reader(destination: str) -> str:
    """What users and progress call whatever reads for this destination, in all its lives."""
    return f"{DESTINATION_GROUPS}{destination}"


def destination_group(destination: str, life: str) -> str:
    """The group of one life of this destination, from when it is enabled until it is not. `life` is never used again."""
    return f"{destination_reader(destination)}{_LIFE}{life}"


def reader_of(group: str) -> str:
    """The group without the life; up to format 2 of the data folder groups were named so."""
    return group.partition(_LIFE)[0]


def destination_of(group: str) -> str:
    """The destination a group reads for; empty for every other group."""
    return reader_of(group).removeprefix(DESTINATION_GROUPS) if group.startswith(DESTINATION_GROUPS) else ""


def replay_group(replay: str) -> str:
    """The group that reads for this replay."""
    return f"{REPLAY_GROUPS}{replay}"


def replay_of(group: str) -> str:
    """The replay a group reads for; empty for every other group."""
    return group.removeprefix(REPLAY_GROUPS) if group.startswith(REPLAY_GROUPS) else ""


def belongs(group: str, groups: tuple[str, ...]) -> bool:
    """Whether a group is one of these names; a name ending in ``.`` stands for all that begin so."""
    return group in groups or any(name.endswith(".") and group.startswith(name) for name in groups)


def collector_outbox(partition: int) -> str:
    """Sender of what the owner of this partition of `COLLECTED` forwards."""
    return f"collector:{partition}"


def executor_outbox(partition: int) -> str:
    """Sender of the effects of the runs in this partition of `RUNS`."""
    return f"executor:{partition}"
