"""The contract's usage examples, run as they are written there; only the port is another."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable

from infra.servers.base import Server
from shared.documents import Task
from tests.fixtures.common import missing

PYTHON = '''
import requests

BASE_URL = "http://localhost:8000"

# 1. 分页查询任务列表
response = requests.post(
    f"{BASE_URL}/tasks/list",
    json={"page": 1, "page_size": 10}
)
print(response.json())

# 2. 暂停任务
response = requests.post(
    f"{BASE_URL}/tasks/pause",
    json={"task_id": "task_1234567890_1234"}
)
print(response.json())

# 3. 恢复任务
response = requests.post(
    f"{BASE_URL}/tasks/resume",
    json={"task_id": "task_1234567890_1234"}
)
print(response.json())

# 4. 批量删除任务
response = requests.post(
    f"{BASE_URL}/tasks/batch-delete",
    json={
        "task_ids": [
            "task_1234567890_1234",
            "task_1234567890_5678"
        ]
    }
)
print(response.json())
'''

CURL = r'''
# 1. 分页查询任务列表
curl -X POST "http://localhost:8000/tasks/list" \
  -H "Content-Type: application/json" \
  -d '{"page": 1, "page_size": 10}'

# 2. 暂停任务
curl -X POST "http://localhost:8000/tasks/pause" \
  -H "Content-Type: application/json" \
  -d '{"task_id": "task_1234567890_1234"}'

# 3. 恢复任务
curl -X POST "http://localhost:8000/tasks/resume" \
  -H "Content-Type: application/json" \
  -d '{"task_id": "task_1234567890_1234"}'

# 4. 批量删除任务
curl -X POST "http://localhost:8000/tasks/batch-delete" \
  -H "Content-Type: application/json" \
  -d '{"task_ids": ["task_1234567890_1234", "task_1234567890_5678"]}'
'''


def run(command: list[str], script: str, gateway: Server) -> str:
    script = script.replace("http://localhost:8000", gateway.url)
    return subprocess.run(command, input=script, capture_output=True, text=True, check=True, timeout=240).stdout


def add_tasks(add: Callable[..., Task]) -> None:
    add(id="task_1234567890_1234", status="running")
    add(id="task_1234567890_5678")


def check(answers: list[dict[str, object]]) -> None:
    listed, paused, resumed, deleted = answers
    assert listed["message"] == "获取任务列表成功" and listed["data"]["total"] == 2
    assert paused == {"success": True, "message": "任务暂停成功",
                      "data": {"task_id": "task_1234567890_1234", "status": "paused"}}
    assert resumed == {"success": True, "message": "任务恢复成功",
                       "data": {"task_id": "task_1234567890_1234", "status": "running"}}
    assert deleted == {"success": True, "message": "批量删除完成: 成功删除 2/2 个任务", "data": {
        "total_count": 2, "success_count": 2, "failed_count": 0,
        "results": {"task_1234567890_1234": True, "task_1234567890_5678": True}}}


def test_the_python_example_works_as_written(gateway: Server, add: Callable[..., Task]) -> None:
    add_tasks(add)
    printed = run([sys.executable, "-"], PYTHON.replace("print(response.json())", "print(response.text)"), gateway)
    check([json.loads(line) for line in printed.splitlines()])


def test_the_curl_example_works_as_written(gateway: Server, add: Callable[..., Task]) -> None:
    if not shutil.which("curl"):
        missing("curl", "it is not on the PATH")
    add_tasks(add)
    printed = run(["sh", "-s"], CURL.replace("curl -X", "curl -s -w '\\n' -X"), gateway)
    check([json.loads(line) for line in printed.splitlines()])
