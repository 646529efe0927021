"""Making what the log needs on a broker, before anything is published."""

from pipeline.errors import Misconfigured
from pipeline.log import pulsar_groups
from pipeline.log.pulsar_address import PulsarAddress
from pipeline.log.pulsar_admin import PulsarAdmin
from pipeline.topics import TOPICS

_MINUTE_MS = 60_000
_MINUTE_S = 60

#: What the namespace must be: the name of the policy among all, how it is set, and to what. Nothing in it may be dropped before
#: Rayfold has let it go, and nobody but `create_group` may make a subscription: a member of a dropped group would, and hold
#: back retention for ever.
_POLICIES: tuple[tuple[str, str, object], ...] = (
    ("autoSubscriptionCreationOverride", "autoSubscriptionCreation", {"allowAutoSubscriptionCreation": False}),
    ("deduplicationEnabled", "deduplication", False),
    (
        "inactive_topic_policies",
        "inactiveTopicPolicies",
        {
            "inactiveTopicDeleteMode": "delete_when_no_subscriptions",
            "maxInactiveDurationSeconds": _MINUTE_S,
            "deleteWhileInactive": False,
        },
    ),
    ("subscription_expiration_time_minutes", "subscriptionExpirationTime", 0),
    ("message_ttl_in_seconds", "messageTTL", 0),
)

#: The quota that would drop what is not done, instead of refusing what is new.
_EVICTION = "consumer_backlog_eviction"
_QUOTAS = ("destination_storage", "message_age")
_UNLIMITED = {"limitSize": -1, "limitTime": -1, "policy": "producer_exception"}


async def migrate(address: PulsarAddress) -> None:
    """Make tenant, namespace, its policies and the topics where they are missing; safe to repeat.

    Several installations share a namespace: its policies are theirs together, retention the longest of all. Raises
    `Misconfigured` for topics with another number of partitions or rights that are missing, `LogUnavailable`.
    """
    admin = PulsarAdmin(address)
    try:
        await _namespace(admin, address)
        for topic in TOPICS:
            await _topic(admin, address, topic)
    finally:
        await admin.close()


async def _namespace(admin: PulsarAdmin, address: PulsarAddress) -> None:
    namespace = f"namespaces/{address.tenant}/{address.namespace}"
    status, policies = await admin.call("GET", namespace, ok=(404,))
    if status == 404:
        _, clusters = await admin.call("GET", "clusters")
        tenant = {"allowedClusters": [name for name in clusters if name != "global"]}
        await admin.call("PUT", f"tenants/{address.tenant}", tenant, ok=(409,))
        await admin.call("PUT", namespace, {}, ok=(409,))
        _, policies = await admin.call("GET", namespace)
    for name, path, value in _POLICIES:
        if policies.get(name) != value:  # every topic of the namespace looks up when one is set
            await admin.call("POST", f"{namespace}/{path}", value)
    quotas = policies.get("backlog_quota_map") or {}
    for kind in _QUOTAS:
        if quotas.get(kind, {}).get("policy", _EVICTION) == _EVICTION:  # without one the broker's own holds
            await admin.call("POST", f"{namespace}/backlogQuota", _UNLIMITED, query={"backlogQuotaType": kind})
    minutes = max(1, -(-address.retention_ms // _MINUTE_MS))
    retention = policies.get("retention_policies") or {}
    kept = retention.get("retentionTimeInMinutes", 0)
    if retention.get("retentionSizeInMB", 0) != -1 or 0 <= kept < minutes:
        wanted = {"retentionTimeInMinutes": max(minutes, kept) if kept >= 0 else kept, "retentionSizeInMB": -1}
        await admin.call("POST", f"{namespace}/retention", wanted)


async def _topic(admin: PulsarAdmin, address: PulsarAddress, topic: str) -> None:
    path = f"{address.path(topic)}/partitions"
    await admin.call("PUT", path, address.partitions, ok=(409,))
    _, metadata = await admin.call("GET", path)
    found = metadata["partitions"]
    if found != address.partitions:
        raise Misconfigured(
            f"topic {address.topic(topic)} has {found} partitions, settings say {address.partitions}: "
            f"set RAYFOLD_PARTITIONS={found}, or another prefix for a new installation"
        )
    for partition in range(address.partitions):
        await pulsar_groups.subscribe(admin, address, topic, partition, pulsar_groups.KEEPER)
