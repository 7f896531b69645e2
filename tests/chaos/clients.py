"""The clients of a run: threads that follow their steps over HTTP, and write down what they asked and heard."""
from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import urllib3

from tests.chaos.history import Call, Listing
from tests.chaos.plan import TARGET
from tests.chaos.scenario import Scenario, Step

TIMEOUT_S = 8.0
AWAY = "dependency unavailable"  # what the reason of one task of a batch then begins with
PAGE_SIZE = 7


class Clients:
    """`calls` grows while they run. The ids of created tasks are known to all of them."""

    def __init__(self, base_url: str, scenario: Scenario, input_bucket: str, unwritable: str) -> None:
        """`unwritable` is a folder in which nobody can write."""
        self._base_url, self._scenario, self._bucket = base_url, scenario, input_bucket
        self._unwritable = unwritable
        self._http = urllib3.PoolManager(maxsize=32, retries=False, timeout=TIMEOUT_S)
        self._copies = ThreadPoolExecutor(16)
        self._ids: dict[int, str] = {}
        self._stop = threading.Event()
        self.calls: list[Call] = []

    def run(self) -> None:
        """All clients at once, until the last step is answered."""
        started = time.monotonic()
        threads = [threading.Thread(target=self._follow, args=(number, steps, started), daemon=True)
                   for number, steps in enumerate(self._scenario.steps)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            self._stop.set()
            self._copies.shutdown(cancel_futures=True)

    def _follow(self, client: int, steps: list[Step], started: float) -> None:
        for step in steps:
            if self._stop.wait(max(0.0, started + step.at - time.monotonic())):
                return
            doubles = [self._copies.submit(self._do, client, step) for _ in range(step.copies - 1)]
            self._do(client, step)
            for double in doubles:
                double.result()

    def _do(self, client: int, step: Step) -> None:
        if step.action == "create":
            self._create(client, step.tasks[0])
        elif step.action == "list":
            self._request(client, "list", "/tasks/list", {"page": 1, "page_size": 100}, (), lambda data: {})
        else:
            if ids := self._choose(step):
                self.act(client, step.action, ids)

    def _choose(self, step: Step) -> tuple[str, ...]:
        if not step.status:
            return tuple(self._ids[number] for number in step.tasks if number in self._ids)
        with suppress(urllib3.exceptions.HTTPError):
            status, text = self._post("/tasks/list", {"page": 1, "page_size": 100, "status": step.status})
            if status == 200 and (tasks := json.loads(text)["data"]["tasks"]):
                return tuple({tasks[number % len(tasks)]["id"]: None for number in step.tasks})
        return ()

    def _create(self, client: int, number: int) -> None:
        """Until it is answered: the key makes one task of all attempts."""
        body = {"task_type": TARGET.task_types[0], "platform": TARGET.name,
                "input_path": f"{self._bucket}/model-{number}.onnx", "idempotency_key": f"task {number}",
                "priority": self._scenario.priorities[number], "labels": {"number": str(number)}}
        if number in self._scenario.unwritable:
            body["output_path"] = f"{self._unwritable}/{number}.xml"
        while not self._stop.is_set():
            call = self._request(client, "create", "/tasks/create", body, (), lambda data: {data["task_id"]: True})
            if call.status == 200:
                self._ids[number] = call.tasks[0]
                return
            time.sleep(0.2)

    def act(self, client: int, action: str, ids: tuple[str, ...]) -> Call:
        """One request for these tasks."""
        if action == "query":
            return self._request(client, action, "/tasks/query", {"task_id": ids[0]}, ids[:1], lambda data: {})
        if action == "delete":
            return self._request(client, action, "/tasks/batch-delete", {"task_ids": list(ids)}, ids,
                                 lambda data: data["results"])
        if len(ids) == 1:
            return self._request(client, action, f"/tasks/{action}", {"task_id": ids[0]}, ids,
                                 lambda data: {ids[0]: True})
        return self._request(client, action, f"/tasks/{action}", {"task_ids": list(ids)}, ids, _batch_outcome)

    def list_all(self, status: str = "") -> Listing:
        """All pages of the list."""
        found: list[str] = []
        page, total = 1, 1
        while (page - 1) * PAGE_SIZE < total:
            body = {"page": page, "page_size": PAGE_SIZE} | ({"status": status} if status else {})
            data = json.loads(self._post("/tasks/list", body)[1])["data"]
            found += [task["id"] for task in data["tasks"]]
            total, page = data["total"], page + 1
        return Listing(status, found, total)

    def _request(self, client: int, action: str, path: str, body: dict[str, Any], ids: tuple[str, ...],
                 outcome: Callable[[Any], dict[str, bool | None]]) -> Call:
        sent_at = time.time()
        status: int | None = None
        message = ""
        # Without an answer, and with 5xx, it may have been done.
        done: dict[str, bool | None] = dict.fromkeys(ids)
        try:
            status, text = self._post(path, body)
            answer = json.loads(text)
            message = answer["message"]
            if status == 200:
                done = outcome(answer["data"])
            elif status < 500:
                done = dict.fromkeys(ids, False)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            message = type(error).__name__
        call = Call(client, action, ids or tuple(done), sent_at, time.time(), status, done, message)
        self.calls.append(call)
        return call

    def _post(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        response = self._http.request("POST", self._base_url + path, json=body, headers={"Accept-Language": "en"})
        return response.status, response.data


def _batch_outcome(data: dict[str, Any]) -> dict[str, bool | None]:
    return {task_id: None if data["reasons"].get(task_id, "").startswith(AWAY) else done
            for task_id, done in data["results"].items()}
