"""The servers that tests and trials run on: started, killed, started again."""

from pathlib import Path
from struct import pack

import pytest

from cluster.servers import journal, place
from cluster.servers.elasticsearch import Elasticsearch
from cluster.servers.mariadb import MariaDB
from cluster.servers.pulsar import Pulsar
from pipeline.errors import Misconfigured


@pytest.mark.timeout(300)
async def test_pulsar_comes_back_after_kill_9(own_pulsar: Pulsar) -> None:
    own_pulsar.kill()
    assert own_pulsar.pid is None
    await own_pulsar.start()
    assert own_pulsar.pid is not None


@pytest.mark.timeout(300)
async def test_elasticsearch_comes_back_after_kill_9(own_elastic: Elasticsearch) -> None:
    own_elastic.kill()
    await own_elastic.start()
    assert own_elastic.pid is not None


async def test_mariadb_comes_back_after_kill_9(own_mariadb: MariaDB) -> None:
    own_mariadb.kill()
    await own_mariadb.start()
    assert own_mariadb.pid is not None


def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="install a JDK"):
        place.java_home({"PATH": str(tmp_path)}, 90, 98)


def _journal(path: Path, *records: bytes) -> None:
    path.mkdir(exist_ok=True)
    body = b"".join(pack(">i", len(record)) + record for record in records)
    (path / "1.txn").write_bytes((b"BKLG" + pack(">i", 6)).ljust(512, b"\0") + body + bytes(4096))


def _record(data: bytes) -> bytes:
    head = pack(">qqqq", 7, 3, 2, len(data))
    return head + pack(">I", journal.crc32c(head + data)) + data


def test_a_torn_last_record_is_cut_off_the_journal(tmp_path: Path) -> None:
    whole, torn = _record(b"a" * 500), _record(b"b" * 500)
    _journal(tmp_path, whole, torn[:300] + bytes(len(torn) - 300))
    size = (tmp_path / "1.txn").stat().st_size
    assert journal.repair(tmp_path)
    content = (tmp_path / "1.txn").read_bytes()
    assert len(content) == size
    assert whole in content
    assert b"b" not in content[512:]
    assert not journal.repair(tmp_path)  # what is left is whole


def test_a_whole_journal_is_left_as_it_is(tmp_path: Path) -> None:
    _journal(tmp_path, _record(b"a" * 500), _record(b"b" * 500))
    before = (tmp_path / "1.txn").read_bytes()
    assert not journal.repair(tmp_path)
    assert (tmp_path / "1.txn").read_bytes() == before
    assert not journal.repair(tmp_path / "none")
