"""Somebody who uploads."""
from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import requests

from tests.functions.service import Caller

MIB = 1 << 20
TIMEOUT_S = 60


def content(size_bytes: int) -> bytes:
    return hashlib.shake_128(b"seed").digest(size_bytes)


def put(about: dict[str, Any], body: bytes) -> requests.Response:
    return requests.request(about["method"], about["url"], data=body, headers=about["headers"], timeout=TIMEOUT_S)


def create(call: Caller, **body: Any) -> dict[str, Any]:
    data: dict[str, Any] = call("create_upload", "POST", "/uploads", json=body).data
    return data


def complete(call: Caller, upload: dict[str, Any]) -> Any:
    return call("complete_upload", "POST", "/uploads/complete", json={"upload_id": upload["upload_id"]})


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
