"""POST /uploads and what it leads to: through the gateway to local files, and to a MinIO."""
from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from infra.servers.base import Server, free_port
from shared.deps import close_all
from shared.files import Files
from tests import models
from tests.fixtures.common import missing
from tests.functions.service import Caller, call_over_http
from tests.functions.uploading import MIB, TIMEOUT_S, complete, content, create, put, wait_for

ROOT = Path(__file__).resolve().parents[2]


def left_behind(data_dir: Path) -> list[str]:
    """Unfinished files of the store, and parts."""
    private = data_dir / "buckets" / ".model-convert"
    return [path.name for path in private.rglob("*") if path.name.startswith(("unfinished-", "part-", "data"))]


def test_a_model_that_was_uploaded_can_be_converted_at_once(gateway: Server, store: Any) -> None:
    call, model = call_over_http(gateway.url), models.convolution().SerializeToString()
    upload = create(call, file_name="检测 a+b.onnx", size_bytes=len(model), sha256=hashlib.sha256(model).hexdigest())
    assert upload["input_path"] == f"uploads/{upload['upload_id']}/检测 a+b.onnx" and not upload["must_complete"]
    answer = put(upload["files"][0], model)
    assert answer.status_code == 200 and answer.json()["data"] == {"size_bytes": len(model)}
    created = call("create_task", "POST", "/tasks/create", json={
        "task_type": "onnx_to_openvino", "platform": "intel", "input_path": upload["input_path"],
        "parameters": {"input_shape": "1,3,32,32"}})
    assert created.data["status"] == "pending"
    assert complete(call, upload).data["files"][0]["arrived"] is True


def test_a_model_with_external_data_is_one_upload(gateway: Server, files: Files) -> None:
    call = call_over_http(gateway.url)
    upload = create(call, files=[{"file_name": "data/w.bin", "size_bytes": 5}, {"file_name": "m.onnx",
                                                                                "size_bytes": 3}])
    assert upload["input_path"] == f"uploads/{upload['upload_id']}/m.onnx"
    assert put(upload["files"][0], b"12345").status_code == 200
    refused = complete(call, upload)
    refused.assert_error(409, "m.onnx")
    assert "w.bin" not in refused.message
    renewed = create(call, upload_id=upload["upload_id"])
    assert [file["arrived"] for file in renewed["files"]] == [True, False] and renewed["files"][0]["url"] is None
    assert put(renewed["files"][1], b"123").status_code == 200
    assert all(file["arrived"] for file in complete(call, upload).data["files"])
    assert {info.path for info in files.find(f"uploads/{upload['upload_id']}/m")} == {upload["input_path"]}


def test_an_upload_in_parts_goes_on_after_a_broken_connection_and_a_restart(
        serve: Callable[..., Server], data_dir: Path, files: Files, tmp_path: Path) -> None:
    size, body = {"upload_part_bytes": str(5 * MIB)}, content(12 * MIB)
    first = serve(**size)
    upload = create(call_over_http(first.url), file_name="large.onnx", size_bytes=len(body))
    (file,) = upload["files"]
    assert upload["must_complete"] and [part["size_bytes"] for part in file["parts"]] == [5 * MIB, 5 * MIB, 2 * MIB]
    assert file["part_bytes"] == 5 * MIB and file["url"] is None
    assert put(file["parts"][2], body[10 * MIB:]).status_code == 200
    cut = urlsplit(file["parts"][0]["url"])
    with socket.create_connection((cut.hostname, cut.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(b"PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (
            cut.path.encode(), 5 * MIB) + b"z" * (3 * MIB))
    first.stop()
    call = call_over_http(serve(**size).url)
    complete(call, upload).assert_error(409, "large.onnx (分片 1, 2)")
    renewed = create(call, upload_id=upload["upload_id"])["files"][0]["parts"]
    assert [part["number"] for part in renewed] == [1, 2]
    for part in renewed:
        assert put(part, body[part["start"]:part["start"] + part["size_bytes"]]).status_code == 200
    for _ in range(2):  # whoever has lost the answer asks again
        assert complete(call, upload).data["files"][0]["arrived"]
    files.download(upload["input_path"], tmp_path / "read", max_bytes=1 << 30)
    assert (tmp_path / "read").read_bytes() == body
    assert left_behind(data_dir) == []


def test_whoever_goes_away_leaves_nothing_behind(gateway: Server, data_dir: Path, files: Files) -> None:
    upload = create(call_over_http(gateway.url), file_name="m.onnx", size_bytes=8 * MIB)
    address = urlsplit(upload["files"][0]["url"])
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(b"PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (
            address.path.encode(), 8 * MIB) + b"z" * (4 * MIB))
        wait_for(lambda: left_behind(data_dir) != [])
    wait_for(lambda: left_behind(data_dir) == [])
    assert files.stat(upload["input_path"]) is None


