"""`rayfold deploy`"""

import asyncio
import os

import click

from cluster import deployment, folder, wiring
from cluster.options import settings_of
from pipeline.errors import Misconfigured, Retry

#: What of Ray's own environment decides how a cluster is joined.
_ACCESS = ("RAY_AUTH_", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")


@click.command()
def deploy() -> None:
    """Deploy onto the running Ray cluster at RAY_ADDRESS."""
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        raise Misconfigured("RAY_ADDRESS is not set: give it the head's address as host:port, or use `rayfold up`")
    deployment.host_and_port(address)
    settings, _ = folder.prepare(settings_of())
    asyncio.run(wiring.migrate(settings))
    asyncio.run(wiring.arrange(settings, alone=False))
    access = {name: value for name, value in os.environ.items() if name.startswith(_ACCESS)}
    process = deployment.start(settings, address, access)
    if process.wait() != 0:
        raise Retry(f"the deployment failed: {deployment.failure(process)}")
    if not settings.workflow_enabled:
        asyncio.run(wiring.switch_off(settings))
    click.echo(f"deployed (layout {settings.layout}); public API at {settings.url}/track")
