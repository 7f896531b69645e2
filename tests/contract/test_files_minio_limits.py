"""A MinIO that is slow to fail: requests are repeated by one layer, within one time limit."""
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from shared.errors import Unavailable
from shared.files.minio import MinioFiles
from tests.contract.test_files_minio import EVERY, PATIENT_S, calls


class OverloadedServer(ThreadingHTTPServer):
    """Answers every request with 503, after a while."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Overloaded)
        self.requests: list[str] = []


class Overloaded(BaseHTTPRequestHandler):
    server: OverloadedServer

    def answer(self) -> None:
        self.server.requests.append(self.command)
        time.sleep(0.3)
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer
    def log_message(self, *arguments: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def overloaded() -> Iterator[OverloadedServer]:
    with OverloadedServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("name", EVERY)
def test_a_request_is_repeated_by_one_layer_only(overloaded: OverloadedServer, tmp_path: Path, name: str) -> None:
    """Each attempt and each pause counts against one limit: with three attempts in each of two layers it were nine."""
    files = MinioFiles(f"minio://some-key:some-secret@127.0.0.1:{overloaded.server_port}", PATIENT_S)
    with pytest.raises(Unavailable):
        calls(files, tmp_path)[name]()
    assert 2 <= len(overloaded.requests) <= 3


def test_reading_a_range_has_one_limit_for_all_its_requests(minio_url: str, bucket: str, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """The read, and the look at the size after a range beyond the end."""
    files = MinioFiles(minio_url, PATIENT_S)
    (tmp_path / "source").write_bytes(b"0123456789")
    info = files.upload(tmp_path / "source", f"{bucket}/a")
    real = urllib3.PoolManager.urlopen
    limits = []

    def note(self: urllib3.PoolManager, method: str, url: str, *arguments: Any, **options: Any) -> Any:
        limits.append(options["timeout"].total)
        time.sleep(0.05)
        return real(self, method, url, *arguments, **options)

    monkeypatch.setattr(urllib3.PoolManager, "urlopen", note)
    assert files.read_range(f"{bucket}/a", 20, 5) == (info, b"")
    assert len(limits) == 2 and limits[1] <= limits[0] - 0.05
