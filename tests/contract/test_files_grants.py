"""Requests that a client may send to the object store itself: the same contract for both stores, over HTTP."""
from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from infra.servers.base import Server
from shared.errors import Busy, Forbidden, InvalidRequest, NotFound
from shared.files import Files, open_files
from shared.files.grants import Grant, Grants, Part, open_grants
from shared.files.local_grants import LocalGrants
from tests.functions.service import serve_gateway

MIB = 1 << 20
PART_BYTES = 5 * MIB  # S3 takes no smaller one
TIMEOUT_S = 60

Send = Callable[..., requests.Response]


@pytest.fixture(params=["local", "minio"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file:{tmp_path}/buckets" if request.param == "local" else request.getfixturevalue("minio_url")


@pytest.fixture
def files(url: str, bucket: str, tmp_path: Path) -> Iterator[Files]:
    """With the bucket in it."""
    opened = open_files(url, 30.0)
    (tmp_path / "first").write_bytes(b"x")
    opened.upload(tmp_path / "first", f"{bucket}/first")
    yield opened
    opened.close()


@pytest.fixture
def grants(url: str, files: Files) -> Iterator[Grants]:
    opened = open_grants(url, 5.0)
    yield opened
    opened.close()


@pytest.fixture
def send(url: str, grants: Grants, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Send]:
    """Sends a body as the grant says, to the store itself or to a gateway before the folder."""
    gateway: Server | None = None
    if grants.through_gateway:
        monkeypatch.setenv("MODEL_CONVERT_FILES_URL", url)
        monkeypatch.setenv("MODEL_CONVERT_STORE_URL", f"sqlite:{tmp_path}/tasks.db")
        gateway = serve_gateway(tmp_path, dict(os.environ), "--processes", "2")

    def send(grant: Grant, body: bytes, **headers: str) -> requests.Response:
        base = gateway.url if gateway else ""
        return requests.request(grant.method, base + grant.url, data=body, timeout=TIMEOUT_S,
                                headers=grant.headers | headers)

    yield send
    if gateway:
        gateway.stop()


def soon() -> float:
    return time.time() + 60


def content(size_bytes: int) -> bytes:
    return hashlib.shake_128(b"seed").digest(size_bytes)


def read(files: Files, path: str, tmp_path: Path) -> bytes:
    files.download(path, tmp_path / "read", max_bytes=1 << 30)
    return (tmp_path / "read").read_bytes()


def test_a_file_that_is_sent_as_granted_is_there_and_may_be_sent_again(
        grants: Grants, send: Send, files: Files, bucket: str, tmp_path: Path) -> None:
    path = f"{bucket}/up/模型 a+b%41.onnx"
    grant = grants.whole(path, 1000, soon())
    for body in (content(1000), b"b" * 1000):
        assert send(grant, body).status_code == 200
        assert read(files, path, tmp_path) == body
    assert [info.path for info in files.find(f"{bucket}/up/")] == [path]


@pytest.mark.parametrize("size_bytes", [0, 999, 1001, 5000])
def test_the_store_refuses_a_body_of_another_size(grants: Grants, send: Send, files: Files, bucket: str,
                                                  size_bytes: int) -> None:
    grant = grants.whole(f"{bucket}/a.onnx", 1000, soon())
    grant = replace(grant, headers={})  # the client's HTTP library tells what it sends
    assert send(grant, content(size_bytes)).status_code in (400, 403, 411)
    assert files.stat(f"{bucket}/a.onnx") is None


def test_a_body_without_a_declared_size_is_refused(grants: Grants, send: Send, files: Files, bucket: str) -> None:
    grant = replace(grants.whole(f"{bucket}/a.onnx", 1000, soon()), headers={})
    answer = send(grant, iter([content(500), content(500)]))  # in chunks
    assert 400 <= answer.status_code < 500
    assert files.stat(f"{bucket}/a.onnx") is None


def test_a_url_is_good_for_its_own_path_and_time_alone(grants: Grants, send: Send, files: Files, bucket: str) -> None:
    grant = grants.whole(f"{bucket}/a.onnx", 10, soon())
    body = content(10)
    assert send(replace(grant, url=grant.url.replace("a.onnx", "b.onnx")), body).status_code == 403
    assert send(replace(grant, url=grant.url.replace("a.onnx", "../a.onnx")), body).status_code in (400, 403, 404)
    over = grants.whole(f"{bucket}/a.onnx", 10, time.time() + 1)
    time.sleep(3)
    assert send(over, body).status_code == 403
    assert files.stat(f"{bucket}/a.onnx") is None and files.stat(f"{bucket}/b.onnx") is None


def parts_of(size_bytes: int) -> list[Part]:
    return [Part(number, start, min(PART_BYTES, size_bytes - start))
            for number, start in enumerate(range(0, size_bytes, PART_BYTES), start=1)]


def test_parts_come_in_any_order_and_again_and_become_one_object(
        grants: Grants, send: Send, files: Files, bucket: str, tmp_path: Path) -> None:
    body, path = content(12 * MIB), f"{bucket}/up/large.onnx"
    parts = parts_of(len(body))
    parts_id = grants.begin(path, len(body))
    assert grants.arrived(path, parts_id) == {}
    granted = {part.number: grants.part(path, parts_id, part, soon()) for part in parts}
    assert send(granted[2], b"z" * PART_BYTES).status_code == 200
    for part in (parts[2], parts[1], parts[0]):
        assert send(granted[part.number], body[part.start:part.start + part.size_bytes]).status_code == 200
        assert files.stat(path) is None
    assert send(replace(granted[3], headers={}), b"z" * PART_BYTES).status_code in (400, 403)
    assert grants.arrived(path, parts_id) == {1: PART_BYTES, 2: PART_BYTES, 3: 2 * MIB}
    grants.join(path, parts_id, parts)
    assert read(files, path, tmp_path) == body
    assert grants.arrived(path, parts_id) is None
    with pytest.raises(NotFound):
        grants.join(path, parts_id, parts)
    assert send(granted[1], b"z" * PART_BYTES).status_code == 404
    assert read(files, path, tmp_path) == body


def test_clients_may_reach_the_store_at_another_address_than_the_service(minio_url: str, bucket: str,
                                                                         tmp_path: Path) -> None:
    port = minio_url.rpartition(":")[2]
    files = open_files(minio_url, 30.0)
    (tmp_path / "first").write_bytes(b"x")
    files.upload(tmp_path / "first", f"{bucket}/first")
    grant = open_grants(minio_url, 5.0, f"http://localhost:{port}/").whole(f"{bucket}/a.onnx", 3, soon())
    assert grant.url.startswith(f"http://localhost:{port}/{bucket}/a.onnx?")
    assert requests.put(grant.url, data=b"abc", timeout=TIMEOUT_S).status_code == 200
    files.close()


def test_whoever_shares_the_folder_or_the_secret_signs_alike(tmp_path: Path) -> None:
    def take(signing: Grants, taking: LocalGrants) -> None:
        grant = signing.whole("models/a.onnx", 3, soon())
        incoming = taking.open(grant.url.split("/")[2], "models/a.onnx", 3)
        incoming.write(b"abc")
        incoming.finish()

    folder, other = (tmp_path / name for name in ("one", "two"))
    take(LocalGrants(folder), LocalGrants(folder))
    assert (folder / ".model-convert/upload-secret").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Forbidden):
        take(LocalGrants(folder), LocalGrants(other))
    take(LocalGrants(folder, SecretStr("a secret of both")), LocalGrants(other, SecretStr("a secret of both")))
    assert (other / "models/a.onnx").read_bytes() == b"abc"


def test_a_part_comes_in_once_at_a_time_and_is_not_joined_meanwhile(tmp_path: Path) -> None:
    grants = LocalGrants(tmp_path)
    part, path = Part(1, 0, 3), "models/a.onnx"
    parts_id = grants.begin(path, 3)
    token = grants.part(path, parts_id, part, soon()).url.split("/")[2]
    coming = grants.open(token, path, 3)
    coming.write(b"ab")
    with pytest.raises(Busy):
        grants.open(token, path, 3)
    with pytest.raises(Busy):
        grants.join(path, parts_id, [part])
    with pytest.raises(InvalidRequest):
        coming.finish()
    coming.give_up()
    assert grants.arrived(path, parts_id) == {}
    again = grants.open(token, path, 3)
    again.write(b"xyz")
    again.finish()
    grants.join(path, parts_id, [part])
    assert (tmp_path / path).read_bytes() == b"xyz"


def test_parts_that_nobody_goes_on_with_are_forgotten_after_a_day(tmp_path: Path) -> None:
    grants = LocalGrants(tmp_path)
    old, new = grants.begin("models/a.onnx", 3), grants.begin("models/b.onnx", 3)
    for name in ("", "/data"):
        os.utime(tmp_path / f".model-convert/parts/{old}{name}", (0, 0))
    LocalGrants(tmp_path).begin("models/c.onnx", 3)
    assert grants.arrived("models/a.onnx", old) is None and grants.arrived("models/b.onnx", new) == {}
