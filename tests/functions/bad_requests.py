"""Kinds of bad input: what is sent, and what the answer must say."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

JSON = {"Content-Type": "application/json"}
PATHS = {"query_task": "/tasks/query", "list_tasks": "/tasks/list", "batch_delete_tasks": "/tasks/batch-delete",
         "pause_task": "/tasks/pause", "resume_task": "/tasks/resume", "cancel_task": "/tasks/cancel",
         "retry_task": "/tasks/retry", "create_task": "/tasks/create"}
CREATE = {"task_type": "onnx_to_openvino", "platform": "intel", "input_path": "models/detector.onnx"}


@dataclass(frozen=True)
class Bad:
    """A bad request and the status and words of its answer."""

    what: str
    name: str
    body: bytes
    mentions: tuple[str, ...]
    status: int = 400
    headers: dict[str, str] = field(default_factory=lambda: JSON)


def _raw(what: str, body: bytes | str, *mentions: str, name: str = "list_tasks", status: int = 400,
         headers: dict[str, str] = JSON) -> Bad:
    return Bad(what, name, body.encode() if isinstance(body, str) else body, mentions, status, headers)


def _field(what: str, name: str, body: Any, *mentions: str) -> Bad:
    return Bad(what, name, json.dumps(body).encode(), mentions)


def _create(what: str, change: dict[str, Any], *mentions: str) -> Bad:
    return _field(what, "create_task", CREATE | change, *mentions)


@dataclass(frozen=True)
class BadQuery:
    """A bad GET, of an existing task `{id}`."""

    what: str
    name: str
    path: str
    mentions: tuple[str, ...]
    headers: dict[str, str] = field(default_factory=dict)


def _events(what: str, query: str, *mentions: str, **headers: str) -> BadQuery:
    return BadQuery(what, "get_task_events", "/tasks/{id}/events" + query, mentions,
                    {name.replace("_", "-"): value for name, value in headers.items()})


def _log(what: str, stage: str, *mentions: str) -> BadQuery:
    return BadQuery(what, "get_task_log", f"/tasks/{{id}}/log?stage={stage}", ("stage", *mentions))


BAD_QUERIES = [
    _events("after a word", "?after=now", "after", "整数"),
    _events("after nothing", "?after=", "after", "整数"),
    _events("after 1.5", "?after=1.5", "after", "整数"),
    _events("after -1", "?after=-1", "after", "大于或等于 0"),
    _events("after 2^53", f"?after={2**53}", "after", "小于或等于"),
    _events("after 5,000 digits", "?after=" + "9" * 5000, "after", "整数"),
    *(_events(f"after {what}", f"?after={text}", "after", "整数") for what, text in (
        ("1_0", "1_0"), ("+1", "%2B1"), ("a blank and 1", "%201"), ("1.0", "1.0"), ("1e0", "1e0"), ("0x1", "0x1"),
        ("a full-width 1", "%EF%BC%91"), ("an Arabic 1", "%D9%A1"))),
    _events("after an operator", "?after=%7B%22%24gt%22%3A0%7D", "after", "整数"),
    _events("a stream after a word", "?after=now", "after", "整数", Accept="text/event-stream"),
    *(_events(f"an id that is {text!r}", "", "Last-Event-ID", Accept="text/event-stream", Last_Event_ID=text)
      for text in ("x", "-1", "1.5", "9" * 17, "1 2", "1_0", "+1", "\xb2")),
    _log("a stage that climbs", "../x", "匹配"),
    _log("a stage in another folder", "a/b", "匹配"),
    _log("an encoded climb", "%2e%2e%2fx", "匹配"),
    _log("no stage", "", "匹配"),
    _log("a stage with a NUL", "a%00", "匹配"),
    _log("a long stage", "a" * 65, "匹配"),
]

BAD_REQUESTS = [
    # The body as such.
    _raw("no body", b"", "请求体不能为空"),
    _raw("only blanks", b" \n ", "请求体不能为空"),
    _raw("no body, another function", b"", "请求体不能为空", name="pause_task"),
    _raw("cut JSON", '{"page": 1', "不是有效的 JSON", "第 1 行"),
    _raw("single quotes", "{'page': 1}", "不是有效的 JSON"),
    _raw("a comma at the end", '{"page": 1,}', "不是有效的 JSON"),
    _raw("two documents", "{} {}", "不是有效的 JSON"),
    _raw("a comment", '{"page": 1 /* one */}', "不是有效的 JSON"),
    _raw("a form", "page=1", "不是有效的 JSON"),
    _raw("an array", "[]", "JSON 对象"),
    _raw("a string", '"task"', "JSON 对象"),
    _raw("a number", "1", "JSON 对象"),
    _raw("null", "null", "JSON 对象"),
    _raw("NaN", '{"page": NaN}', "NaN"),
    _raw("Infinity", '{"page": -Infinity}', "Infinity"),
    _raw("a field twice", '{"page": 1, "page": 2}', "重复", "page"),
    _raw("an inner field twice", '{"labels": {"a": "1", "a": "2"}}', "重复", "a"),
    _raw("5,000 fields", json.dumps({f"f{number}": 1 for number in range(5000)}), "字段过多", "4096"),
    _raw("5,000 fields in many objects", json.dumps({"a": [{"b": 1}] * 5000}), "字段过多", "4096"),
    _raw("5,000 digits", '{"page": ' + "9" * 5000 + "}", "数字过长"),
    _raw("10,000 levels of arrays", "[" * 10_000 + "]" * 10_000, "嵌套过深"),
    _raw("100,000 levels of objects", '{"a":' * 100_000, "嵌套过深"),
    _raw("bad UTF-8", b'{"platform": "\xff\xfe"}', "UTF-8"),
    _raw("UTF-16", '{"page": 1}'.encode("utf-16"), "UTF-8"),
    _raw("Latin-1", '{"platform": "é"}'.encode("latin-1"), "UTF-8"),
    _raw("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "Content-Encoding", status=415,
         headers=JSON | {"Content-Encoding": "gzip"}),
    _raw("raw NUL bytes", b"\0\0\0\0", "不是有效的 JSON"),
    _raw("10 MB", b'{"platform": "' + b"a" * 10_000_000 + b'"}', "1048576", status=413),
    _raw("one byte too many", b" " * (1 << 20) + b"1", "1048576", status=413),
    # How it is declared.
    _raw("curl's default type", '{"page": 1}', "application/json", status=415,
         headers={"Content-Type": "application/x-www-form-urlencoded"}),
    _raw("text/plain", "{}", "text/plain", "application/json", status=415, headers={"Content-Type": "text/plain"}),
    _raw("XML", "<page/>", "application/json", status=415, headers={"Content-Type": "application/xml"}),
    _raw("another charset", "{}", "UTF-8", status=415, headers={"Content-Type": "application/json; charset=gbk"}),
    _raw("no type that is one", "{}", "application/json", status=415, headers={"Content-Type": ";;;"}),
    # list_tasks.
    _field("page 0", "list_tasks", {"page": 0}, "page", "大于或等于 1"),
    _field("page -1", "list_tasks", {"page": -1}, "page", "大于或等于 1"),
    _field("a page beyond all pages", "list_tasks", {"page": 10**30}, "page", "小于或等于"),
    _field("page as text", "list_tasks", {"page": "1"}, "page", "整数"),
    _field("page 1.5", "list_tasks", {"page": 1.5}, "page", "整数"),
    _field("page true", "list_tasks", {"page": True}, "page", "整数"),
    _field("page null", "list_tasks", {"page": None}, "page", "整数"),
    _raw("page 1e999", '{"page": 1e999}', "page", "整数"),
    _field("page_size 0", "list_tasks", {"page_size": 0}, "page_size", "大于或等于 1"),
    _field("page_size 101", "list_tasks", {"page_size": 101}, "page_size", "小于或等于 100"),
    _field("page_size ten", "list_tasks", {"page_size": "ten"}, "page_size", "整数"),
    _field("page_size 1.5", "list_tasks", {"page_size": 1.5}, "page_size", "整数"),
    _field("page_size true", "list_tasks", {"page_size": True}, "page_size", "整数"),
    _field("page_size as an array", "list_tasks", {"page_size": [10]}, "page_size", "整数"),
    _field("page_size as an operator", "list_tasks", {"page_size": {"$gt": 0}}, "page_size", "整数"),
    _field("an unknown field", "list_tasks", {"pagesize": 10}, "pagesize", "未知字段", "page_size"),
    _field("an unknown operator field", "list_tasks", {"$where": "1"}, "$where", "未知字段"),
    _field("a prototype", "list_tasks", {"__proto__": {}}, "__proto__", "未知字段"),
    _field("a field with a line break", "list_tasks", {"a\r\nSet-Cookie: b": 1}, "a\\r\\nSet-Cookie: b"),
    _field("a field of 5,000 characters", "list_tasks", {"x" * 5000: 1}, "xxx…", "未知字段"),
    _field("200 unknown fields", "list_tasks", {f"f{i}": 1 for i in range(200)}, "f0", "另有 195 个"),
    _field("an unknown status", "list_tasks", {"status": "cancelled"}, "status", "paused"),
    _field("status as an operator", "list_tasks", {"status": {"$ne": None}}, "status", "paused"),
    _field("platform as an operator", "list_tasks", {"platform": {"$regex": ".*"}}, "platform", "字符串"),
    _field("an empty platform", "list_tasks", {"platform": ""}, "platform", "至少为 1"),
    _field("labels as text", "list_tasks", {"labels": "a=b"}, "labels", "JSON 对象"),
    _field("a label that is a number", "list_tasks", {"labels": {"a": 1}}, "labels.a", "字符串"),
    _field("a label with a dot", "list_tasks", {"labels": {"a.b": "1"}}, "labels.a.b", "A-Za-z0-9"),
    _field("a label with a dollar", "list_tasks", {"labels": {"$ne": "1"}}, "labels.$ne", "A-Za-z0-9"),
    _field("17 labels", "list_tasks", {"labels": {f"l{i}": "1" for i in range(17)}}, "labels", "不超过 16"),
    _field("no time", "list_tasks", {"created_after": "yesterday"}, "created_after", "2024-01-01T12:00:00"),
    _field("the 13th month", "list_tasks", {"created_before": "2024-13-01T00:00:00"}, "created_before", "ISO 8601"),
    *(_field(f"a time as {text!r}", "list_tasks", {"created_after": text}, "created_after", "2024-01-01T12:00:00")
      for text in ("20240101", "2024-W01-1", "2024-01-01x12:00", "２０２４-01-01", "2024-02-30", "2024-01-01T12:00\n")),
    _field("a time as a number", "list_tasks", {"created_after": 1704110400}, "created_after", "字符串"),
    # One task.
    _field("no task_id", "query_task", {}, "task_id", "必填"),
    _field("task_id null", "query_task", {"task_id": None}, "task_id", "字符串"),
    _field("task_id as a number", "pause_task", {"task_id": 1234}, "task_id", "字符串"),
    _field("task_id $ne", "pause_task", {"task_id": {"$ne": None}}, "task_id", "字符串"),
    _field("task_id $gt", "resume_task", {"task_id": {"$gt": ""}}, "task_id", "字符串"),
    _field("task_id $regex", "query_task", {"task_id": {"$regex": "^task"}}, "task_id", "字符串"),
    _field("task_id as an array", "query_task", {"task_id": ["task_1"]}, "task_id", "字符串"),
    _field("an empty task_id", "resume_task", {"task_id": ""}, "task_id", "至少为 1"),
    _field("a task_id of 129 characters", "query_task", {"task_id": "a" * 129}, "task_id", "不超过 128 个字符"),
    _field("a NUL in task_id", "query_task", {"task_id": "task\0"}, "task_id", "NUL"),
    _raw("half a surrogate pair", r'{"task_id": "\ud800"}', "task_id", "Unicode", name="query_task"),
    _raw("half a pair in a name", r'{"\udfff": 1}', "请求体", "Unicode", name="query_task"),
    _field("taskId", "query_task", {"taskId": "task_1"}, "task_id", "必填", "taskId"),
    # Several tasks.
    _field("no task_ids", "batch_delete_tasks", {}, "task_ids", "必填"),
    _field("an empty list", "batch_delete_tasks", {"task_ids": []}, "task_ids", "至少有 1 项"),
    _field("one id instead of a list", "batch_delete_tasks", {"task_ids": "task_1"}, "task_ids", "数组"),
    _field("an object instead of a list", "batch_delete_tasks", {"task_ids": {"$in": ["a"]}}, "task_ids", "数组"),
    _field("a number in the list", "batch_delete_tasks", {"task_ids": ["task_1", 2]}, "task_ids[1]", "字符串"),
    _field("an operator in the list", "batch_delete_tasks", {"task_ids": [{"$ne": ""}]}, "task_ids[0]", "字符串"),
    _field("1,001 ids", "batch_delete_tasks", {"task_ids": ["t"] * 1001}, "task_ids", "不超过 1000 项"),
    # One task or several.
    *(_field(f"nothing to {name}", name, {}, "task_id", "task_ids", "仅其一")
      for name in ("pause_task", "resume_task", "cancel_task", "retry_task")),
    _field("one and several", "cancel_task", {"task_id": "t", "task_ids": ["t"]}, "task_id", "task_ids", "仅其一"),
    _field("both null", "retry_task", {"task_id": None, "task_ids": None}, "task_id", "task_ids", "仅其一"),
    _field("cancel an operator", "cancel_task", {"task_id": {"$ne": None}}, "task_id", "字符串"),
    _field("retry a number", "retry_task", {"task_id": 1}, "task_id", "字符串"),
    _field("pause an empty list", "pause_task", {"task_ids": []}, "task_ids", "至少有 1 项"),
    _field("resume one id instead of a list", "resume_task", {"task_ids": "task_1"}, "task_ids", "数组"),
    _field("cancel an operator in a list", "cancel_task", {"task_ids": ["a", {"$gt": ""}]}, "task_ids[1]", "字符串"),
    _field("retry an empty id", "retry_task", {"task_ids": [""]}, "task_ids[0]", "至少为 1"),
    _field("pause 1,001 ids", "pause_task", {"task_ids": ["t"] * 1001}, "task_ids", "不超过 1000 项"),
    _field("cancel with a reason", "cancel_task", {"task_id": "t", "reason": "x"}, "reason", "未知字段", "task_ids"),
    # A new task.
    _field("nothing but braces", "create_task", {}, "task_type 为必填", "platform 为必填", "input_path 为必填"),
    _create("an unknown target", {"platform": "abacus"}, "platform", "abacus", "intel"),
    _create("an unknown task type", {"task_type": "onnx_to_gold"}, "task_type", "onnx_to_gold", "onnx_to_openvino"),
    _create("a target as an operator", {"platform": {"$ne": ""}}, "platform", "字符串"),
    _create("an unknown priority", {"priority": "urgent"}, "priority", "high"),
    _create("a field of the document", {"status": "completed"}, "status", "未知字段"),
    _create("the owner", {"owner": "me"}, "owner", "未知字段"),
    _create("a path that climbs", {"input_path": "models/../../etc/passwd.onnx"}, "input_path", "bucket/object"),
    _create("a local path", {"input_path": "/etc/model.onnx"}, "input_path", "绝对路径"),
    _create("a path with a backslash", {"input_path": "models\\a.onnx"}, "input_path", "反斜杠"),
    _create("a path with a NUL", {"input_path": "models/a\0.onnx"}, "input_path", "NUL"),
    _create("an encoded climb", {"input_path": "models/%2e%2e/a.onnx"}, "input_path", "编码"),
    _create("a bucket without an object", {"input_path": "models"}, "input_path", "对象"),
    _create("a path of 1,025 characters", {"input_path": "models/" + "a" * 1018}, "input_path", "不超过 1024 个字符"),
    _create("a URL", {"input_path": "https://example.com/a.onnx"}, "input_path"),
    _create("the cache's bucket", {"input_path": "model-convert-cache/a.onnx"}, "input_path", "存储桶"),
    _create("a model of another kind", {"input_path": "models/a.pt"}, "input_path", ".onnx"),
    _create("a model without a name", {"input_path": "models/.onnx"}, "input_path", ".onnx"),
    _create("an artefact of another kind", {"output_path": "results/a.om"}, "output_path", ".xml"),
    _create("an artefact without a name", {"output_path": "results/.xml"}, "output_path", ".xml"),
    _create("an output that climbs", {"output_path": "results/../a.xml"}, "output_path", "bucket/object"),
    _create("parameters as an array", {"parameters": []}, "parameters", "JSON 对象"),
    _create("parameters of 100 kB", {"parameters": {"input_shape": "1," * 50_000}}, "parameters", "64 KiB"),
    _create("parameters with 20,000 numbers", {"parameters": {"input_shape": [1] * 20_000}}, "parameters", "64 KiB"),
    _field("a target with parameters of 100 kB", "create_task", {"input_path": "models/a.onnx", "targets": [
        {"platform": "intel", "task_type": "onnx_to_openvino", "parameters": {"input_shape": "1," * 50_000}}]},
        "targets[0].parameters", "64 KiB"),
    _create("parameters null", {"parameters": None}, "parameters", "JSON 对象"),
    _create("an unknown parameter", {"parameters": {"presicion": "fp16"}}, "parameters.presicion", "precision"),
    _create("an unknown inner parameter", {"parameters": {"verify": {"x": 1}}}, "parameters.verify.x", "未知字段"),
    _create("an unknown precision", {"parameters": {"precision": "fp8"}}, "parameters.precision", "fp16"),
    _create("precision as an operator", {"parameters": {"precision": {"$ne": ""}}}, "parameters.precision", "fp16"),
    _create("a flag as text", {"parameters": {"auto_input_shape": "yes"}}, "parameters.auto_input_shape", "true"),
    _create("a flag as a number", {"parameters": {"auto_input_shape": 1}}, "parameters.auto_input_shape", "true"),
    _create("a shape that is none", {"parameters": {"input_shape": "big"}}, "parameters.input_shape"),
    _create("a shape that is true", {"parameters": {"input_shape": True}}, "parameters.input_shape", " 或 "),
    _create("a negative dimension", {"parameters": {"input_shape": [1, -3]}}, "parameters.input_shape"),
    _create("0 samples", {"parameters": {"verify": {"samples": 0}}}, "parameters.verify.samples", "大于或等于 1"),
    _create("no time at all", {"parameters": {"limits": {"stage_time_s": 0}}}, "parameters.limits.stage_time_s"),
    _create("9 levels of parameters", {"parameters": {"a": [[[[[[[[[1]]]]]]]]]}}, "parameters", "8 层"),
    _create("a parameter of 100 bits", {"parameters": {"a": 2**100}}, "parameters", "64 位"),
    _create("an empty idempotency_key", {"idempotency_key": ""}, "idempotency_key", "至少为 1"),
    _create("a long idempotency_key", {"idempotency_key": "k" * 129}, "idempotency_key", "不超过 128 个字符"),
    _create("labels as an array", {"labels": ["a"]}, "labels", "JSON 对象"),
    _create("a label of 257 characters", {"labels": {"a": "b" * 257}}, "labels.a", "不超过 256 个字符"),
]
