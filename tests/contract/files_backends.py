"""The object stores that the contract is tried on, as fixtures; a test module names this file in `pytest_plugins`."""
from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.files import Files, open_files


@pytest.fixture(params=["local", "minio"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file:{tmp_path}/buckets" if request.param == "local" else request.getfixturevalue("minio_url")


@pytest.fixture
def files(url: str) -> Iterator[Files]:
    opened = open_files(url, 30.0)
    yield opened
    opened.close()


@pytest.fixture
def put(files: Files, tmp_path: Path) -> Callable[..., object]:
    """Upload bytes: `put("bucket/key", b"…", condition=…)`."""
    def upload(path: str, content: bytes, **more: object) -> object:
        source = tmp_path / f"source-{threading.get_ident()}-{os.getpid()}"
        source.write_bytes(content)
        return files.upload(source, path, **more)
    return upload
