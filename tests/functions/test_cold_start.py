"""A function alone starts nearly as fast as one that does nothing, and imports nothing that it does not need."""
from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from infra.gateway import FUNCTIONS_DIR
from infra.servers.base import free_port, spawn, wait_until

MIN_ROUNDS, MAX_ROUNDS = 5, 25
JSON = {"Content-Type": "application/json"}
MAX_RATIO = 1.5
HEAVY = ("pika", "minio", "pymongo", "bson", "onnx", "onnxruntime", "openvino", "numpy", "worker", "infra", "tests")
HELLO = "def hello(request):\n    return 'hello'\n"

MODULES = """
import json, sys
import functions_framework
client = functions_framework.create_app(sys.argv[1], sys.argv[2]).test_client()
answer = client.post("/", json={})
assert answer.status_code in (200, 400, 405), answer.get_data(as_text=True)
print(json.dumps(sorted(sys.modules)))
"""


def modules_after_a_request(name: str) -> set[str]:
    source = FUNCTIONS_DIR / name / "main.py"
    printed = subprocess.run([sys.executable, "-c", MODULES, name, source], check=True,
                             capture_output=True, text=True, timeout=60).stdout
    return set(json.loads(printed.splitlines()[-1]))


def start_s(name: str, source: Path, env: dict[str, str], log: Path) -> float:
    """Processor seconds from the command `functions-framework` to its answer to the first request.

    Starting is work and not waiting; and unlike the clock on the wall, this does not count what else the machine does.
    """
    port = free_port()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = spawn([Path(sys.executable).with_name("functions-framework"), "--source", source, "--target", name,
                     "--host", "127.0.0.1", "--port", str(port)], log, env)
    wait_until(lambda: _answers(port), process, name, log)
    process.terminate()  # its master process collects its worker's seconds
    process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _answers(port: int) -> bool:
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}/", b"{}", JSON), timeout=10) as answer:
            return answer.status == 200
    except URLError:
        return False


@pytest.mark.parametrize("name", sorted(folder.parent.name for folder in FUNCTIONS_DIR.glob("*/main.py")))
def test_no_function_imports_a_driver_at_start(data_dir: Path, name: str) -> None:
    modules = modules_after_a_request(name)
    assert {module.partition(".")[0] for module in modules}.isdisjoint(HEAVY)


def test_list_tasks_starts_within_one_and_a_half_times_a_hello_world(data_dir: Path, tmp_path: Path) -> None:
    hello, log = tmp_path / "main.py", tmp_path / "log"
    hello.write_text(HELLO)
    # Both sides from bytecode, as after any installation, and not from the source.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path / "bytecode")
    ours_main = FUNCTIONS_DIR / "list_tasks" / "main.py"
    bare = ours = float("inf")
    for round_number in range(MAX_ROUNDS):  # the least disturbed start of each, however busy the machine
        started = start_s("hello", hello, env, log), start_s("list_tasks", ours_main, env, log)
        bare, ours = min(bare, started[0]), min(ours, started[1])
        if round_number >= MIN_ROUNDS and ours <= MAX_RATIO * bare:
            return
    pytest.fail(f"{ours:.3f} s against {bare:.3f} s: {ours / bare:.2f}")
