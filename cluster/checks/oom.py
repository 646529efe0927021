"""What Linux tells of processes that it killed because memory ran out."""

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

#: What is said by the kernel of each.
_KILLED = re.compile(r"(?i)out of memory: killed process (\d+) \((.*?)\)")

#: Where process ids are those that the kernel tells; in a container of its own they are others.
_FIRST_NAMESPACE = "pid:[4026531836]"

_DAY_S = 86_400
_RECORD_BYTES = 8_192
_MOST_RECORDS = 100_000


class Kills(NamedTuple):
    """As far as this user may know."""

    processes: dict[int, str]  #: of the last day: id → name
    in_groups: int  #: by the limit of memory of our control groups (containers), since they were made
    is_told: bool  #: whether the kernel's log could be read, and tells ids that are ours


def kills(pids: Collection[int], uptime_s: float, kernel: Path = Path("/dev/kmsg"), root: Path = Path("/")) -> Kills:
    """Of this machine, which has been up for so long; `pids`: processes of ours here, whose control groups are asked."""
    try:
        is_told = str((root / "proc/self/ns/pid").readlink()) == _FIRST_NAMESPACE
        processes = dict(_killed(kernel, (uptime_s - _DAY_S) * 1_000_000)) if is_told else {}
    except OSError:
        processes, is_told = {}, False
    groups = {path for pid in (*pids, os.getpid()) for path in _groups(root, pid)}
    return Kills(processes, sum(map(_count, groups)), is_told)


def _killed(kernel: Path, since_us: float) -> Iterator[tuple[int, str]]:
    for line in _lines(kernel):
        head, _, text = line.partition(";")
        found = _KILLED.search(text)
        fields = head.split(",")
        if found and len(fields) > 2 and fields[2].isdigit() and int(fields[2]) >= since_us:
            yield int(found[1]), found[2]


def _lines(kernel: Path) -> Iterator[str]:
    """One record for each read, and an end that is no end of the file."""
    descriptor = os.open(kernel, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for _ in range(_MOST_RECORDS):
            try:
                data = os.read(descriptor, _RECORD_BYTES)
            except BlockingIOError:
                return
            except BrokenPipeError:  # overwritten before we came to it
                continue
            if not data:
                return
            yield from data.decode(errors="replace").splitlines()
    finally:
        os.close(descriptor)


def _groups(root: Path, pid: int) -> Iterator[Path]:
    """Files that count, of the groups this process is in; of both versions of control groups."""
    with contextlib.suppress(OSError):
        for line in (root / f"proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield root / f"sys/fs/cgroup{path}" / "memory.events"
            elif "memory" in controllers.split(","):
                yield root / f"sys/fs/cgroup/memory{path}" / "memory.oom_control"


def _count(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0
