"""The number of workers: by backlog, and as it is while the backlog is unknown."""

import json
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import scaling
from cluster.scaling import BacklogPolicy, log_facts, wanted
from cluster.settings import Settings
from pipeline.log.port import Backlog
from tests.installation import eventually


@pytest.mark.parametrize(("records", "workers"), [(0, 1), (1, 1), (100, 1), (101, 2), (400, 4), (401, 4), (10**12, 4)])
def test_one_worker_for_so_many_records_within_the_bounds(records: int, workers: int) -> None:
    assert wanted(records, 100, 1, 4) == workers


def test_a_senseless_share_is_no_error() -> None:
    assert wanted(10, 0, 1, 4) == 4


class _Log:
    """Answers with what `script` holds, an exception by raising it; the last one for ever."""

    def __init__(self, script: list[Any]) -> None:
        self.script = script
        self.asked = 0

    async def groups(self, topic: str) -> list[str]:
        self.asked += 1
        if isinstance(self.script[0], Exception):
            raise self.script.pop(0)
        return ["collector"]

    async def backlog(self, topic: str, group: str) -> Backlog:
        return Backlog(self.script[0] if len(self.script) == 1 else self.script.pop(0), 0.0)

    async def close(self) -> None:
        pass


def _policy(monkeypatch: pytest.MonkeyPatch, folder: Path, log: _Log) -> BacklogPolicy:
    async def opened(settings: object) -> _Log:
        return log

    monkeypatch.setattr(scaling, "open_log", opened)
    monkeypatch.setattr(scaling, "_ASK_S", 0.01)
    return BacklogPolicy(log_facts(Settings(data=folder)), "v1.1", 100, ["collector"])


def test_the_target_is_held_while_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    policy = BacklogPolicy(log_facts(Settings(data=tmp_path / "data")), "v1.1", 100, ["collector"])
    with closing(policy):
        for target in (1, 3):
            assert policy(SimpleNamespace(target_num_replicas=target)) == (target, {})


def test_whatever_is_raised_is_survived_and_the_number_forgotten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = _Log([250])
    policy = _policy(monkeypatch, tmp_path, log)
    now = SimpleNamespace(target_num_replicas=4)
    with closing(policy):
        eventually(lambda: policy(now)[0] == 3, 10, "three workers for 250 records")
        log.script = [RuntimeError("unforeseen")] * 50 + [150]
        eventually(lambda: policy(now)[0] == 4, 10, "the target held")
        eventually(lambda: policy(now)[0] == 2, 10, "two workers for 150 records")


def test_no_secret_is_among_what_serve_logs() -> None:
    settings = Settings(log="pulsar://x:6650", pulsar_token="hush", secret_key="hush", admin_token="hush")
    assert "hush" not in json.dumps(log_facts(settings))
