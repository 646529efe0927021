"""The bearer token of the private API."""

import hmac
from collections.abc import Callable

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

_scheme = HTTPBearer(auto_error=False, description="the admin token made at first start")


def require(token: str) -> Callable[..., None]:
    """A dependency that answers 401 unless the request carries this token."""
    expected = token.encode()

    def check(given: HTTPAuthorizationCredentials | None = Depends(_scheme)) -> None:
        if given is None or not hmac.compare_digest(given.credentials.encode(), expected):
            raise HTTPException(401, "no or wrong bearer token", {"www-authenticate": "Bearer"})

    return check
