"""Many uploads that are taken together: each has its own outcome, and whoever is killed between two steps of it leaves
nothing that the next pass does not make whole, once."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from shared.api.deletion import delete_tasks
from shared.deps import get_files, get_store
from shared.documents import Event, Status, Task
from shared.doorbells import get_doorbell_marker
from shared.errors import Unavailable
from shared.messages import RunTask
from shared.queue.polling import PollingQueue
from shared.settings import get_settings
from shared.store.sqlite import SqliteStore
from shared.triggers import starting, sweep, taking, tombstones
from worker.sweeper import Announcer

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from shared.triggers.objects import Taken
    from shared.triggers.starting import Wanted
    from tests.integration.uploads_kit import Uploads

pytest_plugins = ["tests.integration.uploads_kit"]

RESULTS = ('[[rule]]\nname = "uploads"\nbucket = "{bucket}"\nprefix = "in/"\ntarget = "intel"\n'
           'output_prefix = "{bucket}/out/"\n')


class Killed(BaseException):
    """As SIGKILL does it: nothing that would have come after it happens."""


def forget(uploads: Uploads) -> None:
    """The next pass knows nothing of what has been dealt with."""
    get_files().delete(f"{get_settings().cache_bucket}/triggers/seen/uploads")
    uploads.forget_sweep()


def models_of(tasks: Iterable[Task]) -> list[str]:
    return sorted(task.input_path.partition("/")[2] for task in tasks)


# --- each has its own outcome -----------------------------------------------------------------------------------------


def test_every_object_of_a_step_has_its_own_outcome(uploads: Uploads, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    good = [uploads.put(f"intel/{number}.onnx") for number in range(12)]
    known = uploads.put("intel/known.onnx")
    deleted = uploads.put("intel/deleted.onnx")
    uploads.take_one(known)
    delete_tasks(list(uploads.take_one(deleted).task_ids))
    described, wrong = uploads.put("intel/described.onnx"), uploads.put("intel/wrong.onnx")
    uploads.put(f"{described}.json", b'{"priority": "low"}')
    uploads.put(f"{wrong}.toml", b"priority = 7")
    uploads.put("nobody/a.onnx")
    assert sorted({*uploads.sweep()} - {f"{described}.json"}) == sorted([*good, described])
    tasks = uploads.tasks()
    assert models_of(tasks) == sorted([*good, known, described])
    assert {task.input_path.rpartition("/")[2] for task in tasks if task.priority == "low"} == {"described.onnx"}
    told = [record.getMessage() for record in caplog.records]
    for why in ("was deleted", "sidecar", "is no target"):
        assert any(why in message for message in told), why


def test_metadata_and_sidecars_count_in_a_step(in_minio: Uploads) -> None:
    for number in range(10):
        in_minio.put(f"intel/{number}.onnx", metadata={"priority": "high", "labels": json.dumps({"n": str(number)})})
    in_minio.put("intel/3.onnx.toml", b'priority = "low"')
    in_minio.put("intel/4.onnx.json", b'{"labels": {"m": "x"}}')
    in_minio.put("intel/4.onnx-not-a-sidecar.toml", b'priority = "low"')
    in_minio.sweep()
    tasks = {task.labels["n"]: task for task in in_minio.tasks()}
    assert len(tasks) == len(in_minio.tasks()) == 10
    assert [name for name, task in tasks.items() if task.priority != "high"] == ["3"]
    assert tasks["4"].labels == {"n": "4", "m": "x"}


def test_a_sidecar_that_was_there_before_its_model_counts(uploads: Uploads) -> None:
    uploads.put("intel/a.onnx.toml", b'priority = "low"')
    assert uploads.sweep() == []  # and it is known by now
    for name in ("a.onnx", "a.onnx-1.onnx", "a.onnx.more.onnx", "b.onnx"):
        uploads.put(f"intel/{name}")
    uploads.sweep()
    assert {task.input_path.rpartition("/")[2]: task.priority for task in uploads.tasks()} == {
        "a.onnx": "low", "a.onnx-1.onnx": "normal", "a.onnx.more.onnx": "normal", "b.onnx": "normal"}


def test_where_many_names_lie_between_a_model_and_its_sidecar_it_counts_too(uploads: Uploads,
                                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "STEP", 4)
    for number in range(10):
        uploads.put(f"intel/a.onnx-{number}.onnx")
    uploads.put("intel/a.onnx.toml", b'priority = "low"')
    uploads.put("intel/a.onnx")
    uploads.sweep()
    assert [task.input_path.rpartition("/")[2] for task in uploads.tasks() if task.priority == "low"] == ["a.onnx"]
    assert len(uploads.tasks()) == 11


def test_of_two_uploads_of_one_step_with_one_output_the_second_waits(start: Callable[..., Uploads],
                                                                    files_url: str) -> None:
    uploads = start(files_url, RESULTS)
    for name in ("in/a.onnx", "in/a.ONNX", "in/b.onnx"):
        uploads.put(name)
    assert len(uploads.sweep(2)) == 2
    (waiting,) = {"in/a.onnx", "in/a.ONNX", "in/b.onnx"} - {*models_of(uploads.tasks())}
    assert waiting.lower() == "in/a.onnx"
    for task in uploads.tasks():
        get_store().delete(task.id)
    assert uploads.sweep() == [waiting]


def test_many_tombstones_are_found_one_by_one(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [uploads.put(f"intel/{number}.onnx") for number in range(12)]
    uploads.sweep()
    delete_tasks([task.id for task in uploads.tasks() if not task.input_path.endswith("7.onnx")])
    for listed in (1000, 3):
        monkeypatch.setattr(tombstones, "LISTED", listed)
        forget(uploads)
        new = [uploads.put(f"intel/new-{listed}-{number}.onnx") for number in range(9)]
        assert sorted(uploads.sweep()) == sorted(new)
    assert len(uploads.tasks()) == 1 + 2 * 9 and len(keys) == 12


def test_a_task_that_is_deleted_while_its_upload_is_looked_at_again_stays_away(uploads: Uploads,
                                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is asked first, and the tombstones then. The other way round a task that is deleted between both would
    be made anew."""
    for number in range(10):
        uploads.put(f"intel/{number}.onnx")
    uploads.sweep()
    earlier = starting.earlier_tasks

    def racing(keys: Iterable[str]) -> dict[str, list[Task]]:
        delete_tasks([task.id for task in uploads.tasks()])
        return earlier(keys)
    monkeypatch.setattr(starting, "earlier_tasks", racing)
    forget(uploads)
    assert uploads.sweep() == [] and uploads.tasks() == []


