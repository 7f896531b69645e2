"""GET /tasks/{task_id}/log: a stage's log, whole and in parts, while the stage runs and after."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.documents import StageRecord, Task
from shared.files import FileInfo, Files
from shared.settings import get_settings
from shared.task_logs import log_path
from tests.functions.service import Answer, Caller

LOG = "第一行 compiling…\nline 2\n".encode()


@pytest.fixture
def write(files: Files, tmp_path: Path) -> Callable[[Task, str, bytes], FileInfo]:
    def write(task: Task, stage: str, content: bytes) -> FileInfo:
        (tmp_path / "log").write_bytes(content)
        return files.upload(tmp_path / "log", log_path(get_settings(), task.id, stage))

    return write


@pytest.fixture
def task(add: Callable[..., Task], write: Callable[..., FileInfo]) -> Task:
    """A task in its second stage, with a log of either."""
    fetched = StageRecord(name="fetch", key="k", output_digest="d", seconds=1.0, cached=False)
    task = add(status="running", stage="compile", stages=[fetched], epoch=1, owner="w")
    write(task, "fetch", b"fetched\n")
    write(task, "compile", LOG)
    return task


def get(call: Caller, task: Task, query: str = "", **headers: str) -> Answer:
    return call("get_task_log", "GET", f"/tasks/{task.id}/log{query}",
                headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_the_running_stages_log_is_plain_text_as_it_is(call: Caller, task: Task) -> None:
    answer = get(call, task)
    assert (answer.status, answer.body) == (200, LOG)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Accept-Ranges"] == "bytes" and answer.headers["ETag"].startswith('"')
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_any_stages_log_can_be_asked_for(call: Caller, task: Task) -> None:
    assert get(call, task, "?stage=fetch").body == b"fetched\n"


def test_a_log_that_grows_is_told_as_far_as_it_has_come(call: Caller, task: Task,
                                                        write: Callable[..., FileInfo]) -> None:
    first = get(call, task)
    write(task, "compile", LOG + b"line 3\n")
    second = get(call, task)
    assert second.body == LOG + b"line 3\n" and second.headers["ETag"] != first.headers["ETag"]
    assert get(call, task, Range=f"bytes={len(LOG)}-").body == b"line 3\n"


@pytest.mark.parametrize(("wanted", "part"), [
    ("bytes=0-3", slice(0, 4)), ("bytes=5-", slice(5, None)), ("bytes=-4", slice(-4, None)),
    ("bytes=0-99999", slice(None)), ("bytes=-99999", slice(None)), ("bytes=2-2", slice(2, 3)),
    ("BYTES = 1-2", slice(1, 3))])
def test_a_range_is_answered_with_that_part(call: Caller, task: Task, wanted: str, part: slice) -> None:
    answer = get(call, task, Range=wanted)
    start, stop, _ = part.indices(len(LOG))
    assert (answer.status, answer.body) == (206, LOG[part])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(LOG)}"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("wanted", [f"bytes={len(LOG)}-", "bytes=5000-6000"])
def test_a_range_beyond_the_end_is_refused_with_the_size(call: Caller, task: Task, wanted: str) -> None:
    answer = get(call, task, Range=wanted)
    answer.assert_error(416, str(len(LOG)))
    assert answer.headers["Content-Range"] == f"bytes */{len(LOG)}"


@pytest.mark.parametrize("wanted", [
    "bytes=0-1,4-5", "lines=0-1", "bytes=b-a", "bytes=9-3", "bytes", "bytes=-", "=", ""])
def test_what_is_no_single_range_of_bytes_is_answered_with_all(call: Caller, task: Task, wanted: str) -> None:
    answer = get(call, task, Range=wanted)
    assert (answer.status, answer.body) == (200, LOG)


def test_a_client_that_has_it_already_is_sent_nothing(call: Caller, task: Task,
                                                      write: Callable[..., FileInfo]) -> None:
    etag = get(call, task).headers["ETag"]
    same = get(call, task, If_None_Match=etag)
    assert (same.status, same.body) == (304, b"")
    write(task, "compile", LOG + b"more\n")
    assert get(call, task, If_None_Match=etag).status == 200


def test_a_log_of_another_version_than_the_client_wants_is_refused(call: Caller, task: Task) -> None:
    etag = get(call, task).headers["ETag"]
    assert get(call, task, If_Match=etag, Range="bytes=3-").status == 206
    get(call, task, If_Match='"another"', Range="bytes=3-").assert_error(412, "If-Match")
    get(call, task, If_Match='"another"', Accept_Language="en").assert_error(412, "another version")


def test_parts_of_another_log_than_the_clients_are_not_mixed(call: Caller, task: Task,
                                                             write: Callable[..., FileInfo]) -> None:
    etag = get(call, task).headers["ETag"]
    assert get(call, task, Range="bytes=3-", If_Range=etag).status == 206
    write(task, "compile", b"a new run\n")
    answer = get(call, task, Range="bytes=3-", If_Range=etag)
    assert (answer.status, answer.body) == (200, b"a new run\n")


def test_a_part_is_never_cut_from_another_log_than_was_measured(
        alone: Caller, task: Task, files: Files, write: Callable[..., FileInfo],
        monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker stores the log anew with each access to it."""
    contents = [b"%d" % size * size for size in range(9, 1, -1)]
    for name in ("stat", "read_range"):
        real = getattr(type(files), name)

        def lose(self: Files, *arguments: Any, real: Callable[..., Any] = real) -> Any:
            write(task, "compile", contents.pop())
            return real(self, *arguments)

        monkeypatch.setattr(type(files), name, lose)
    answer = get(alone, task, Range="bytes=1-")
    size = int(answer.headers["Content-Range"].rpartition("/")[2])
    assert (answer.status, answer.body) == (206, b"%d" % size * (size - 1))


def test_an_empty_log_is_a_log(call: Caller, task: Task, write: Callable[..., FileInfo]) -> None:
    write(task, "compile", b"")
    answer = get(call, task)
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
    get(call, task, Range="bytes=0-").assert_error(416)


def test_head_tells_the_size_alone(call: Caller, task: Task) -> None:
    answer = call("get_task_log", "HEAD", f"/tasks/{task.id}/log")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", str(len(LOG)))


def test_where_there_is_no_log_yet_the_reason_is_told(call: Caller, task: Task, add: Callable[..., Task]) -> None:
    get(call, task, "?stage=verify").assert_error(404, "暂无日志", "verify")
    get(call, add()).assert_error(404, "暂无日志", "pending")
    get(call, task, "?stage=verify", Accept_Language="en").assert_error(404, "no log", "verify")
    get(call, add(), Accept_Language="en").assert_error(404, "no log yet", "pending")


def test_a_function_alone_takes_the_stage_at_its_root_too(alone: Caller, task: Task) -> None:
    answer = alone("get_task_log", "GET", f"/?task_id={task.id}&stage=fetch&other=1")
    assert answer.body == b"fetched\n"
