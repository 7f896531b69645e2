"""What is kept of models' headers: equal to what was read, and bounded in bytes."""
from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from shared.files import FileInfo
from shared.preflight import headers
from shared.preflight.headers import Headers
from shared.rules.refusal import Refusal
from tests import models
from tests.fixtures.preflight import Folder, read_here


def test_what_is_kept_is_what_was_read_and_nobody_can_change_it(tmp_path: Path) -> None:
    folder, kept, model = Folder(tmp_path), Headers(), models.convolution()
    info = folder.files.stat(folder.put("m.onnx", model))
    first = kept.read(info, folder.files, time.monotonic() + 400)
    assert first == read_here(model)
    first["operators"].clear()
    (tmp_path / info.path).unlink()
    assert kept.read(info, folder.files, time.monotonic() + 400) == read_here(model)


def test_a_problem_is_kept_as_facts_are(tmp_path: Path) -> None:
    folder, kept = Folder(tmp_path), Headers()
    info = folder.files.stat(folder.put("m.onnx", b"\x93NUMPY"))
    for _ in range(2):
        with pytest.raises(Refusal) as caught:
            kept.read(info, folder.files, time.monotonic() + 400)
        assert caught.value.code == "model_not_onnx"
        (tmp_path / info.path).unlink(missing_ok=True)


def test_large_headers_push_out_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def read_objects(kind: str, infos: list[FileInfo], *_: Any) -> list[Any]:
        read.append(infos[0].path)
        return [{"name": "x" * 1000}]

    monkeypatch.setattr(headers, "read_objects", read_objects)
    monkeypatch.setattr(headers, "_KEPT_BYTES", 3500)
    kept = Headers()
    for name in ("a", "b", "c", "a", "d", "b", "a", "d"):
        assert kept.read(FileInfo(name, 1, "1"), None, 0.0) == {"name": "x" * 1000}
    assert read == ["a", "b", "c", "d", "b"]
    assert kept._kept_bytes == sum(map(len, kept._kept.values())) <= 3500
