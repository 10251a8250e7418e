"""Fixtures for the tests of every package."""

import pytest

from signalbox.common.context import _current

pytest_plugins = ["support.databases"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begin every test outside of a request: what another left current would lend it a deadline that has passed."""
    _current.set(None)
