"""A task that an upload has started converts that version of it, or fails: its manifest names one version."""
from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from shared.documents import Source, Task
from tests.integration.toy_models import small_model
from tests.integration.worker_kit import TARGET, Bench

PATH = "in/model.onnx"
OLD, NEW = small_model(1.0), small_model(2.0)


def started_by_upload(bench: Bench, name: str = "model") -> Task:
    """A task of the version that lies there now."""
    info = bench.files.stat(PATH)
    assert info is not None
    bucket, _, key = PATH.partition("/")
    return bench.submit(input_path=PATH, output_path=f"out/{name}{TARGET.artefact_suffix}", source=Source(
        bucket=bucket, key=key, etag=info.etag, rule="models-in", request_key=f"upload-{name}"))


def manifest_of(bench: Bench, task: Task | None) -> dict[str, Any]:
    assert task is not None and task.status == "completed" and task.result is not None
    content = bench.content(task.result.manifest_path)
    assert content is not None
    return dict(json.loads(content))


def assert_replaced(bench: Bench, task: Task | None) -> None:
    assert task is not None and task.error is not None and task.source is not None
    assert (task.error.code, task.error.stage) == ("input_replaced", "fetch")
    assert task.source.etag in task.error.message and task.source.etag in task.error.message_zh
    assert bench.content(task.output_path) is None and task.result is None


def test_the_manifest_names_the_version_whose_digest_it_has(bench: Bench) -> None:
    bench.upload(PATH, OLD)
    task = started_by_upload(bench)
    source = manifest_of(bench, bench.run(task))["source"]
    assert task.source is not None
    assert (source["etag"], source["sha256"]) == (task.source.etag, hashlib.sha256(OLD).hexdigest())


@pytest.mark.parametrize("is_cached", [True, False])
def test_an_upload_that_is_replaced_while_its_task_waits_is_not_converted_as_the_old_one(bench: Bench, is_cached: bool
                                                                                        ) -> None:
    bench.upload(PATH, OLD)
    old = started_by_upload(bench, "old")
    bench.upload(PATH, NEW)
    new = started_by_upload(bench, "new")
    if is_cached:
        bench.run(new)
    assert_replaced(bench, bench.run(old))
    source = manifest_of(bench, bench.store.get(new.id) if is_cached else bench.run(new))["source"]
    assert new.source is not None
    assert (source["etag"], source["sha256"]) == (new.source.etag, hashlib.sha256(NEW).hexdigest())


def test_an_upload_that_is_replaced_while_it_is_fetched_is_not_converted_as_the_old_one(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.upload(PATH, OLD)
    task = started_by_upload(bench)
    download, replaced = bench.files.download, []

    def replacing(path: str, *arguments: Any, **how: Any) -> Any:
        if path == PATH and not replaced:
            replaced.append(path)
            bench.upload(PATH, NEW)
        return download(path, *arguments, **how)
    monkeypatch.setattr(bench.files, "download", replacing)
    assert_replaced(bench, bench.run(task))
    assert replaced


def test_a_task_that_no_upload_has_started_converts_what_lies_there(bench: Bench) -> None:
    bench.upload(PATH, OLD)
    task = bench.submit(input_path=PATH)
    bench.upload(PATH, NEW)
    manifest = manifest_of(bench, bench.run(task))
    assert [file["sha256"] for file in manifest["input"]["files"].values()] == [hashlib.sha256(NEW).hexdigest()]
