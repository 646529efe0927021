"""What the supervisor feels of an installation that hangs, and what is no reason to start it again."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cluster import pulse
from cluster.haproxy_wrapper import UNAVAILABLE
from cluster.pulse import Pulse
from cluster.settings import read_settings
from tests.installation import eventually

_WELL = json.dumps({"controlled": True}).encode()


class _Fake(ThreadingHTTPServer):
    """Answers as an installation would; `hangs`: paths that get no answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = {"/ready": (200, b"{}"), "/api/status": (200, _WELL)}
        self.hangs: set[str] = set()
        self.missing = 0  #: bytes that are announced and never come
        self.asked = 0
        self.over = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Fake

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.path in self.server.hangs:
            self.server.over.wait(30)
            return
        status, body = self.server.answers[self.path]
        self.send_response(status)
        self.send_header("content-length", str(len(body) + self.server.missing))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        pass


@pytest.fixture
def fake() -> Iterator[_Fake]:
    with _Fake() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def felt(fake: _Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pulse]:
    monkeypatch.setattr(pulse, "_ASK_S", 0.01)
    monkeypatch.setattr(pulse, "_ANSWER_S", 0.2)
    found = Pulse(read_settings({}, data=tmp_path, port=fake.server_port))
    yield found
    found.close()


def _is_well(felt: Pulse, fake: _Fake) -> None:
    """Asked often enough, and nothing was missing for long."""
    enough = fake.asked + 20
    eventually(lambda: fake.asked > enough, 10, "questions")
    assert felt.lost(1.0) == ""


def test_what_answers_is_well_whatever_it_answers(felt: Pulse, fake: _Fake) -> None:
    _is_well(felt, fake)
    fake.answers = {"/ready": (503, b'{"detail": "the disk is full"}'), "/api/status": (503, b'{"detail": "busy"}')}
    _is_well(felt, fake)


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        ("/ready", None, "public API"),
        ("/ready", (503, UNAVAILABLE), "public API"),
        ("/api/status", None, "private API"),
        ("/api/status", (200, b'{"controlled": false}'), "controller"),
    ],
)
def test_what_hangs_is_named_until_it_answers_again(
    felt: Pulse, fake: _Fake, path: str, answer: tuple[int, bytes] | None, said: str
) -> None:
    before = fake.answers[path]
    if answer is None:
        fake.hangs.add(path)
    else:
        fake.answers[path] = answer
    eventually(lambda: said in felt.lost(0.5), 10, said)
    fake.hangs.clear()
    fake.answers[path] = before
    eventually(lambda: felt.lost(0.5) == "", 10, "all is well again")


def test_an_answer_that_breaks_off_is_none_and_the_next_is_felt(fake: _Fake, felt: Pulse) -> None:
    fake.missing = 50
    fake.answers["/ready"] = (503, b"{}")
    eventually(lambda: felt.lost(0.2), 5, "that nobody answers")
    fake.missing = 0
    eventually(lambda: not felt.lost(0.0), 5, "that it answers again")


def test_an_answer_that_is_no_json_is_an_answer(fake: _Fake, felt: Pulse) -> None:
    fake.answers["/api/status"] = (200, b"well")
    asked = fake.asked
    eventually(lambda: fake.asked > asked + 20, 5, "more questions")
    assert not felt.lost(0.0)
