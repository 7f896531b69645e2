"""GET /tasks/{task_id}/files and …/files/{name}: what a task has made, as it has made it, or why it cannot be had."""
from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from infra.gateway import load_functions
from shared.api import task_files
from shared.api.archives import Entry, zip_pieces
from shared.api.openapi import build_document
from shared.documents import Task
from shared.errors import Conflict, Unavailable
from shared.files import FileInfo, Files
from shared.settings import get_settings
from shared.store import Store
from shared.task_logs import log_path
from tests.functions.finished import CONTENTS, finished_task
from tests.functions.service import Answer, Caller

KINDS = ["artefact", "companion", "manifest", "report", "page"]

Finish = Callable[..., Task]


@pytest.fixture
def write(files: Files, tmp_path: Path) -> Callable[..., FileInfo]:
    def write(path: str, content: bytes, **options: Any) -> FileInfo:
        (tmp_path / "content").write_bytes(content)
        return files.upload(tmp_path / "content", path, **options)

    return write


@pytest.fixture
def finish(store: Store, files: Files, tmp_path: Path) -> Finish:
    """A completed task with its objects and one log."""
    def finish(contents: dict[str, bytes] = CONTENTS, **options: Any) -> Task:
        task = finished_task(files, tmp_path / "content", contents, **options)
        store.insert(task)
        return task

    return finish


def listed(call: Caller, task: Task) -> list[dict[str, Any]]:
    return call("list_task_files", "GET", f"/tasks/{task.id}/files").data["files"]


def get(call: Caller, task: Task, name: str, method: str = "GET", **headers: str) -> Answer:
    return call("get_task_file", method, f"/tasks/{task.id}/files/{quote(name)}",
                headers={name.replace("_", "-"): value for name, value in headers.items()})


def get_zip(call: Caller, task: Task) -> Answer:
    return call("list_task_files", "GET", f"/tasks/{task.id}/files?zip=1")


# --- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_has_each_file_with_its_size_its_digest_and_the_way_to_it(call: Caller, finish: Finish) -> None:
    task = finish()
    answer = call("list_task_files", "GET", f"/tasks/{task.id}/files")
    assert (answer.message, answer.data["status"], answer.data["reason"]) == ("获取任务文件列表成功", "completed", None)
    *results, log = answer.data["files"]
    assert [file["name"] for file in results] == list(CONTENTS) and [file["kind"] for file in results] == KINDS
    assert [file["size_bytes"] for file in results] == [len(content) for content in CONTENTS.values()]
    assert [file["sha256"] for file in results] == [hashlib.sha256(content).hexdigest()
                                                    for content in CONTENTS.values()]
    assert {file["state"] for file in results} == {"ready"}
    assert [file["media_type"] for file in results] == [
        "application/xml", "application/octet-stream", "application/json", "application/json",
        "text/html; charset=utf-8"]
    assert (log["name"], log["kind"], log["size_bytes"], log["sha256"]) == ("compile.log", "log", 10, None)
    assert answer.headers["Cache-Control"] == "no-store"
    for file in answer.data["files"]:
        found = call("get_task_file", "GET", file["download_path"])
        assert (found.status, len(found.body)) == (200, file["size_bytes"])
        assert found.headers["Content-Type"] == file["media_type"]


@pytest.mark.parametrize("status", ["pending", "running", "paused", "failed"])
def test_a_task_without_a_result_has_its_logs_and_the_reason(
        call: Caller, add: Callable[..., Task], write: Callable[..., FileInfo], status: str) -> None:
    error = {"code": "unsupported_operator", "message": "m"} if status == "failed" else None
    task = add(status=status, stage="compile", epoch=1, error=error)
    write(log_path(get_settings(), task.id, "compile"), b"compiling\n")
    data = call("list_task_files", "GET", f"/tasks/{task.id}/files", headers={"Accept-Language": "en"}).data
    assert [file["name"] for file in data["files"]] == ["compile.log"]
    assert ("unsupported_operator" if error else status) in data["reason"]
    assert get(call, task, "compile.log").body == b"compiling\n"
    get(call, task, "det.xml", Accept_Language="en").assert_error(
        404, "unsupported_operator" if error else f"the task is {status}")
    if error:
        with zipfile.ZipFile(io.BytesIO(get_zip(call, task).body)) as archive:
            assert archive.namelist() == ["compile.log"]
    else:
        get_zip(call, task).assert_error(404, status)


