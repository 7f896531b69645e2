"""POST /tasks/batch-delete: each task for itself, and what the service put down for it goes with it."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.api.deletion import delete_tasks
from shared.cached import blob_path, manifest_path
from shared.cached.collector import Collector
from shared.documents import StageRecord, Task, TaskResult, new_task_id
from shared.errors import Unavailable
from shared.files import Files
from shared.marks import mark_of, write_mark
from shared.settings import get_settings
from shared.store import Store
from shared.task_logs import log_path
from tests.functions.service import Caller


def delete(call: Caller, *task_ids: str) -> tuple[str, dict[str, object]]:
    answer = call("batch_delete_tasks", "POST", "/tasks/batch-delete", json={"task_ids": task_ids})
    assert list(answer.data) == ["total_count", "success_count", "failed_count", "results"]
    return answer.message, answer.data


def finish(add: Callable[..., Task], files: Files, folder: Path, task_id: str, output_path: str) -> list[str]:
    """A completed task with its artefact; the paths of its objects."""
    paths = [output_path, output_path.replace(".xml", ".bin"), output_path.rpartition("/")[0] + "/manifest.json"]
    (folder / "artefact").write_bytes(b"<xml/>")
    for path in paths:
        files.upload(folder / "artefact", path)
    add(id=task_id, status="completed", output_path=output_path, stage="publish", result=TaskResult(
        path=paths[0], files=paths[:2], sha256="0" * 64, size_bytes=6, manifest_path=paths[2]))
    return paths


def test_all_tasks_are_deleted_whatever_their_state(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    ids = [add(status=status).id for status in ("pending", "running", "paused", "completed", "failed")]
    message, data = delete(call, *ids)
    assert message == "批量删除完成: 成功删除 5/5 个任务"
    assert data == {"total_count": 5, "success_count": 5, "failed_count": 0, "results": dict.fromkeys(ids, True)}
    assert store.get_many(ids) == {}


def test_an_unknown_task_is_told_and_the_others_go_on(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    first, last = add().id, add().id
    message, data = delete(call, first, "task_0_unknown", last)
    assert message == "批量删除完成: 成功删除 2/3 个任务"
    assert data == {"total_count": 3, "success_count": 2, "failed_count": 1,
                    "results": {first: True, "task_0_unknown": False, last: True}}


def test_a_task_named_twice_counts_once(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task_id = add().id
    message, data = delete(call, task_id, task_id)
    assert message == "批量删除完成: 成功删除 1/1 个任务"
    assert data["results"] == {task_id: True}


def test_the_artefacts_in_the_tasks_own_folder_go_with_it(call: Caller, add: Callable[..., Task], files: Files,
                                                          tmp_path: Path) -> None:
    task_id, neighbour_id = new_task_id(), new_task_id()
    paths = finish(add, files, tmp_path, task_id, f"results/{task_id}/a.xml")
    neighbours = finish(add, files, tmp_path, neighbour_id, f"results/{task_id}0/{neighbour_id}/a.xml")
    assert delete(call, task_id)[1]["success_count"] == 1
    assert [files.stat(path) for path in paths] == [None] * 3
    assert all(files.stat(path) for path in neighbours)


def test_what_a_worker_had_published_when_it_was_killed_goes_with_the_task(
        call: Caller, add: Callable[..., Task], files: Files, tmp_path: Path) -> None:
    task_id = new_task_id()
    task = add(id=task_id, status="running", epoch=1, output_path=f"results/{task_id}/a.xml")
    (tmp_path / "artefact").write_text("<net/>")
    files.upload(tmp_path / "artefact", task.output_path, mark=write_mark(mark_of(task), task.output_path))
    assert delete(call, task_id)[1]["success_count"] == 1
    assert files.stat(task.output_path) is None


def test_the_logs_of_a_tasks_stages_go_with_it_and_no_others(call: Caller, add: Callable[..., Task], files: Files,
                                                             tmp_path: Path) -> None:
    task, neighbour = add(status="failed", epoch=1), add(status="running", epoch=1)
    (tmp_path / "log").write_text("compiling\n")
    paths = [log_path(get_settings(), of.id, stage) for of in (task, neighbour) for stage in ("fetch", "compile")]
    for path in paths:
        files.upload(tmp_path / "log", path)
    assert delete(call, task.id)[1]["success_count"] == 1
    assert [files.stat(path) is None for path in paths] == [True, True, False, False]


def test_a_clients_own_output_is_never_deleted(call: Caller, add: Callable[..., Task], files: Files,
                                               tmp_path: Path) -> None:
    task_id = new_task_id()
    paths = finish(add, files, tmp_path, task_id, f"mine/{task_id}-out/a.xml")
    assert delete(call, task_id)[1]["success_count"] == 1
    assert all(files.stat(path) for path in paths)


def test_a_thousand_tasks_go_at_once(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    ids = [add(id=f"task_1_{number}").id for number in range(1000)]
    assert delete(call, *ids)[0] == "批量删除完成: 成功删除 1000/1000 个任务"


# --- purge ------------------------------------------------------------------------------------------------------------


def recorded(*keys: str) -> list[StageRecord]:
    return [StageRecord(name=key, key=key, output_digest="0" * 64, seconds=1.0, cached=False) for key in keys]


def share(files: Files, folder: Path, key: str) -> list[str]:
    """A stage's result in the cache: a manifest and a blob."""
    bucket = get_settings().cache_bucket
    paths = [manifest_path(bucket, key), blob_path(bucket, f"sha of {key}")]
    (folder / "content").write_text(f'{{"files": {{"a": {{"sha256": "sha of {key}"}}}}}}')
    for path in paths:
        files.upload(folder / "content", path)
    return paths


