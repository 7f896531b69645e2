"""Bytes of uploads in a day."""
from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.deps import close_all
from shared.limits.callers import caller_name
from tests.functions.service import Answer, Caller, call_alone

LIMIT = 1000


@pytest.fixture
def limited(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """The function alone; a caller of its own for each test, since the store keeps what was spent."""
    monkeypatch.setenv("MODEL_CONVERT_LIMIT_UPLOAD_BYTES_PER_DAY", str(LIMIT))
    monkeypatch.setenv("MODEL_CONVERT_PUBLIC_URL", "http://127.0.0.1:8000")
    close_all()
    token = caller_name.set(uuid.uuid4().hex)
    yield call_alone({})
    caller_name.reset(token)
    monkeypatch.undo()
    close_all()


def upload(call: Caller, size_bytes: int, **fields: object) -> Answer:
    return call("create_upload", "POST", "/uploads", json={"file_name": "m.onnx", "size_bytes": size_bytes} | fields)


def test_uploads_beyond_a_days_bytes_are_refused_and_told_when_there_is_room(limited: Caller) -> None:
    assert upload(limited, 600).status == upload(limited, 400).status == 200
    refused = upload(limited, 100)
    refused.assert_error(429, "MODEL_CONVERT_LIMIT_UPLOAD_BYTES_PER_DAY", "每天最多上传 1000 字节")
    assert 8000 < int(refused.headers["Retry-After"]) <= 8640  # a tenth of a day


def test_new_urls_for_an_upload_cost_nothing(limited: Caller) -> None:
    made = upload(limited, LIMIT).data
    for _ in range(3):
        assert limited("create_upload", "POST", "/uploads", json={"upload_id": made["upload_id"]}).status == 200


def test_what_could_never_come_in_a_day_is_too_large(limited: Caller) -> None:
    upload(limited, LIMIT + 1).assert_error(413, "MODEL_CONVERT_LIMIT_UPLOAD_BYTES_PER_DAY")
    assert upload(limited, LIMIT).status == 200


def test_a_refused_upload_does_not_count(limited: Caller) -> None:
    assert upload(limited, LIMIT, file_name="../m.onnx").status == 400
    assert upload(limited, LIMIT).status == 200


def test_another_caller_has_bytes_of_its_own(limited: Caller) -> None:
    assert upload(limited, LIMIT).status == 200 and upload(limited, 1).status == 429
    token = caller_name.set(uuid.uuid4().hex)
    try:
        assert upload(limited, LIMIT).status == 200
    finally:
        caller_name.reset(token)
