"""Options that several commands share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cluster.client import Client
from cluster.settings import Settings, read_settings


def installation(command: Callable[..., Any]) -> Callable[..., Any]:
    """--data, --host and --port: which installation is meant."""
    for option in (
        click.option("--port", type=int, help="HTTP port (RAYFOLD_PORT, 8585)."),
        click.option("--host", help="HTTP address (RAYFOLD_HOST, 127.0.0.1)."),
        click.option("--data", type=click.Path(path_type=Path), help="Data folder (RAYFOLD_DATA, ./data)."),
    ):
        command = option(command)
    return command


def settings_of(**given: Any) -> Settings:
    """Settings of the environment and the options given."""
    return read_settings(os.environ, **given)


def client_of(data: Path | None, host: str | None, port: int | None) -> Client:
    """The private API of the installation meant."""
    return Client(settings_of(data=data, host=host, port=port))
