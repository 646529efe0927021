"""A small system to deliver to: counts what arrives. For the demo, the benchmark and the tests; run as a module."""

import asyncio
import subprocess
import sys
import time
from typing import Any

import aiohttp.web as web

from cluster.ports import free_ports


class Receiver:
    """Remembers deliveries by their Idempotency-Key."""

    def __init__(self) -> None:
        self.keys: dict[str, float] = {}  #: key → when it came first, seconds since 1970
        self.bodies: list[Any] = []
        self.repeats = 0
        self.status = 200
        self.refused = 0

    async def take(self, request: web.Request) -> web.Response:
        """One delivery."""
        if self.status != 200:
            self.refused += 1
            return web.Response(status=self.status)
        key = request.headers.get("idempotency-key", "")
        if key in self.keys:
            self.repeats += 1
        else:
            self.keys[key] = time.time()
            if request.query.get("keep"):
                self.bodies.append(await request.json())
        return web.Response()

    async def counts(self, request: web.Request) -> web.Response:
        return web.json_response({"delivered": len(self.keys), "repeats": self.repeats, "refused": self.refused})

    async def kept(self, request: web.Request) -> web.Response:
        """What came with `?keep=1`, from number `since` on."""
        return web.json_response(self.bodies[int(request.query.get("since", 0)) :])

    async def behave(self, request: web.Request) -> web.Response:
        """Answer with this status from now on."""
        self.status = int(request.match_info["status"])
        return web.Response()

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/counts", self.counts)
        app.router.add_get("/kept", self.kept)
        app.router.add_put("/behave/{status}", self.behave)
        app.router.add_route("*", "/{path:.*}", self.take)
        return app


def start() -> tuple["subprocess.Popen[bytes]", str]:
    """A receiver in a process of its own, and its URL."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.receiver", str(port)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()  # says when it listens
    process.stdout.close()
    return process, f"http://127.0.0.1:{port}"


async def _serve(port: int) -> None:
    runner = web.AppRunner(Receiver().application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
