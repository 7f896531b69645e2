"""Old tasks and unused uploads: they go with what is theirs, and nothing goes that a task names."""
from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from shared import transitions
from shared.announcements import changes
from shared.cached.deletions import Deletions
from shared.documents import Source, Status, Task, TaskResult
from shared.errors import Unavailable
from shared.lifetimes.leaving import BOUNDARY_S
from shared.lifetimes.passes import Lifetimes, Removed
from shared.marks import Mark, write_mark
from shared.settings import Settings
from shared.task_logs import log_path
from shared.transitions import Change
from shared.triggers.tombstones import is_deleted
from shared.uploads.records import RECORD, new_upload_id
from tests.contract.store_model import make_task
from tests.contract.store_raw import edit_raw

if TYPE_CHECKING:
    from tests.contract.cache_bucket import Bucket

pytest_plugins = ["tests.contract.cache_bucket"]

LIFE_S = 1000.0
OLD_S = 2000.0


def settings(here: Bucket, **changes: Any) -> Settings:
    """All buckets are the test's own."""
    lives = {"upload_life_s": LIFE_S, "task_life_s": LIFE_S} | changes
    return here.settings(uploads_bucket=f"{here.bucket}-up", results_bucket=f"{here.bucket}-out", **lives)


def run(here: Bucket, *, dry_run: bool = False, **changes: Any) -> Removed:
    return Lifetimes(here.files, here.store, settings(here, **changes), dry_run=dry_run).run()


def upload(here: Bucket, age_s: float = OLD_S, folder: str = "") -> tuple[str, list[str]]:
    """An upload of a model with data, and the paths of its objects. `folder` is its tenant's."""
    upload_id = new_upload_id(time.time())
    names = ("m.onnx", "data/weights.bin", RECORD)
    return upload_id, [here.put(f"{here.bucket}-up/{folder}{upload_id}/{name}", b"{}", age_s) for name in names]


def age_notes(here: Bucket) -> None:
    """Let the time between the two steps be over."""
    here.age(BOUNDARY_S + 5, *here.paths("leaving/"))


def run_twice(here: Bucket) -> Removed:
    first = run(here)
    assert not first.counts["unused uploads"]
    age_notes(here)
    return run(here)


def there(here: Bucket, paths: list[str]) -> list[bool]:
    return [here.files.stat(path) is not None for path in paths]


# --- uploads ----------------------------------------------------------------------------------------------------------


def test_an_upload_that_no_task_names_goes_in_two_steps(here: Bucket) -> None:
    upload_id, paths = upload(here)
    first = run(here)
    assert (first.waiting, first.lines) == (1, []) and all(there(here, paths))
    assert run(here).waiting == 1 and all(there(here, paths))  # the time between the steps is not over
    age_notes(here)
    second = run(here)
    assert second.counts == {"unused uploads": 1} and upload_id in second.lines[0]
    assert not any(there(here, paths)) and here.paths("leaving/") == []


def test_uploads_of_tenants_go_and_stay_as_others_do(here: Bucket) -> None:
    _, unused = upload(here, folder="tenant-acme/")
    _, named = upload(here, folder="tenant-acme/")
    _, elsewhere = upload(here, folder="acme/")  # others may have put something into the bucket
    here.store.insert(make_task(input_path=named[0], tenant="acme"))
    assert run_twice(here).counts == {"unused uploads": 1}
    assert not any(there(here, unused)) and all(there(here, named)) and all(there(here, elsewhere))


def test_a_new_upload_stays(here: Bucket) -> None:
    _, paths = upload(here, age_s=0.0)
    here.age(OLD_S, *paths[:2])  # one object is new
    assert run_twice(here).counts == {} and all(there(here, paths))


@pytest.mark.parametrize("how", ["input", "prefix", "nested", "unreadable", "unknown field"])
def test_what_a_task_names_stays_however_it_names_it(here: Bucket, how: str) -> None:
    _, paths = upload(here)
    folder = paths[0].removesuffix("/m.onnx")
    fields: dict[str, dict[str, Any]] = {
        "input": {"input_path": paths[0]}, "prefix": {"parameters": {"calibration": folder}},
        "nested": {"parameters": {"verify": {"inputs": [f"{folder}/data"]}}}, "unreadable": {"input_path": paths[0]}}
    task = make_task(status=Status.COMPLETED, **fields.get(how, {}))
    here.store.insert(task)
    if how == "unreadable":
        edit_raw(here.store, task.id, "platform")
    if how == "unknown field":
        edit_raw(here.store, task.id, of_another_version={"from": paths[0]})
    assert run_twice(here).counts == {} and all(there(here, paths)) and here.paths("leaving/") == []
    here.store.delete(task.id)
    assert run_twice(here).counts == {"unused uploads": 1} and not any(there(here, paths))


