"""A store that is away, or whose answers are lost: rows 14 and 15 of the matrix in docs/faults.md."""
from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from infra.client import ApiError
from shared.documents import Status
from tests.faults.conftest import ProxyBefore
from tests.faults.proxy import Verdict
from tests.faults.run import HANG_S, Run, elapsed
from tests.integration.worker_kit import wait_until

LEASE_S = 8.0
AWAY_S = 10.0
LAG_S = 2.0  # the reaper has its store back so long before the owner
TIMEOUT_S = 1.5  # of the store, for all processes
ONCE = {"prepare": 1, "compile": 1, "verify": 1}


@dataclass(frozen=True)
class StoreAway:
    """`owner` and `others` are settings of processes whose store is away within the block of `away()`."""

    owner: dict[str, Any]
    others: dict[str, Any]
    away: Callable[[], AbstractContextManager[None]]


@pytest.fixture
def store_away(run: Run, proxy_before: ProxyBefore) -> StoreAway:
    url = run.settings.store_url.get_secret_value()

    @contextmanager
    def locked() -> Iterator[None]:
        connection = sqlite3.connect(url.removeprefix("sqlite:"), timeout=30.0, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
        connection.close()

    @contextmanager
    def cut_off() -> Iterator[None]:
        for line in (first, second):
            line.cut()
        yield
        second.heal()
        time.sleep(LAG_S)
        first.heal()

    settings = {"lease_s": LEASE_S, "dependency_timeout_s": TIMEOUT_S}
    if url.startswith("sqlite:"):
        return StoreAway(settings, settings, locked)
    (first, owner_url), (second, others_url) = proxy_before(url), proxy_before(url)
    return StoreAway(settings | {"store_url": owner_url}, settings | {"store_url": others_url}, cut_off)


def test_row_14_work_done_while_the_store_is_away_is_kept_and_committed_and_nobody_is_reaped(
        run: Run, store_away: StoreAway) -> None:
    run.start_gateway(**store_away.others)
    owner = run.start_worker(slots=4, **store_away.owner)
    tasks = [run.create(compile={"gate": str(run.gate())}) for _ in range(4)]
    for task_id in tasks:
        run.pid_of(task_id, "compile")
    other = run.start_worker(**store_away.others)
    with store_away.away():
        run.gate().touch()
        wait_until(lambda: len([p for p in run.played() if (p.stage, p.what) == ("compile", "ends")]) == 4)
        answers: list[int] = []
        assert elapsed(lambda: answers.append(run.act("pause", tasks[0]))) < HANG_S
        assert answers == [503]
        time.sleep(AWAY_S)
    run.wait_for(*tasks)
    assert [(run.runs(task_id), run.task(task_id).epoch) for task_id in tasks] == [(ONCE, 1)] * 4
    assert {run.events(task_id, "reaped") for task_id in tasks} == {0}
    assert owner.process.is_running() and other.process.is_running()


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "delete"])
def test_row_15_a_clients_action_whose_answer_was_lost_took_place_once(service_run: Run, proxy_before: ProxyBefore,
                                                                      verb: str) -> None:
    run, line = service_run, proxy_before(service_run.settings.store_url.get_secret_value())
    run.start_gateway(store_url=line[1])
    run.start_worker()
    task_id = run.create(compile={"gate": str(run.gate())})
    run.pid_of(task_id, "compile")
    if verb == "resume":
        assert run.act("pause", task_id) == 200
    left = line[0].lose_answers(b"findAndModify", 1)
    assert run.act(verb, task_id) == 503
    assert left() == 0
    again = run.act(verb, task_id)
    run.gate().touch()
    if verb == "delete":
        assert again == 404
        assert run.store.get(task_id) is None
        return
    assert again == 400
    past = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}[verb]
    assert run.events(task_id, past) == 1
    if verb == "pause":
        assert run.act("resume", task_id) == 200
    run.wait_for(task_id, status=Status.FAILED if verb == "cancel" else Status.COMPLETED)


def test_row_15_a_creation_whose_answer_was_lost_and_that_is_repeated_makes_one_task(service_run: Run,
                                                                                   proxy_before: ProxyBefore) -> None:
    run, line = service_run, proxy_before(service_run.settings.store_url.get_secret_value())
    run.start_gateway(store_url=line[1])
    run.create()  # and so the indexes are made
    # A text that nothing but the write of the document has: the key is also looked for.
    request = run.request({}, idempotency_key="key", labels={"text": "the-same-task"})
    left = line[0].lose_answers(b"the-same-task", 1)
    with pytest.raises(ApiError, match="503"):
        run.submit(request)
    assert left() == 0
    [task_id] = {run.submit(request) for _ in range(2)}
    run.start_worker()
    run.wait_for(*run.task_ids)
    assert (run.runs(task_id), run.client.call("POST", "/tasks/list", {})["total"]) == (ONCE, 2)


def test_row_15_a_worker_whose_every_write_loses_an_answer_makes_each_transition_once(
        service_run: Run, proxy_before: ProxyBefore) -> None:
    run, line = service_run, proxy_before(service_run.settings.store_url.get_secret_value())
    run.answers_are_lost = True
    writes = count(1)

    def lose_every_other(chunk: bytes) -> Verdict:
        return Verdict.LOSE_ANSWER if b"findAndModify" in chunk and next(writes) % 2 else Verdict.PASS

    run.start_gateway()
    run.start_worker(store_url=line[1])
    line[0].judge = lose_every_other
    task_id = run.create()
    run.wait_for(task_id)
    line[0].heal()
    assert next(writes) > 12
    assert (run.runs(task_id), run.task(task_id).epoch) == (ONCE, 1)
