"""POST /events/storage: an upload starts its conversion once, whatever the store says of it and however often."""
from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.api.subscriptions import is_makers_own
from shared.deps import close_all, get_files
from shared.errors import Unavailable
from shared.files import Files
from shared.store import Store, TaskFilter
from tests.fixtures.storage_events import AWKWARD_KEYS, FORMS, REFUSED_KEYS, Form, load
from tests.functions.service import Answer, Caller
from tests.models import convolution

PATH = "/events/storage"


@pytest.fixture
def upload(files: Files, tmp_path: Path) -> Callable[[str], str]:
    """Store a model under this key of the built-in rule's bucket."""
    def upload(key: str, **change: Any) -> str:
        (tmp_path / "model").write_bytes(convolution(**change).SerializeToString())
        files.upload(tmp_path / "model", f"models-in/{key}")
        return key
    return upload


def send(call: Caller, body: Any, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return call("on_upload", "POST", PATH, data=content, headers={"Content-Type": "application/json", "Accept-Language":
                                                                  "en", **headers})


def send_form(call: Caller, form: Form, key: str) -> Any:
    return send(call, form.body(key), **form.headers(key)).data


def minio(key: str, event: str = "s3:ObjectCreated:Put") -> Any:
    body = FORMS["minio"].body(key)
    body["EventName"] = body["Records"][0]["eventName"] = event
    return body


@contextmanager
def settings(**values: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(f"MODEL_CONVERT_{name.upper()}", value)
        close_all()
        yield
    close_all()


# --- conversions ------------------------------------------------------------------------------------------------------


def test_an_upload_starts_its_conversion_and_the_answer_names_it(call: Caller, store: Store,
                                                                 upload: Callable[..., str]) -> None:
    key = upload("intel/first/model.onnx")
    answer = send(call, minio(key))
    (created,) = answer.data["created"]
    assert answer.message == "events taken" and created["object"] == f"models-in/{key}"
    (task_id,) = created["task_ids"]
    task = store.get(task_id)
    assert (task.platform, task.input_path) == ("intel", f"models-in/{key}")
    assert answer.data["existing"] == answer.data["ignored"] == answer.data["confirmed"] == []


def test_the_same_event_again_and_any_other_of_the_same_version_start_nothing_more(
        call: Caller, store: Store, upload: Callable[..., str]) -> None:
    key = upload("intel/again/model.onnx")
    first = send(call, minio(key)).data["created"]
    for form in ("minio", "s3", "gcs, binary", "oss", "eventbridge"):
        data = send_form(call, FORMS[form], key)
        assert data["existing"] == first and data["created"] == []


def test_a_new_version_of_the_object_starts_another_conversion(call: Caller, store: Store,
                                                               upload: Callable[..., str]) -> None:
    key = upload("intel/new/model.onnx")
    first = send(call, minio(key)).data["created"]
    upload("intel/new/model.onnx", shape=(1, 3, 16, 16))
    second = send(call, minio(key)).data["created"]
    assert first[0]["task_ids"] != second[0]["task_ids"]


@pytest.mark.parametrize("event", ["s3:ObjectCreated:PutTagging", "s3:ObjectRemoved:Delete", "s3:ObjectAccessed:Get"])
def test_what_is_no_arrival_is_ignored_with_the_reason(call: Caller, store: Store, upload: Callable[..., str],
                                                       event: str) -> None:
    data = send(call, minio(upload("intel/other/model.onnx"), event)).data
    assert data["ignored"] == [{"object": "models-in/intel/other/model.onnx",
                                "reason": f"{event} tells of no new object"}]
    assert not data["created"] and store.list_page(TaskFilter(), 1, 10)[1] == 0


def test_an_object_that_is_gone_by_now_is_ignored(call: Caller, store: Store, upload: Callable[..., str],
                                                  files: Files) -> None:
    key = upload("intel/gone/model.onnx")
    files.delete(f"models-in/{key}")
    assert send(call, minio(key)).data["ignored"] == [{"object": f"models-in/{key}", "reason": "the object is gone"}]


def test_each_record_of_a_body_is_answered_for_itself(call: Caller, store: Store, upload: Callable[..., str]) -> None:
    keys = [upload(f"intel/several/{number}.onnx") for number in range(2)]
    records = [load("s3", KEY=key)["Records"][0] for key in (keys[0], "intel/none.onnx", keys[1])]
    del (broken := load("s3", KEY="x")["Records"][0])["eventName"]
    data = send(call, {"Records": [records[0], broken, *records[1:]]}).data
    assert [one["object"] for one in data["created"]] == [f"models-in/{key}" for key in keys]
    assert [one["reason"] for one in data["ignored"]] == ["the record lacks eventName", "the object is gone"]


# --- names ------------------------------------------------------------------------------------------------------------

TAKEN = {name: form for name, form in FORMS.items() if form.bucket == "models-in"}


@pytest.mark.parametrize("form", TAKEN.values(), ids=TAKEN)
def test_awkward_names_reach_their_object_in_every_form(alone: Caller, store: Store, upload: Callable[..., str],
                                                        form: Form) -> None:
    for name in AWKWARD_KEYS:
        key = upload(f"intel/{name}")
        data = send_form(alone, form, key)
        (found,) = data["created"] + data["existing"]
        assert found["object"] == f"models-in/{key}" and not data["ignored"]
        assert store.get(found["task_ids"][0]).input_path == f"models-in/{key}"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_names_that_could_harm_are_refused_in_every_form(alone: Caller, store: Store, form: Form) -> None:
    for key in REFUSED_KEYS:
        data = send_form(alone, form, key)
        assert not data["created"] and not data["existing"]
        (ignored,) = data["ignored"]
        assert "name is not valid" in ignored["reason"] or ignored["reason"] == "no rule fits the object"


def test_where_both_spellings_of_a_key_are_objects_the_events_etag_decides(
        alone: Caller, store: Store, upload: Callable[..., str], files: Files) -> None:
    spelled, spaced = upload("intel/both/a+b.onnx"), upload("intel/both/a b.onnx", shape=(1, 3, 16, 16))
    for key in (spelled, spaced):
        body = load("eventbridge", KEY=spelled)
        body["detail"]["object"]["etag"] = files.stat(f"models-in/{key}").etag
        data = send(alone, body).data
        assert [one["object"] for one in data["created"]] == [f"models-in/{key}"]


# --- what is no event -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, [], {"hello": "world"}, {"Records": [{}]}, 3, {"Records": [None, None]}])
def test_json_that_is_no_event_is_answered_with_200_and_the_reason(call: Caller, body: Any) -> None:
    data = send(call, body).data
    assert not data["created"] and all(one["reason"] for one in data["ignored"])
    assert len(data["ignored"]) == (0 if body == [] else 2 if body == {"Records": [None, None]} else 1)


def test_the_reason_is_in_the_log(alone: Caller, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "shared.triggers"):
        send(alone, {"hello": "world"})
    assert "no form of event that is known here" in caplog.text


@pytest.mark.parametrize("body", [b"", b"<Event/>", b"\xff\xfe\x00", b"[" * 5000, b"a=b"])
def test_what_no_object_store_sends_is_refused(call: Caller, body: bytes) -> None:
    send(call, body).assert_error(400, "no JSON")


def test_a_body_beyond_the_limit_is_refused(call: Caller) -> None:
    send(call, b'{"x": "' + b"x" * (1 << 20) + b'"}').assert_error(413)


@pytest.mark.parametrize("media_type", ["text/plain; charset=UTF-8", "application/octet-stream", "application/json",
                                        "application/cloudevents+json; charset=utf-8", ""])
def test_the_media_type_says_nothing(call: Caller, media_type: str) -> None:
    """SNS sends JSON as text, function consoles as bytes."""
    assert send(call, load("s3_test"), **{"Content-Type": media_type}).data["ignored"][0]["reason"] == "a test message"


# --- who may send -----------------------------------------------------------------------------------------------------


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"sns:{password}".encode()).decode()


def test_without_the_token_nothing_is_taken_and_with_it_all_is(alone: Caller, store: Store,
                                                               upload: Callable[..., str]) -> None:
    body = minio(upload("intel/token/model.onnx"))
    with settings(events_token="t0ken-检"):
        for shown in ("", "Bearer t0ken", "t0ken-", "Bearer ", "Bearer", "Basic !!", basic("t0ken"), basic("")):
            answer = send(alone, body, Authorization=shown)
            answer.assert_error(401, "token")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert send(alone, body, Authorization=basic("t0ken-检")).data["created"]
    with settings(events_token="t0ken"):
        assert send(alone, body, Authorization="Bearer t0ken").data["existing"]
        query = alone("on_upload", "POST", f"{PATH}?access_token=t0ken", json=body)
        assert query.data["existing"]


@pytest.mark.parametrize(("language", "message"), [("zh", "可以接收通知"), ("en", "events are welcome")])
def test_a_probe_is_answered_in_the_clients_language(call: Caller, language: str, message: str) -> None:
    answer = call("on_upload", "GET", PATH, headers={"Accept-Language": language})
    assert answer.json == {"success": True, "message": message, "data": None}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_who_looks_before_sending_is_welcome(call: Caller, method: str) -> None:
    answer = call("on_upload", method, PATH)
    assert answer.status == (204 if method == "OPTIONS" else 200)
    assert answer.headers["Allow"] == "POST, GET, HEAD, OPTIONS"


def test_a_sender_of_cloudevents_is_told_that_it_may_send(call: Caller, alone: Caller) -> None:
    ask = {"WebHook-Request-Origin": "events.example.com", "WebHook-Request-Rate": "120"}
    answer = call("on_upload", "OPTIONS", PATH, headers=ask)
    assert answer.status == 200 and answer.headers["WebHook-Allowed-Origin"] == "events.example.com"
    assert answer.headers["WebHook-Allowed-Rate"] == "*"
    with settings(events_token="t0ken"):
        answer = alone("on_upload", "OPTIONS", PATH, headers=ask)
        assert answer.status == 401 and "WebHook-Allowed-Origin" not in answer.headers


def test_other_methods_are_not_allowed(call: Caller) -> None:
    answer = call("on_upload", "PUT", PATH, data=b"{}")
    answer.assert_error(405)
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "GET", "HEAD", "OPTIONS"}


