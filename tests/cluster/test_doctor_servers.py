"""What the doctor says of real servers that are away, refuse, are full, or are set up otherwise than they should be."""

import base64
import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster import wiring
from cluster.addresses import elastic_address, pulsar_address
from cluster.checks.elasticsearch import elasticsearch
from cluster.checks.mysql import mysql
from cluster.checks.pulsar import pulsar as check_pulsar
from cluster.checks.servers import servers
from cluster.checks.web import basic
from cluster.servers.elasticsearch import Elasticsearch
from cluster.servers.mariadb import MariaDB
from cluster.servers.pulsar import Pulsar
from cluster.settings import Settings, read_settings
from pipeline.log import pulsar_migrate
from pipeline.stores import elastic_migrate
from pipeline.stores import migrate as definitions_migrate
from tests.cluster.test_doctor import bad
from tests.servers import folder, need, up

pytestmark = pytest.mark.timeout(400)

_PASSWORD = "hush-hush-1"
_HASH = "$2a$10$abcdefghijklmnopqrstuuH8aONlV1XpcoYklkjKQWOqTVxk8vkO6"  # of that password, by bcrypt

#: As docs/operations.md lists them, and some that lack one.
_ROLES = """
migrate:
  cluster: [ manage_index_templates, monitor ]
  indices: [ { names: [ 'a_rayfold-*' ], privileges: [ read, write, manage ] } ]
blind:
  indices: [ { names: [ 'a_rayfold-*' ], privileges: [ read, write, manage ] } ]
stranger:
  cluster: [ monitor ]
  indices: [ { names: [ 'b_rayfold-*' ], privileges: [ read, write, manage ] } ]
"""


class _Guarded(Elasticsearch):
    """One that asks who is there, by files, as the reduced server has no other way."""

    def _prepare(self) -> None:
        super()._prepare()
        conf, roles = self.folder / "conf", ("superuser", "migrate", "blind", "stranger")
        (conf / "users").write_text("".join(f"{role}:{_HASH}\n" for role in roles))
        (conf / "users_roles").write_text("".join(f"{role}:{role}\n" for role in roles))
        (conf / "roles.yml").write_text(_ROLES)

    async def _ready(self) -> bool:
        try:
            return (await self.ask("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")).status_code == 200
        except httpx.HTTPError:
            return False

    async def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        headers = {"authorization": basic("superuser", _PASSWORD)}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30) as client:
            return await client.request(method, path, json=body)


@pytest.fixture
async def guarded() -> AsyncIterator[_Guarded]:
    need("elasticsearch")
    with folder() as path:
        async with up(_Guarded(path, os.environ, {"xpack.security.enabled": "true"})) as server:
            yield server


async def _put(server: _Guarded, path: str, body: dict[str, Any]) -> None:
    answer = await server.ask("PUT", path, body)
    assert answer.status_code == 200, answer.text


async def test_elasticsearch_that_refuses_is_full_or_stands_still(guarded: _Guarded, tmp_path: Path) -> None:
    def settings(user: str, password: str = _PASSWORD) -> Settings:
        on = {"RAYFOLD_DOCUMENTS": guarded.url, "RAYFOLD_DOCUMENTS_REPLICAS": "0", "RAYFOLD_INSTANCE": "a"}
        who = {"RAYFOLD_DOCUMENTS_USERNAME": user, "RAYFOLD_DOCUMENTS_PASSWORD": password}
        return read_settings({**on, **who}, data=tmp_path)

    well = settings("migrate")
    assert "rayfold migrate" in bad(await elasticsearch(well))["Elasticsearch indices"].cure
    await elastic_migrate.migrate(elastic_address(well))
    assert bad(await elasticsearch(well)) == {}

    refused = bad(await elasticsearch(settings("migrate", "hush-hush-2")))["Elasticsearch"]
    assert "does not accept who asks (HTTP 401)" in refused.what
    assert "hush" not in str(refused)
    assert "privilege monitor" in bad(await elasticsearch(settings("blind")))["Elasticsearch"].cure
    assert "privileges on a_rayfold-*" in bad(await elasticsearch(settings("stranger")))["Elasticsearch indices"].cure

    for block, check, said in (
        ("read_only_allow_delete", "Elasticsearch disk", "cluster.routing.allocation.disk.watermark.low"),
        ("write", "Elasticsearch blocks", '"index.blocks.write": null'),
    ):
        await _put(guarded, "/a_rayfold-*/_settings", {f"index.blocks.{block}": True})
        found = bad(await elasticsearch(well))
        assert list(found) == [check]
        assert said in found[check].cure
        await _put(guarded, "/a_rayfold-*/_settings", {f"index.blocks.{block}": None})
    assert bad(await elasticsearch(well)) == {}

    disk = "cluster.routing.allocation.disk"
    marks = {"low": "90000gb", "high": "80000gb", "flood_stage": "1kb"}  # to be free
    named = {f"{disk}.watermark.{name}": value for name, value in marks.items()}
    await _put(guarded, "/_cluster/settings", {"persistent": {**named, f"{disk}.threshold_enabled": True}})
    assert "beyond the high watermark (80000gb)" in bad(await elasticsearch(well))["Elasticsearch disk"].what
    await _put(guarded, "/_cluster/settings", {"persistent": {f"{disk}.threshold_enabled": None}})

    guarded.pause()
    try:
        (found,) = await elasticsearch(well)
        assert "lost connection to Elasticsearch" in found.what
        assert "no answer within" in found.what
    finally:
        guarded.resume()


