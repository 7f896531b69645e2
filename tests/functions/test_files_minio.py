"""Downloads where the object store is a real MinIO: clients are sent there, and get the file under its name."""
from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import requests

from shared.deps import close_all, get_files, get_store
from shared.documents import Task
from shared.files import Files
from tests.functions.finished import CONTENTS, LOG, finished_task
from tests.functions.service import Caller, call_alone


@pytest.fixture
def there(data_dir: Path, minio_url: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
          ) -> Iterator[Files]:
    """The service's object store is MinIO."""
    monkeypatch.setenv("MODEL_CONVERT_FILES_URL", minio_url)
    monkeypatch.setenv("MODEL_CONVERT_STORE_URL", f"sqlite:{tmp_path / 'tasks.db'}")
    monkeypatch.setenv("MODEL_CONVERT_CACHE_BUCKET", bucket)
    close_all()
    yield get_files()
    monkeypatch.undo()
    close_all()


@pytest.fixture
def call() -> Caller:
    return call_alone({})


def finish(files: Files, folder: Path, stem: str = "det") -> Task:
    named = {name.replace("det", stem): content for name, content in CONTENTS.items()}
    task = finished_task(files, folder / "content", named)
    get_store().insert(task)
    return task


@pytest.mark.parametrize("stem", ["det", "检测器 v2", 'a "b"; c', "a+b%41&c", "🚀"])
def test_a_client_is_sent_to_the_store_and_gets_the_file_under_its_name(
        call: Caller, there: Files, tmp_path: Path, stem: str) -> None:
    task = finish(there, tmp_path, stem)
    path = f"/tasks/{task.id}/files/{quote(f'{stem}.bin')}"
    answer = call("get_task_file", "GET", path)
    assert (answer.status, answer.body, answer.headers["Cache-Control"]) == (302, b"", "no-store")
    head = call("get_task_file", "HEAD", path)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(CONTENTS["det.bin"])))
    found = requests.get(answer.headers["Location"], timeout=60)
    assert (found.status_code, found.content) == (200, CONTENTS["det.bin"])
    for name in ("Content-Disposition", "Content-Type", "Cache-Control", "ETag"):
        assert found.headers[name] == head.headers[name]
    part = requests.get(answer.headers["Location"], headers={"Range": "bytes=5-9"}, timeout=60)
    assert (part.status_code, part.content) == (206, CONTENTS["det.bin"][5:10])
    assert call("get_task_file", "GET", path, headers={"If-None-Match": head.headers["ETag"]}).status == 304


def test_the_way_leads_nowhere_else(call: Caller, there: Files, tmp_path: Path) -> None:
    task = finish(there, tmp_path)
    url = call("get_task_file", "GET", f"/tasks/{task.id}/files/det.bin").headers["Location"]
    assert requests.get(url.replace("det.bin", "det.xml"), timeout=60).status_code == 403
    assert requests.delete(url, timeout=60).status_code == 403
    assert "X-Amz-Expires=300" in url


def test_clients_reach_the_store_at_its_public_address(
        call: Caller, there: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = finish(there, tmp_path)
    own = urlsplit(call("get_task_file", "GET", f"/tasks/{task.id}/files/det.bin").headers["Location"])
    monkeypatch.setenv("MODEL_CONVERT_FILES_PUBLIC_URL", f"http://localhost:{own.port}")
    close_all()
    url = call("get_task_file", "GET", f"/tasks/{task.id}/files/det.bin").headers["Location"]
    assert url.startswith(f"http://localhost:{own.port}/results/") and own.hostname != "localhost"
    assert requests.get(url, timeout=60).content == CONTENTS["det.bin"]


def test_the_list_and_the_zip_are_the_services_own(call: Caller, there: Files, tmp_path: Path) -> None:
    task = finish(there, tmp_path)
    files = call("list_task_files", "GET", f"/tasks/{task.id}/files").data["files"]
    assert [(file["name"], file["state"]) for file in files] == [(name, "ready") for name in [*CONTENTS, "compile.log"]]
    with zipfile.ZipFile(io.BytesIO(call("list_task_files", "GET", f"/tasks/{task.id}/files?zip=1").body)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == CONTENTS | {"compile.log": LOG}
    assert call("get_task_file", "GET", f"/tasks/{task.id}/files/compile.log").body == LOG


def test_a_replaced_and_a_removed_object_are_told(call: Caller, there: Files, tmp_path: Path) -> None:
    task = finish(there, tmp_path)
    (tmp_path / "other").write_bytes(b"another's")
    there.upload(tmp_path / "other", f"results/{task.id}/det.bin")
    there.delete(f"results/{task.id}/det.xml")
    call("get_task_file", "GET", f"/tasks/{task.id}/files/det.bin").assert_error(409, "替换")
    call("get_task_file", "GET", f"/tasks/{task.id}/files/det.xml").assert_error(404, "删除")
    files = call("list_task_files", "GET", f"/tasks/{task.id}/files").data["files"]
    assert {file["name"]: file["state"] for file in files if file["state"] != "ready"} == {
        "det.bin": "replaced", "det.xml": "removed"}
