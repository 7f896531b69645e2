"""Requests that cost much, many at once: they wait and are refused among themselves, and the others are answered."""
from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from infra.servers.base import Server
from tests.functions.service import serve_gateway

# Takes two seconds of a child, and is refused then.
COSTLY = {"task_type": "onnx_to_openvino", "platform": "intel", "input_path": "models/none.onnx", "parameters": {
    "precision": "int8", "calibration": "models/set", "quantization": {"ignored_scope": {
        "patterns": ["(?i)" + f"[{chr(0x100 + number)}-\uffff]" * 84 for number in range(12)]}}}}


@pytest.fixture
def server(data_dir: Path, tmp_path: Path) -> Iterator[Server]:
    server = serve_gateway(tmp_path, dict(os.environ), "--processes", "1", "--threads", "2")
    yield server
    server.stop()


@pytest.mark.parametrize("path", ["/tasks/validate", "/tasks/create"])
def test_costly_requests_at_once_hold_up_no_others_and_are_all_answered(server: Server, path: str) -> None:
    with ThreadPoolExecutor(30) as pool:
        costly = [pool.submit(requests.post, server.url + path, json=COSTLY, timeout=120) for _ in range(30)]
        for _ in range(10):
            assert requests.post(f"{server.url}/tasks/list", json={}, timeout=60).status_code == 200
        assert sum(request.done() for request in costly) < 20  # the ten did not wait for them
        answers = [request.result() for request in costly]
    assert {answer.status_code for answer in answers} == {400, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) > 0 and answer.json()["success"] is False
        else:
            assert "正则表达式过于复杂" in answer.json()["message"]
