"""Where results may go: what is there and is not the task's to replace is told before anything runs."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared import transitions
from shared.documents import Task, new_task_id
from shared.files import Files
from shared.marks import Mark, write_mark
from shared.store import Store, TaskFilter
from tests.functions.service import Caller

INTEL = {"task_type": "onnx_to_openvino", "platform": "intel"}
ROCKCHIP = {"task_type": "onnx_to_rknn", "platform": "rockchip", "parameters": {"chip": "rk3588"}}
QUALCOMM = {"task_type": "onnx_to_qnn", "platform": "qualcomm", "parameters": {"chip": "SM8650"}}
SET = ["out/m.xml", "out/m.bin", "out/m.xml.manifest.json", "out/m.xml.report.json", "out/m.xml.report.html"]


@pytest.fixture(autouse=True)
def no_outputs(files: Files) -> None:
    """The tests share a service."""
    for info in list(files.find("out/")):
        files.delete(info.path)


@pytest.fixture
def put(files: Files, tmp_path: Path) -> Callable[..., None]:
    def upload(path: str, mark: Mark | None = None) -> None:
        (tmp_path / "precious").write_bytes(b"precious")
        files.upload(tmp_path / "precious", path, mark=mark and write_mark(mark, path))
    return upload


def create(call: Caller, **fields: object):
    return call("create_task", "POST", "/tasks/create", json={"input_path": "models/m.onnx"} | fields)


def validate(call: Caller, **fields: object) -> list[list[tuple[str, str]]]:
    """For each target the code and field of its problems, but for the model, which is not uploaded."""
    answer = call("validate_task", "POST", "/tasks/validate", json={"input_path": "models/m.onnx"} | fields)
    return [[(problem["code"], problem["field"]) for problem in target["problems"]
             if problem["code"] != "input_not_found"] for target in answer.data["targets"]]


def count(store: Store) -> int:
    return store.list_page(TaskFilter(), 1, 1)[1]


@pytest.mark.parametrize("path", SET)
def test_an_object_of_somebody_else_is_a_conflict(call: Caller, store: Store, put: Callable[..., None], path: str
                                                  ) -> None:
    put(path)
    create(call, **INTEL, output_path="out/m.xml").assert_error(409, path, "overwrite")
    assert validate(call, **INTEL, output_path="out/m.xml") == [[("output_conflict", "output_path")]]
    assert count(store) == 0


def test_a_request_may_say_that_what_lies_there_is_replaced(call: Caller, store: Store, put: Callable[..., None]
                                                            ) -> None:
    for path in SET:
        put(path)
    answer = create(call, **INTEL, output_path="out/m.xml", overwrite=True)
    assert answer.status == 200 and store.get(answer.data["task_id"]).overwrite
    assert validate(call, **INTEL, output_path="out/m.xml", overwrite=True) == [[]]
    create(call, **INTEL, output_path="out/m.xml", overwrite="true").assert_error(400, "overwrite")


def test_a_request_that_may_overwrite_spares_its_inputs_and_others_folders(call: Caller, store: Store) -> None:
    create(call, **INTEL, output_path="models/m.onnx/m.xml", overwrite=True).assert_error(409, "models/m.onnx")
    folder = new_task_id()
    create(call, **INTEL, output_path=f"results/{folder}/m.xml", overwrite=True).assert_error(409, folder)
    assert validate(call, **INTEL, output_path=f"results/{folder}/m.xml") == [[("output_conflict", "output_path")]]
    assert count(store) == 0


def test_the_result_of_an_earlier_task_of_the_same_target_is_replaced_and_of_another_it_is_not(
        call: Caller, store: Store, put: Callable[..., None]) -> None:
    for path in SET:
        put(path, Mark("task_1", 2, "intel"))
    assert create(call, **INTEL, output_path="out/m.xml").status == 200
    put("out/n_qnn.bin", Mark("task_1", 2, "intel"))
    create(call, **QUALCOMM, output_path="out/n_ctx.onnx").assert_error(409, "out/n_qnn.bin")
    assert count(store) == 1


def test_overwrite_is_a_part_of_what_a_repeated_request_says(call: Caller, store: Store) -> None:
    first = create(call, **INTEL, output_path="out/m.xml", idempotency_key="k")
    assert create(call, **INTEL, output_path="out/m.xml", idempotency_key="k", overwrite=False).data == first.data
    create(call, **INTEL, output_path="out/m.xml", idempotency_key="k", overwrite=True).assert_error(
        409, "idempotency_key")


def test_a_repeated_request_gets_the_first_answer_whatever_lies_at_its_output_now(
        call: Caller, store: Store, put: Callable[..., None]) -> None:
    single = INTEL | {"output_path": "out/m.xml", "idempotency_key": "k-1"}
    several = {"targets": [INTEL | {"output_path": "out/n.xml"}, ROCKCHIP], "idempotency_key": "k-2"}
    answers = [create(call, **request).data for request in (single, several)]
    put("out/m.xml")
    put("out/n.bin")
    assert [create(call, **request).data for request in (single, several)] == answers
    create(call, **single | {"idempotency_key": "k-3"}).assert_error(409, "out/m.xml")


def test_a_target_of_a_group_says_for_itself_whether_it_overwrites(call: Caller, store: Store) -> None:
    answer = create(call, overwrite=True, targets=[INTEL, INTEL | {"overwrite": False}])
    assert [store.get(state["task_id"]).overwrite for state in answer.data["tasks"]] == [True, False]
    answer = create(call, targets=[INTEL, INTEL | {"overwrite": True}])
    assert [store.get(state["task_id"]).overwrite for state in answer.data["tasks"]] == [False, True]


def test_targets_of_one_group_may_share_a_stem(call: Caller, store: Store) -> None:
    answer = create(call, targets=[INTEL | {"output_path": "out/m.xml"}, ROCKCHIP | {"output_path": "out/m.rknn"}])
    assert answer.status == 200 and count(store) == 2


def test_targets_of_one_group_may_not_write_the_same_object(call: Caller, store: Store) -> None:
    create(call, targets=[INTEL | {"output_path": "out/m_qnn.xml"}, QUALCOMM | {"output_path": "out/m_ctx.onnx"}]
           ).assert_error(400, "targets[1].output_path", "out/m_qnn.bin")
    assert count(store) == 0


def test_an_object_that_a_living_task_of_another_target_will_write_is_a_conflict(call: Caller, store: Store) -> None:
    first = create(call, **QUALCOMM, output_path="out/m_ctx.onnx").data["task_id"]
    request = INTEL | {"output_path": "out/m_qnn.xml"}
    for overwrite in (False, True):
        create(call, **request, overwrite=overwrite).assert_error(409, "out/m_qnn.bin", first)
    assert validate(call, **request) == [[("output_conflict", "output_path")]]
    store.update(first, transitions.cancel())
    assert create(call, **request).status == 200


def test_a_living_task_of_a_target_that_is_not_known_here_refuses_nobody(call: Caller, store: Store,
                                                                        add: Callable[..., Task]) -> None:
    add(platform="of-a-later-version", status="running", output_path="out/m.xml")
    assert create(call, **INTEL, output_path="out/m.xml").status == 200


def test_tasks_of_one_target_may_have_one_output(call: Caller, store: Store) -> None:
    assert [create(call, **INTEL, output_path="out/m.xml").status for _ in range(6)] == [200] * 6


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_with_a_task_goes_what_it_wrote_and_nothing_that_others_have_put_into_its_folder(
        call: Caller, add: Callable[..., Task], files: Files, put: Callable[..., None]) -> None:
    task_id = new_task_id()
    folder = f"results/{task_id}"
    add(id=task_id, status="completed", epoch=3, output_path=f"{folder}/m.xml")
    own, claims = Mark(task_id, 3, "intel"), [f"{folder}/m.bin", f"{folder}/m.xml.manifest.json"]
    put(claims[0], own)
    put(claims[1], Mark(task_id, 2, "intel"))  # a claim that was killed while it published
    put(f"{folder}/m.xml")  # the client has put a file of its own in the result's place
    put(f"{folder}/notes.txt")
    put(f"{folder}/other.bin", Mark("task_1", 1, "intel"))
    answer = call("batch_delete_tasks", "POST", "/tasks/batch-delete", json={"task_ids": [task_id]})
    assert answer.data["results"] == {task_id: True}
    assert [info.path for info in files.find(folder)] == [f"{folder}/m.xml", f"{folder}/notes.txt",
                                                          f"{folder}/other.bin"]
