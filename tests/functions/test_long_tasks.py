"""Tasks that are long: a list stays readable, and says what it leaves out."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.documents import Task
from tests.functions.service import Caller

LONG = {"inputs": ["x" * 500] * 1000}
RESULT = {"path": "results/a.xml", "files": ["results/a.xml"], "sha256": "0" * 64, "size_bytes": 1,
          "manifest_path": "results/a.manifest.json", "accuracy": {"passed": True, "outputs": [
              {"name": f"output {number} {'y' * 200}", "cosine": 1.0} for number in range(200)]}}


def listed(call: Caller, **narrowed: Any) -> list[dict[str, Any]]:
    return call("list_tasks", "POST", "/tasks/list", json={"page_size": 100} | narrowed).data["tasks"]


def test_a_list_of_long_tasks_is_short_and_says_what_it_leaves_out(call: Caller, add: Callable[..., Task]) -> None:
    tasks = [add(parameters=LONG) for _ in range(20)]
    answer = call("list_tasks", "POST", "/tasks/list", json={"page_size": 100})
    assert len(answer.body) < 20 * 20_000
    assert [(task["parameters"], task["omitted"]) for task in answer.data["tasks"]] == [({}, ["parameters"])] * 20
    whole = call("query_task", "POST", "/tasks/query", json={"task_id": tasks[0].id}).data["task_info"]
    assert whole["parameters"] == LONG and "omitted" not in whole


def test_only_as_much_is_left_out_as_makes_a_task_long(call: Caller, add: Callable[..., Task]) -> None:
    add(status="completed", parameters={"precision": "fp16"}, result=RESULT)
    add(parameters={"precision": "fp16"})
    short, long = listed(call, status="pending")[0], listed(call, status="completed")[0]
    assert short["omitted"] == [] and short["parameters"] == {"precision": "fp16"}
    assert long["omitted"] == ["parameters", "result"] and long["result"]["accuracy"] is None
    assert long["result"]["files"] == RESULT["files"]
