"""What races on a store, each runner in a process of its own: `python -m tests.contract.store_processes ACTION URL …`.

A process says "ready" once it is loaded, waits for a line on stdin, so that all begin together, and prints its result
as JSON.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shared import transitions
from shared.documents import Event, Status
from shared.store import DuplicateKey, Store, TaskFilter, open_store
from shared.transitions import Change
from tests.contract.store_model import TIMEOUT_S, make_task

ROOT = Path(__file__).resolve().parents[2]


def race(action: str, url: str, each: list[list[Any]]) -> list[Any]:
    """Run `action` in one process for each list of arguments, all at once; their results."""
    command = [sys.executable, "-m", "tests.contract.store_processes", action, url]
    processes = [subprocess.Popen([*command, json.dumps(arguments)], cwd=ROOT, text=True, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE) for arguments in each]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [json.loads(answer) for answer in answers]


def claim_all(store: Store, worker: str) -> list[str]:
    """Claim until nothing waits; the ids that this worker won."""
    won = []
    while waiting := store.waiting(["intel"], limit=4):
        won += [task.id for task in waiting if store.update(task.id, transitions.claim(worker))]
    return won


def insert_with_key(store: Store, key: str, task_ids: list[str]) -> list[list[str]]:
    """Insert all tasks at once with one key; for each, its id and the one that the store then names."""
    together = threading.Barrier(len(task_ids))

    def insert(task_id: str) -> list[str]:
        together.wait()
        try:
            store.insert(make_task(id=task_id, idempotency_key=key))
        except DuplicateKey as duplicate:
            return [task_id, duplicate.existing.id]
        return [task_id, task_id]

    with ThreadPoolExecutor(len(task_ids)) as pool:
        return list(pool.map(insert, task_ids))


def beat_often(store: Store, task_id: str, times: int) -> int:
    """How many of the beats hit."""
    return sum(store.update(task_id, transitions.beat("w1", 1)) is not None for _ in range(times))


def note(text: str) -> Event:
    return Event(type="note", at=1.0, data={"text": text})


def append_often(store: Store, task_id: str, process: str, times: int) -> list[int]:
    """The number that each appended event got."""
    return [store.update(task_id, Change({}, events=(note(f"{process} {number}"),))).event_count
            for number in range(times)]


def live(store: Store, worker: str, count: int) -> list[str]:
    """Insert, claim, beat, finish or delete tasks one after another; the ids of those that were left failed."""
    left = []
    for number in range(count):
        task = make_task(id=f"task_{worker}_{number}", platform=worker)
        store.insert(task)
        assert store.update(task.id, transitions.claim(worker)).epoch == 1
        assert store.update(task.id, transitions.beat(worker, 1)).beat == 1
        if number % 2:
            assert store.update(task.id, transitions.cancel()) is not None
            left.append(task.id)
        else:
            assert store.delete(task.id) is not None
    return left


def fill_places(store: Store, process: str, times: int, most: int) -> list[int]:
    """Store tasks as there is room for them, and claim each: how many, and how many were ever seen waiting at once."""
    waiting, seen = TaskFilter(status=Status.PENDING), 0
    stored = 0
    while stored < times:
        task = make_task(id=f"task_{process}_{stored}")
        if not store.take_places("all", [task.id], most, waiting):
            time.sleep(0.001)
            continue
        store.insert(task)
        store.leave_places("all", [task.id])
        seen = max(seen, store.list_page(waiting, 1, 1)[1])
        assert store.update(task.id, transitions.claim(process))
        stored += 1
    return [stored, seen]


def insert_on_both_sides_of_a_fork(store: Store, parent_id: str, child_id: str) -> int:
    """How many files and sockets the child opened for itself; the parent had the store open, and goes on with it."""
    store.ping()
    child = os.fork()
    if child == 0:
        opened = 0
        warnings.simplefilter("error")  # pymongo warns where a client from before the fork is used
        try:
            inherited = len(os.listdir("/proc/self/fd"))
            store.insert(make_task(id=child_id))
            opened = len(os.listdir("/proc/self/fd")) - inherited
        finally:
            os._exit(opened)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    store.insert(make_task(id=parent_id))
    return status


ACTIONS = {action.__name__: action
           for action in (claim_all, insert_with_key, beat_often, append_often, live, fill_places,
                                insert_on_both_sides_of_a_fork)}


def main(action: str, url: str, arguments: str) -> None:
    store = open_store(url, TIMEOUT_S)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(ACTIONS[action](store, *json.loads(arguments))))
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
