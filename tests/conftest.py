"""Holds for all tests."""

from hypothesis import settings

pytest_plugins = ["tests.servers", "tests.storage"]

# the machine that runs the tests may be busy: how long an example takes says nothing
settings.register_profile("rayfold", deadline=None)
settings.load_profile("rayfold")
