"""The SHA-256 that was announced with an upload is compared with what was fetched, from the cache too."""
from __future__ import annotations

import hashlib
import time

import pytest

from shared.documents import Task
from shared.files import IfMatch
from shared.uploads.records import RECORD, UploadedFile, UploadRecord, folder_of, new_upload_id, write_record
from tests.integration.toy_models import model_with_data_beside_it, small_model
from tests.integration.worker_kit import TARGET, Bench


def announce(bench: Bench, digests: dict[str, str], contents: dict[str, bytes], bucket: str = "uploads",
             tenant: str = "default") -> str:
    """An upload of these files, as POST /uploads leaves it; its folder."""
    record = UploadRecord(id=new_upload_id(time.time()), tenant=tenant, created_at=time.time(), files=[
        UploadedFile(name=name, size_bytes=len(content), sha256=digests.get(name))
        for name, content in contents.items()])
    write_record(bench.files, bucket, record)
    for name, content in contents.items():
        bench.upload(f"{folder_of(bucket, record.id, tenant)}/{name}", content)
    return folder_of(bucket, record.id, tenant)


def convert(bench: Bench, path: str) -> Task:
    task = bench.run(bench.submit(input_path=path, output_path=f"out/{time.monotonic_ns()}{TARGET.artefact_suffix}"))
    assert task is not None
    return task


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_model_with_the_announced_digest_is_converted(bench: Bench) -> None:
    model = small_model()
    folder = announce(bench, {"m.onnx": sha256(model)}, {"m.onnx": model})
    assert convert(bench, f"{folder}/m.onnx").status == "completed"


@pytest.mark.parametrize("tenant", ["default", "acme"])
def test_another_model_fails_in_fetch_though_its_size_is_right(bench: Bench, tenant: str) -> None:
    model = small_model()
    folder = announce(bench, {"m.onnx": sha256(b"other")}, {"m.onnx": model}, tenant=tenant)
    failed = convert(bench, f"{folder}/m.onnx")
    assert failed.error is not None
    assert (failed.error.code, failed.error.stage) == ("input_digest_mismatch", "fetch")
    assert sha256(model) in failed.error.message and sha256(b"other") in failed.error.message_zh


def test_a_cached_model_that_was_compared_with_nothing_is_not_taken(bench: Bench) -> None:
    """As where an older version, which knew no digests, has fetched it."""
    model = small_model()
    folder = announce(bench, {}, {"m.onnx": model})
    assert convert(bench, f"{folder}/m.onnx").status == "completed"
    bucket, _, upload_id = folder.partition("/")
    seen = bench.files.stat(f"{folder}/{RECORD}")
    write_record(bench.files, bucket, UploadRecord(id=upload_id, created_at=0.0, files=[
        UploadedFile(name="m.onnx", size_bytes=len(model), sha256=sha256(b"other"))]), seen)
    failed = convert(bench, f"{folder}/m.onnx")
    assert failed.error is not None and failed.error.code == "input_digest_mismatch"


def test_external_data_is_compared_too(bench: Bench) -> None:
    model, weights = model_with_data_beside_it(bench.folder)
    data = {"weights.bin": weights}
    right = {name: sha256(content) for name, content in {"m.onnx": model, **data}.items()}
    good = announce(bench, {**right}, {"m.onnx": model, **data})
    assert convert(bench, f"{good}/m.onnx").status == "completed"
    bad = announce(bench, {**right, "weights.bin": sha256(b"other")}, {"m.onnx": model, **data})
    failed = convert(bench, f"{bad}/m.onnx")
    assert failed.error is not None and failed.error.code == "input_digest_mismatch"
    assert "weights.bin" in failed.error.message


@pytest.mark.parametrize("spoiled", [b"", b"{", b'{"id": 1}'])
def test_an_announcement_that_somebody_has_spoiled_is_no_reason_to_compare_nothing(bench: Bench, spoiled: bytes
                                                                                   ) -> None:
    model = small_model()
    folder = announce(bench, {"m.onnx": sha256(model)}, {"m.onnx": model})
    seen = bench.files.stat(f"{folder}/{RECORD}")
    assert seen is not None
    bench.upload(f"{folder}/{RECORD}", spoiled, condition=IfMatch(seen.etag))
    failed = convert(bench, f"{folder}/m.onnx")
    assert failed.error is not None and failed.error.code == "input_digest_mismatch"
