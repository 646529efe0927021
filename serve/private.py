"""The private API: definitions, data and the running of the installation, behind a bearer token."""

from fastapi import Depends, FastAPI

from pipeline.definitions_watch import DefinitionsWatch
from pipeline.ports import Ports
from serve import errors, token
from serve.data import data_routes
from serve.dead_letters import dead_letter_routes
from serve.definitions import definitions_routes
from serve.replays import replay_routes
from serve.running import Running, running_routes
from serve.secrets import secret_routes


def private_app(ports: Ports, watch: DefinitionsWatch, running: Running, admin_token: str) -> FastAPI:
    """The application over open ports; whoever makes it closes them. `watch` is kept running by the caller."""
    app = FastAPI(title="Rayfold private API", docs_url="/docs", redoc_url=None)
    errors.install(app)
    guarded = [Depends(token.require(admin_token))]
    for routes in (
        running_routes(running),
        data_routes(ports),
        dead_letter_routes(ports, watch),
        secret_routes(ports),
        replay_routes(ports, watch),
        definitions_routes(ports),  # last: its paths match any name
    ):
        app.include_router(routes, dependencies=guarded)
    return app
