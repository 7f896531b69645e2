"""The OpenAPI document says what the functions do."""
from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from infra.gateway import load_functions
from shared.api import openapi
from shared.api.actions import TaskChoice
from shared.api.deletion import TasksToDelete
from shared.api.http import Endpoint
from shared.api.listing import ListTasks
from shared.api.openapi import build_document
from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.errors import InvalidRequest
from shared.platforms import get_platforms
from shared.settings import Settings, get_settings
from shared.uploads.requests import CreateUpload
from shared.validation_messages import validate

LOG_PATH, FILE_PATH = "/tasks/{task_id}/log", "/tasks/{task_id}/files/{name}"
EVENTS_PATH = "/events/storage"  # its senders set the media types that they like
CONTRACT_PATHS = {
    ("post", "/tasks/query"), ("get", "/tasks/{task_id}/status"), ("post", "/tasks/list"),
    ("post", "/tasks/batch-delete"), ("post", "/tasks/pause"), ("post", "/tasks/resume")}


@pytest.fixture(scope="module")
def endpoints() -> list[Endpoint]:
    return [function.endpoint for function in load_functions().values()]


@pytest.fixture(scope="module")
def document(endpoints: list[Endpoint]) -> dict[str, Any]:
    return build_document(endpoints)


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method, path): operation for path, methods in document["paths"].items()
            for method, operation in methods.items()}


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        return {node["$ref"]} if "$ref" in node else set().union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_every_endpoint_is_an_operation(document: dict[str, Any], endpoints: list[Endpoint]) -> None:
    assert document["openapi"] == "3.1.0"
    known = {(about.method.lower(), about.path) for about in endpoints}
    probes = {("get", about.path) for about in endpoints if about.probe}
    assert probes == {("get", EVENTS_PATH)} and known | probes == set(operations(document))
    assert set(operations(document)) >= CONTRACT_PATHS


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) and references(document) <= known


def test_every_operation_tells_its_success_and_its_errors_in_both_languages(document: dict[str, Any]) -> None:
    for (method, path), operation in operations(document).items():
        assert {"200", "403", "500", "503"} <= set(operation["responses"]), path
        assert ("400" in operation["responses"]) == ("parameters" in operation or method == "post")
        assert ("415" in operation["responses"]) == (method == "post" and path != EVENTS_PATH)
        assert re.search("[\u4e00-\u9fff]", operation["summary"]) and operation["description"].isascii()
        for status, answer in operation["responses"].items():
            if status in ("204", "302", "304"):
                assert "content" not in answer
            elif (path, status[0]) not in ((LOG_PATH, "2"), (FILE_PATH, "2")):
                example = answer["content"]["application/json"]["example"]
                assert list(example) == ["success", "message", "data"] and example["success"] == (status == "200")
            assert re.search("[\u4e00-\u9fff].* / [a-zA-Z]", answer["description"])


def test_the_examples_are_the_contracts(document: dict[str, Any]) -> None:
    found = operations(document)
    deleted = found["post", "/tasks/batch-delete"]
    assert deleted["requestBody"]["content"]["application/json"]["example"] == {
        "task_ids": ["task_1234567890_1234", "task_1234567890_5678"]}
    assert deleted["responses"]["200"]["content"]["application/json"]["example"] == {
        "success": True, "message": "批量删除完成: 成功删除 2/2 个任务", "data": {
            "total_count": 2, "success_count": 2, "failed_count": 0,
            "results": {"task_1234567890_1234": True, "task_1234567890_5678": True}}}
    query = found["post", "/tasks/query"]["responses"]["200"]["content"]["application/json"]["example"]
    assert query["data"]["task_info"]["created_at"] == "2024-01-01T12:00:00"
    status = found["get", "/tasks/{task_id}/status"]
    assert status["parameters"][0] | {"schema": None} == {
        "name": "task_id", "in": "path", "required": True, "schema": None, "example": "task_1234567890_1234"}


