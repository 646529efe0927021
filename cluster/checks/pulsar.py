"""The broker: whether it answers, its version, and what this installation has on it."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from cluster.checks import clocks
from cluster.checks.finding import Finding
from cluster.checks.pulsar_policies import Policies, policies
from cluster.checks.web import NoAnswer, Refused, Web
from cluster.settings import Settings
from pipeline import topics

_CHECK = "Pulsar"

#: What is needed on `PROCESSED` and `COLLECTED` before anything may be published, by topic.
_GROUPS = {topics.COLLECTED: topics.COLLECTOR_GROUP, topics.PROCESSED: topics.STORE_GROUP}


class _Topic(msgspec.Struct):
    partitions: int = 0


class _Own(NamedTuple):
    """What belongs to one installation."""

    web: Web
    settings: Settings

    def name(self, topic: str) -> str:
        return f"{self.settings.pulsar_tenant}/{self.settings.pulsar_namespace}/{self.settings.prefix}{topic}"


async def pulsar(settings: Settings) -> list[Finding]:
    """Asked at its admin API."""
    token = f"Bearer {settings.pulsar_token}" if settings.pulsar_token else ""
    found: list[Finding] = []
    async with Web(settings.pulsar_admin, token, settings.pulsar_ca_file) as web:
        try:
            version = await web.text("/admin/v2/brokers/version")
            found += [await _health(web), *_version(version), *clocks.of_server(_CHECK, web.ahead_s)]
            found += [one async for one in _namespace(_Own(web, settings))]
            found += [one async for one in _topics(_Own(web, settings))]
        except NoAnswer as error:
            found.append(_away(settings, str(error)))
        except Refused as error:
            found.append(_refused(settings, error.status))
    return found


def _away(settings: Settings, why: str) -> Finding:
    return Finding(
        _CHECK,
        False,
        f"lost connection to Pulsar: its admin API does not answer at {settings.pulsar_admin} ({why})",
        "start the broker, or mend RAYFOLD_PULSAR_ADMIN and RAYFOLD_LOG; clients are told 503 with Retry-After meanwhile, and "
        "everything goes on by itself within seconds of its return",
    )


def _refused(settings: Settings, code: int) -> Finding:
    return Finding(
        _CHECK,
        False,
        f"refuses the token of RAYFOLD_PULSAR_TOKEN (HTTP {code})"
        if settings.pulsar_token
        else f"asks for a token ({code})",
        f"set RAYFOLD_PULSAR_TOKEN to one whose role is an administrator of the tenant {settings.pulsar_tenant}; "
        "docs/operations.md says which rights are needed for what",
    )


async def _health(web: Web) -> Finding:
    try:
        said = await web.text("/admin/v2/brokers/health")
    except Refused:  # only a superuser may ask; that it refuses is an answer
        return Finding(_CHECK, True, "answers; its own health may be asked only by a superuser")
    except NoAnswer as error:
        return _sick(str(error))
    return Finding(_CHECK, True, "answers and is well") if said == "ok" else _sick(said)


def _sick(said: str) -> Finding:
    cure = "look into the broker's log: it cannot publish and read a message of its own, often for want of bookies or their disk"
    return Finding(_CHECK, False, f"answers, but it is not well: {said}", cure)


def _version(version: str) -> list[Finding]:
    major, _, _ = version.partition(".")
    if not version:
        return []  # not every service that offers Pulsar tells
    if not major.isdigit() or not 4 <= int(major) < 5:
        return [Finding(f"{_CHECK} version", False, f"{version} is out of range", "use Pulsar 4.0 or a later 4.x")]
    return [Finding(f"{_CHECK} version", True, version)]


async def _namespace(own: _Own) -> AsyncIterator[Finding]:
    name = f"{own.settings.pulsar_tenant}/{own.settings.pulsar_namespace}"
    check = f"namespace {name}"
    try:
        found = await own.web.get(f"/admin/v2/namespaces/{name}", Policies)
    except Refused as error:
        cure = (
            f"make the role of RAYFOLD_PULSAR_TOKEN an administrator of the tenant {own.settings.pulsar_tenant}: without that "
            "`rayfold migrate`, and so `rayfold up` and `deploy`, cannot look at its policies"
        )
        yield Finding(check, False, f"its policies may not be read by this token (HTTP {error.status})", cure)
        return
    if found is None:
        yield Finding(check, False, "is not there", "run `rayfold migrate` with a superuser's token, or create it")
        return
    for one in policies(check, found, own.settings.retention_ms):
        yield one


async def _topics(own: _Own) -> AsyncIterator[Finding]:
    for topic in topics.TOPICS:
        name = own.name(topic)
        check = f"topic {name}"
        found = await own.web.get(f"/admin/v2/persistent/{name}/partitions", _Topic) or _Topic()
        count, wanted = found.partitions, own.settings.partitions
        if not count:
            yield Finding(check, False, "is not there", "run `rayfold migrate`")
        elif count != wanted:
            cure = f"set RAYFOLD_PARTITIONS={count}; the number is fixed at first start"
            yield Finding(check, False, f"has {count} partitions, the settings say {wanted}", cure)
        elif topic in _GROUPS:
            groups = await own.web.get(f"/admin/v2/persistent/{name}-partition-0/subscriptions", list[str])
            if _GROUPS[topic] not in (groups or ()):
                what = f"has no subscription {_GROUPS[topic]}: what is published is kept for nobody"
                yield Finding(check, False, what, "run `rayfold migrate`")
