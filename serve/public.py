"""The public API: what websites and backends send to. The source id is the credential."""

from collections.abc import Awaitable, Callable

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from starlette.types import ASGIApp

from pipeline.definitions_watch import DefinitionsWatch
from pipeline.errors import LogUnavailable
from pipeline.limits import Limits
from pipeline.ports import Ports
from serve import errors, token
from serve.direct import Direct
from serve.errors import json_response
from serve.track import Track

Metrics = Callable[[Request], Awaitable[Response]]


def public_app(
    ports: Ports, watch: DefinitionsWatch, limits: Limits, metrics: Metrics | None = None, admin_token: str = ""
) -> ASGIApp:
    """The application over open ports; whoever makes it closes them. `watch` is kept running by the caller.

    `metrics` are shown to whoever has the admin token: they tell how much comes in.
    """
    app = FastAPI(title="Rayfold public API", docs_url=None, redoc_url=None)
    errors.install(app)
    track = Track(ports.log, watch, ports.clock, ports.new_id, limits)
    app.add_api_route("/track", _endpoint(track), methods=["POST"], response_class=Response)  # describes it

    @app.get("/healthcheck")
    async def healthcheck() -> Response:
        """Alive."""
        return json_response({"status": "alive"})

    @app.get("/ready")
    async def ready() -> Response:
        """Whether events can be taken: the log answers and has room, and sources are loaded, from their copy if need be."""
        try:
            await ports.log.last("collected", 0)
            await ports.log.check()
        except LogUnavailable as error:
            retry_after = str(max(1, round(error.retry_after_s)))
            return json_response({"status": "not ready", "detail": str(error)}, 503, {"retry-after": retry_after})
        if not watch.is_loaded:
            detail = watch.last_error or "the sources are not loaded yet"
            return json_response({"status": "not ready", "detail": detail}, 503, {"retry-after": "1"})
        return json_response({"status": "ready", "revision": watch.catalog.revision})

    if metrics is not None:
        guarded = [Depends(token.require(admin_token))]
        app.add_api_route("/metrics", metrics, dependencies=guarded, response_class=Response, include_in_schema=False)
    return Direct("/track", track, app)


def _endpoint(track: Track) -> Callable[[Request], Awaitable[Response]]:
    async def post_track(request: Request) -> Response:
        """Send a tracker payload, or a list of them; answered 200 once durable."""
        return await track(request)

    return post_track