# --- killed between two steps -----------------------------------------------------------------------------------------


class Broker(PollingQueue):
    """A queue that owes doorbells; what it has confirmed is in `heard`."""

    owes_doorbells = True
    heard: ClassVar[list[str]] = []

    def announce_many(self, messages: Sequence[RunTask]) -> list[Unavailable | None]:
        Broker.heard += [message.task_id for message in messages]
        return [None] * len(messages)

    def announce(self, message: RunTask) -> None:
        self.announce_many([message])


def _before(kill_at: str, place: object, name: str, patch: pytest.MonkeyPatch) -> None:
    """The call of `place.name` is the last thing that happens: `before`, `half` or `after` it."""
    real = getattr(place, name)

    def dying(*given: Any, **named: Any) -> None:
        if kill_at == "half":
            *own, many = given
            real(*own, list(many)[:len(many) // 2], **named)
        elif kill_at == "after":
            real(*given, **named)
        raise Killed

    patch.setattr(place, name, dying)


STEPS = {"look": (taking, "start_all"), "earlier": (starting, "earlier_tasks"), "deleted": (starting, "find_deleted"),
         "insert": (SqliteStore, "insert_many"), "announce": (Broker, "announce_many"),
         "mark": (type(get_doorbell_marker()), "add")}


@pytest.mark.parametrize(("step", "kill_at"), [
    ("look", "before"), ("earlier", "after"), ("deleted", "after"), ("insert", "before"), ("insert", "half"),
    ("insert", "after"), ("announce", "before"), ("announce", "half"), ("announce", "after"), ("mark", "before"),
    ("mark", "after")])
def test_who_is_killed_at_any_step_loses_and_doubles_nothing(uploads: Uploads, step: str, kill_at: str,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Broker, "heard", [])
    monkeypatch.setattr(taking, "get_queue", lambda: Broker(get_store, 0.05))
    monkeypatch.setattr(sweep, "STEP", 4)
    keys = [uploads.put(f"intel/{number}.onnx") for number in range(10)]
    with monkeypatch.context() as patch:
        _before(kill_at, *STEPS[step], patch)
        with pytest.raises(Killed):
            uploads.sweep()
    uploads.forget_sweep()
    uploads.sweep()
    tasks = uploads.tasks()
    assert models_of(tasks) == keys  # exactly one each
    announcer = Announcer(get_store(), Broker(get_store, 0.05), ["intel"])
    announcer.look()
    announcer.look()
    assert {*Broker.heard} == {task.id for task in tasks}
    assert all(task.status is Status.PENDING for task in tasks)


def test_a_store_that_goes_away_in_a_step_makes_it_go_on_later(uploads: Uploads,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [uploads.put(f"intel/{number}.onnx") for number in range(10)]
    real = SqliteStore.insert_many

    def away(store: SqliteStore, tasks: Sequence[tuple[Task, Sequence[Event]]]) -> set[str]:
        real(store, tasks[:3])
        raise Unavailable("store")
    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "insert_many", away)
        with pytest.raises(Unavailable):
            uploads.sweep()
    uploads.sweep()
    assert models_of(uploads.tasks()) == keys


def test_a_fault_in_a_step_leaves_each_object_its_own_try(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [uploads.put(f"intel/{number}.onnx") for number in range(10)]

    take_all = sweep.take_all

    def wrong(looked: list[list[Taken | Wanted]], pool: Executor) -> list[list[Taken]]:
        if len(looked) > 1:
            raise RuntimeError("a fault of ours")
        return take_all(looked, pool)
    monkeypatch.setattr(sweep, "take_all", wrong)
    assert sorted(uploads.sweep()) == keys == models_of(uploads.tasks())
