"""A function alone imports nothing at its start that it does not need. `make bench ROWS=l` measures what it brings."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.gateway import FUNCTIONS_DIR

HEAVY = ("pika", "minio", "pymongo", "bson", "onnx", "onnxruntime", "openvino", "numpy", "worker", "infra", "tests")
MOST_MODULES = 160  # beside the framework's own; create_task has 154, all but a few small ones of ours

MODULES = """
import json, sys
import flask.testing, functions_framework
framework = set(sys.modules)
client = functions_framework.create_app(sys.argv[1], sys.argv[2]).test_client()
client.environ_base['SERVER_SOFTWARE'] = 'Werkzeug/test'
answer = client.post("/", json={})
assert answer.status_code in (200, 400, 405), answer.get_data(as_text=True)
print(json.dumps(sorted(set(sys.modules) - framework)))
"""


def modules_after_a_request(name: str) -> set[str]:
    source = FUNCTIONS_DIR / name / "main.py"
    printed = subprocess.run([sys.executable, "-c", MODULES, name, source], check=True,
                             capture_output=True, text=True, timeout=240).stdout
    return set(json.loads(printed.splitlines()[-1]))


@pytest.mark.parametrize("name", sorted(folder.parent.name for folder in FUNCTIONS_DIR.glob("*/main.py")))
def test_no_function_imports_a_driver_or_much_else_at_start(data_dir: Path, name: str) -> None:
    modules = modules_after_a_request(name)
    assert {module.partition(".")[0] for module in modules}.isdisjoint(HEAVY)
    assert len(modules) <= MOST_MODULES