def test_slow_uploads_hold_no_thread_and_end_when_nothing_comes(serve: Callable[..., Server], data_dir: Path) -> None:
    url = serve("--processes", "1", "--threads", "2", client_s="3").url
    call, name = call_over_http(url), "m.onnx"
    with ExitStack() as stack:
        slow = []
        for _ in range(40):
            path = urlsplit(create(call, file_name=name, size_bytes=8 * MIB)["files"][0]["url"])
            connection = stack.enter_context(socket.create_connection((path.hostname, path.port), timeout=TIMEOUT_S))
            connection.sendall(b"PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (
                path.path.encode(), 8 * MIB) + b"z" * (300 << 10))
            slow.append(connection)
        for _ in range(10):
            assert requests.get(f"{url}/health", timeout=60).status_code == 200
        small = create(call, file_name=name, size_bytes=10)
        assert put(small["files"][0], b"0123456789").status_code == 200
        answers = [b"".join(iter(lambda connection=connection: connection.recv(65536), b"")) for connection in slow]
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
    wait_for(lambda: left_behind(data_dir) == [])


def test_an_upload_may_last_longer_than_a_request_as_long_as_it_comes(
        serve: Callable[..., Server], files: Files) -> None:
    url = serve(client_s="5").url
    upload = create(call_over_http(url), file_name="m.onnx", size_bytes=10 * (128 << 10))

    def pieces() -> Iterator[bytes]:
        for _ in range(10):
            yield b"z" * (128 << 10)
            time.sleep(0.7)

    about = upload["files"][0]
    connection = requests.put(about["url"], data=Sized(pieces(), about["size_bytes"]), timeout=TIMEOUT_S)
    assert connection.status_code == 200
    assert files.stat(upload["input_path"]).size_bytes == about["size_bytes"]


class Sized:
    """A body of a known length that comes slowly."""

    def __init__(self, pieces: Iterator[bytes], size_bytes: int) -> None:
        self._pieces, self._size_bytes = pieces, size_bytes

    def __len__(self) -> int:
        return self._size_bytes

    def read(self, _: int = -1) -> bytes:
        return next(self._pieces, b"")


def test_the_gateway_holds_no_large_body_in_memory(serve: Callable[..., Server], files: Files) -> None:
    server = serve("--processes", "1")
    call, size = call_over_http(server.url), 512 * MIB
    processes = [server.process.pid, *(child.pid for child in psutil.Process(server.process.pid).children())]

    def peak_bytes() -> int:
        return sum(int(line.split()[1]) << 10 for pid in processes
                   for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))

    upload = create(call, file_name="large.onnx", size_bytes=size)
    before = peak_bytes()
    for part in upload["files"][0]["parts"]:
        assert put(part, b"\0" * part["size_bytes"]).status_code == 200
    assert complete(call, upload).status == 200
    assert files.stat(upload["input_path"]).size_bytes == size
    assert peak_bytes() - before < 40 * MIB
    files.delete(upload["input_path"])


def test_a_function_alone_says_what_takes_uploads_to_local_files(
        alone: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"json": {"file_name": "m.onnx", "size_bytes": 10}}
    refused = alone("create_upload", "POST", "/uploads", **request)
    refused.assert_error(501, "MODEL_CONVERT_PUBLIC_URL")
    monkeypatch.setenv("MODEL_CONVERT_PUBLIC_URL", "https://convert.example/api/")
    close_all()
    url = alone("create_upload", "POST", "/uploads", **request).data["files"][0]["url"]
    close_all()
    assert url.startswith("https://convert.example/api/uploads/")


