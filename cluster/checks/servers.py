"""The servers that the settings name, asked from here, all at once."""

import asyncio

from cluster.checks.finding import Finding, bounded
from cluster.setting_values import EMBEDDED
from cluster.settings import Settings


async def servers(settings: Settings) -> list[Finding]:
    """None where everything is embedded."""
    asking = []
    if settings.log != EMBEDDED:
        from cluster.checks.pulsar import pulsar  # only where it is used, as its driver

        asking.append(bounded("Pulsar", pulsar(settings)))
    if settings.documents != EMBEDDED:
        from cluster.checks.elasticsearch import elasticsearch

        asking.append(bounded("Elasticsearch", elasticsearch(settings)))
    if settings.definitions != EMBEDDED:
        from cluster.checks.mysql import mysql

        asking.append(bounded("definitions database server", mysql(settings)))
    return [one for found in await asyncio.gather(*asking) for one in found]