# --- subscriptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [
    "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1",
    "https://sns.cn-north-1.amazonaws.com.cn/?Token=1", "https://sns.us-gov-west-1.amazonaws.com:443/?Token=1",
    "https://smn.cn-north-4.myhuaweicloud.com/smn/subscription/confirm?token=1"])
def test_the_makers_own_hosts_are_known(url: str) -> None:
    assert is_makers_own(url)


@pytest.mark.parametrize("url", [
    "http://sns.eu-west-1.amazonaws.com/", "https://sns.eu-west-1.amazonaws.com.evil.example/",
    "https://evil.example/sns.eu-west-1.amazonaws.com", "https://sns.eu-west-1.amazonaws.com@evil.example/",
    "https://evil.example#@sns.eu-west-1.amazonaws.com/", "https://evil.example\\@sns.eu-west-1.amazonaws.com/",
    "https://user:word@sns.eu-west-1.amazonaws.com/", "https://sns.eu-west-1.amazonaws.com:8443/",
    "https://127.0.0.1/", "https://[::1]/", "https://localhost/",
    "https://bucket.s3.eu-west-1.amazonaws.com/", "https://sns.evil.example/?x=amazonaws.com",
    "https://ec2-1-2-3-4.eu-west-1.compute.amazonaws.com/", "https://sns.eu-west-1.amazonaws.com:x/",
    "sns.a.amazonaws.com",
    "https://sns.x.y.amazonaws.com/", "https://sns.eu-west-1.amazonaws.com\r\nHost: x/", "file:///etc/passwd", "",
    "https://ｓns.eu-west-1.amazonaws.com/", "https://sns.eu-west-1.amazonaws.com /", "https://169.254.169.254/latest"])
