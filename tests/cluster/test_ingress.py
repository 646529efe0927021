"""The way in, through HAProxy, in the default layout: who a client is, what it is told, and who can listen."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from cluster.haproxy_wrapper import mended
from tests.installation import Installation, eventually, installed

pytestmark = pytest.mark.timeout(300)

_PAYLOAD = {"source": {"id": "s"}, "session": {"id": "x"}, "events": [{"type": "page-view"}]}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("ingress") / "data") as found:
        found.put("source", "s", {})
        yield found


def test_a_client_cannot_say_it_comes_from_elsewhere(installation: Installation) -> None:
    headers = {"x-forwarded-for": "203.0.113.7", "forwarded": "for=203.0.113.7"}
    answer = httpx.post(f"{installation.url}/track?wait=stored", json=_PAYLOAD, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    (event,) = installation.get("/events", session="x")["items"]
    assert event["metadata"]["ip"] == "127.0.0.1"


def _listening(installation: Installation) -> Iterator[tuple[str, str, int]]:
    """Command line, address, port."""
    for pid in installation.members():
        process = psutil.Process(pid)
        for one in process.net_connections("inet"):
            if one.status == psutil.CONN_LISTEN:
                yield " ".join(process.cmdline())[:40], one.laddr.ip.removeprefix("::ffff:"), one.laddr.port


def test_nothing_listens_where_every_ray_serve_of_a_machine_does(installation: Installation) -> None:
    """Where no replica of its own answers, an HAProxy asks Serve's proxy: were that another installation's, events were lost."""
    defaults = {8000, 8404, 8500, 9000, 9101, 9500, *range(30_000, 31_000)}
    found = {(name, port) for name, _, port in _listening(installation)}
    assert any("ProxyActor" in name for name, _ in found)
    assert not {(name, port) for name, port in found if port in defaults}


def test_only_one_thing_listens_beyond_loopback(installation: Installation) -> None:
    found = {name for name, address, _ in _listening(installation) if address != "127.0.0.1"}
    assert all("ServeReplica" in name for name in found), found  # Ray's internal gRPC port of each replica


def test_while_no_replica_answers_requests_wait_or_are_told_to_come_back(installation: Installation) -> None:
    installation.kill("api.public")

    def answered() -> bool:
        try:
            answer = httpx.post(f"{installation.url}/track", json=_PAYLOAD, timeout=10)
        except httpx.TransportError:
            return False  # its connection was cut half-way
        if answer.status_code != 200:
            assert answer.status_code == 503
            assert answer.json()["detail"]
            assert answer.headers["retry-after"] == "1"
        return answer.status_code == 200

    for _ in range(20):
        eventually(answered, 60, "a public API again")


def test_a_configuration_mended_twice_is_mended_once(tmp_path: Path) -> None:
    rendered = (
        "global\n    log 127.0.0.1:514 local0 info\ndefaults\n    mode http\n    errorfile 502 /x/500.http\n"
        "frontend prometheus\n    bind :9101\nfrontend http_frontend\n    bind 0.0.0.0:8585\n"
        "listen stats\n    bind *:8404\n"
    )
    once = mended(rendered, "9101", "8404", tmp_path / "503.http")
    assert once == (
        "global\n    log 127.0.0.1:514 local0 emerg\ndefaults\n    mode http\n    timeout http-request 30s\n"
        f"    errorfile 502 {tmp_path}/503.http\nfrontend prometheus\n    bind 127.0.0.1:9101\nfrontend http_frontend\n"
        "    bind 0.0.0.0:8585\n    http-request set-header X-Forwarded-For %[src]\n"
        "listen stats\n    bind 127.0.0.1:8404\n"
    )
    assert mended(once, "9101", "8404", tmp_path / "503.http") == once
