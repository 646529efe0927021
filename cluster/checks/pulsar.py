"""The broker: whether it answers, its version, and what this installation has on it."""

import urllib.error

from cluster.checks.finding import Finding
from cluster.checks.web import Web, reason
from cluster.settings import Settings
from pipeline.topics import TOPICS

_CHECK = "Pulsar"


def pulsar(settings: Settings) -> list[Finding]:
    """Asked at its admin API."""
    web = Web(
        settings.pulsar_admin,
        f"Bearer {settings.pulsar_token}" if settings.pulsar_token else "",
        settings.pulsar_ca_file,
    )
    try:
        topics = _topics(web, settings)
        version = str(web.get("/admin/v2/brokers/version")).strip()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return [_refused(settings, error.code)]
        return [_away(settings, reason(error))]
    except OSError as error:
        return [_away(settings, reason(error))]
    return [_version(version), *topics]


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
        f"refuses the token (HTTP {code})",
        f"give the role of RAYFOLD_PULSAR_TOKEN the right to produce and consume in {settings.pulsar_tenant}/"
        f"{settings.pulsar_namespace}; docs/operations.md lists what `rayfold migrate` needs",
    )


def _version(version: str) -> Finding:
    major, _, _ = version.partition(".")
    if not major.isdigit() or not 4 <= int(major) < 5:
        return Finding(_CHECK, False, f"is version {version}, out of range", "use Pulsar 4.0 or a later 4.x")
    return Finding(_CHECK, True, f"answers, version {version}")


def _topics(web: Web, settings: Settings) -> list[Finding]:
    found = []
    for topic in TOPICS:
        name = f"{settings.pulsar_tenant}/{settings.pulsar_namespace}/{settings.prefix}{topic}"
        try:
            count = web.get(f"/admin/v2/persistent/{name}/partitions").get("partitions", 0)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            count = 0
        if not count:
            found.append(Finding(f"topic {name}", False, "is not there", "run `rayfold migrate`"))
        elif count != settings.partitions:
            cure = f"set RAYFOLD_PARTITIONS={count}; the number is fixed at first start"
            found.append(Finding(f"topic {name}", False, f"has {count} partitions, not {settings.partitions}", cure))
    return found
