"""The disk of the data folder."""

import shutil
from pathlib import Path

from cluster.checks.finding import Finding

#: Less room than this is a finding; so is less than this part of a disk that is not a large one.
_LITTLE_BYTES = 1_000_000_000
_LITTLE_PART = 0.05
_ENOUGH_BYTES = 10_000_000_000


def disk(folder: Path) -> Finding:
    """Whether there is room on it."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return Finding("data folder", False, f"{folder}: {error.strerror}", "name the right one with --data")
    return judged(folder, usage.total, usage.free)


def judged(folder: Path, total: int, free: int) -> Finding:
    """By the bytes of the disk and those that are free."""
    text = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free at {folder}"
    if free < max(_LITTLE_BYTES, min(total * _LITTLE_PART, _ENOUGH_BYTES)):
        cure = "free space, or a larger disk: with a full disk the public API answers 503 and nothing is taken"
        return Finding("disk", False, f"nearly full: {text}", cure)
    return Finding("disk", True, text)
