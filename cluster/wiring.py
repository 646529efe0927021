"""Picks the adapters: the only place that knows which technology stands behind a port."""

import random

import uuid_utils

from cluster import folder
from cluster.addresses import elastic_address, pulsar_address
from cluster.setting_values import EMBEDDED
from cluster.settings import Settings
from pipeline import envelope, topics
from pipeline.clock import SystemClock
from pipeline.definitions_watch import DefinitionsWatch
from pipeline.http.aiohttp import AiohttpClient
from pipeline.log.port import Log
from pipeline.log.sqlite import SqliteLog
from pipeline.ports import Ports
from pipeline.release import release, unnamed
from pipeline.secrets import SecretBox
from pipeline.stores.definitions_copy import DefinitionsCopy
from pipeline.stores.documents import Documents
from pipeline.stores.mysql_engine import definitions_url
from pipeline.stores.sqlalchemy import SqlDefinitions
from pipeline.stores.sqlite import SqliteDocuments


def _definitions_at(settings: Settings) -> tuple[str, str]:
    """Where the definitions are, and what stands before the names of their tables."""
    if settings.definitions == EMBEDDED:
        return f"sqlite+aiosqlite:///{settings.data}/definitions.db", ""
    return settings.definitions, settings.prefix


async def open_definitions(settings: Settings) -> SqlDefinitions:
    """The definitions database alone, as `open_log`."""
    url, prefix = _definitions_at(settings)
    return await SqlDefinitions.open(url, SystemClock(), prefix)


async def open_log(settings: Settings) -> Log:
    """The log alone. A server that is away is no error: the first call says so."""
    if settings.log == EMBEDDED:
        return await SqliteLog.open(settings.data / "log", settings.partitions, SystemClock())
    from pipeline.log.pulsar import PulsarLog  # only where it is used: its client is a large library

    return await PulsarLog.open(pulsar_address(settings), SystemClock())


def definitions_copy(settings: Settings) -> DefinitionsCopy | None:
    """What workers begin with while the database is away; none where it is in the same folder."""
    if settings.definitions == EMBEDDED:
        return None
    url = definitions_url(settings.definitions)
    return DefinitionsCopy(
        settings.data / "definitions.copy", f"{url.host}:{url.port}/{url.database} {settings.prefix}"
    )


async def open_documents(settings: Settings) -> Documents:
    """The document store alone, as `open_log`."""
    if settings.documents == EMBEDDED:
        return await SqliteDocuments.open(settings.data / "documents.db")
    from pipeline.stores.elastic import ElasticDocuments

    return await ElasticDocuments.open(elastic_address(settings), SystemClock())


async def open_ports(settings: Settings) -> Ports:
    """All ports of this process, opened; settings must come from `cluster.folder.prepare`."""
    clock = SystemClock()
    return Ports(
        log=await open_log(settings),
        documents=await open_documents(settings),
        definitions=await open_definitions(settings),
        http=AiohttpClient(),
        clock=clock,
        random=random.random,
        new_id=lambda: str(uuid_utils.uuid7()),
        secrets=SecretBox(settings.secret_key.encode()),
    )


async def migrate(settings: Settings) -> int | None:
    """Create or upgrade everything that is stored; safe to repeat, also while an installation runs on it.

    Returns the folder's format before, where it was an older one. Raises `UnknownFormat`, and has changed nothing but
    tables then, where something was written by a newer Rayfold.
    """
    from pipeline.stores.migrate import migrate as migrate_definitions  # Alembic takes 0.3 s to import

    await migrate_definitions(*_definitions_at(settings))
    await _check_definitions(settings)
    await _migrate_servers(settings)
    log = await open_log(settings)
    try:
        await _check_envelopes(log)
        # groups before the first append, so that nothing is published before somebody is due to read it
        await log.create_group(topics.COLLECTED, topics.COLLECTOR_GROUP, "start")
        await log.create_group(topics.PROCESSED, topics.STORE_GROUP, "start")
    finally:
        await log.close()
    await (await open_documents(settings)).close()
    return folder.raise_format(settings.data)  # last: what is not done to its end is done again


async def _migrate_servers(settings: Settings) -> None:
    """Topics, templates and indices; what is embedded makes itself when it is opened."""
    if settings.log != EMBEDDED:
        from pipeline.log import pulsar_migrate

        await pulsar_migrate.migrate(pulsar_address(settings))
    if settings.documents != EMBEDDED:
        from pipeline.stores import elastic_migrate

        await elastic_migrate.migrate(elastic_address(settings))


async def _check_definitions(settings: Settings) -> None:
    definitions = await open_definitions(settings)
    try:
        await definitions.changed(0)
    finally:
        await definitions.close()


async def _check_envelopes(log: Log) -> None:
    """The newest ones are enough: formats only rise."""
    for topic in topics.TOPICS:
        for partition in range(log.partitions):
            last = await log.last(topic, partition)
            if last is not None:
                envelope.check_format(last.data, topic)


async def arrange(settings: Settings, *, alone: bool) -> None:
    """What has to stand before the workers start: groups by switch and definition.

    `alone`: nothing runs on this installation now. Only then are groups dropped: a worker may read for one, and a
    destination that is just being put has its group before its definition.
    """
    log = await open_log(settings)
    definitions = await open_definitions(settings)
    try:
        if settings.workflow_enabled:
            await log.create_group(topics.PROCESSED, topics.WORKFLOW_GROUP, "end")
        elif alone:
            await log.drop_group(topics.PROCESSED, topics.WORKFLOW_GROUP)
        watch = DefinitionsWatch(definitions, SystemClock())
        await watch.refresh()
        for id in [
            id for id, one in watch.catalog.destinations.items() if one.enabled and id not in watch.catalog.lives
        ]:
            # enabled by an older Rayfold that was still running when the tables were upgraded: its group is named so
            row = await definitions.get("destinations", id)
            if row is not None and not row.deleted:
                group = topics.destination_reader(id)
                await definitions.put("destinations", id, row.body, group=group, expected=row.revision)
        await watch.refresh()
        for group in await unnamed(log, watch.catalog) if alone else ():
            await release(log, definitions, group)
        for group in watch.catalog.lives.values():
            await log.create_group(topics.PROCESSED, group, "end")
    finally:
        await definitions.close()
        await log.close()


async def switch_off(settings: Settings) -> None:
    """Once no executor is left: a group that nobody reads for would hold the log back."""
    log = await open_log(settings)
    try:
        await log.drop_group(topics.PROCESSED, topics.WORKFLOW_GROUP)
    finally:
        await log.close()
