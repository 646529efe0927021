"""The disk of the data folder."""

import shutil
from pathlib import Path

from cluster.checks.finding import Finding

#: Less room than this is a finding.
_LITTLE_ROOM_BYTES = 1_000_000_000


def disk(folder: Path) -> Finding:
    """Whether there is room on it."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("data folder", False, f"{folder}: {error.strerror}", "name the right one with --data")
    text = f"{free / 1e9:.1f} GB free at {folder}"
    if free < _LITTLE_ROOM_BYTES:
        return Finding("disk", False, text, "free space: with a full disk the public API answers 503")
    return Finding("disk", True, text)
