"""Keeps one installation up: starts its head, deploys, starts both again when the head dies or hangs, stops them in order."""

import asyncio
import json
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from cluster import deployment, wiring
from cluster.folder import FolderLock, said_of_rise
from cluster.head import Head
from cluster.ports import is_free
from cluster.pulse import Pulse
from cluster.settings import Settings
from pipeline.errors import Misconfigured, Retry

#: A start that takes longer has failed; giving up one that is only slow would never get anywhere.
_START_DEADLINE_S = 240.0

_LOOK_S = 0.25

#: What does not answer for this long hangs. Ray Serve's own repairs take up to 45 s and come first.
_HANGS_S = 75.0

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0

READY = "up.json"

#: There once everything that has to stand on servers stood: from then on a start does without one that is away.
_ARRANGED = "arranged"


class Supervisor:
    """`run` until a signal; `settings` come from `cluster.folder.prepare`."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._stopping = threading.Event()
        self._lock = FolderLock(settings.data)
        self._ready = settings.data / READY
        self._arranged = settings.data / _ARRANGED

    def run(self, on_ready: Callable[[], None]) -> None:
        """Raises `Misconfigured` when it cannot start: folder in use, port in use, tables too new."""
        self._lock.take()
        try:
            self._ready.unlink(missing_ok=True)
            Head(self._settings).end_orphans()  # they would hold the port
            if not is_free(self._settings.host, self._settings.port):
                raise Misconfigured(
                    f"port {self._settings.port} of {self._settings.host} is in use: "
                    "stop what listens there, or choose another one with --port"
                )
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
            self._keep(on_ready)
        finally:
            self._ready.unlink(missing_ok=True)
            self._lock.close()

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping.set()

    def _keep(self, on_ready: Callable[[], None]) -> None:
        pause = _FIRST_PAUSE_S
        first = True
        while not self._stopping.is_set():
            head = Head(self._settings)
            try:
                if not self._start(head):
                    break
                self._ready.write_text(json.dumps({"url": self._settings.url, "ray": head.address, "head": head.pid}))
                if first:
                    on_ready()
                first, pause = False, _FIRST_PAUSE_S
                self._watch(head)
            except (Retry, OSError) as error:
                if first:
                    raise
                self._say(f"not up yet: {error}")
            finally:
                if self._stopping.is_set():
                    self._say("stopping")
                self._ready.unlink(missing_ok=True)
                head.stop(drain=self._stopping.is_set())
            if not self._stopping.is_set():
                self._say(f"starting the Ray head again in {pause:g} s")
                self._stopping.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _watch(self, head: Head) -> None:
        """Until a signal, or until the head has ended or hangs."""
        pulse = Pulse(self._settings)
        try:
            while not self._stopping.wait(_LOOK_S):
                if head.died():
                    self._say("the Ray head has ended")
                    return
                if missing := pulse.lost(_HANGS_S):
                    self._say(f"{missing} for {_HANGS_S:g} s")
                    return
        finally:
            pulse.close()

    def _start(self, head: Head) -> bool:
        """True when both APIs answer, False when a signal came first."""
        head.start()
        process = deployment.start(self._settings, head.address)
        try:
            path = "/ready" if self._arrange() else "/healthcheck"
            deadline = time.monotonic() + _START_DEADLINE_S
            while process.poll() is None or not self._answers(path):
                if self._stopping.is_set():
                    return False
                if head.died():
                    raise Retry(f"the Ray head did not start: see {self._settings.data / 'ray.log'}")
                if process.poll():
                    raise Retry(f"the deployment failed: {deployment.failure(process)}")
                if time.monotonic() > deadline:
                    raise Retry(f"not ready after {_START_DEADLINE_S:g} s: see {self._settings.data / 'ray.log'}")
                time.sleep(0.1)
            return True
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert isinstance(process, subprocess.Popen)
            assert process.stderr is not None
            process.stderr.close()

    def _arrange(self) -> bool:
        """Make what has to stand before the workers start. False: a server is away, and they go on with what stood before."""
        try:
            before = asyncio.run(wiring.migrate(self._settings))
            if before is not None:
                self._say(said_of_rise(before))
            asyncio.run(wiring.arrange(self._settings, alone=True))
        except Retry as error:
            if not self._arranged.exists():
                raise
            self._say(f"starting with what stood before: {error}")
            return False
        if self._settings.uses_servers:
            self._arranged.touch()
        return True

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"{self._settings.url}{path}", timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False