def test_an_unknown_task_and_an_unknown_file_are_told(call: Caller, finish: Finish) -> None:
    call("list_task_files", "GET", "/tasks/task_1_1/files").assert_error(404, "任务不存在")
    call("get_task_file", "GET", "/tasks/task_1_1/files/a").assert_error(404, "任务不存在")
    task = finish()
    get(call, task, "no.xml", Accept_Language="en").assert_error(404, "no such file", "det.xml, det.bin")
    get(call, task, "verify.log").assert_error(404, "暂无日志", "verify")
    call("list_task_files", "GET", f"/tasks/{task.id}/files?zip=yes").assert_error(400, "zip")


def test_an_older_versions_result_has_the_digest_that_its_document_has(call: Caller, finish: Finish) -> None:
    task = finish(older=True)
    digests = [file["sha256"] for file in listed(call, task)]
    assert digests == [hashlib.sha256(CONTENTS["det.xml"]).hexdigest(), None, None, None, None, None]
    assert {file["state"] for file in listed(call, task)} == {"ready"}
    assert get(call, task, "det.bin").body == CONTENTS["det.bin"]


# --- what others have done to the result ------------------------------------------------------------------------------


@pytest.mark.parametrize("older", [False, True])
def test_a_file_that_others_have_replaced_is_told_and_not_sent(
        call: Caller, finish: Finish, write: Callable[..., FileInfo], older: bool) -> None:
    task = finish(older=older)
    write(f"results/{task.id}/det.bin", b"another's")
    states = {file["name"]: file["state"] for file in listed(call, task)}
    assert [name for name, state in states.items() if state != "ready"] == ["det.bin"] and "replaced" in states.values()
    get(call, task, "det.bin", Accept_Language="en").assert_error(409, "replaced", "det.bin")
    get_zip(call, task).assert_error(409, "替换", "det.bin")
    assert get(call, task, "det.xml").body == CONTENTS["det.xml"]


def test_a_file_that_others_have_removed_is_told(call: Caller, finish: Finish, files: Files) -> None:
    task = finish()
    files.delete(f"results/{task.id}/det.bin")
    (file,) = [file for file in listed(call, task) if file["state"] != "ready"]
    assert (file["name"], file["state"], file["size_bytes"]) == ("det.bin", "removed", len(CONTENTS["det.bin"]))
    get(call, task, "det.bin").assert_error(404, "已被删除", "det.bin")
    get_zip(call, task).assert_error(404, "det.bin")


def test_what_a_later_task_has_put_in_its_place_is_not_this_tasks(call: Caller, finish: Finish) -> None:
    first = finish(folder="mine/out")
    second = finish({name: content[::-1] for name, content in CONTENTS.items()}, folder="mine/out")
    assert {file["state"] for file in listed(call, first) if file["kind"] != "log"} == {"replaced"}
    get(call, first, "det.xml").assert_error(409, "替换")
    assert get(call, second, "det.xml").body == CONTENTS["det.xml"][::-1]


def test_a_copy_with_the_same_content_is_the_result_still(call: Caller, finish: Finish, data_dir: Path) -> None:
    """As when the folder was moved to another disk, or came back from a backup."""
    task = finish()
    path = data_dir / "buckets" / "results" / task.id / "det.bin"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    assert get(call, task, "det.bin").body == content
    path.write_bytes(b"x" + content[1:])
    get(call, task, "det.bin").assert_error(409, "det.bin")


