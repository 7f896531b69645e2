"""Limits of one caller and of all together: what is answered, and that they hold for all processes of a gateway."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import requests

from infra.servers.base import Server
from shared.deps import close_all
from shared.documents import Task
from tests.functions.service import Answer, Caller, call_alone, call_over_http

CLIENTS = 50


@pytest.fixture
def limited(data_dir: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """Functions alone that take one request in a second."""
    monkeypatch.setenv("MODEL_CONVERT_LIMIT_REQUESTS_PER_S", "1")
    close_all()
    yield call_alone({})
    monkeypatch.undo()
    close_all()


def test_a_request_too_many_is_told_what_is_exceeded_and_when_to_come_again(limited: Caller) -> None:
    limited("list_tasks", "POST", "/tasks/list", json={})
    refused = limited("list_tasks", "POST", "/tasks/list", json={})
    refused.assert_error(429, "MODEL_CONVERT_LIMIT_REQUESTS_PER_S", "每秒最多 1 个请求", "请在 1 秒后重试")
    assert refused.headers["Retry-After"] == "1"
    limited("list_tasks", "POST", "/tasks/list", json={}, headers={"Accept-Language": "en"}).assert_error(
        429, "a limit is reached (MODEL_CONVERT_LIMIT_REQUESTS_PER_S): at most 1 requests a second; try again in 1 s")


def test_whoever_waits_as_told_is_served(limited: Caller) -> None:
    limited("list_tasks", "POST", "/tasks/list", json={})
    refused = limited("list_tasks", "POST", "/tasks/list", json={})
    time.sleep(int(refused.headers["Retry-After"]))
    assert limited("list_tasks", "POST", "/tasks/list", json={}).status == 200


def test_health_and_what_a_browser_asks_first_are_not_counted(limited: Caller) -> None:
    assert [limited("health", "GET", "/health").status for _ in range(5)] == [200] * 5
    assert [limited("list_tasks", "OPTIONS", "/tasks/list").status for _ in range(5)] == [204] * 5
    assert limited("list_tasks", "POST", "/tasks/list", json={}).status == 200


def at_once(send: Callable[[int], Answer]) -> list[Answer]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(send, range(CLIENTS)))


@pytest.mark.parametrize("setting", ["limit_requests_per_s", "limit_all_requests_per_s"])
def test_fifty_clients_at_once_get_the_share_of_one_gateway(serve: Callable[..., Server], setting: str) -> None:
    """However its processes deal them out. A second's share is there at once, and grows while they ask."""
    call = call_over_http(serve("--processes", "2", "--threads", "8", **{setting: "10"}).url)
    began = time.monotonic()
    answers = at_once(lambda _: call("list_tasks", "POST", "/tasks/list", json={}))
    took_s = time.monotonic() - began
    served = [answer for answer in answers if answer.status == 200]
    assert 10 <= len(served) <= 10 + 10 * took_s + 1
    for answer in answers:
        if answer not in served:
            answer.assert_error(429, setting.upper())


def test_a_caller_has_so_many_streams_open_over_all_processes(serve: Callable[..., Server],
                                                              add: Callable[..., Task]) -> None:
    url, task = serve("--processes", "2", "--threads", "8", limit_streams="7").url, add(status="pending")
    with ExitStack() as stack:
        def open_stream(_: int) -> requests.Response:
            answer = requests.get(f"{url}/tasks/{task.id}/events", stream=True, timeout=60,
                                  headers={"Accept": "text/event-stream"})
            stack.callback(answer.close)
            return answer

        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(open_stream, range(CLIENTS)))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [429] * (CLIENTS - 7)
        refused = next(answer for answer in answers if answer.status_code == 429)
        Answer(429, refused.headers, refused.content).assert_error(
            429, "MODEL_CONVERT_LIMIT_STREAMS", "最多同时打开 7 个事件流")
        assert int(refused.headers["Retry-After"]) > 0
        for answer in answers:
            answer.close()
        until = time.monotonic() + 60  # the gateway sees at its next turn that they have gone
        while open_stream(0).status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.2)
