"""A small client of the HTTP API, as scripts use it."""
from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import urllib3


class ApiError(Exception):
    """The service answered `success: false`, or did not answer in JSON."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Client:
    """`base_url` is where the gateway listens; requests show the `key`, if there is one. Every method answers the
    envelope's `data`, or raises `ApiError`."""

    def __init__(self, base_url: str, timeout_s: float = 10.0, key: str = "") -> None:
        self._headers = {"Accept-Language": "en"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._base_url = base_url.rstrip("/")
        self._pool = urllib3.PoolManager(timeout=timeout_s, retries=False)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        response = self._pool.request(method, self._base_url + path, headers=self._headers,
                                      **({} if body is None else {"json": body}))
        try:
            envelope = json.loads(response.data)
        except ValueError as error:
            raise ApiError(response.status, "the answer is no JSON") from error
        if not envelope["success"]:
            raise ApiError(response.status, envelope["message"])
        return envelope["data"]

    def create_task(self, **fields: Any) -> str:
        return self.call("POST", "/tasks/create", fields)["task_id"]

    def query_task(self, task_id: str) -> dict[str, Any]:
        return self.call("POST", "/tasks/query", {"task_id": task_id})["task_info"]

    def follow_task(self, task_id: str, poll_s: float = 0.1) -> Iterator[dict[str, Any]]:
        """The task each time it changed, the last time when it is completed or failed."""
        shown = None
        while True:
            task = self.query_task(task_id)
            if task != shown:
                yield task
                shown = task
            if task["status"] in ("completed", "failed"):
                return
            time.sleep(poll_s)

    def wait_until_healthy(self, timeout_s: float = 30.0) -> None:
        """Raises the last error where /health is not fine in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.call("GET", "/health")
                return
            except (ApiError, urllib3.exceptions.HTTPError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
