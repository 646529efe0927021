"""The command line `rayfold`: each subcommand is a file in cluster/commands, loaded when it is called."""

import importlib
import os
import sys
from collections.abc import Mapping

import click

from pipeline.errors import RayfoldError

#: Command → where it is: "module" or "module:attribute".
_COMMANDS: Mapping[str, str] = {
    "up": "up",
    "down": "down",
    "deploy": "deploy",
    "migrate": "migrate",
    "status": "status",
    "account": "account",
    "dead": "dead",
    "replay": "replay",
    "doctor": "doctor",
    "send": "send",
    "secret": "secret",
    "source": "definitions:source",
    "destination": "definitions:destination",
    "workflow": "definitions:workflow",
    "rule": "definitions:rule",
    "demo": "demo",
    "bench": "bench",
    "servers": "servers",
    "up-servers": "up_servers:up_servers",
    "haproxy-env": "haproxy_env:haproxy_env",
}


class _Lazy(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"cluster.commands.{module}"), attribute or name)
        return command


@click.group(cls=_Lazy)
@click.option("--verbose", is_flag=True, help="Show a traceback with an error.")
@click.version_option(package_name="rayfold")
def rayfold(verbose: bool) -> None:
    """A customer data pipeline: nothing answered 200 is lost, nothing is counted twice."""


def main() -> None:
    """Entry point: an error is one sentence and exit status 1."""
    try:
        status = rayfold.main(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if "--verbose" in sys.argv:
            raise
        click.echo(f"rayfold: {_sentence(error)}", err=True)
        sys.exit(1)


def _sentence(error: Exception) -> str:
    if isinstance(error, RayfoldError):
        return str(error)
    text = " ".join(str(error).split())
    return f"unforeseen {type(error).__name__} ({text}): run again with --verbose for the traceback"
