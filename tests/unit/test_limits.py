"""What callers have taken: requests a second and things that are open, over threads and processes."""
from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.limits.rates import Rates
from shared.limits.table import Table
from shared.limits.tallies import Tallies

FORK = multiprocessing.get_context("fork")


def test_a_second_has_its_share_at_once_and_then_as_much_in_each_second() -> None:
    rates = Rates()
    assert [rates.take("a", 4, now=100.0) for _ in range(5)] == [0, 0, 0, 0, pytest.approx(0.25)]
    assert rates.take("a", 4, now=100.2) == pytest.approx(0.05)
    assert [rates.take("a", 4, now=100.25) for _ in range(2)] == [0, pytest.approx(0.25)]
    taken = sum(rates.take("a", 4, now=101 + step / 100) == 0 for step in range(1000))
    assert taken == pytest.approx(4 * 10 + 3, abs=1)  # ten seconds' shares, and what was left of the first


def test_what_is_not_used_is_not_saved_up() -> None:
    rates = Rates()
    rates.take("a", 3, now=100.0)
    assert [rates.take("a", 3, now=10_000.0) == 0 for _ in range(4)] == [True, True, True, False]


def test_each_caller_has_a_share_of_its_own() -> None:
    rates = Rates()
    assert rates.take("a", 1, now=100.0) == 0 and rates.take("a", 1, now=100.0) > 0
    assert rates.take("b", 1, now=100.0) == 0 and rates.take("", 1, now=100.0) == 0


def test_ten_thousand_callers_who_have_gone_leave_room_for_the_next() -> None:
    rates = Rates()
    for number in range(10_000):
        rates.take(f"caller-{number}", 1, now=100.0 + number)
    assert [rates.take("new", 2, now=20_000.0) == 0 for _ in range(3)] == [True, True, False]


def take_many(rates: Rates, count: int) -> int:
    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(lambda _: rates.take("a", 100, now=100.0) == 0, range(count)))


def test_threads_and_forked_processes_share_exactly() -> None:
    rates = Rates()
    taken = FORK.Queue()
    children = [FORK.Process(target=lambda: taken.put(take_many(rates, 200))) for _ in range(4)]
    for child in children:
        child.start()
    counts = [taken.get(timeout=60) for _ in children]
    for child in children:
        child.join(60)
    assert sum(counts) == 100 and rates.take("a", 100, now=100.0) > 0


def test_so_many_may_be_open_and_no_more() -> None:
    tallies = Tallies()
    assert [tallies.enter("a", 2) for _ in range(3)] == [True, True, False] and tallies.enter("b", 1)
    tallies.leave("a")
    assert [tallies.enter("a", 2) for _ in range(2)] == [True, False]


def test_more_leaves_than_entries_make_no_room() -> None:
    tallies = Tallies()
    tallies.leave("a")
    assert [tallies.enter("a", 1) for _ in range(2)] == [True, False]


def test_what_a_killed_process_had_open_counts_no_more() -> None:
    tallies, entered = Tallies(), FORK.Event()

    def hold() -> None:
        assert tallies.enter("a", 2) and tallies.enter("a", 2)
        entered.set()
        time.sleep(600)

    child = FORK.Process(target=hold)
    child.start()
    assert entered.wait(60) and not tallies.enter("a", 2)
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(60)
    assert [tallies.enter("a", 2) for _ in range(3)] == [True, True, False]


def test_a_process_that_is_killed_inside_the_lock_stops_nobody() -> None:
    table, inside = Table("=Q", 4, 8), FORK.Event()

    def stay() -> None:
        with table.row("a"):
            inside.set()
            time.sleep(600)

    child = FORK.Process(target=stay)
    child.start()
    assert inside.wait(60)
    os.kill(child.pid or 0, signal.SIGKILL)
    with table.row("a") as records:
        assert len(records) == 8
    child.join(60)
