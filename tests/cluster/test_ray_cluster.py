"""ray-cluster.yaml and the command that gives its ingress files and ports of its own."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.haproxy import environment
from cluster.ports import free_block

_FILE = Path(__file__).parents[2] / "ray-cluster.yaml"


def _commands(name: str) -> list[str]:
    found: dict[str, Any] = yaml.safe_load(_FILE.read_text())
    commands = found[name]
    assert isinstance(commands, list)
    return commands


@pytest.mark.parametrize("name", ["setup_commands", "head_start_ray_commands", "worker_start_ray_commands"])
def test_every_command_is_one_a_shell_understands(name: str) -> None:
    for command in _commands(name):
        subprocess.run(["sh", "-n", "-c", command], check=True)
        assert "ray stop" not in command


def test_the_head_gets_an_ingress_of_its_own_and_is_deployed_onto() -> None:
    (command,) = _commands("head_start_ray_commands")
    steps = [step.strip() for step in command.split("&&")]
    assert steps[-1].endswith(" rayfold deploy")
    assert steps[-2].startswith("ray start --head --node-ip-address=127.0.0.1 ")
    assert steps[-3] == 'eval "$ingress"'
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0" in steps[0]


def test_what_is_printed_can_be_evaluated(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    script = f'ingress=$("{sys.executable}" -m cluster haproxy-env "{folder}") && eval "$ingress" && env'
    done = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith("RAY_SERVE_"))
    assert found["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert found["RAY_SERVE_HAPROXY_METRICS_PORT"] != found["RAY_SERVE_HAPROXY_STATS_PORT"]
    paths = ("BINARY_PATH", "CONFIG_FILE_LOC", "SOCKET_PATH", "SERVER_STATE_FILE", "METRICS_SOCKET_PATH", "LOG_TARGET")
    assert all(Path(found[f"RAY_SERVE_HAPROXY_{name}"]).parent == folder for name in paths)
    assert (folder / "haproxy").exists()


def test_an_installation_has_a_block_of_ports_of_its_own(tmp_path: Path) -> None:
    found = environment(tmp_path, 1, 2)
    ends = [
        int(found[f"RAY_SERVE_DIRECT_INGRESS_{end}_{kind}_PORT"]) for kind in ("HTTP", "GRPC") for end in ("MIN", "MAX")
    ]
    assert ends == sorted(set(ends))
    block = free_block(str(tmp_path), 128)
    fallbacks = [int(found[f"RAY_SERVE_FALLBACK_PROXY_{kind}_PORT"]) for kind in ("HTTP", "GRPC")]
    assert (fallbacks[0], ends[0], ends[-1]) == (block.start, block.start + 1, block.stop - 1)
    assert ends[1] < fallbacks[1] < ends[2]
    assert not set(free_block("one name", 128)) & set(free_block("another name", 128))


def test_a_block_in_use_is_passed_over() -> None:
    first = free_block("some name", 64)
    with socket.create_server(("127.0.0.1", first.start + 3)):
        assert not set(free_block("some name", 64)) & set(first)
    assert free_block("some name", 64) == first