def test_no_other_host_is_called_to_confirm_a_subscription(alone: Caller, url: str) -> None:
    assert not is_makers_own(url)
    body = load("sns_confirmation") | {"SubscribeURL": url}
    (ignored,) = send(alone, body).data["ignored"]
    assert "not called" in ignored["reason"] or ignored["reason"] == "the record lacks SubscribeURL"


# --- what is down -----------------------------------------------------------------------------------------------------


def test_while_the_store_is_away_the_sender_is_to_try_again(alone: Caller, store: Store,
                                                             upload: Callable[..., str]) -> None:
    body = minio(upload("intel/away/model.onnx"))
    with settings(store_url="mongodb://127.0.0.1:9/x?serverSelectionTimeoutMS=200", dependency_timeout_s="0.3"):
        send(alone, body).assert_error(503)
    assert send(alone, body).data["created"]


def test_while_the_files_are_away_the_sender_is_to_try_again(alone: Caller, store: Store,
                                                             upload: Callable[..., str]) -> None:
    body = minio(upload("intel/away2/model.onnx"))
    with settings(files_url="minio://k:s@127.0.0.1:9", dependency_timeout_s="0.3"):
        send(alone, body).assert_error(503)
        send(alone, load("oss", KEY="intel/a+b.onnx")).assert_error(503)
        assert send(alone, minio("x", "s3:ObjectRemoved:Delete")).data["ignored"]  # needs neither
    assert send(alone, body).data["created"]


def test_a_record_that_fails_for_now_does_not_keep_the_others_waiting(
        alone: Caller, store: Store, upload: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [upload(f"intel/partly/{number}.onnx") for number in range(3)]
    stat, down = get_files().stat, [True]

    def sometimes(path: str) -> Any:
        if down[0] and "/1.onnx" in path:
            raise Unavailable("files")
        return stat(path)

    monkeypatch.setattr(get_files(), "stat", sometimes)
    body = {"Records": [load("s3", KEY=key)["Records"][0] for key in keys]}
    send(alone, body).assert_error(503)
    down[0] = False
    data = send(alone, body).data
    assert [len(data["created"]), len(data["existing"])] == [1, 2]


def test_a_record_that_fails_for_good_is_told_and_does_not_come_again(
        alone: Caller, store: Store, upload: Callable[..., str], monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    """As a damaged document under its key would be: MinIO would send it every three seconds, and nothing after it."""
    keys = [upload(f"intel/broken/{number}.onnx") for number in range(2)]
    stat = get_files().stat

    def broken(path: str) -> Any:
        if "/0.onnx" in path:
            raise ZeroDivisionError
        return stat(path)

    caplog.set_level("INFO")
    monkeypatch.setattr(get_files(), "stat", broken)
    data = send(alone, {"Records": [load("s3", KEY=key)["Records"][0] for key in keys]}).data
    assert len(data["created"]) == 1 and "internal error" in data["ignored"][0]["reason"]
    assert "ZeroDivisionError" in caplog.text and "ZeroDivisionError" not in str(data)
