"""Sharing a stage's result where a part of it is in the object store already."""
from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_worker_cache import BUCKET, FILES_OF_A, Machine


@pytest.mark.parametrize("small_bytes", [0, 1 << 20])
def test_a_cut_blob_is_replaced_by_whoever_shares_the_result(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_bytes: int) -> None:
    """Whether it is asked for first or sent at once."""
    monkeypatch.setattr("worker.cache.SMALL_BYTES", small_bytes)
    first, second, third = (Machine(tmp_path, name) for name in ("first", "second", "third"))
    result = first.keep("a", FILES_OF_A, share=True)
    source = tmp_path / "cut"
    source.write_bytes(b"<")
    first.files.upload(source, f"{BUCKET}/blobs/{result.files['model.xml']['sha256']}")
    second.keep("a", FILES_OF_A, share=True)
    assert third.read(third.cache.find(result.key)) == FILES_OF_A
