from importlib.metadata import entry_points

import pytest

from signalbox.common.installed import registered


@pytest.mark.parametrize("group", ["signalbox.services", "signalbox.migrations", "console_scripts"])
def test_a_group_is_what_the_distributions_register(group):
    assert {(point.name, point.value) for point in registered(group)} == {
        (point.name, point.value) for point in entry_points(group=group)
    }
    assert registered(group)


def test_nothing_is_registered_in_a_group_that_nobody_names():
    assert registered("signalbox.nobody") == []
