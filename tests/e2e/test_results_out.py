"""A conversion's files, as a client without a way to the buckets gets them: listed, alone, and as one zip."""
from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import requests

from tests.fixtures.services import Service


def test_all_files_of_a_conversion_are_had_over_http(
        profile: dict[str, str], make_service: Callable[..., Service], models: dict[str, Path]) -> None:
    service = make_service(workers=1, **profile)
    service.files().upload(models["cls"], "models/分类 器.onnx")
    task_id = service.convert("models/分类 器.onnx", parameters={"input_shape": [1, 3, 48, 192]})
    (task,) = service.finish([task_id])
    assert task["error"] is None
    url = f"http://127.0.0.1:{service.port}"
    files = service.client.call("GET", f"/tasks/{task_id}/files")["files"]
    kinds = [file["kind"] for file in files]
    assert kinds[:5] == ["artefact", "companion", "manifest", "report", "page"] and set(kinds[5:]) == {"log"}
    contents = {}
    for file in files:
        answer = requests.get(url + file["download_path"], timeout=60)
        assert answer.status_code == 200 and len(answer.content) == file["size_bytes"]
        assert file["sha256"] in (None, hashlib.sha256(answer.content).hexdigest())
        assert (file["sha256"] is None) == (file["kind"] == "log")
        assert "filename*=UTF-8''%E5%88%86%E7%B1%BB%20%E5%99%A8" in answer.headers["Content-Disposition"] or (
            file["kind"] == "log")
        contents[file["name"]] = answer.content
    assert files[0]["sha256"] == task["result"]["sha256"]
    assert json.loads(contents["分类 器.xml.manifest.json"])["task_id"] == task_id
    whole = requests.get(f"{url}/tasks/{task_id}/files?zip=1", timeout=60)
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents
