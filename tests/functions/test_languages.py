"""What a client reads of a failure is whole in one language: Chinese by default, English where it is asked for."""
from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import transitions
from shared.documents import StoredFailure, Task
from shared.files import Files
from shared.rules.bilingual import Bilingual
from shared.rules.reasons import model as reasons
from shared.rules.refusal import Refusal
from shared.store import Store
from tests import models
from tests.functions.service import Caller

HAN = re.compile("[\u4e00-\u9fff]")
ENGLISH = {"Accept-Language": "en"}
TARGET = {"task_type": "onnx_to_openvino", "platform": "intel"}
# Several English words in a row are a sentence that nobody translated.
SENTENCE = re.compile(r"[A-Za-z]+(?: [a-z]+){2,}")


def fail(store: Store, add: Callable[..., Task], error: StoredFailure) -> str:
    task = add()
    claimed = store.update(task.id, transitions.claim("w"))
    assert store.update(task.id, transitions.fail("w", claimed.epoch, error))
    return task.id


def read_error(call: Caller, task_id: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer = call("query_task", "POST", "/tasks/query", json={"task_id": task_id}, headers=headers)
    return answer.data["task_info"]["error"]


def test_a_failed_task_says_why_in_the_clients_language(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    refusal = reasons.DATA_CUT(name="w", end=12, location="w.bin", size=8)
    task_id = fail(store, add, StoredFailure.of(refusal, "inspect", "ORT says: cut"))
    chinese, english = read_error(call, task_id), read_error(call, task_id, ENGLISH)
    assert chinese["message"] == "张量 'w' 到 'w.bin' 的第 12 字节结束, 而该文件只有 8 字节"
    assert chinese["hint"] == "该文件不完整, 或属于另一个模型: 重新上传"
    assert english["message"] == "tensor 'w' ends at byte 12 of 'w.bin', which has only 8"
    assert english["hint"] == "the file is cut or belongs to another model: upload it again"
    for error in (chinese, english):
        assert list(error) == ["code", "stage", "vendor_code", "message", "hint", "log_tail"]
        assert (error["code"], error["stage"], error["log_tail"]) == (refusal.code, "inspect", "ORT says: cut")


def test_a_cancelled_task_says_so_in_the_clients_language(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add()
    call("cancel_task", "POST", "/tasks/cancel", json={"task_id": task.id})
    assert read_error(call, task.id)["message"] == "已被客户端取消"
    assert read_error(call, task.id, ENGLISH)["message"] == "cancelled by a client"


def test_a_document_of_an_older_or_newer_version_is_read(call: Caller, store: Store, add: Callable[..., Task]
                                                         ) -> None:
    """An older one has no Chinese texts, a newer one may have a code that is not in the table."""
    task_id = fail(store, add, StoredFailure(code="newer_code", message="something new", hint="ask it"))
    for headers in (None, ENGLISH):
        error = read_error(call, task_id, headers)
        assert (error["code"], error["message"], error["hint"]) == ("newer_code", "something new", "ask it")


def test_events_carry_the_code_and_no_text(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task_id = fail(store, add, StoredFailure.of(Refusal("timeout", Bilingual("太慢", "too slow")), "compile"))
    events = call("get_task_events", "GET", f"/tasks/{task_id}/events").data["events"]
    assert events[-1]["type"] == "failed" and events[-1]["data"] == {"code": "timeout", "stage": "compile"}


@pytest.mark.parametrize(("model", "parameters"), [
    (b"", {}), (b"PK\x03\x04" + bytes(50), {}), (models.unary("Foo"), {}), (models.claims([1 << 40]), {}),
    (models.convolution(["n", 3, "h", "w"]), {}), (models.convolution(["n", 3, "h", 32]), {"input_shape": [1, 3, 32]}),
], ids=["empty", "zip", "operator", "tensor", "open", "rank"])
def test_a_refused_request_is_told_in_one_language(call: Caller, files: Files, tmp_path: Path, model: Any,
                                                   parameters: dict[str, Any]) -> None:
    (tmp_path / "model").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    files.upload(tmp_path / "model", "models/in-one-language.onnx")
    body = TARGET | {"input_path": "models/in-one-language.onnx", "parameters": parameters}

    def texts(headers: dict[str, str] | None) -> list[str]:
        answer = call("create_task", "POST", "/tasks/create", json=body, headers=headers)
        assert answer.status == 400
        problem = call("validate_task", "POST", "/tasks/validate", json=body, headers=headers).data["targets"][0][
            "problems"][0]
        return [answer.message, problem["message"], problem["hint"]]

    assert all(HAN.search(text) and not SENTENCE.search(text) for text in texts(None)), texts(None)
    assert not any(HAN.search(text) for text in texts(ENGLISH)), texts(ENGLISH)


def test_warnings_of_a_check_are_in_the_clients_language(call: Caller, files: Files, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(models.convolution(["n", 3, 32, 32]).SerializeToString())
    files.upload(tmp_path / "model", "models/with-a-warning.onnx")
    body = TARGET | {"input_path": "models/with-a-warning.onnx"}

    def warning(headers: dict[str, str] | None) -> str:
        answer = call("validate_task", "POST", "/tasks/validate", json=body, headers=headers)
        return answer.data["targets"][0]["warnings"][0]["message"]

    assert warning(None) == "输入 'x': 未固定的 batch 维度已设为 1"
    assert warning(ENGLISH) == "input 'x': the open batch dimension was set to 1"


def test_the_targets_parameters_are_described_in_the_clients_language(call: Caller, store: Store) -> None:
    def describe(headers: dict[str, str] | None) -> list[str]:
        targets = call("list_platforms", "GET", "/platforms", headers=headers).data["platforms"]
        return [field["description"] for target in targets
                for field in target["parameters"]["properties"].values() if "description" in field]

    chinese, english = describe(None), describe(ENGLISH)
    assert len(chinese) == len(english) > 50
    assert all(map(HAN.search, chinese)) and not any(map(HAN.search, english))
    assert not [text for text in chinese if SENTENCE.search(text)]


def test_what_a_result_says_of_the_accuracy_is_in_the_clients_language(call: Caller, store: Store,
                                                                       add: Callable[..., Task]) -> None:
    accuracy = {"skipped": True, "reason": "no card", "reason_zh": "没有卡", "warnings": ["not compared"],
                "warnings_zh": ["未比较"], "outputs": []}
    result = {"path": "o/m.xml", "files": ["o/m.xml"], "sha256": "ab", "size_bytes": 1, "manifest_path": "o/m.json"}
    task = add(status="completed", result=result | {"accuracy": accuracy})
    old = add(status="completed", result=result | {"accuracy": {"skipped": True, "reason": "of an older version"}})

    def read(task_id: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        answer = call("query_task", "POST", "/tasks/query", json={"task_id": task_id}, headers=headers)
        return answer.data["task_info"]["result"]["accuracy"]

    assert read(task.id) == {"skipped": True, "reason": "没有卡", "warnings": ["未比较"], "outputs": []}
    assert read(task.id, ENGLISH) == {"skipped": True, "reason": "no card", "warnings": ["not compared"], "outputs": []}
    assert read(old.id) == {"skipped": True, "reason": "of an older version"}
