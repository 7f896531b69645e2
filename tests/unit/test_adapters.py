"""Adapters are found by the URL's scheme, and say what is missing."""
from __future__ import annotations

from importlib import import_module

import pytest

from shared import files, queue, store
from shared.adapters import Adapter, find_factory
from shared.errors import AppError

REGISTERED = [adapter for kind in (store, queue, files) for adapter in kind.ADAPTERS.values()]


@pytest.mark.parametrize("adapter", REGISTERED, ids=lambda adapter: adapter.factory)
def test_each_registered_factory_is_there(adapter: Adapter) -> None:
    module, _, name = adapter.factory.partition(":")
    assert callable(getattr(import_module(module), name))


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AppError) as caught:
        find_factory("store", {"here": Adapter("x:y")}, "mysql://host/db")
    assert caught.value.en == "unknown store scheme: mysql (here:)"


def test_a_driver_that_is_not_installed_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(AppError) as caught:
        find_factory("queue", {"kafka": Adapter("no_such_driver.adapter:open", "pip install no-such-driver")}, "kafka://h")
    assert caught.value.en == "kafka: needs no_such_driver, install it: pip install no-such-driver"