def test_an_upload_that_a_task_names_after_the_note_stays_and_the_note_goes(here: Bucket) -> None:
    """The request came before the note, and has stored its task after it."""
    _, paths = upload(here)
    assert run(here).waiting == 1
    here.store.insert(make_task(input_path=paths[0]))
    age_notes(here)
    assert run(here).counts == {} and all(there(here, paths)) and here.paths("leaving/") == []


def test_an_upload_that_is_written_to_after_the_note_stays(here: Bucket) -> None:
    _, paths = upload(here)
    assert run(here).waiting == 1
    here.put(paths[0], b"sent again")
    age_notes(here)
    assert run(here).counts == {} and all(there(here, paths)) and here.paths("leaving/") == []


def test_what_is_no_upload_in_the_bucket_stays(here: Bucket) -> None:
    paths = [here.put(f"{here.bucket}-up/{name}", b"x", OLD_S) for name in (
        "model.onnx", "mine/model.onnx", new_upload_id(0.0), f"copy-{new_upload_id(0.0)}/m.onnx")]
    assert run_twice(here).counts == {} and all(there(here, paths))


# --- tasks ------------------------------------------------------------------------------------------------------------


def ended(here: Bucket, *, age_s: float = OLD_S, status: Status = Status.COMPLETED, output: str = "", **fields: Any
          ) -> tuple[Task, list[str]]:
    """A task that has ended so long ago, and its objects: two of its result and a log."""
    task, at = make_task(), time.time() - age_s
    folder = output or f"{here.bucket}-out/{task.id}"
    paths = [f"{folder}/m.xml", f"{folder}/m.bin"]
    for path in paths:
        mark(here, path, task.id, 1)
    paths.append(here.put(log_path(settings(here), task.id, "compile"), b"log"))
    result = TaskResult(path=paths[0], files=paths[:2], sha256="0" * 64, size_bytes=1,
                        manifest_path=f"{paths[0]}.manifest.json")
    task = task.model_copy(update={"status": status, "epoch": 1, "finished_at": at, "created_at": at - 1,
                                   "output_path": paths[0], **fields,
                                   "result": result if status is Status.COMPLETED else None})
    here.store.insert(task)
    return task, paths


def mark(here: Bucket, path: str, task_id: str, epoch: int) -> None:
    (here.folder / "content").write_bytes(b"<net/>")
    here.files.upload(here.folder / "content", path, mark=write_mark(Mark(task_id, epoch, "intel"), path))


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_an_old_task_goes_with_its_own_objects_and_its_logs(here: Bucket, status: Status) -> None:
    task, paths = ended(here, status=status)
    young, young_paths = ended(here, status=status, age_s=LIFE_S / 2)
    foreign = here.put(f"{here.bucket}-out/{task.id}/notes.txt", b"another's")
    removed = run(here)
    assert removed.counts == {"old tasks": 1} and task.id in removed.lines[0]
    assert here.store.get(task.id) is None and not any(there(here, paths))
    assert here.store.get(young.id) and all(there(here, [*young_paths, foreign]))


def test_a_clients_own_output_stays(here: Bucket) -> None:
    task, paths = ended(here, output=f"{here.bucket}-out/mine")
    assert run(here).counts == {"old tasks": 1} and here.store.get(task.id) is None
    assert there(here, paths) == [True, True, False]


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.PAUSED])
def test_a_task_that_has_not_ended_stays_however_old_it_is(here: Bucket, status: Status) -> None:
    task = make_task(status=status, created_at=1.0, updated_at=1.0)
    here.store.insert(task)
    assert run(here).counts == {} and here.store.get(task.id)


def test_a_task_whose_result_another_task_names_stays_as_long_as_that_one(here: Bucket) -> None:
    task, paths = ended(here)
    user = make_task(input_path=paths[0], status=Status.RUNNING)
    here.store.insert(user)
    assert run(here).counts == {} and here.store.get(task.id) and all(there(here, paths))
    here.store.delete(user.id)
    assert run(here).counts == {"old tasks": 1} and not any(there(here, paths))


