"""The two APIs, each of which can fail while the other works."""

import urllib.error
import urllib.request

from cluster.checks.finding import TIMEOUT_S, Finding
from cluster.settings import Settings
from pipeline.errors import RayfoldError


def public(settings: Settings) -> Finding:
    """Whether it takes events."""
    cure = "do what it says, or look into the folder's ray.log"
    try:
        with urllib.request.urlopen(f"{settings.url}/ready", timeout=TIMEOUT_S) as answer:  # noqa: S310
            return Finding("public API", True, f"takes events at {settings.url}/track ({answer.status})")
    except urllib.error.HTTPError as error:
        said = error.read(1_000).decode(errors="replace")
        return Finding("public API", False, f"is not ready: HTTP {error.code} {said}", cure)
    except OSError as error:
        reason = getattr(error, "reason", error)
        return Finding(
            "public API", False, f"does not answer at {settings.url} ({reason})", "start it with `rayfold up`"
        )


def private(error: RayfoldError, public_works: bool) -> Finding:
    """Why the private one does not answer."""
    if public_works:
        cure = (
            "events are taken all the while; it is a deployment of its own, started again by Ray Serve: "
            "when that lasts, look into the folder's ray.log"
        )
    else:
        cure = "start it with `rayfold up`, or name its folder and port"
    return Finding("private API", False, str(error), cure)
