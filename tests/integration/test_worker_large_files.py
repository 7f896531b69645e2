"""What a task does to large files: their content is compared before it is published, and a cancelled task moves no
more of them."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from shared import transitions
from shared.documents import Status
from shared.files import FileInfo
from shared.files.local import LocalFiles
from tests.integration.toy_models import small_model
from tests.integration.worker_kit import TARGET, Bench, Running, claim


def test_an_artefact_that_is_damaged_before_it_is_published_is_never_seen_and_compiled_again(bench: Bench) -> None:
    """Its size and its time are as they were, as where a disk loses a bit."""
    parameters, gate = bench.gated("verify")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("verify")
    [artefact] = bench.settings.cache_dir.glob(f"??/*/files/*{TARGET.artefact_suffix}")
    content, status = artefact.read_bytes(), artefact.stat()
    artefact.chmod(0o644)
    with artefact.open("r+b") as file:
        file.write(bytes([content[0] ^ 1]))
    os.utime(artefact, ns=(status.st_atime_ns, status.st_mtime_ns))
    gate.touch()
    done = running.end()
    assert (done.status, bench.content(done.result.path)) == (Status.COMPLETED, content)
    assert bench.runs()["compile"] == 2


@pytest.mark.parametrize("moment", ["download", "upload"])
def test_a_cancelled_task_does_not_move_a_large_file_to_the_end(bench: Bench, moment: str) -> None:
    """The watch of the transfer ends it at the next step."""
    passed: list[int] = []

    class Watching(LocalFiles):
        def _watched(self, options: dict[str, Any], large: bool) -> dict[str, Any]:
            def watch(size_bytes: int) -> None:
                if size_bytes and not passed:
                    assert bench.store.update(task.id, transitions.cancel())
                    lease.beat()
                passed.append(size_bytes)
                options.get("watch", int)(size_bytes)
            return options | {"watch": watch} if large else options

        def download(self, path: str, target: Path, **options: Any) -> FileInfo:
            return super().download(path, target, **self._watched(
                options, moment == "download" and path == "in/model.onnx"))

        def upload(self, source: Path, path: str, **options: Any) -> FileInfo:
            return super().upload(source, path, **self._watched(
                options, moment == "upload" and path.endswith(TARGET.artefact_suffix)))

    model = small_model() + b"\x7a\x80\x80\x80\x20" + os.urandom(64 << 20)  # a field that nobody knows
    bench.upload("in/model.onnx", model)
    bench.use_files(Watching(bench.folder / "buckets"))
    task = bench.submit()
    lease = claim(bench.store, task)
    bench.run_lease(lease)
    assert bench.store.get(task.id).error.code == "cancelled"
    assert passed and max(passed) < len(model) / 2
    assert bench.outputs() == []
