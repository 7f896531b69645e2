"""What only a server can do to its client: be away, freeze, restart, break the line, answer 5xx."""
from __future__ import annotations

import http.client
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from infra.servers import minio
from infra.servers.base import CannotStart, Server, free_port
from shared.errors import AppError, NotFound, PreconditionFailed, Unavailable
from shared.files import FileInfo, IfAbsent, IfMatch
from shared.files.minio import MinioFiles
from tests.contract.test_files import ODD_NAMES
from tests.fixtures.common import missing

MIB = 1 << 20
TIMEOUT_S = 1.5
SLACK_S = 10.0  # of a busy machine; without a limit the calls would wait until the test brings the server back
PATIENT_S = 30.0  # where the server is there


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    try:
        server = minio.start(tmp_path / "minio")
    except CannotStart as why:
        missing("MinIO", why)
    yield server
    server.kill()


def calls(files: MinioFiles, folder: Path) -> dict[str, Callable[[], object]]:
    source = folder / "source"
    source.write_bytes(b"x")
    return {"ping": files.ping, "stat": lambda: files.stat("bucket/a"), "delete": lambda: files.delete("bucket/a"),
            "find": lambda: list(files.find("bucket")),
            "read_range": lambda: files.read_range("bucket/a", 0, 9), "peek": lambda: files.peek("bucket/a", 9),
            "download": lambda: files.download("bucket/a", folder / "target", max_bytes=9),
            "upload": lambda: files.upload(source, "bucket/a", condition=IfAbsent())}


EVERY = ["ping", "stat", "delete", "find", "read_range", "peek", "download", "upload"]


@pytest.mark.parametrize("name", EVERY)
def test_a_server_that_is_away_is_unavailable(tmp_path: Path, name: str) -> None:
    files = MinioFiles(f"minio://some-key:some-secret@127.0.0.1:{free_port()}", TIMEOUT_S)
    begin = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        calls(files, tmp_path)[name]()
    assert time.monotonic() - begin < TIMEOUT_S + SLACK_S
    assert caught.value.dependency == "files" and not (tmp_path / "target").exists()


