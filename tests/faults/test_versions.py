"""Two versions of the service on the same stores, as in a rolling deployment: row 24 of docs/faults.md."""
from __future__ import annotations

from pathlib import Path

import pytest

from shared.documents import Status
from tests.faults.run import Run
from tests.integration.worker_kit import TARGET, WAIT_S, wait_until

pytest_plugins = ["tests.fixtures.versions"]

ROUNDS = 6
WORK_S = 0.2


def act_when_it_runs(run: Run, verb: str, task_id: str) -> None:
    wait_until(lambda: run.task(task_id).status is Status.RUNNING)
    assert run.act(verb, task_id) == 200


def claims(run: Run, number: int) -> int:
    return run.workers[number].log.read_text().count('"message": "claimed"')


def assert_no_errors_in_logs(run: Run) -> None:
    lines = [line for process in (*run.workers, *run.gateways) for line in process.log.read_text().splitlines()]
    assert [line for line in lines if '"level": "ERROR"' in line or "Traceback" in line] == []


def test_row_24_a_worker_of_the_last_version_and_one_of_this_do_the_work_together(run: Run,
                                                                                  older_version: Path) -> None:
    """The functions are of this version."""
    run.start_gateway()
    run.start_worker(root=older_version)
    run.start_worker()
    wait_until(lambda: [len(target["workers"]) for target in run.client.call("GET", "/platforms")["platforms"]
                        if target["name"] == TARGET.name] == [2])
    plain, resumed, cancelled, retried, deleted = [], [], [], [], []
    for number in range(ROUNDS):
        gate = run.gate(f"gate-{number}")  # nothing that is to be acted on ends before
        for tasks in (plain, plain, resumed, cancelled, retried, deleted):
            tasks.append(run.create(prepare={"seconds": WORK_S},
                                    compile={"seconds": WORK_S} if tasks is plain else {"gate": str(gate)}))
        act_when_it_runs(run, "pause", resumed[number])
        act_when_it_runs(run, "cancel", cancelled[number])
        act_when_it_runs(run, "cancel", retried[number])
        assert run.act("delete", deleted[number]) == 200
        run.task_ids.remove(deleted[number])
        gate.touch()
        assert run.act("resume", resumed[number]) == run.act("retry", retried[number]) == 200
    run.wait_for(*plain, *resumed, *retried)
    assert {task.error.code for task in run.wait_for(*cancelled, status=Status.FAILED)} == {"cancelled"}
    assert run.store.get_many(deleted) == {}
    assert claims(run, 0) and claims(run, 1), "both versions have worked"
    page = run.client.call("POST", "/tasks/list", {"page_size": 100})
    assert page["total"] == len(page["tasks"]) == 5 * ROUNDS and "unreadable" not in page
    assert sum(run.events(task_id, "reaped") for task_id in run.task_ids) == 0
    assert_no_errors_in_logs(run)


@pytest.mark.parametrize("first_is_older", [True, False], ids=["an upgrade", "a way back"])
def test_row_24_the_other_version_goes_on_with_what_is_half_done(run: Run, older_version: Path,
                                                                 first_is_older: bool) -> None:
    """In a parked task, in one that is given back, and in a retried one: no finished stage is repeated."""
    trees = [{"root": older_version}, {}]
    run.start_gateway()
    first = run.start_worker(**trees[not first_is_older])
    parked, given_back = (run.create(compile={"gate": str(run.gate(name))}) for name in ("p", "g"))
    for task_id in (parked, given_back):
        run.pid_of(task_id, "compile")
    retried = run.create(compile={"gate": str(run.gate("r"))})  # only now: of three it might take any two
    assert run.act("pause", parked) == 200
    wait_until(lambda: run.task(parked).owner is None)  # the third task needs its slot
    run.pid_of(retried, "compile")
    assert run.act("cancel", retried) == 200
    first.process.terminate()
    run.gate("g").touch()
    run.start_worker(**trees[first_is_older])
    run.gate("p").touch()
    run.gate("r").touch()
    assert run.act("resume", parked) == run.act("retry", retried) == 200
    for done in run.wait_for(parked, given_back, retried):
        assert run.runs(done.id)["prepare"] == 1
        assert [record.name for record in done.stages] == ["fetch", "prepare", "compile", "verify", "publish"]
    assert first.process.wait(WAIT_S) == 0
    assert_no_errors_in_logs(run)
