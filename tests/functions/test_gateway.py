"""The gateway as a process: it finds the functions by itself, and when told to go finishes what is under way."""
from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import flask
import psutil
import requests

from infra.gateway import FUNCTIONS_DIR, create_app, load_functions
from infra.servers.base import Server, wait_until
from tests.functions.service import serve_gateway

SLOW = '''
import time
from shared.api.tasks import TaskState
from shared.api.http import endpoint
from shared.texts import Text

@endpoint("GET", "/slow", scope="read", title=Text("慢", "slow"), message=Text("完成", "done"))
def slow_one() -> TaskState:
    time.sleep({seconds})
    return TaskState(task_id="t", status="running")
'''


def test_each_folder_is_one_function_of_its_name() -> None:
    functions = load_functions()
    assert set(functions) == {path.name for path in FUNCTIONS_DIR.iterdir() if path.is_dir()
                              and path.name != "__pycache__"}
    found = {path.name for path in FUNCTIONS_DIR.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert found == {"main.py"}
    paths = {(function.endpoint.method, function.endpoint.path) for function in functions.values()}
    assert len(paths) == len(functions)


def test_a_new_endpoint_is_one_new_folder(tmp_path: Path) -> None:
    (tmp_path / "slow_one").mkdir()
    (tmp_path / "slow_one" / "main.py").write_text(SLOW.format(seconds=0))
    client = create_app(load_functions(tmp_path)).test_client()
    client.environ_base["model_convert.is_local"] = True
    assert client.get("/slow").get_json()["message"] == "完成"
    assert "/slow" in client.get("/openapi.json").get_json()["paths"]


def test_an_error_outside_the_functions_is_in_the_error_form_too() -> None:
    app = create_app({})

    def fail() -> flask.Response:
        raise RuntimeError("secret")

    app.add_url_rule("/fail", "fail", fail)
    for path, status, message in (("/fail", 500, "服务器内部错误"), ("/other", 404, "路径不存在: /other")):
        answer = app.test_client().get(path)
        assert answer.status_code == status
        assert answer.get_json() == {"success": False, "message": message, "data": None}


def test_sigterm_finishes_what_is_under_way_and_leaves_no_process(data_dir: Path, tmp_path: Path) -> None:
    server = serve_gateway(tmp_path, dict(os.environ), "--processes", "2")
    first = psutil.Process(server.process.pid)
    wait_until(lambda: len(first.children()) == 2, server.process, "both processes", tmp_path / "gateway.log")
    family = [first, *first.children(recursive=True)]
    codes: list[int] = []
    port, told = int(server.url.rpartition(":")[2]), threading.Event()

    def is_under_way() -> bool:
        """The connection is a process's, and not only in the kernel's queue."""
        return any(line.laddr.port == port and line.status == psutil.CONN_ESTABLISHED for process in first.children()
                   for line in process.net_connections("tcp"))

    def slowly() -> Iterator[bytes]:
        yield b"{"
        told.wait(60)
        for part in (b'"page"', b": 1", b"}"):
            yield part
            time.sleep(0.3)

    request = threading.Thread(target=lambda: codes.append(requests.post(
        f"{server.url}/tasks/list", data=slowly(), headers={"Content-Type": "application/json"},
        timeout=60).status_code))
    wait_until(lambda: not is_under_way(), server.process, "its ends", tmp_path / "gateway.log")
    request.start()
    wait_until(is_under_way, server.process, "the request", tmp_path / "gateway.log")
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    told.set()
    request.join()
    assert codes == [200]
    assert server.process.wait(60) == 0
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)


def test_the_log_is_json_and_a_malformed_request_cannot_forge_a_line(data_dir: Path, tmp_path: Path) -> None:
    server = serve_gateway(tmp_path, dict(os.environ), "--processes", "1")
    requests.get(f"{server.url}/a%0d%0a%7B%22level%22:%22FORGED%22%7D", timeout=60)
    server.stop()
    lines = (tmp_path / "gateway.log").read_text().splitlines()
    assert lines and all(json.loads(line)["level"] != "FORGED" for line in lines)


def test_every_answer_has_an_id_that_its_log_lines_have_too(data_dir: Path, tmp_path: Path) -> None:
    broken = dict(os.environ) | {"MODEL_CONVERT_STORE_URL": "mongodb://127.0.0.1:1/x",
                                 "MODEL_CONVERT_DEPENDENCY_TIMEOUT_S": "1.5"}
    server = serve_gateway(tmp_path, broken, "--processes", "1")
    ours = requests.post(f"{server.url}/tasks/list", json={}, headers={"X-Request-Id": "client-7"}, timeout=60)
    assert (ours.status_code, ours.headers["X-Request-Id"]) == (503, "client-7")
    others = [requests.get(f"{server.url}{path}", headers={"X-Request-Id": sent}, timeout=60)
              for path, sent in (("/openapi.json", ""), ("/docs", "x" * 65), ("/nowhere", "a b"), ("/health", "<x>"))]
    ids = [answer.headers["X-Request-Id"] for answer in others]
    assert len(set(ids)) == 4 and all(len(found) == 16 for found in ids)
    assert all(answer.headers["X-Content-Type-Options"] == "nosniff" for answer in [ours, *others])
    server.stop()
    lines = [json.loads(line) for line in (tmp_path / "gateway.log").read_text().splitlines()]
    assert [line for line in lines if line.get("request_id") == "client-7" and "/tasks/list" in line["message"]]


def test_a_clients_script_name_is_a_header_like_any_other(gateway: Server) -> None:
    sent = {"SCRIPT_NAME": "/other", "PATH_INFO": "/nowhere"}
    answer = requests.get(f"{gateway.url}/health", headers=sent, timeout=60)
    assert answer.status_code == 200
