"""The bench's CPU timeline: what it makes of samples, and of a real process that is stopped, goes on and ends."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.bench.cpu_timeline import (
    CpuTimeline,
    Sample,
    all_gone,
    all_grew,
    gap_before,
    last_growth,
    read_cpu_ns,
)
from tests.integration.worker_kit import wait_until

NEAR_S = 0.7  # of a machine that computes something else
# 1 and 2 burn; 2 lags behind when both stop, goes on later than 1, and ends later.
STORY = [Sample(at, cpu_ns) for at, cpu_ns in enumerate([
    {1: 10, 2: 10}, {1: 20, 2: 20}, {1: 20, 2: 30}, {1: 20, 2: 30}, {1: 20, 2: 30},
    {1: 21, 2: 30}, {1: 40, 2: 31}, {2: 31}, {}])]


@pytest.fixture
def burning() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            wait_until(lambda: (read_cpu_ns(process.pid) or 0) > 5e7)
            yield process
        finally:
            process.kill()


def test_the_last_growth_is_that_of_the_last_process_within_the_time_asked_for() -> None:
    assert last_growth(STORY, since=0, until=4) == 2
    assert last_growth(STORY, since=0, until=5) == 5
    assert last_growth(STORY, since=2, until=4) is None


def test_all_have_grown_once_the_slowest_has() -> None:
    assert all_grew(STORY, (1, 2), since=4) == 6
    assert all_grew(STORY, (1,), since=4) == 5
    assert all_grew(STORY, (1,), since=4.5) == 5


def test_a_process_that_ends_before_it_grows_has_not_grown() -> None:
    assert all_grew([Sample(0, {1: 10, 2: 10}), Sample(1, {1: 20}), Sample(2, {})], (1, 2), since=0) is None


def test_all_are_gone_when_the_last_one_is() -> None:
    assert all_gone(STORY) == 8
    assert all_gone(STORY[:8]) is None


def test_a_moment_is_as_exact_as_the_time_since_the_look_before_it() -> None:
    assert gap_before([Sample(0.0, {}), Sample(1.0, {}), Sample(3.5, {}), Sample(4.0, {})], 3.5) == 2.5


def test_a_process_that_nobody_has_waited_for_is_still_there(burning: subprocess.Popen[bytes]) -> None:
    burning.kill()
    os.waitid(os.P_PID, burning.pid, os.WEXITED | os.WNOWAIT)
    assert read_cpu_ns(burning.pid) is not None
    burning.wait()
    assert read_cpu_ns(burning.pid) is None


def test_a_real_process_stands_still_goes_on_and_ends_when_it_was_told_to(burning: subprocess.Popen[bytes]) -> None:
    told = {}
    with CpuTimeline([burning.pid]) as timeline:
        for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL):
            time.sleep(1.5)
            told[number] = time.monotonic()
            burning.send_signal(number)
        burning.wait()
        gone_at = wait_until(lambda: all_gone(timeline.samples))
    still_at = last_growth(timeline.samples, told[signal.SIGSTOP] - NEAR_S, told[signal.SIGCONT])
    busy_at = all_grew(timeline.samples, [burning.pid], told[signal.SIGCONT])
    assert abs(still_at - told[signal.SIGSTOP]) < NEAR_S  # the tick before it, or the look after it
    assert 0 < busy_at - told[signal.SIGCONT] < NEAR_S
    assert 0 < gone_at - told[signal.SIGKILL] < 0.1