@pytest.mark.parametrize("purge", [True, False])
def test_the_results_of_the_tasks_stages_go_at_once_where_it_is_asked_for(
        call: Caller, store: Store, add: Callable[..., Task], files: Files, tmp_path: Path, purge: bool) -> None:
    """As soon as a worker looks, and but for what another task has used."""
    own, also_own, both = (f"{name} of {new_task_id()}" for name in ("own", "also own", "both"))
    paths = {key: share(files, tmp_path, key) for key in (own, also_own, both)}
    first = add(status="completed", epoch=1, stages=recorded(own, both))
    second = add(status="running", epoch=1, owner="w1", stages=recorded(also_own))
    add(status="completed", epoch=1, stages=recorded(both))
    answer = call("batch_delete_tasks", "POST", "/tasks/batch-delete",
                  json={"task_ids": [first.id, second.id], "purge": purge})
    assert answer.data["success_count"] == 2
    Collector(files, store, get_settings()).run()
    gone = {key for key, objects in paths.items() if all(files.stat(path) is None for path in objects)}
    left = {key for key, objects in paths.items() if all(map(files.stat, objects))}
    assert (gone, left) == (({own, also_own}, {both}) if purge else (set(), paths.keys()))


def test_what_a_task_recorded_while_it_was_deleted_is_purged_too(
        store: Store, add: Callable[..., Task], files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = share(files, tmp_path, "late")
    task = add(status="running", epoch=1, owner="w1")
    delete_one = type(store).delete
    monkeypatch.setattr(type(store), "delete", lambda self, task_id, **_: delete_one(self, task_id).model_copy(
        update={"stages": recorded("late")}))
    assert delete_tasks([task.id], purge=True) == {task.id: True}
    Collector(files, store, get_settings()).run()
    assert [files.stat(path) for path in paths] == [None, None]


def test_a_purge_that_cannot_be_asked_for_deletes_nothing(
        store: Store, add: Callable[..., Task], files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    task = add(status="completed", epoch=1, stages=recorded("own"))

    def away(*_: object, **__: object) -> None:
        raise Unavailable("files", "told to")

    monkeypatch.setattr(type(files), "upload", away)
    with pytest.raises(Unavailable):
        delete_tasks([task.id], purge=True)
    assert store.get(task.id) == task


@pytest.mark.parametrize("purge", ["true", 1, None, []])
def test_purge_is_true_or_false(call: Caller, add: Callable[..., Task], purge: object) -> None:
    task = add()
    answer = call("batch_delete_tasks", "POST", "/tasks/batch-delete", json={"task_ids": [task.id], "purge": purge})
    answer.assert_error(400, "purge")