def until_it_answers(call: Callable[[], object]) -> object:
    """Its limit is short, and a busy machine may need longer."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return call()
        except NotFound:
            return None
        except Unavailable:
            assert time.monotonic() < deadline


def test_a_frozen_server_is_unavailable_in_time_and_answers_again(own_server: Server, tmp_path: Path) -> None:
    files = MinioFiles(own_server.url, TIMEOUT_S)
    for call in calls(files, tmp_path).values():
        until_it_answers(call)
    os.kill(own_server.process.pid, signal.SIGSTOP)
    try:
        while any(thread.read_text().split(") ")[1][0] != "T"
                  for thread in Path(f"/proc/{own_server.process.pid}/task").glob("*/stat")):
            time.sleep(0.01)
        for name in ("ping", "stat", "delete", "find", "read_range", "peek"):
            begin = time.monotonic()
            with pytest.raises(Unavailable):
                calls(files, tmp_path)[name]()
            assert time.monotonic() - begin < TIMEOUT_S + SLACK_S, name
    finally:
        os.kill(own_server.process.pid, signal.SIGCONT)
    until_it_answers(files.ping)
    assert until_it_answers(lambda: files.stat("bucket/a")) is not None


def test_a_quick_read_is_answered_for_every_name_and_leaves_the_rest_to_the_general_way(minio_url: str, bucket: str,
                                                                                       tmp_path: Path) -> None:
    files = MinioFiles(minio_url, 5.0)
    (tmp_path / "source").write_bytes(b"content")
    for name in ODD_NAMES:
        info = files.upload(tmp_path / "source", f"{bucket}/{name}")
        for _ in range(2):
            headers, content = files._s3.read_quickly(bucket, name, 4) or ({}, b"")
            assert (headers.get("etag"), content) == (f'"{info.etag}"', b"cont"), name
    assert files._s3.read_quickly(bucket, "none", 4) is None
    assert MinioFiles(minio_url.replace(":", "s:", 1), 5.0)._s3.read_quickly(bucket, ODD_NAMES[0], 4) is None


@pytest.mark.parametrize("versions", [False, True])
def test_a_peek_tells_the_uploaders_metadata_and_the_version(minio_url: str, bucket: str, versions: bool) -> None:
    files = MinioFiles(minio_url, 5.0)
    client = files._s3.small
    client.make_bucket(bucket)
    if versions:
        client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    client.put_object(bucket, "a", BytesIO(b"content"), 7, metadata={"Platform": "intel", "labels": '{"a": "b"}'})
    peeked, found = files.peek(f"{bucket}/a", 3), files.stat(f"{bucket}/a")
    assert peeked is not None and found is not None
    assert vars(peeked[0]) == vars(found) and peeked[1] == b"con"
    assert dict(found.metadata) == {"platform": "intel", "labels": '{"a": "b"}'}
    assert (found.version is not None) is versions


def test_a_restarted_server_is_found_again_with_its_objects(own_server: Server, tmp_path: Path) -> None:
    files = MinioFiles(own_server.url, PATIENT_S)
    (tmp_path / "source").write_bytes(b"kept")
    info = files.upload(tmp_path / "source", "bucket/a")
    port = int(own_server.url.rpartition(":")[2])
    own_server.stop()
    with pytest.raises(Unavailable):
        MinioFiles(own_server.url, TIMEOUT_S).ping()
    again = minio.start(tmp_path / "minio", port=port)
    try:
        assert again.url == own_server.url
        assert files.stat("bucket/a") == info
        assert files.download("bucket/a", tmp_path / "target", max_bytes=9) == info
    finally:
        again.stop()


def test_a_bucket_that_was_removed_meanwhile_is_made_again(own_server: Server, tmp_path: Path) -> None:
    files = MinioFiles(own_server.url, PATIENT_S)
    (tmp_path / "source").write_bytes(b"x")
    files.upload(tmp_path / "source", "bucket/a")
    files.delete("bucket/a")
    files._s3.small.remove_bucket("bucket")
    assert files.upload(tmp_path / "source", "bucket/a") == files.stat("bucket/a")


def test_only_the_owner_can_read_the_servers_secret(own_server: Server, tmp_path: Path) -> None:
    assert (tmp_path / "minio" / "credentials").stat().st_mode & 0o777 == 0o600
    secret = own_server.url.split(":")[2].partition("@")[0]
    assert len(secret) >= 32 and secret not in (tmp_path / "minio" / "minio.log").read_text()


def test_no_error_shows_the_secret_or_a_signature(minio_url: str, bucket: str, tmp_path: Path) -> None:
    key, _, rest = minio_url.removeprefix("minio://").partition(":")
    server = rest.partition("@")[2]
    for url in (f"minio://{key}:some-secret@{server}", f"minio://some-key:some-secret@{server}",
                f"minio://some-key:some-secret@127.0.0.1:{free_port()}"):
        files = MinioFiles(url, TIMEOUT_S)
        for name, call in calls(files, tmp_path).items():
            with pytest.raises(Unavailable) as caught:
                call()
            told = "".join(traceback.format_exception(caught.value)) + repr(files.__dict__)
            assert "some-secret" not in told and "Signature=" not in told, name


def test_a_url_without_credentials_is_refused() -> None:
    with pytest.raises(AppError) as caught:
        MinioFiles("minio://only-a-secret@127.0.0.1:9000", TIMEOUT_S)
    assert "only-a-secret" not in caught.value.en


# --- a bad line -------------------------------------------------------------------------------------------------------


class BadLine(ThreadingHTTPServer):
    """An HTTP relay to the server in which the requests of the plan, in order, go wrong.

    `503` is answered without asking the server; `lose-reply` drops the server's answer; `cut-up` and `cut-down` break
    off after 1 MiB of the request or of the answer, `no-body` before the answer's first byte of content; a function is
    called, then it is `503`.
    """

    daemon_threads = True

    def __init__(self, server: str, plan: list[tuple[str, str | Callable[[], object]]]) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.target, self.plan, self.seen = server, list(plan), []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Broken connections are what it is for."""


class Relay(BaseHTTPRequestHandler):
    server: BadLine

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        line = self.server
        line.seen.append(self.command)
        fault = line.plan.pop(0)[1] if line.plan and line.plan[0][0] == self.command else ""
        length = int(self.headers.get("content-length", 0))
        if fault == "cut-up":
            self.rfile.read(MIB)
            return
        body = self.rfile.read(length)
        if callable(fault):
            fault()
        if fault == "503" or callable(fault):
            self.wfile.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        upstream = http.client.HTTPConnection(line.target)
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if fault == "lose-reply":
            return
        self.wfile.write(f"HTTP/1.1 {answer.status} {answer.reason}\r\n".encode())
        for name, value in answer.getheaders():
            self.wfile.write(f"{name}: {value}\r\n".encode("latin-1"))
        kept = {"cut-down": MIB, "no-body": 0}.get(str(fault), len(content))
        self.wfile.write(b"Connection: close\r\n\r\n" + content[:kept])


