"""What tasks name, over all documents; and a removal under a condition."""
from __future__ import annotations

import re

from shared.documents import Status
from shared.store import Store
from tests.contract.store_changes import RESULT
from tests.contract.store_model import make_task
from tests.contract.store_raw import edit_raw

pytest_plugins = ["tests.contract.store_backends"]

FOLDER = re.compile(r"up/(\w+)")


def test_paths_are_found_wherever_a_request_names_them(store: Store) -> None:
    store.insert(make_task(input_path="up/a/模型.onnx"))
    store.insert(make_task(parameters={"x.y": [{"z": "up/b"}, "up/c/d/e", "other/f"]}, labels={"k": "up/g"}))
    damaged = make_task(input_path="up/h/m.onnx")
    store.insert(damaged)
    edit_raw(store, damaged.id, "created_at", another={"n": "up/i"})
    assert store.named("up/", FOLDER) == set("abcghi")
    assert store.named("down/", re.compile(r"down/(\w+)")) == set()


def test_what_workers_have_written_names_nothing(store: Store) -> None:
    store.insert(make_task(output_path="up/a/m.xml", stage="up/b", log_lines=["up/c"], result=RESULT.model_copy(
        update={"path": "up/d/m.xml", "files": ["up/e/m.xml"]})))
    assert store.named("up/", FOLDER) == set()


def test_a_task_is_deleted_only_as_it_was_seen(store: Store) -> None:
    task = make_task(status=Status.FAILED, epoch=2, finished_at=1_700_000_000.1234567)
    store.insert(task)
    seen = {"status": Status.FAILED, "epoch": 2, "finished_at": task.finished_at}
    for other in ({"status": Status.COMPLETED}, {"epoch": 3}, {"finished_at": 1_700_000_000.12}):
        assert store.delete(task.id, where=seen | other) is None
    assert store.get(task.id) == task
    assert store.delete(task.id, where=seen) == task and store.get(task.id) is None
