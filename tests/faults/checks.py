"""What must hold after every fault, whatever it was: read from the stores, the counter, the folders and /proc."""
from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from shared.documents import Status, StoredEvent, Task
from tests.faults.run import MARK, Run
from tests.faults.toy_plan import STAGES
from tests.integration.worker_kit import wait_until

RESTING = (Status.COMPLETED, Status.FAILED, Status.PAUSED)


def wait_at_rest(run: Run) -> None:
    """Each task that was answered with success ends terminal or paused, and nobody's."""
    def at_rest() -> bool:
        tasks = run.store.get_many(run.task_ids).values()
        return all(task.status in RESTING and task.owner is None for task in tasks)
    if run.task_ids:
        wait_until(at_rest)


def check_all(run: Run) -> None:
    """Once the run's processes are stopped."""
    tasks = run.store.get_many(run.task_ids)
    for task in tasks.values():
        replay(task, run.store.events(task.id) or [], run.answers_are_lost)
        if run.clocks_agree:
            check_finished_stages_stay(run, task)
    check_objects(run, tasks)
    assert [path for path in run.settings.work_dir.glob("*") if path.is_dir()] == [], "left in the work directory"
    assert processes_of(run.folder) == [], "left running"


# --- history ----------------------------------------------------------------------------------------------------------


def replay(task: Task, events: list[StoredEvent], answers_are_lost: bool) -> None:
    """The task's events, one after another, are steps of the table of transitions, and lead to the document as it is.

    So no state left its end but by a client's retry, nothing was claimed twice, and no write came from a claim that was
    over: each of these would be a step that the table does not have. A stage is recorded once.
    """
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events].count("created") == 1
    assert events[0].type == "created"
    status, owner, epoch, recorded = Status.PENDING, None, 0, []
    for number, event in enumerate(events[1:], start=1):
        told = f"{event.type} at {status}/{owner}/{epoch}: {[(e.type, e.data) for e in events]}"
        match event.type:
            case "claimed":
                assert owner is None and status in (Status.PENDING, Status.RUNNING), told
                status, owner, epoch = Status.RUNNING, event.data["worker"], epoch + 1
            case "stage_started":
                assert owner and status is Status.RUNNING, told
            case "stage_finished":
                ends = number + 1 < len(events) and events[number + 1].type == "completed"
                assert owner and status in (Status.RUNNING, Status.PAUSED), told
                assert (event.data["stage"] == "publish") == ends, told
                if not (answers_are_lost and event.data["stage"] in recorded):
                    assert event.data["stage"] not in recorded, told
                    recorded.append(event.data["stage"])
            case "paused":
                assert status is Status.RUNNING, told
                status = Status.PAUSED
            case "resumed":
                assert status is Status.PAUSED, told
                status = Status.RUNNING
            case "parked":
                assert (status, owner) == (Status.PAUSED, event.data["worker"]), told
                owner = None
            case "released":
                assert (status, owner) == (Status.RUNNING, event.data["worker"]), told
                owner = None
            case "reaped":
                assert owner == event.data["worker"], told
                owner = None
            case "retried":
                assert (status, owner) == (Status.FAILED, None), told
                status = Status.PENDING
            case "completed":
                assert owner and status is Status.RUNNING, told
                status, owner = Status.COMPLETED, None
            case "failed":
                lost = event.data["code"] == "worker_lost" and events[number - 1].type == "reaped"
                assert (owner or lost) and status is Status.RUNNING, told
                status, owner = Status.FAILED, None
            case "cancelled":
                assert status in (Status.PENDING, Status.RUNNING, Status.PAUSED), told
                status, owner = Status.FAILED, None
            case "waiting" | "wait_over":
                assert owner and status in (Status.RUNNING, Status.PAUSED), told
            case "callback_given_up":  # whatever the task does meanwhile
                pass
            case unknown:
                raise AssertionError(f"an event of no known type: {unknown}")
    assert (task.status, task.owner, task.epoch) == (status, owner, epoch), f"the document is not what {events} made it"
    names = [record.name for record in task.stages]
    assert names == list(STAGES[:len(names)]), "a stage is missing, twice or out of order"
    assert names == recorded, "what the document calls finished is not what was recorded"
    assert (task.status is Status.COMPLETED) == (len(names) == len(STAGES))


def check_finished_stages_stay(run: Run, task: Task) -> None:
    """No run of a stage begins after the stage was recorded."""
    recorded = {event.data["stage"]: event.at for event in run.store.events(task.id) or []
                if event.type == "stage_finished"}
    late = [play for play in run.played() if play.tag == run.tags[task.id] and play.what == "begins"
            and play.at > recorded.get(play.stage, float("inf"))]
    assert late == [], "a finished stage ran again"


# --- objects ----------------------------------------------------------------------------------------------------------


def check_objects(run: Run, tasks: dict[str, Task]) -> None:
    """Results belong to completed tasks and are whole; cached results are whole; logs belong to tasks that exist."""
    done = [task for task in tasks.values() if task.status is Status.COMPLETED]
    wanted = {path for task in done for path in task.result.objects()}
    found = {info.path for info in run.files.find(f"{run.settings.results_bucket}/")}
    assert found == wanted, f"objects and completed tasks do not agree: {found} instead of {wanted}"
    for task in done:
        manifest = json.loads(read(run, task.result.manifest_path))
        assert manifest["task_id"] == task.id
        assert [hashlib.sha256(read(run, file["path"])).hexdigest() for file in manifest["artefact"]] == [
            file["sha256"] for file in manifest["artefact"]], "an artefact is not what its manifest says"
        assert manifest["artefact"][0]["sha256"] == task.result.sha256
    for info in list(run.files.find(f"{run.settings.cache_bucket}/stages/")):
        for about in json.loads(read(run, info.path))["files"].values():
            content = read(run, f"{run.settings.cache_bucket}/blobs/{about['sha256']}")
            assert hashlib.sha256(content).hexdigest() == about["sha256"], "a cached result is half there"
    logs = {info.path.split("/")[2] for info in run.files.find(f"{run.settings.cache_bucket}/logs/")}
    assert logs <= tasks.keys(), "logs of tasks that are gone"


def read(run: Run, path: str) -> bytes:
    target = run.folder / "download"
    run.files.download(path, target, max_bytes=1 << 30)
    return target.read_bytes()


# --- processes --------------------------------------------------------------------------------------------------------


def processes_of(folder: Path) -> list[str]:
    """The living processes of a run: each has its folder in the environment."""
    mark = f"{MARK}={folder}\0".encode()
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                if mark in (process / "environ").read_bytes():
                    found.append(f"{process.name}: " + (process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    return found
