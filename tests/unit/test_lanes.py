"""A lane's threads: what they answer and raise comes to who waits, and to nobody else."""
from __future__ import annotations

import asyncio
import threading
import time

import pytest

from infra.lanes import Lane
from shared.errors import Busy

WAIT_S = 60.0


def test_each_gets_the_outcome_of_its_own_work_however_many_end_at_once() -> None:
    async def main() -> list[int | BaseException]:
        lane = Lane("test", 8, waiting=1000, wait_s=WAIT_S)

        def work(number: int) -> int:
            if number % 7 == 0:
                raise ValueError(number)
            return number

        answers = await asyncio.gather(*(lane.run(lambda number=number: work(number)) for number in range(500)),
                                       return_exceptions=True)
        lane.close()
        return answers

    answers = asyncio.run(main())
    assert [answer.args[0] if isinstance(answer, ValueError) else answer for answer in answers] == list(range(500))
    assert all(isinstance(answer, ValueError) == (number % 7 == 0) for number, answer in enumerate(answers))


def test_no_more_run_at_once_than_there_are_threads_and_those_for_whom_there_is_no_room_are_told() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1

    async def main() -> list[BaseException | None]:
        lane = Lane("test", 2, waiting=3, wait_s=WAIT_S)
        answers = await asyncio.gather(*(lane.run(work) for _ in range(8)), return_exceptions=True)
        answers.append(await lane.run(work))
        lane.close()
        return answers

    answers = asyncio.run(main())
    assert most == 2
    assert [isinstance(answer, Busy) for answer in answers] == [False] * 5 + [True] * 3 + [False]


def test_who_stops_waiting_hinders_nobody() -> None:
    go = threading.Event()

    async def main() -> list[str]:
        lane = Lane("test", 2, waiting=10, wait_s=WAIT_S)
        gone = asyncio.ensure_future(lane.run(lambda: go.wait(WAIT_S)))
        stays = asyncio.ensure_future(lane.run(lambda: (go.wait(WAIT_S), "stays")[1]))
        await asyncio.sleep(0.05)
        gone.cancel()
        go.set()
        answers = [await stays, await lane.run(lambda: "next")]
        assert gone.cancelled()
        lane.close()
        return answers

    assert asyncio.run(main()) == ["stays", "next"]


def test_a_thread_that_ends_after_the_loop_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        go.wait(WAIT_S)
        ended.set()

    lane = Lane("test", 1, waiting=1, wait_s=WAIT_S)

    async def main() -> None:
        waits = asyncio.ensure_future(lane.run(work))
        await asyncio.sleep(0.05)
        assert not waits.done()

    asyncio.run(main())
    go.set()
    assert ended.wait(WAIT_S)
    lane.close()
    assert not caplog.records
