"""The data folder that an older Rayfold left, work half done: see tests/fixtures/README.md."""

import json
import tarfile
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent / "fixtures"


def unpack(number: int, to: Path) -> dict[str, Any]:
    """Put the folder of that format there; returns its account as it was then."""
    with tarfile.open(FIXTURES / f"folder-{number}.tar.gz") as tar:
        tar.extractall(to, filter="data")
    to.chmod(0o700)
    account: dict[str, Any] = json.loads((FIXTURES / f"folder-{number}.json").read_text())
    return account
