"""Which storage an installation under test is on: environment variables as a user would set them."""

from collections.abc import Mapping

import pytest

#: Everything in the data folder.
EMBEDDED: Mapping[str, str] = {}


@pytest.fixture(params=["embedded", "servers"])
def storage(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """A test that takes it runs on both sets, on the servers under a prefix of its own."""
    return EMBEDDED if request.param == "embedded" else request.getfixturevalue("on_servers")


@pytest.fixture
def on_servers(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Pulsar, Elasticsearch and MariaDB of this run."""
    pulsar, elastic, mariadb = (request.getfixturevalue(name) for name in ("pulsar", "elastic", "mariadb"))
    return {
        "RAYFOLD_LOG": pulsar.url,
        "RAYFOLD_PULSAR_ADMIN": pulsar.admin_url,
        "RAYFOLD_DOCUMENTS": elastic.url,
        "RAYFOLD_DOCUMENTS_REPLICAS": "0",
        "RAYFOLD_DOCUMENTS_REFRESH": "1s",
        "RAYFOLD_DEFINITIONS": mariadb.url,
        "RAYFOLD_PARTITIONS": "4",
        "RAYFOLD_INSTANCE": request.getfixturevalue("prefix"),
    }
