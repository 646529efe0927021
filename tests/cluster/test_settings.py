"""Settings: environment over file over defaults, every mistake named."""

from pathlib import Path

import pytest

from cluster import topology
from cluster.deployment import host_and_port
from cluster.settings import read_settings
from pipeline.errors import Misconfigured


def test_defaults_are_an_embedded_compact_installation() -> None:
    settings = read_settings({})
    assert (settings.layout, settings.port, settings.partitions, settings.host) == ("compact", 8585, 4, "127.0.0.1")
    assert settings.collector_enabled
    assert settings.workflow_enabled


def test_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    config = tmp_path / "rayfold.toml"
    config.write_text('port = 1000\nlayout = "v1.1"\nmax_body = "5 MB"\nretention = "2 days"\n')
    settings = read_settings({"RAYFOLD_CONFIG": str(config), "RAYFOLD_PORT": "2000"}, host="::1", data=None)
    assert (settings.port, settings.layout, settings.host) == (2000, "v1.1", "::1")
    assert (settings.limits.body, settings.retention_ms) == (5_000_000, 2 * 86_400_000)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PORT", "eight", "RAYFOLD_PORT"),
        ("PORT", "70000", "1 to 65535"),
        ("LAYOUT", "v2", "compact, v1.0, v1.1"),
        ("PARTITIONS", "0", "1 to 256"),
        ("MAX_BODY", "much", "10 MB"),
        ("RETENTION", "soon", "7 days"),
        ("SCALE_RECORDS", "0", "RAYFOLD_SCALE_RECORDS=0"),
        ("MAX_EVENTS", "-1", "RAYFOLD_MAX_EVENTS=-1"),
        ("MAX_BODY", "0", "RAYFOLD_MAX_BODY=0"),
        ("MAX_EVENT", "0 kb", "RAYFOLD_MAX_EVENT=0 kb"),
        ("WORKFLOW_ENABLED", "maybe", "true or false"),
        ("LOG", "kafka://x:6650", "pulsar://host:6650"),
        ("LOG", "pulsar://x:99999", "pulsar://host:6650"),
        ("LOG", "pulsar://x:6650", "RAYFOLD_PULSAR_ADMIN"),
        ("DOCUMENTS", "elastic", "http://host:9200"),
        ("DEFINITIONS", "postgres://u:hush@h/d", "RAYFOLD_DEFINITIONS cannot be used: .*mysql://"),
        ("INSTANCE", "Shop!", "lower-case letters"),
        ("DOCUMENTS_RETENTION", "3 days", "RAYFOLD_DEDUP_DAYS=7"),
        ("DOCUMENTS_BY", "week", "day, month, year"),
    ],
)
def test_a_bad_value_is_named(variable: str, value: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        read_settings({f"RAYFOLD_{variable}": value})


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::1", "http://[::1]:8585"),
        ("::", "http://[::1]:8585"),
        ("0.0.0.0", "http://127.0.0.1:8585"),
        ("example.com", "http://example.com:8585"),
    ],
)
def test_the_address_of_both_apis(host: str, url: str) -> None:
    assert read_settings({}, host=host).url == url


@pytest.mark.parametrize("address", ["auto", "ray://head:10001", "head", "head:", "head:70000", "::1:6379", "a b:1"])
def test_a_ray_address_is_host_and_port(address: str) -> None:
    with pytest.raises(Misconfigured, match="host:port"):
        host_and_port(address)
    assert host_and_port("head:6379") == ("head", 6379)
    assert host_and_port("[::1]:6379") == ("::1", 6379)


def test_an_unknown_key_of_the_file_is_named(tmp_path: Path) -> None:
    config = tmp_path / "rayfold.toml"
    config.write_text("prot = 1000\n")
    with pytest.raises(Misconfigured, match="'prot'"):
        read_settings({"RAYFOLD_CONFIG": str(config)})
    with pytest.raises(Misconfigured, match="cannot be read"):
        read_settings({"RAYFOLD_CONFIG": str(tmp_path / "none.toml")})


_ON_PULSAR = {"RAYFOLD_LOG": "pulsar://x:6650", "RAYFOLD_PULSAR_ADMIN": "http://x:8080"}


def test_on_pulsar_there_are_more_partitions_and_a_body_fits_into_a_message() -> None:
    settings = read_settings(_ON_PULSAR)
    assert settings.partitions == 16
    assert settings.limits.body < settings.pulsar_max_message / 2
    assert read_settings({**_ON_PULSAR, "RAYFOLD_PARTITIONS": "8"}).partitions == 8
    assert read_settings({}).limits.body == 10_000_000


def test_the_instance_stands_before_every_name_on_servers() -> None:
    assert read_settings({}).prefix == ""
    assert read_settings({"RAYFOLD_INSTANCE": "shop-2"}).prefix == "shop-2_"


def test_secrets_are_not_shown() -> None:
    names = ("ADMIN_TOKEN", "SECRET_KEY", "PULSAR_TOKEN", "DOCUMENTS_PASSWORD", "DOCUMENTS_API_KEY")
    settings = read_settings(
        {**{f"RAYFOLD_{name}": "hush" for name in names}, "RAYFOLD_DEFINITIONS": "mysql://u:hush@h:3306/d"}
    )
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("layout", "switches", "in_api", "workers"),
    [
        ("compact", {}, (), {"workers": ("collector", "batcher", "dispatcher", "executor")}),
        ("v1.0", {}, ("collector",), {"background": ("batcher", "dispatcher", "executor")}),
        ("v1.0", {"collector_enabled": "true"}, (), {"background": ("collector", "batcher", "dispatcher", "executor")}),
        (
            "v1.1",
            {},
            (),
            {"collector": ("collector",), "background": ("batcher", "dispatcher"), "workflow": ("executor",)},
        ),
        (
            "v1.1",
            {"workflow_enabled": "false"},
            (),
            {"collector": ("collector",), "background": ("batcher", "dispatcher")},
        ),
        (
            "v1.1",
            {"collector_enabled": "false"},
            ("collector",),
            {"background": ("batcher", "dispatcher"), "workflow": ("executor",)},
        ),
    ],
)
def test_layouts_and_switches_decide_what_is_deployed(
    layout: str, switches: dict[str, str], in_api: tuple[str, ...], workers: dict[str, tuple[str, ...]]
) -> None:
    settings = read_settings({f"RAYFOLD_{name.upper()}": value for name, value in switches.items()}, layout=layout)
    assert topology.plan(settings) == topology.Plan(in_api, workers)


def test_workers_are_never_more_than_partitions_and_compact_is_one_process() -> None:
    assert topology.bounds("v1.1", ("collector",), 4) == (1, 4)
    assert topology.bounds("v1.1", ("collector",), 2) == (1, 2)
    assert topology.bounds("compact", ("collector", "batcher"), 4) == (1, 1)
