"""Accounts that fill up again in time."""
from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.store import Store

pytest_plugins = ["tests.contract.store_backends"]

DAY_S = 86400.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_700_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_a_full_account_is_spent_once_and_fills_up_in_its_time(store: Store, clock: list[float]) -> None:
    assert [store.spend("a", 0.5, DAY_S) for _ in range(3)] == [0, 0, pytest.approx(DAY_S / 2)]
    clock[0] += DAY_S / 4
    assert store.spend("a", 0.5, DAY_S) == pytest.approx(DAY_S / 4)
    assert store.spend("a", 0.25, DAY_S) == 0 and store.spend("a", 0.25, DAY_S) == pytest.approx(DAY_S / 4)
    clock[0] += 10 * DAY_S
    assert store.spend("a", 1.0, DAY_S) == 0 and store.spend("a", 0.1, DAY_S) > 0  # no more than a full one


def test_what_is_given_back_can_be_spent(store: Store, clock: list[float]) -> None:
    assert store.spend("a", 1.0, DAY_S) == 0
    assert store.spend("a", -0.3, DAY_S) == 0
    assert store.spend("a", 0.3, DAY_S) == 0 and store.spend("a", 0.01, DAY_S) > 0


def test_accounts_have_nothing_to_do_with_each_other(store: Store, clock: list[float]) -> None:
    assert store.spend("a", 1.0, DAY_S) == store.spend("b", 1.0, DAY_S) == 0


def test_of_fifty_at_once_as_many_are_served_as_it_holds(shared_store: Store) -> None:
    """A year to fill up: what comes back meanwhile is nothing."""
    with ThreadPoolExecutor(50) as pool:
        waits = list(pool.map(lambda _: shared_store.spend("a", 1 / 16, 365 * DAY_S), range(50)))
    assert sum(wait == 0 for wait in waits) == 16