def test_a_file_that_is_replaced_while_it_is_read_is_never_mixed(
        finish: Finish, files: Files, write: Callable[..., FileInfo]) -> None:
    task = finish()
    (file,) = [file for file in task_files.result_files(task) if file.name == "det.bin"]
    pieces = task_files.read_pieces(files, file, task_files.look_at(files, task, file), 0, len(CONTENTS["det.bin"]))
    assert next(pieces) == CONTENTS["det.bin"][:task_files.PIECE_BYTES]
    write(file.path, CONTENTS["det.bin"])
    with pytest.raises(Conflict):
        next(pieces)


# --- one file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "part"), [
    ("bytes=0-3", slice(0, 4)), ("bytes=500000-", slice(500000, None)), ("bytes=-4", slice(-4, None)),
    ("bytes=0-99999999", slice(None)), ("bytes=-99999999", slice(None)),
    ("bytes=200000-500000", slice(200000, 500001))])
def test_a_range_is_answered_with_that_part(call: Caller, finish: Finish, wanted: str, part: slice) -> None:
    content = CONTENTS["det.bin"]
    answer = get(call, finish(), "det.bin", Range=wanted)
    start, stop, _ = part.indices(len(content))
    assert answer.status == 206 and answer.body == content[part]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(content)}"
    assert answer.headers["Content-Length"] == str(stop - start)


def test_a_range_beyond_the_end_is_refused_and_several_are_answered_with_all(call: Caller, finish: Finish) -> None:
    task, size = finish(), len(CONTENTS["det.bin"])
    beyond = get(call, task, "det.bin", Range=f"bytes={size}-")
    beyond.assert_error(416, str(size))
    assert beyond.headers["Content-Range"] == f"bytes */{size}"
    several = get(call, task, "det.bin", Range="bytes=0-1,5-6")
    assert (several.status, several.body) == (200, CONTENTS["det.bin"])


def test_conditions_go_by_the_etag(call: Caller, finish: Finish) -> None:
    task = finish()
    first = get(call, task, "det.xml")
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache" and first.headers["Accept-Ranges"] == "bytes"
    same = get(call, task, "det.xml", If_None_Match=etag)
    assert (same.status, same.body) == (304, b"")
    assert get(call, task, "det.xml", Range="bytes=3-", If_Range=etag).status == 206
    assert get(call, task, "det.xml", Range="bytes=3-", If_Range='"another"').body == CONTENTS["det.xml"]
    assert not etag.startswith("W/")
    for fits in (etag, "*", f'"another", {etag}'):
        assert get(call, task, "det.xml", If_Match=fits).body == CONTENTS["det.xml"]
        assert get(call, task, "det.xml", If_Match=fits, Range="bytes=3-").status == 206
        assert get(call, task, "det.xml", If_Match=fits, If_None_Match=etag).status == 304
    for method in ("GET", "HEAD"):
        for other in ('"another"', f"W/{etag}", f'"another", W/{etag}'):  # a weak one is no proof of the same bytes
            answer = get(call, task, "det.xml", method, If_Match=other, If_None_Match=etag)
            assert answer.status == 412 and (method == "HEAD" or json.loads(answer.body)["success"] is False)
    get(call, task, "det.xml", If_Match='"another"', Range="bytes=3-").assert_error(412, "If-Match")


def test_the_openapi_document_says_that_a_file_may_be_of_any_kind(call: Caller, finish: Finish) -> None:
    task = finish()
    names = ("det.xml", "det.bin", "det.xml.manifest.json")
    assert len({get(call, task, name).headers["Content-Type"] for name in names}) == 3
    document = build_document([function.endpoint for function in load_functions().values()])
    answers = document["paths"]["/tasks/{task_id}/files/{name}"]["get"]["responses"]
    kinds = [list(answers[status]["content"]) for status in ("200", "206", "412")]
    assert kinds == [["*/*"], ["*/*"], ["application/json"]]