def test_a_task_that_owes_an_announcement_stays_until_it_is_settled(here: Bucket) -> None:
    owing, paths = ended(here, callback_url="https://example.com/")  # nobody has looked yet
    tried, _ = ended(here, callback_url="https://example.com/", call_at=time.time() + 300)
    forgotten, _ = ended(here, callback_url="https://example.com/", call_at=0.0, age_s=1e7)  # nobody sends any more
    assert run(here).counts == {"old tasks": 1} and here.store.get(forgotten.id) is None
    assert here.store.get(owing.id) and here.store.get(tried.id) and all(there(here, paths))
    for task in (owing, tried):
        assert here.store.update(task.id, Change({}, {"call_at": changes.NEVER}))
    assert run(here).counts == {"old tasks": 2} and not any(there(here, paths))


def test_an_upload_whose_task_has_gone_starts_no_other(here: Bucket) -> None:
    model = here.put(f"{here.bucket}-in/intel/m.onnx", b"model", OLD_S)
    info = here.files.stat(model)
    ended(here, source=Source(bucket=f"{here.bucket}-in", key="intel/m.onnx", etag=info.etag, rule="models-in",
                              request_key="upload-1"))
    assert not is_deleted(here.files, settings(here), "upload-1", info)
    assert run(here).counts == {"old tasks": 1} and is_deleted(here.files, settings(here), "upload-1", info)


def test_a_task_whose_deletion_cannot_be_noted_stays(here: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise Unavailable("files")

    task, paths = ended(here, source=Source(bucket="b", key="k", etag="e", rule="r", request_key="upload-1"))
    monkeypatch.setattr("shared.triggers.tombstones.put_json", fail)
    assert run(here).counts == {} and here.store.get(task.id) and all(there(here, paths))


def test_a_task_that_is_retried_in_that_moment_stays_with_what_it_writes(here: Bucket) -> None:
    task, paths = ended(here, status=Status.FAILED)
    listing = here.store.list_page

    class Store:
        """A client retries the task right after it was read, and a worker publishes."""

        def __getattr__(self, name: str) -> Any:
            return getattr(here.store, name)

        def list_page(self, *arguments: Any) -> Any:
            found = listing(*arguments)
            if found[0] and here.store.update(task.id, transitions.retry()):
                here.store.update(task.id, transitions.claim("w2"))
                mark(here, paths[0], task.id, 2)
            return found

    removed = Lifetimes(here.files, Store(), settings(here)).run()
    assert removed.counts == {} and here.store.get(task.id).status is Status.RUNNING
    assert all(there(here, paths)) and here.paths("housekeeping/deletions/") == []


def test_what_an_interrupted_pass_has_left_goes_later(here: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    task, paths = ended(here)

    def fail(*_: Any) -> None:
        raise Unavailable("files")

    monkeypatch.setattr("shared.lifetimes.tasks.delete_objects", fail)
    with pytest.raises(Unavailable):
        run(here)
    monkeypatch.undo()
    assert here.store.get(task.id) is None and all(there(here, paths))
    clock = [0.0]
    deletions = Deletions(here.files, here.store, settings(here), lambda: clock[0])  # as each worker has one
    for clock[0] in (0.0, 1000.0):
        deletions.look()
    assert not any(there(here, paths[:2])) and here.paths("housekeeping/deletions/") == []


def test_a_clock_that_is_wrong_makes_no_task_old(here: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    task, _ = ended(here, age_s=0.0)
    monkeypatch.setattr("shared.lifetimes.passes.time.time", lambda: time.monotonic() + 4e9)
    assert run(here).counts == {} and here.store.get(task.id)


def test_many_old_tasks_go_in_one_pass(here: Bucket) -> None:
    ids = []
    for number in range(230):
        task = make_task(status=Status.FAILED, created_at=1000.0 + number, finished_at=2000.0)
        here.store.insert(task)
        ids.append(task.id)
    assert run(here).counts == {"old tasks": 230} and here.store.get_many(ids) == {}


# --- both -------------------------------------------------------------------------------------------------------------


def test_without_the_settings_all_stays_for_ever(here: Bucket) -> None:
    task, paths = ended(here, age_s=1e8)
    paths += upload(here, age_s=1e8)[1]
    for _ in range(2):
        removed = run(here, upload_life_s=None, task_life_s=None)
        age_notes(here)
        assert (removed.counts, removed.waiting) == ({}, 0)
    assert here.store.get(task.id) and all(there(here, paths))


def test_a_dry_run_tells_all_that_would_go_and_changes_nothing(here: Bucket) -> None:
    task, paths = ended(here)
    upload_id, uploaded = upload(here)
    removed = run(here, dry_run=True)
    assert removed.counts == {"old tasks": 1, "unused uploads": 1}
    assert task.id in removed.lines[0] and upload_id in removed.lines[1]
    assert here.store.get(task.id) and all(there(here, paths + uploaded)) and here.paths("leaving/") == []