@pytest.fixture
def to_minio(minio_url: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The functions' own process uses a MinIO; its bucket for uploads does not exist yet."""
    monkeypatch.setenv("MODEL_CONVERT_FILES_URL", minio_url)
    monkeypatch.setenv("MODEL_CONVERT_UPLOADS_BUCKET", bucket)
    monkeypatch.setenv("MODEL_CONVERT_UPLOAD_PART_BYTES", str(5 * MIB))
    close_all()
    yield bucket
    close_all()


def test_a_function_alone_gives_the_object_stores_own_urls(alone: Caller, to_minio: str) -> None:
    body = content(11 * MIB)
    upload = create(alone, files=[{"file_name": "m.onnx", "size_bytes": len(body)},
                                  {"file_name": "w/a b.bin", "size_bytes": 4}])
    large, small = upload["files"]
    assert upload["input_path"] == f"{to_minio}/{upload['upload_id']}/m.onnx"
    assert put(small, b"1234").status_code == 200 and put(small | {"headers": {}}, b"12345").status_code == 403
    for part in large["parts"][:2]:
        assert put(part, body[part["start"]:part["start"] + part["size_bytes"]]).status_code == 200
    complete(alone, upload).assert_error(409, "m.onnx (分片 3)")
    (part,) = create(alone, upload_id=upload["upload_id"])["files"][0]["parts"]
    assert put(part, body[part["start"]:]).status_code == 200
    for _ in range(2):
        done = complete(alone, upload).data
        assert all(file["arrived"] for file in done["files"]) and not done["must_complete"]


def test_the_aws_sdk_sends_what_the_object_stores_urls_grant_and_reads_it(alone: Caller, to_minio: str, minio_url: str
                                                                          ) -> None:
    """By its own HTTP client, which sends the headers that it is given and no others."""
    import boto3  # half a second, for this test alone
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session

    body = content(11 * MIB)
    upload = create(alone, files=[{"file_name": "m.onnx", "size_bytes": len(body)},
                                  {"file_name": "w/权重 1+1.bin", "size_bytes": 4}])
    large, small = upload["files"]
    session = URLLib3Session()
    sent = [(small, b"1234"), *((part, body[part["start"]:part["start"] + part["size_bytes"]])
                                for part in large["parts"])]
    for about, piece in sent:
        request = AWSRequest(about["method"], about["url"], about["headers"], piece)
        assert session.send(request.prepare()).status_code == 200
    assert len(sent) == 4 and all(file["arrived"] for file in complete(alone, upload).data["files"])
    at = urlsplit(minio_url)
    s3 = boto3.client("s3", endpoint_url=f"http://{at.hostname}:{at.port}", region_name="us-east-1",
                      aws_access_key_id=at.username, aws_secret_access_key=at.password)
    for file, wanted in ((large, body), (small, b"1234")):
        bucket, _, key = file["path"].partition("/")
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == wanted
    s3.close()


def test_while_the_object_store_is_away_no_upload_is_promised(alone: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_CONVERT_FILES_URL", f"minio://key:secret@127.0.0.1:{free_port()}")
    close_all()
    for name, path, body in (("create_upload", "/uploads", {"file_name": "m.onnx", "size_bytes": 10}),
                             ("create_upload", "/uploads", {"upload_id": f"upload_{10**9}_{'0' * 32}"}),
                             ("complete_upload", "/uploads/complete", {"upload_id": f"upload_{10**9}_{'0' * 32}"})):
        alone(name, "POST", path, json=body).assert_error(503, "files")
    close_all()


@pytest.mark.parametrize(("body", "mentions"), [
    ({"file_name": "../m.onnx", "size_bytes": 1}, ("file_name", "detector.onnx")),
    ({"file_name": "/m.onnx", "size_bytes": 1}, ("file_name",)),
    ({"file_name": "a//m.onnx", "size_bytes": 1}, ("file_name",)),
    ({"file_name": "a\\m.onnx", "size_bytes": 1}, ("file_name",)),
    ({"file_name": "a%2e%2e%2fm.onnx", "size_bytes": 1}, ("file_name",)),
    ({"file_name": "a\nm.onnx", "size_bytes": 1}, ("file_name",)),
    ({"file_name": "/".join(["a" * 200] * 5), "size_bytes": 1}, ("file_name", "900 个字符")),
    ({"file_name": "/".join(["模" * 80] * 5), "size_bytes": 1}, ("file_name", "字节")),
    ({"file_name": ".upload.json", "size_bytes": 1}, ("file_name",)),
    ({"file_name": "m.onnx", "size_bytes": 0}, ("size_bytes",)),
    ({"file_name": "m.onnx", "size_bytes": 9 << 30}, ("size_bytes",)),
    ({"file_name": "m.onnx", "size_bytes": "1"}, ("size_bytes",)),
    ({"file_name": "m.onnx"}, ("size_bytes",)),
    ({"size_bytes": 1}, ("file_name",)), ({}, ("file_name",)),
    ({"file_name": "m.onnx", "size_bytes": 1, "sha256": "abc"}, ("sha256",)),
    ({"file_name": "m.onnx", "size_bytes": 1, "upload_id": "x"}, ("upload_id",)),
    ({"files": []}, ("files",)), ({"upload_id": "x", "sha256": "a" * 64}, ("sha256",)),
    ({"files": [{"file_name": "a", "size_bytes": 1}, {"file_name": "a", "size_bytes": 2}]}, ("files",)),
    ({"files": [{"file_name": "a", "size_bytes": 1}, {"file_name": "a/b", "size_bytes": 2}]}, ("files", "a/b")),
    ({"files": [{"file_name": "ok", "size_bytes": 1}, {"file_name": "..", "size_bytes": 2}]}, ("files[1]",)),
])
def test_what_cannot_be_an_upload_is_told_so(gateway: Server, body: dict[str, Any], mentions: tuple[str, ...]) -> None:
    call_over_http(gateway.url)("create_upload", "POST", "/uploads", json=body).assert_error(400, *mentions)


@pytest.mark.parametrize("upload_id", ["x", "../../etc", f"upload_{10**9}_{'0' * 32}"])
def test_an_unknown_upload_is_not_found(gateway: Server, upload_id: str) -> None:
    call = call_over_http(gateway.url)
    call("create_upload", "POST", "/uploads", json={"upload_id": upload_id}).assert_error(404, "上传")
    call("complete_upload", "POST", "/uploads/complete", json={"upload_id": upload_id}).assert_error(404, "上传")


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readmes_commands_work_as_written(serve: Callable[..., Server], files: Files, store: Any, tmp_path: Path,
                                              readme: str) -> None:
    for tool in ("curl", "jq"):
        if not shutil.which(tool):
            missing(tool, "it is not on the PATH")
    url = serve(upload_part_bytes=str(5 * MIB)).url
    small, large = (block.replace("http://localhost:8000", url) for block in re.findall(
        r"```bash\n(.*?)```", (ROOT / readme).read_text(), re.DOTALL) if "/uploads" in block)

    def run(script: str) -> list[str]:
        done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert done.returncode == 0, done.stderr
        return done.stdout.replace("}{", "}\n{").splitlines()

    (tmp_path / "detector.onnx").write_bytes(models.convolution((1, 3, 480, 480)).SerializeToString())
    received, created = map(json.loads, run(small))
    assert received["success"] and created["data"]["status"] == "pending", (received, created)
    (tmp_path / "detector.onnx").write_bytes(content(11 * MIB))
    *sent, completed = map(json.loads, run(small.partition("curl -T")[0] + large))
    assert len(sent) == 3 and all(answer["success"] for answer in sent)
    files.download(completed["data"]["input_path"], tmp_path / "read", max_bytes=1 << 30)
    assert (tmp_path / "read").read_bytes() == content(11 * MIB)
