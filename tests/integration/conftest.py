"""A worker's tools without its main loop, for the tests of single tasks."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.toy_models import small_model
from tests.integration.worker_kit import Bench, FilesThat, toolhosts
from worker.process import ToolHost


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, ToolHost]]:
    with toolhosts() as started:
        yield started


@pytest.fixture
def bench(tmp_path: Path, hosts: dict[str, ToolHost]) -> Bench:
    bench = Bench(tmp_path, hosts)
    bench.upload("in/model.onnx", small_model())
    return bench


@pytest.fixture
def watched(bench: Bench, tmp_path: Path) -> Bench:
    """A bench whose uploads a test can look at, delay and break (`bench.files` is a FilesThat)."""
    bench.use_files(FilesThat(tmp_path / "buckets"))
    return bench
