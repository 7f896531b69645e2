"""What docs/announcements.md says of callbacks is so. Its receiver takes what a worker sends, and nothing else."""
from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.announcements.outcomes import Outcome
from shared.announcements.payloads import build_payload
from shared.announcements.schedule import PAUSES_S
from shared.announcements.sending import send
from shared.announcements.signing import signed_headers
from shared.documents import Task
from shared.settings import Settings, read_settings
from shared.times import parse_time

PAGE = (Path(__file__).parents[2] / "docs" / "announcements.md").read_text().partition("\n## Events on ")[0]
SECRET, FORGED = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"s", b"f"))


def only(pattern: str) -> str:
    (found,) = re.findall(pattern, PAGE, re.DOTALL)
    return str(found)


def test_the_example_is_what_is_sent() -> None:
    told: dict[str, Any] = json.loads(only(r"```\nPOST .*?\n\n(.*?)```"))
    data, at = told["data"], parse_time(told["timestamp"])
    public_url, _, path = data["links"]["status"].partition("/tasks/")
    assert path == f"{data['task_id']}/status"
    data["links"] |= {name: f"{public_url}/tasks/{data['task_id']}/{name}" for name, link in data["links"].items()
                      if link == "…"}
    task = Task(id=data["task_id"], task_type=data["task_type"], platform=data["platform"],
                input_path=data["input_path"], output_path=data["output_path"], labels=data["labels"],
                created_at=at, updated_at=at, queue_order=at)
    settings = read_settings({"MODEL_CONVERT_PUBLIC_URL": public_url})
    assert json.loads(build_payload(task, "failed", at, data["error_code"], settings)) == told


def test_the_pauses_are_those_of_the_schedule() -> None:
    said = only(r"followed by another after (.*?), or later")
    units = {"s": 1, "min": 60, "h": 3600}
    assert [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", said)] == list(PAUSES_S)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = tmp_path / "receiver.py"
    script.write_text(only(r"```python\n(.*?)```") + f'\n\napp.run("127.0.0.1", {port})\n')
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               env=os.environ | {"MODEL_CONVERT_CALLBACK_SECRET": SECRET,
                                                 "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        wait_until_it_listens(port, process)
        yield f"127.0.0.1:{port}", process
    finally:
        process.kill()
        process.communicate()


def wait_until_it_listens(port: int, process: subprocess.Popen[str]) -> None:
    ends_at = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < ends_at
            time.sleep(0.05)


def test_its_receiver_takes_each_announcement_once_and_no_forged_one(
        receiver: tuple[str, subprocess.Popen[str]]) -> None:
    place, process = receiver
    body = json.dumps({"type": "task.failed", "timestamp": "…", "data": {"task_id": "task_1"}}).encode()

    def settings(secret: str) -> Settings:
        return read_settings({"MODEL_CONVERT_CALLBACK_SECRET": secret, "MODEL_CONVERT_CALLBACK_ALLOW": place})

    def deliver(secret: str, message_id: str) -> Outcome:
        return send(f"http://{place}/done", body, signed_headers(message_id, body, settings(secret)), settings(secret))

    assert deliver(FORGED, "msg_1_1") == Outcome("status", 401)
    assert [deliver(SECRET, "msg_1_2") for _ in range(2)] == [Outcome(None, 204)] * 2
    assert deliver(f"{FORGED},{SECRET}", "msg_1_3") == Outcome(None, 204)
    process.kill()
    assert process.stdout.read().splitlines().count("task.failed task_1") == 2
