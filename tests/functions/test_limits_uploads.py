"""Bytes of uploads in a day."""
from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.deps import close_all
from shared.store import Store
from tests.functions.access import make_key
from tests.functions.service import Answer, Caller, call_alone

LIMIT = 1000


@pytest.fixture
def closed(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """The function alone, which asks for keys."""
    monkeypatch.setenv("MODEL_CONVERT_LIMIT_UPLOAD_BYTES_PER_DAY", str(LIMIT))
    monkeypatch.setenv("MODEL_CONVERT_PUBLIC_URL", "http://127.0.0.1:8000")
    monkeypatch.setenv("MODEL_CONVERT_AUTH", "keys")
    close_all()
    yield call_alone({})
    monkeypatch.undo()
    close_all()


def new_tenant(call: Caller, store: Store) -> Caller:
    """Of each test, since the store keeps what was spent."""
    headers = make_key(store, uuid.uuid4().hex[:12]).headers
    return lambda *request, **fields: call(*request, **fields, headers=headers)


@pytest.fixture
def limited(closed: Caller, store: Store) -> Caller:
    return new_tenant(closed, store)


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


def test_another_tenant_has_bytes_of_its_own(limited: Caller, closed: Caller, store: Store) -> None:
    assert upload(limited, LIMIT).status == 200 and upload(limited, 1).status == 429
    assert upload(new_tenant(closed, store), LIMIT).status == 200
