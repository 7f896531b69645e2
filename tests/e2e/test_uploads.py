"""An upload alone is enough, with nothing but the sweep to find it: in both profiles, with real conversions."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.files.minio_http import S3Connection
from tests.fixtures.services import Service

CLASSIFIER = "cls"
MakeService = Callable[..., Service]
RULES = '''
built_in = false
[[rule]]
name = "drop"
bucket = "{bucket}"
'''
SIDECAR = b'labels = { from = "sidecar" }\n[parameters]\ninput_shape = [1, 3, 48, 96]\n'


def tasks_of(service: Service, path: str) -> list[str]:
    return [task["id"] for task in service.client.call("POST", "/tasks/list", {"page_size": 100})["tasks"]
            if task["input_path"] == path]


def test_an_upload_that_no_event_told_of_is_converted(profile: dict[str, str], make_service: MakeService, bucket: str,
                                                      models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES.replace("{bucket}", bucket + "-in"))
    service = make_service(triggers=str(tmp_path / "rules.toml"), triggers_every_s="1", **profile)
    path = f"{bucket}-in/intel/两个 words+%.onnx"
    (tmp_path / "sidecar").write_bytes(SIDECAR)
    service.files().upload(tmp_path / "sidecar", path + ".toml")
    service.files().upload(models[CLASSIFIER], path)
    (task_id,) = service.wait(lambda: tasks_of(service, path))
    (task,) = service.finish([task_id])
    assert (task["status"], task["error"], task["labels"]) == ("completed", None, {"from": "sidecar"})
    assert (task["source"]["key"], task["source"]["rule"], task["source"]["sidecar"]) == (
        path.partition("/")[2], "drop", path + ".toml")

    (tmp_path / "manifest").unlink(missing_ok=True)
    service.files().download(task["result"]["manifest_path"], tmp_path / "manifest", max_bytes=1 << 20)
    manifest = json.loads((tmp_path / "manifest").read_bytes())
    assert manifest["task_id"] == task_id and manifest["source"] == task["source"] | {
        "sha256": manifest["input"]["files"]["model.onnx"]["sha256"]}
    if profile:
        client = S3Connection(profile["files_url"], 5.0).small
        service.wait(lambda: dict(client.get_object_tags(*path.split("/", 1)) or {}) == {
            "model-convert-intel": f"{task_id} completed"})
        tags = client.get_object_tags(*task["result"]["path"].split("/", 1)) or {}
        assert tags["model-convert-task"] == task_id
    assert tasks_of(service, path) == [task_id]


def test_a_file_that_is_copied_into_a_folder_is_converted_once_it_is_whole(make_service: MakeService,
                                                                           models: dict[str, Path]) -> None:
    """As `cp model.onnx data/buckets/models-in/intel/` does it, and slower than the sweep looks."""
    service = make_service()
    folder = service.data_dir / "buckets" / "models-in" / "intel"
    folder.mkdir(parents=True)
    content = models[CLASSIFIER].read_bytes()
    pieces = [content[start:start + len(content) // 20] for start in range(0, len(content), len(content) // 20)]
    writer = ("import sys, time\nwith open(sys.argv[1], 'wb', buffering=0) as file:\n"
              f"    for piece in range({len(pieces)}):\n"
              "        file.write(sys.stdin.buffer.read(int(sys.argv[2])))\n        time.sleep(0.2)\n")
    command = [sys.executable, "-c", writer, str(folder / "a.onnx"), str(len(pieces[0]))]
    subprocess.run(command, input=content, check=True)
    (folder / "a.onnx.json").write_text('{"parameters": {"input_shape": [1, 3, 48, 96]}}')
    path = "models-in/intel/a.onnx"
    task_ids = service.wait(lambda: [one for one in tasks_of(service, path) if service.client.query_task(one)[
        "parameters"]["input_shape"]])
    (task,) = service.finish(task_ids[:1])
    assert task["status"] == "completed" and (service.data_dir / "buckets" / task["result"]["path"]).exists()
    sizes = {service.client.query_task(one)["source"]["etag"].split("-")[1] for one in tasks_of(service, path)}
    assert sizes == {f"{len(content):x}"}  # no part of it was taken


@pytest.mark.parametrize("command", [["worker"], ["infra.gateway", "--port", "1"], ["infra.serve", "--port", "1"]])
def test_wrong_rules_stop_the_service_at_its_start(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "rules.toml").write_text('[[rule]]\nname = "a"\nbucket = "models"\ntarget = "intell"\n')
    environment = dict(os.environ) | {"MODEL_CONVERT_TRIGGERS": str(tmp_path / "rules.toml"),
                                      "MODEL_CONVERT_WORK_DIR": str(tmp_path / "work")}
    ended = subprocess.run([sys.executable, "-m", *command], env=environment, capture_output=True, text=True,
                           check=False, timeout=120)
    assert ended.returncode == 1
    assert f"{tmp_path}/rules.toml:4: rule.0.target intell is no target" in ended.stdout + ended.stderr
