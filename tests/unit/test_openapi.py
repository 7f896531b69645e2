"""The OpenAPI document says what the functions do."""
from __future__ import annotations

import re
from typing import Any

import pytest

from infra.gateway import load_functions
from shared.api.http import Endpoint
from shared.api.openapi import build_document
from shared.platforms import get_platforms
from shared.validation_messages import validate

LOG_PATH = "/tasks/{task_id}/log"
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
    assert {(about.method.lower(), about.path) for about in endpoints} == set(operations(document))
    assert set(operations(document)) >= CONTRACT_PATHS


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) and references(document) <= known


def test_every_operation_tells_its_success_and_its_errors_in_both_languages(document: dict[str, Any]) -> None:
    for (method, path), operation in operations(document).items():
        assert {"200", "500", "503"} <= set(operation["responses"]), path
        assert ("400" in operation["responses"]) == ("parameters" in operation or method == "post")
        assert ("415" in operation["responses"]) == (method == "post")
        assert re.search("[\u4e00-\u9fff]", operation["summary"]) and operation["description"].isascii()
        for status, answer in operation["responses"].items():
            if (path, status[0]) != (LOG_PATH, "2"):
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


def test_events_and_logs_tell_what_else_they_take_and_answer(document: dict[str, Any]) -> None:
    events, log = (operations(document)["get", path] for path in ("/tasks/{task_id}/events", LOG_PATH))
    assert [(parameter["name"], parameter["in"], parameter["required"]) for parameter in events["parameters"]] == [
        ("task_id", "path", True), ("after", "query", False)]
    assert events["parameters"][1]["schema"] | {"description": ""} == {
        "type": "integer", "minimum": 0, "maximum": 2**53 - 1, "default": 0, "title": "After", "description": ""}
    assert set(events["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert [(parameter["name"], parameter["in"]) for parameter in log["parameters"]] == [
        ("task_id", "path"), ("stage", "query")]
    assert set(log["responses"]) == {"200", "206", "400", "404", "416", "500", "503"}
    assert set(log["responses"]["206"]["content"]) == {"text/plain"}


def test_every_example_of_a_request_is_one_that_the_endpoint_takes(document: dict[str, Any],
                                                                   endpoints: list[Endpoint]) -> None:
    for about in endpoints:
        if about.method == "POST":
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