def _token(secret: bytes, role: str) -> str:
    """A token of this role, as the broker's tools make them."""

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    signed = part(b'{"alg":"HS256"}') + b"." + part(json.dumps({"sub": role}).encode())
    return (signed + b"." + part(hmac.new(secret, signed, hashlib.sha256).digest())).decode()


async def test_pulsar_that_refuses_drops_what_is_needed_or_is_away(tmp_path: Path) -> None:
    need("pulsar")
    secret = os.urandom(32)
    asking = {
        "authenticationEnabled": "true",
        "authorizationEnabled": "true",
        "authenticationProviders": "org.apache.pulsar.broker.authentication.AuthenticationProviderToken",
        "tokenSecretKey": f"data:;base64,{base64.b64encode(secret).decode()}",
        "superUserRoles": "super",
        "brokerClientAuthenticationPlugin": "org.apache.pulsar.client.impl.auth.AuthenticationToken",
        "brokerClientAuthenticationParameters": f"token:{_token(secret, 'super')}",
    }
    with folder() as path:
        async with up(Pulsar(path, os.environ, asking)) as server:

            def settings(role: str) -> Settings:
                on = {"RAYFOLD_LOG": server.url, "RAYFOLD_PULSAR_ADMIN": server.admin_url, "RAYFOLD_PARTITIONS": "2"}
                token = {"RAYFOLD_PULSAR_TOKEN": _token(secret, role)} if role else {}
                return read_settings({**on, **token}, data=tmp_path)

            async def ask(method: str, path: str, body: object) -> None:
                headers = {"authorization": f"Bearer {_token(secret, 'super')}"}
                async with httpx.AsyncClient(headers=headers, timeout=30) as client:
                    answer = await client.request(method, f"{server.admin_url}/admin/v2/{path}", json=body)
                assert answer.status_code < 300, answer.text

            found = bad(await check_pulsar(settings("super")))
            assert "is not there" in found["namespace rayfold/system"].what
            await ask("PUT", "tenants/rayfold", {"allowedClusters": ["standalone"], "adminRoles": ["rayfold"]})
            await ask("PUT", "namespaces/rayfold/system", {})
            await ask("POST", "namespaces/rayfold/system/permissions/worker", ["produce", "consume"])

            well = settings("rayfold")
            found = bad(await check_pulsar(well))
            assert "rayfold migrate" in found["topic rayfold/system/collected"].cure
            await pulsar_migrate.migrate(pulsar_address(well))
            found = bad(await check_pulsar(well))
            assert "no subscription collector" in found["topic rayfold/system/collected"].what
            log = await wiring.open_log(well)
            await log.create_group("collected", "collector", "start")
            await log.create_group("processed", "store", "start")
            await log.close()
            assert bad(await check_pulsar(well)) == {}

            found = bad(await check_pulsar(settings("worker")))
            assert "administrator of the tenant rayfold" in found["namespace rayfold/system"].cure
            for role, said in (("", "asks for a token"), ("nobody", "administrator")):
                refused = await check_pulsar(settings(role))
                assert said in str(bad(refused)), refused
                assert _token(secret, "nobody") not in str(refused)

            nothing = {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0}
            await ask("POST", "namespaces/rayfold/system/retention", nothing)
            assert "retention is 0" in bad(await check_pulsar(well))["namespace rayfold/system"].what
            await ask("POST", "namespaces/rayfold/system/messageTTL", 60)
            found = bad(await check_pulsar(well))
            assert "rayfold migrate" in found["namespace rayfold/system"].cure
            await pulsar_migrate.migrate(pulsar_address(well))
            assert bad(await check_pulsar(well)) == {}

            server.kill()
            (away,) = await check_pulsar(well)
            assert "lost connection to Pulsar" in away.what


async def test_topics_with_another_number_of_partitions(pulsar: Pulsar, prefix: str, tmp_path: Path) -> None:
    on = {"RAYFOLD_LOG": pulsar.url, "RAYFOLD_PULSAR_ADMIN": pulsar.admin_url, "RAYFOLD_INSTANCE": prefix}
    await pulsar_migrate.migrate(pulsar_address(read_settings({**on, "RAYFOLD_PARTITIONS": "2"}, data=tmp_path)))
    found = bad(await check_pulsar(read_settings({**on, "RAYFOLD_PARTITIONS": "3"}, data=tmp_path)))
    assert len(found) == 3
    assert all("RAYFOLD_PARTITIONS=2" in one.cure for one in found.values())


async def test_the_definitions_database(mariadb: MariaDB, prefix: str, tmp_path: Path) -> None:
    def settings(user: str = "root@") -> Settings:
        on = {"RAYFOLD_DEFINITIONS": mariadb.url.replace("root@", user), "RAYFOLD_INSTANCE": prefix}
        return read_settings(on, data=tmp_path)

    missing = bad(await mysql(settings()))["definitions database tables"]
    assert "rayfold migrate" in missing.cure
    await definitions_migrate.migrate(mariadb.url, settings().prefix)
    found = await servers(settings())
    assert bad(found) == {}
    assert any("MariaDB" in one.what for one in found)
    refused = bad(await mysql(settings("root:hush-hush@")))["definitions database server"]
    assert "refuses user" in refused.what
    assert "hush" not in str(refused)
    await _execute(mariadb, "set global read_only = 1")
    try:
        assert "read only" in str(bad(await mysql(settings())))
    finally:
        await _execute(mariadb, "set global read_only = 0")
    mariadb.pause()
    try:
        (away,) = await mysql(settings())
        assert "lost connection to MySQL" in away.what
    finally:
        mariadb.resume()


async def _execute(server: MariaDB, statement: str) -> None:
    from sqlalchemy import text

    from pipeline.stores.engine import open_engine

    engine = open_engine(server.url)
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()