@pytest.fixture
def bad_line(minio_url: str) -> Iterator[Callable[..., tuple[MinioFiles, BadLine]]]:
    """`bad_line(("PUT", "503"), …)`: files whose requests go through a relay with this plan, and the relay."""
    lines = []

    def make(*plan: tuple[str, str | Callable[[], object]]) -> tuple[MinioFiles, BadLine]:
        account, _, server = minio_url.rpartition("@")
        line = BadLine(server, list(plan))
        lines.append(line)
        return MinioFiles(f"{account}@127.0.0.1:{line.server_port}", 5.0), line

    yield make
    for line in lines:
        line.shutdown()
        line.server_close()


@pytest.fixture
def direct(minio_url: str) -> MinioFiles:
    return MinioFiles(minio_url, 5.0)


def source_of(tmp_path: Path, size: int) -> Path:
    source = tmp_path / "large"
    source.write_bytes(os.urandom(MIB) * (size // MIB))
    return source


def seed(direct: MinioFiles, bucket: str, tmp_path: Path, content: bytes = b"seed") -> FileInfo:
    (tmp_path / "seed").write_bytes(content)
    return direct.upload(tmp_path / "seed", f"{bucket}/seed")


@pytest.mark.parametrize("fault", ["503", "cut-up", "lose-reply"])
@pytest.mark.parametrize("size", [8 * MIB, 70 * MIB])
def test_an_upload_survives_a_bad_line(bad_line: Callable, direct: MinioFiles, bucket: str, tmp_path: Path, fault: str,
                                       size: int) -> None:
    seed(direct, bucket, tmp_path)
    files, line = bad_line(("PUT", fault), ("PUT", fault))
    source = source_of(tmp_path, size)
    info = files.upload(source, f"{bucket}/a")
    assert line.plan == [] and direct.stat(f"{bucket}/a") == info
    assert line.seen.count("PUT") == 2 + (1 if size == 8 * MIB else 2)  # a part that has arrived is not sent again
    direct.download(f"{bucket}/a", tmp_path / "back", max_bytes=size)
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("faults", [["503", "503"], ["cut-down"], ["lose-reply", "cut-down"]])
def test_a_download_survives_a_bad_line(bad_line: Callable, direct: MinioFiles, bucket: str, tmp_path: Path,
                                        faults: list[str]) -> None:
    source = source_of(tmp_path, 8 * MIB)
    info = direct.upload(source, f"{bucket}/a")
    files, line = bad_line(*[("GET", fault) for fault in faults])
    assert files.download(f"{bucket}/a", tmp_path / "back", max_bytes=1 << 40) == info
    assert (tmp_path / "back").read_bytes() == source.read_bytes() and line.seen == ["GET"] * (len(faults) + 1)


@pytest.mark.parametrize("fault", ["503", "no-body"])
def test_a_download_gives_up_and_leaves_nothing(bad_line: Callable, direct: MinioFiles, bucket: str, tmp_path: Path,
                                                fault: str) -> None:
    direct.upload(source_of(tmp_path, 8 * MIB), f"{bucket}/a")
    files, line = bad_line(*[("GET", fault)] * 9)
    (tmp_path / "out").mkdir()
    with pytest.raises(Unavailable):
        files.download(f"{bucket}/a", tmp_path / "out" / "a", max_bytes=1 << 40)
    assert line.seen == ["GET"] * 3 and list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("fault", ["503", "cut-up"])
@pytest.mark.parametrize("size", [8 * MIB, 70 * MIB])
def test_an_upload_gives_up_and_leaves_nothing(bad_line: Callable, direct: MinioFiles, bucket: str, tmp_path: Path,
                                               fault: str, size: int) -> None:
    old = seed(direct, bucket, tmp_path)
    files, line = bad_line(*[("PUT", fault)] * 9)
    with pytest.raises(Unavailable):
        files.upload(source_of(tmp_path, size), f"{bucket}/a")
    assert line.seen.count("PUT") == 3 and list(direct.find(bucket)) == [old]
    assert direct._s3.small._list_multipart_uploads(bucket, prefix="a").uploads == []


def test_small_requests_are_repeated_too(bad_line: Callable, direct: MinioFiles, bucket: str, tmp_path: Path) -> None:
    old = seed(direct, bucket, tmp_path)
    files, line = bad_line(("HEAD", "503"), ("HEAD", "lose-reply"), ("GET", "lose-reply"), ("DELETE", "lose-reply"))
    assert files.stat(f"{bucket}/seed") == old and list(files.find(bucket)) == [old]
    files.delete(f"{bucket}/seed")
    assert line.plan == [] and direct.stat(f"{bucket}/seed") is None


@pytest.mark.parametrize(("size", "method"), [(8 * MIB, "PUT"), (70 * MIB, "POST")])
@pytest.mark.parametrize("over", [True, False])
def test_an_own_write_whose_answer_was_lost_is_not_taken_for_anothers(
        bad_line: Callable, direct: MinioFiles, bucket: str, tmp_path: Path, size: int, method: str,
        over: bool) -> None:
    old = seed(direct, bucket, tmp_path)
    begin = [("POST", "")] if method == "POST" else []  # begins the parts; the second POST makes them an object
    files, line = bad_line(*begin, (method, "lose-reply"))
    path, condition = (f"{bucket}/seed", IfMatch(old.etag)) if over else (f"{bucket}/a", IfAbsent())
    info = files.upload(source_of(tmp_path, size), path, condition=condition)
    assert line.plan == [] and direct.stat(path) == info


@pytest.mark.parametrize(("size", "method"), [(8 * MIB, "PUT"), (70 * MIB, "POST")])
def test_anothers_write_between_two_attempts_is_not_overwritten(
        bad_line: Callable, direct: MinioFiles, bucket: str, tmp_path: Path, size: int, method: str) -> None:
    old = seed(direct, bucket, tmp_path)
    begin = [("POST", "")] if method == "POST" else []
    files, _ = bad_line(*begin, (method, lambda: seed(direct, bucket, tmp_path, b"another's")))
    with pytest.raises(PreconditionFailed):
        files.upload(source_of(tmp_path, size), f"{bucket}/seed", condition=IfMatch(old.etag))
    direct.download(f"{bucket}/seed", tmp_path / "back", max_bytes=99)
    assert (tmp_path / "back").read_bytes() == b"another's"


# --- the server's program ---------------------------------------------------------------------------------------------


def fake_go(folder: Path, version: str, install: str) -> None:
    folder.mkdir()
    go = folder / "go"
    go.write_text(f'#!/bin/sh\nif [ "$1" = env ]; then echo {version}; exit; fi\n{install}\n')
    go.chmod(0o755)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}/programs:/usr/bin:/bin")
    return tmp_path / "cache" / "model-convert" / "minio"


def test_a_failed_build_says_why_and_leaves_nothing(empty_cache: Path, tmp_path: Path) -> None:
    fake_go(tmp_path / "programs", "go1.26.8", "echo no such module >&2; exit 1")
    with pytest.raises(CannotStart, match="no such module"):
        minio.find_program(lambda text: None)
    assert [path.name for path in empty_cache.iterdir()] == [".lock"]


def test_the_program_is_built_once(empty_cache: Path, tmp_path: Path) -> None:
    fake_go(tmp_path / "programs", "go1.24", f'echo built >>{tmp_path}/log; mkdir -p $GOBIN; echo x >$GOBIN/minio')
    programs = [minio.find_program(lambda text: None)[0] for _ in range(2)]
    assert programs[0] == programs[1] and programs[0].read_text() == "x\n"
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_go_that_is_too_old_is_not_used(tmp_path: Path, empty_cache: Path) -> None:
    fake_go(tmp_path / "programs", "go1.23.12", "exit 1")
    assert minio._installed_go() is None
    (tmp_path / "programs" / "go").write_text("#!/bin/sh\necho go1.24rc1")
    assert minio._installed_go() == tmp_path / "programs" / "go"


def test_a_program_on_the_path_comes_first(empty_cache: Path, tmp_path: Path) -> None:
    fake_go(tmp_path / "programs", "go1.26", "exit 1")
    (tmp_path / "programs" / "go").rename(tmp_path / "programs" / "minio")
    assert minio.find_program(lambda text: None)[0] == tmp_path / "programs" / "minio"
    assert not empty_cache.exists()