def test_an_endpoint_for_one_task_or_many_tells_both_answers(document: dict[str, Any]) -> None:
    for name in ("pause", "resume", "cancel", "retry"):
        operation = operations(document)["post", f"/tasks/{name}"]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        kinds = [document["components"]["schemas"][kind["$ref"].rpartition("/")[2]]["properties"]["data"]["$ref"]
                 for kind in schema["oneOf"]]
        assert [kind.rpartition("/")[2] for kind in kinds] == ["TaskState", "TasksChanged"]


def test_files_tell_what_else_they_take_and_answer(document: dict[str, Any]) -> None:
    listed, file = (operations(document)["get", path] for path in ("/tasks/{task_id}/files", FILE_PATH))
    assert [(parameter["name"], parameter["in"]) for parameter in listed["parameters"]] == [
        ("task_id", "path"), ("zip", "query")]
    assert set(listed["responses"]["200"]["content"]) == {"application/json", "application/zip"}
    assert [(parameter["name"], parameter["in"]) for parameter in file["parameters"]] == [
        ("task_id", "path"), ("name", "path"), ("Range", "header"), ("If-Range", "header"), ("If-Match", "header"),
        ("If-None-Match", "header")]
    assert set(file["responses"]) == {
        "200", "206", "302", "304", "400", "403", "404", "409", "412", "416", "429", "500", "503"}


