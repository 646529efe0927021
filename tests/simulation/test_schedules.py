"""Thousands of schedules, and each mechanism missing once: in processes of their own, whose sets have a fixed order."""

import subprocess
import sys

import pytest

from tests.simulation.guards import GUARDS, Guard

#: A different order of sets, or of anything else, would be another schedule.
_SAME = "1:40"

#: Five thousand take two to four minutes on two idle cores; a busy machine is no fault of theirs.
_BOUND_S = 1_800

pytestmark = pytest.mark.timeout(_BOUND_S + 10)


def _simulation(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BOUND_S)


def test_nothing_is_lost_or_counted_twice_in_five_thousand_schedules() -> None:
    done = _simulation("--seeds", "0:5000")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_is_the_same_schedule_each_time() -> None:
    one, other = _simulation("--seeds", _SAME, "--jobs", "1"), _simulation("--seeds", _SAME, "--jobs", "2")
    assert one.stdout.splitlines()[:-1] == other.stdout.splitlines()[:-1]
    assert len(one.stdout.splitlines()) > 10


@pytest.fixture(scope="module")
def without_each() -> dict[str, str]:
    done = _simulation("--without", "each")
    assert done.stderr == ""
    return {line[:34].rstrip(): line[34:] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_each_mechanism_is_needed(without_each: dict[str, str], guard: Guard) -> None:
    assert without_each[guard.name].startswith("needed; seed "), without_each[guard.name]
