"""Policies of the namespace under which a broker drops what Rayfold still needs."""

from collections.abc import Iterator, Mapping

import msgspec

from cluster.checks.finding import Finding

_MINUTE_MS = 60_000
_EVICTION = "consumer_backlog_eviction"

_CURE = "run `rayfold migrate`, which sets it, and see who set it otherwise (docs/operations.md)"


class _Retention(msgspec.Struct):
    minutes: int = msgspec.field(name="retentionTimeInMinutes", default=0)
    megabytes: int = msgspec.field(name="retentionSizeInMB", default=0)


class _Quota(msgspec.Struct):
    policy: str = ""


class _AutoSubscription(msgspec.Struct):
    is_allowed: bool = msgspec.field(name="allowAutoSubscriptionCreation", default=True)


class Policies(msgspec.Struct):
    """As the broker tells them, those that matter."""

    retention: _Retention | None = msgspec.field(name="retention_policies", default=None)
    ttl_s: int | None = msgspec.field(name="message_ttl_in_seconds", default=None)
    expiry_minutes: int | None = msgspec.field(name="subscription_expiration_time_minutes", default=None)
    quotas: Mapping[str, _Quota] = msgspec.field(name="backlog_quota_map", default_factory=dict)
    auto_subscription: _AutoSubscription | None = msgspec.field(name="autoSubscriptionCreationOverride", default=None)


def policies(check: str, found: Policies, retention_ms: int) -> Iterator[Finding]:
    """One finding for each that is wrong, else one that all is well. `retention_ms`: what the settings ask for."""
    wrong = list(_wrong(found, retention_ms))
    for what in wrong:
        yield Finding(check, False, what, _CURE)
    if not wrong:
        yield Finding(check, True, "its policies are as they should be")


def _wrong(found: Policies, retention_ms: int) -> Iterator[str]:
    kept = found.retention or _Retention()
    wanted = max(1, -(-retention_ms // _MINUTE_MS))
    if kept.minutes == 0 or kept.megabytes == 0:
        yield "retention is 0: what all have read is dropped at once, and nothing of it can be replayed"
    elif 0 < kept.minutes < wanted:
        yield f"retention is {kept.minutes} minutes, RAYFOLD_RETENTION asks for {wanted}: replays reach back no further"
    elif kept.megabytes > 0:
        yield f"retention is {kept.megabytes} MB, so for how long is known to nobody: replays may find less than they should"
    if found.ttl_s:
        yield f"messages live for {found.ttl_s} s only: what a stage has not read by then is lost"
    if found.expiry_minutes:
        yield f"subscriptions expire after {found.expiry_minutes} minutes: who is away for so long loses what was due"
    if any(quota.policy == _EVICTION for quota in found.quotas.values()):
        yield f"the backlog's quota drops what is not read ({_EVICTION}): that is lost"
    if found.auto_subscription is None or found.auto_subscription.is_allowed:
        yield "clients may create subscriptions: one left behind by mistake holds the log back for ever"