def test_events_and_logs_tell_what_else_they_take_and_answer(document: dict[str, Any]) -> None:
    events, log = (operations(document)["get", path] for path in ("/tasks/{task_id}/events", LOG_PATH))
    assert [(parameter["name"], parameter["in"], parameter["required"]) for parameter in events["parameters"]] == [
        ("task_id", "path", True), ("after", "query", False), ("Last-Event-ID", "header", False)]
    assert set(events["responses"]) == {"200", "204", "400", "403", "404", "429", "500", "503"}
    assert events["parameters"][1]["schema"] | {"description": ""} == {
        "type": "integer", "minimum": 0, "maximum": 2**53 - 1, "default": 0, "title": "After", "description": ""}
    assert set(events["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert [(parameter["name"], parameter["in"]) for parameter in log["parameters"]] == [
        ("task_id", "path"), ("stage", "query"), ("Range", "header"), ("If-Range", "header"),
        ("If-Match", "header"), ("If-None-Match", "header")]
    assert set(log["responses"]) == {"200", "206", "304", "400", "403", "404", "412", "416", "429", "500", "503"}
    assert set(log["responses"]["206"]["content"]) == {"text/plain"}


def test_every_example_of_a_request_is_one_that_the_endpoint_takes(document: dict[str, Any],
                                                                   endpoints: list[Endpoint]) -> None:
    for about in endpoints:
        if about.request and about.method == "POST":
            body = operations(document)["post", about.path]["requestBody"]
            validate(about.request, body["content"]["application/json"]["example"])
    create = operations(document)["post", "/tasks/create"]["requestBody"]["content"]["application/json"]["example"]
    platform = get_platforms()[create["platform"]]
    assert create["task_type"] in platform.task_types
    validate(platform.parameters, create["parameters"])


def test_the_schemas_limits_are_those_that_validate(document: dict[str, Any]) -> None:
    listing = document["components"]["schemas"]["ListTasks"]
    assert listing["additionalProperties"] is False
    page_size = listing["properties"]["page_size"]
    assert (page_size["minimum"], page_size["maximum"], page_size["default"]) == (1, 100, 10)
    task_id = document["components"]["schemas"]["TaskRef"]["properties"]["task_id"]
    assert (task_id["minLength"], task_id["maxLength"]) == (1, 128)
    assert list(document["components"]["schemas"]["TaskView"]["properties"])[:7] == [
        "id", "task_type", "platform", "status", "input_path", "output_path", "created_at"]


# --- what is refused beyond types and lengths -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def allows(document: dict[str, Any]) -> Callable[[str, object], bool]:
    """Whether the document's schema of that name lets a body through."""
    def allows(name: str, body: object) -> bool:
        return Draft202012Validator({"$ref": f"#/components/schemas/{name}",
                                     "components": document["components"]}).is_valid(body)

    return allows


def takes(model: type[BaseModel], body: object) -> bool:
    try:
        validate(model, body)
    except InvalidRequest:
        return False
    return True


@pytest.mark.parametrize("model", [TaskChoice, TasksToDelete])
@pytest.mark.parametrize("task_id", [None, "task_1"])
@pytest.mark.parametrize("task_ids", [None, ["task_1"]])
@pytest.mark.parametrize("group_id", [None, "group_1"])
@pytest.mark.parametrize("with_nulls", [True, False])
def test_of_the_ids_there_is_exactly_one(allows: Callable[[str, object], bool], model: type[BaseModel],
                                         task_id: str | None, task_ids: list[str] | None, group_id: str | None,
                                         with_nulls: bool) -> None:
    body = {name: value for name, value in (("task_id", task_id), ("task_ids", task_ids), ("group_id", group_id))
            if name in model.model_fields and (with_nulls or value is not None)}
    assert allows(model.__name__, body) == takes(model, body) == (
        [value is not None for value in body.values()].count(True) == 1)


@pytest.mark.parametrize(("body", "good"), [
    ({"file_name": "a.onnx", "size_bytes": 1}, True), ({"files": [{"file_name": "a/b.onnx", "size_bytes": 1}]}, True),
    ({"upload_id": "upload_1"}, True), ({"file_name": "a.onnx", "size_bytes": 1, "sha256": "aB" * 32}, True),
    ({"file_name": "a.onnx", "size_bytes": 1, "files": None, "upload_id": None}, True),
    ({}, False), ({"file_name": "a.onnx"}, False), ({"size_bytes": 1}, False), ({"files": []}, False),
    ({"upload_id": "upload_1", "size_bytes": 1}, False), ({"upload_id": "upload_1", "sha256": "a" * 64}, False),
    ({"file_name": "a.onnx", "size_bytes": 1, "upload_id": "upload_1"}, False),
    ({"file_name": "a.onnx", "size_bytes": 0}, False), ({"file_name": "a.onnx", "size_bytes": 1, "sha256": "a"}, False),
    ({"files": [{"file_name": "a"}]}, False),
    ({"file_name": "ab/" * 299 + "abc", "size_bytes": 1}, True),
    ({"file_name": "ab/" * 299 + "abcd", "size_bytes": 1}, False)])
def test_an_upload_is_one_file_or_several_or_one_that_was_made_before(
        allows: Callable[[str, object], bool], body: dict[str, Any], good: bool) -> None:
    assert allows("CreateUpload", body) == takes(CreateUpload, body) == good


def creates(body: dict[str, Any]) -> bool:
    try:
        build_tasks(validate(CreateTask, body), get_settings())
    except InvalidRequest:
        return False
    return True


ONE = {"task_type": "onnx_to_openvino", "platform": "intel", "input_path": "models/a.onnx"}
MANY = {"targets": [{"task_type": "onnx_to_openvino", "platform": "intel"}], "input_path": "models/a.onnx"}


@pytest.mark.parametrize(("body", "good"), [
    (ONE, True), (MANY, True), (ONE | {"targets": None, "output_path": "results/a.xml"}, True),
    (MANY | {"task_type": None, "output_path": None}, True), (ONE | {"parameters": {"precision": "fp32"}}, True),
    (ONE | {"parameters": {"precision": "int8", "calibration": "models/set.zip"}}, True),
    (ONE | MANY, False), ({"input_path": "models/a.onnx"}, False), (MANY | {"output_path": "results/a.xml"}, False),
    ({name: value for name, value in ONE.items() if name != "platform"}, False),
    ({name: value for name, value in ONE.items() if name != "task_type"}, False),
    (ONE | {"platform": "huawei"}, False), (ONE | {"task_type": "onnx_to_om"}, False), (ONE | {"platform": "x"}, False),
    (MANY | {"targets": [{"task_type": "onnx_to_om", "platform": "intel"}]}, False), (MANY | {"targets": []}, False),
    (ONE | {"parameters": {"chip": "rk3588"}}, False), (ONE | {"parameters": {"precision": "int8"}}, False),
    (ONE | {"parameters": {"calibration": "models/set.zip"}}, False), (ONE | {"input_path": "a.onnx"}, False),
    (ONE | {"input_path": "models//a.onnx"}, False), (ONE | {"input_path": "Models/a.onnx"}, False),
    (ONE | {"input_path": "models/a\\b.onnx"}, False),
    (ONE | {"input_path": "models/a.ONNX"}, True), (ONE | {"input_path": "models/a.pt"}, False),
    (ONE | {"idempotency_key": "a\0"}, False), (ONE | {"input_path": "/models/a.onnx"}, False),
    (MANY | {"input_path": "/models/a.onnx"}, False), (ONE | {"output_path": "/results/a.xml"}, False),
    (ONE | {"input_path": "models/a\u2028.onnx"}, False), (ONE | {"input_path": "models/a\x85.onnx"}, False),
    (ONE | {"labels": {"a b": "c"}}, False),
    *((ONE | {"input_path": f"{start}a.onnx"}, False) for start in (
        "models/./", "models/../", "a..b/", "a.-b/", "-ab/", "ab-/", "ab/", f"{'a' * 64}/")),
    *((ONE | {"input_path": f"{start}a.onnx"}, True) for start in (
        "models/.a/", "models/..a/", "models/...", "a.b-c.d/", "10.0.0.1a/", "a.b/", "abc/", f"{'a' * 63}/"))])
def test_one_target_or_several_with_what_belongs_to_each(allows: Callable[[str, object], bool],
                                                         body: dict[str, Any], good: bool) -> None:
    assert allows("CreateTask", body) == creates(body) == good


RKNN = {"task_type": "onnx_to_rknn", "platform": "rockchip"}
CHIP, INT8, SET = {"chip": "rk3588"}, {"precision": "int8"}, {"calibration": "models/set.zip"}


@pytest.mark.parametrize(("shared", "own", "good"), [
    ({}, CHIP, True), (CHIP, {}, True), (CHIP | INT8 | SET, {}, True), ({}, CHIP | INT8 | SET, True),
    (INT8 | SET, CHIP, True), (INT8 | SET | {"simplify": False}, CHIP, True), ({"simplify": False}, CHIP, True),
    ({"simplify": False}, CHIP | INT8 | SET, True),
    ({}, {}, False), ({}, {"precision": "fp16"}, False), ({"precision": "fp16"}, {}, False),
    (SET, INT8, False), (CHIP | {"chips": 2}, {}, False), (CHIP, {"chips": 2}, False), (CHIP | INT8, {}, False),
    ({}, CHIP | INT8, False), (CHIP, {"chip": 3588}, False)])
def test_parameters_are_divided_between_the_request_and_its_targets(
        allows: Callable[[str, object], bool], shared: dict[str, Any], own: dict[str, Any], good: bool) -> None:
    body = {"input_path": "models/a.onnx", "parameters": shared, "targets": [RKNN | {"parameters": own}]}
    assert allows("CreateTask", body) == creates(body) == good
    if not shared:
        assert allows("CreateTask", {name: value for name, value in body.items() if name != "parameters"}) == good


def test_each_target_of_several_has_what_it_needs(allows: Callable[[str, object], bool]) -> None:
    several = {"input_path": "models/a.onnx", "targets": [RKNN, *MANY["targets"]]}
    assert not allows("CreateTask", several)
    assert allows("CreateTask", several | {"targets": [RKNN | {"parameters": CHIP}, *MANY["targets"]]})
    assert not allows("CreateTask", several | {"parameters": CHIP})  # intel takes no chip


def test_the_settings_limit_of_a_file_is_told(endpoints: list[Endpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi, "get_settings", lambda: Settings(max_model_bytes=1000))
    validator = Draft202012Validator({"$ref": "#/components/schemas/CreateUpload",
                                      "components": build_document(endpoints)["components"]})
    for size, good in ((1000, True), (1001, False)):
        assert validator.is_valid({"file_name": "a.onnx", "size_bytes": size}) == good
        assert validator.is_valid({"files": [{"file_name": "a.onnx", "size_bytes": size}]}) == good


@pytest.mark.parametrize(("shared", "own"), [
    (CHIP, CHIP), (CHIP | SET, INT8), (SET, CHIP | INT8), ({"precision": "fp16"}, CHIP | INT8 | SET)])
def test_more_divisions_are_taken_than_the_document_can_say(shared: dict[str, Any], own: dict[str, Any]) -> None:
    assert creates({"input_path": "models/a.onnx", "parameters": shared, "targets": [RKNN | {"parameters": own}]})


@pytest.mark.parametrize(("roots", "good"), [((), False), ((Path("/srv"),), True)])
def test_absolute_paths_are_told_where_the_settings_allow_them(
        endpoints: list[Endpoint], monkeypatch: pytest.MonkeyPatch, roots: tuple[Path, ...], good: bool) -> None:
    monkeypatch.setattr(openapi, "get_settings", lambda: Settings(local_roots=roots))
    validator = Draft202012Validator({"$ref": "#/components/schemas/CreateTask",
                                      "components": build_document(endpoints)["components"]})
    assert validator.is_valid(ONE | {"input_path": "/srv/a.onnx", "output_path": "/srv/a.xml"}) == good
    assert validator.is_valid(MANY | {"input_path": "/srv/a.onnx"}) == good


@pytest.mark.parametrize(("text", "good"), [
    ("2024-01-01T12:00:00Z", True), ("2024-01-01T12:00:00.123456789+08:00", True), ("2024-01-01t12:00:00z", True),
    ("2024-13-01T12:00:00Z", False), ("2024-01-01T25:00:00Z", False), ("0000-01-01T12:00:00Z", False),
    ("2024-06-31T12:00:00Z", False), ("2023-02-29T12:00:00Z", False), ("1900-02-29T12:00:00Z", False),
    ("2024-02-29T12:00:00Z", True), ("2000-02-29T12:00:00Z", True), ("9999-12-31T23:59:59Z", True),
    ("0001-01-01T00:00:00+14:00", True), ("noon", False), ("\uff12\uff10\uff12\uff14-01-01T12:00:00Z", False),
    ("20240101", False), ("2024-W01-1", False), ("1704110400", False)])
def test_times_are_told_by_format_and_pattern(allows: Callable[[str, object], bool], text: str, good: bool) -> None:
    for name in ("created_after", "created_before"):
        assert allows("ListTasks", {name: text}) == takes(ListTasks, {name: text}) == good


@pytest.mark.parametrize("text", ["2024-01-01", "2024-01-01T12:00", "2024-01-01 12:00:00", "2024-01-01T12:00:00"])
def test_a_time_may_lack_what_the_format_has(document: dict[str, Any], text: str) -> None:
    time = document["components"]["schemas"]["ListTasks"]["properties"]["created_after"]["anyOf"][0]
    assert re.search(time["pattern"], text) and takes(ListTasks, {"created_after": text})


def test_a_created_task_leads_to_all_that_can_be_done_with_it(document: dict[str, Any]) -> None:
    links = operations(document)["post", "/tasks/create"]["responses"]["200"]["links"]
    by_id = {operation["operationId"]: operation for operation in operations(document).values()}
    assert {link["operationId"] for link in links.values()} == {
        "query_task", "get_task_status", "get_task_events", "get_task_log", "list_task_files", "pause_task",
        "resume_task", "cancel_task", "retry_task", "batch_delete_tasks"}
    for link in links.values():
        target = by_id[link["operationId"]]
        if "parameters" in link:
            assert set(link["parameters"]) <= {parameter["name"] for parameter in target["parameters"]}
        else:
            schema = target["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert set(link["requestBody"]) <= set(document["components"]["schemas"][schema]["properties"])