def test_head_tells_all_and_sends_nothing(call: Caller, finish: Finish) -> None:
    task = finish()
    for range_header in ({}, {"Range": "bytes=0-3"}):
        answer = get(call, task, "det.bin", "HEAD", **range_header)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Length"] == str(len(CONTENTS["det.bin"])) and answer.headers["ETag"]
    assert call("list_task_files", "HEAD", f"/tasks/{task.id}/files?zip=1").headers["Content-Type"] == "application/zip"


def test_an_empty_file_is_a_file(call: Caller, finish: Finish) -> None:
    task = finish(CONTENTS | {"det.bin": b""})
    answer = get(call, task, "det.bin")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
    with zipfile.ZipFile(io.BytesIO(get_zip(call, task).body)) as archive:
        assert archive.read("det.bin") == b""


@pytest.mark.parametrize(("stem", "plain"), [
    ("a b", "a b"), ("检测器", "___"), ("a+b&c=d,e", "a+b&c=d,e"), ('q"u;o\'te', "q_u_o_te"), ("100%25", "100_25"),
    ("🚀%", "__"), ("a*b?c#d", "a_b_c#d"), ("-" * 200, "-" * 200)])
def test_names_that_hurt_arrive_as_they_are(call: Caller, finish: Finish, stem: str, plain: str) -> None:
    contents = {name.replace("det", stem): content for name, content in CONTENTS.items()}
    task = finish(contents)
    for file in listed(call, task)[:2]:
        answer = call("get_task_file", "GET", file["download_path"])
        assert answer.body == contents[file["name"]] and answer.headers["X-Content-Type-Options"] == "nosniff"
        suffix = file["name"].removeprefix(stem)
        wanted = f'attachment; filename="{plain}{suffix}"'
        if plain != stem:
            wanted += f"; filename*=UTF-8''{quote(file['name'], safe='')}"
        assert answer.headers["Content-Disposition"] == wanted
    with zipfile.ZipFile(io.BytesIO(get_zip(call, task).body)) as archive:
        assert archive.namelist()[:5] == list(contents)


def test_a_function_alone_takes_the_name_at_its_root_too(alone: Caller, finish: Finish) -> None:
    task = finish()
    assert alone("get_task_file", "GET", f"/?task_id={task.id}&name=det.xml").body == CONTENTS["det.xml"]


def test_a_store_that_is_away_is_told_before_anything_is_sent(
        alone: Caller, finish: Finish, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    task = finish()

    def fail(*_: Any) -> Any:
        raise Unavailable("files")

    monkeypatch.setattr(type(files), "read_range", fail)
    get(alone, task, "det.bin").assert_error(503)
    get_zip(alone, task).assert_error(503)


# --- the zip ----------------------------------------------------------------------------------------------------------


def test_the_zip_holds_all_files_as_they_are(call: Caller, finish: Finish) -> None:
    task = finish()
    answer = get_zip(call, task)
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{task.id}.zip"'
    assert answer.headers["Cache-Control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == CONTENTS | {"compile.log": b"compiling\n"}
        assert {about.date_time for about in archive.infolist()} == {(2024, 1, 1, 12, 0, 0)}


def test_an_entry_beyond_the_old_forms_limit_gets_the_large_form(
        finish: Finish, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    task = finish()
    entries = [Entry(file, found) for file, found in task_files.look_at_all(files, task) if isinstance(found, FileInfo)]
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", len(CONTENTS["det.bin"]) // 2)
    whole = b"".join(zip_pieces(files, entries, 0.0))
    monkeypatch.undo()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None and archive.read("det.bin") == CONTENTS["det.bin"]
        large = archive.getinfo("det.bin")
    assert int.from_bytes(whole[large.header_offset + 18:large.header_offset + 22], "little") == 0xFFFFFFFF
