"""Every maker's events become objects; what is no arrival or cannot be read has a reason."""
from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from shared.errors import InvalidRequest
from shared.triggers.events import MAX_RECORDS, Arrived, Subscription, read_events
from shared.triggers.objects import StoredObject
from tests.fixtures.storage_events import AWKWARD_KEYS, FORMS, REFUSED_KEYS, Form, load

FORM = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def read(body: Any, headers: dict[str, str] | None = None) -> list[Arrived | Subscription]:
    return read_events(json.dumps(body).encode(), headers)


def read_one(body: Any, headers: dict[str, str] | None = None) -> Arrived:
    (found,) = read(body, headers)
    assert isinstance(found, Arrived)
    return found


def read_form(form: Form, key: str) -> Arrived:
    return read_one(form.body(key), form.headers(key))


@FORM
@pytest.mark.parametrize("key", AWKWARD_KEYS + REFUSED_KEYS)
def test_each_form_tells_the_object_whatever_its_name(form: Form, key: str) -> None:
    arrived = read_form(form, key)
    assert arrived.ignored is None
    keys = [found.key for found in arrived.objects]
    assert key in keys and len(keys) <= 2
    assert {(found.bucket, found.provider) for found in arrived.objects} == {(form.bucket, form.provider)}
    if form.certain:
        assert keys == [key]


@FORM
def test_the_rest_of_a_record_is_the_hint_that_it_is(form: Form) -> None:
    (found,) = read_form(form, "model.onnx").objects
    assert found.size_bytes in (4711, None) and found.version in (None, "v3rs10n", "1700000000000001")
    assert found.etag in (None, "00112233445566778899aabbccddeeff", "00112233445566778899aabbccddeeff-3")
    assert found.metadata in ({}, {"platform": "intel"})


def test_makers_spell_size_etag_version_and_metadata_in_their_own_ways() -> None:
    etag = "00112233445566778899aabbccddeeff"
    said = {name: read_form(FORMS[name], "m.onnx").objects[0] for name in FORMS}
    assert said["minio"] == StoredObject("models-in", "m.onnx", None, etag, 4711, {"platform": "intel"}, "minio")
    assert said["s3"] == StoredObject("models-in", "m.onnx", "v3rs10n", f"{etag}-3", 4711, {}, "s3")
    assert said["eventbridge"] == StoredObject("models-in", "m.onnx", "v3rs10n", etag, 4711, {}, "s3")
    assert said["gcs, binary"] == StoredObject("models-in", "m.onnx", "1700000000000001", etag, 4711,
                                               {"platform": "intel"}, "gcs")
    assert said["obs"] == StoredObject("models-in", "m.onnx", None, etag, 4711, {}, "obs")
    assert said["oss"] == StoredObject("models-in", "m.onnx", None, etag, 4711, {"platform": "intel"}, "oss")
    assert said["cos"] == StoredObject("models-in-1250000000", "m.onnx", None, etag, 4711, {"platform": "intel"}, "cos")


def minio(name: str, key: str = "in%2Fm.onnx", **fields: Any) -> dict[str, Any]:
    body = load("minio", KEY=key, PLAIN="in/m.onnx")
    body["EventName"] = body["Records"][0]["eventName"] = name
    body["Records"][0]["s3"]["object"] |= fields
    return body


@pytest.mark.parametrize("name", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
def test_each_way_to_store_an_object_is_an_arrival(name: str) -> None:
    assert read_one(minio(f"s3:ObjectCreated:{name}")).objects[0].key == "in/m.onnx"


@pytest.mark.parametrize("name", [
    "s3:ObjectCreated:PutTagging", "s3:ObjectCreated:DeleteTagging", "s3:ObjectCreated:PutRetention",
    "s3:ObjectCreated:PutLegalHold", "s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectAccessed:Get", "s3:ObjectAccessed:Head", "s3:ObjectRestore:Post", "s3:Replication:OperationNotTracked",
    "s3:BucketCreated:*"])
def test_what_is_no_arrival_is_ignored_by_its_name(name: str) -> None:
    arrived = read_one(minio(name))
    assert not arrived.objects and name in arrived.ignored.en and name in arrived.ignored.zh
    assert arrived.name == "models-in/in/m.onnx"


@pytest.mark.parametrize("name, event", [
    ("oss", "ObjectCreated:UploadPart"), ("oss", "ObjectCreated:InitiateMultipartUpload"),
    ("oss", "ObjectCreated:AppendObject"), ("oss", "ObjectRemoved:DeleteObject"), ("obs", "ObjectRemoved:Delete")])
def test_parts_and_deletions_of_other_makers_are_ignored(name: str, event: str) -> None:
    body = load(name, KEY="m.onnx")
    (record,) = body.get("Records") or body["events"]
    record["eventName"] = event
    assert event in read_one(body).ignored.en


def test_deletions_told_by_the_event_around_the_data_are_ignored() -> None:
    assert "deleted" in read_one(load("gcs", KEY="m") | {"type": "google.cloud.storage.object.v1.deleted"}).ignored.en
    assert "Object Deleted" in read_one(load("eventbridge", KEY="m") | {"detail-type": "Object Deleted"}).ignored.en


def test_a_test_message_is_ignored_also_in_its_envelope() -> None:
    body = load("s3_test")
    for sent in (body, load("sns", BODY=json.dumps(body))):
        assert read_one(sent).ignored.en == "a test message"


@FORM
def test_a_folders_mark_is_ignored(form: Form) -> None:
    arrived = read_form(form, "in/folder/")
    assert not arrived.objects and arrived.ignored.en == "the mark of a folder"


def test_cos_keys_lose_their_prefix_only_where_it_is_one() -> None:
    body = load("cos", KEY="x")
    item = body["Records"][0]["cos"]["cosObject"]
    for spelled, key in (("/1250000000/models-in/1250000000/models-in/m.onnx", "1250000000/models-in/m.onnx"),
                         ("/1250000000/other/m.onnx", "1250000000/other/m.onnx"), ("/m.onnx", "m.onnx")):
        item["key"] = spelled
        assert read_one(body).objects[0].key == key


def test_a_key_that_both_of_minios_spellings_tell_differently_may_be_either() -> None:
    body = load("minio", KEY="a%20b.onnx", PLAIN="a%20b.onnx")  # as a server that does not encode would say
    assert [found.key for found in read_one(body).objects] == ["a%20b.onnx", "a b.onnx"]


def test_each_record_of_a_body_is_read_for_itself() -> None:
    good, other = load("s3", KEY="a.onnx")["Records"][0], load("obs", KEY="b.onnx")["Records"][0]
    broken = load("s3", KEY="c.onnx")["Records"][0]
    del broken["s3"]["object"]["key"]
    found = read({"Records": [good, broken, 7, None, {"who": "knows"}, other]})
    assert [one.objects[0].key if one.objects else one.ignored.en for one in found] == [
        "a.onnx", "the record lacks s3.object.key", *["no form of event that is known here"] * 3, "b.onnx"]


def test_of_very_many_records_the_first_are_read_and_the_rest_is_told() -> None:
    record = load("s3", KEY="a.onnx")["Records"][0]
    found = read({"Records": [record] * 5000})
    assert len(found) == MAX_RECORDS + 1 and all(one.objects for one in found[:-1])
    assert "the sweep finds" in found[-1].ignored.en


def test_envelopes_in_envelopes_come_to_an_end() -> None:
    body: Any = load("s3", KEY="a.onnx")
    for _ in range(3):
        body = load("sqs", BODY=json.dumps(body))
    assert read_one(body).objects
    for _ in range(3):
        body = load("sqs", BODY=json.dumps(body))
    assert read_one(body).ignored.en == "the event is nested too deeply"


def test_many_records_in_many_envelopes_are_bounded_too() -> None:
    inner = json.dumps({"Records": [load("s3", KEY="a.onnx")["Records"][0]] * 50})
    message = load("sqs", BODY=inner)["Records"][0]
    assert len(read({"Records": [message] * 50})) == MAX_RECORDS + 1


@pytest.mark.parametrize("body", [
    {}, [], {"Records": []}, {"Records": "x"}, {"Records": [{}]}, {"events": [None]}, {"a": {"b": 1}}, "text", 3, None,
    {"EventName": 3, "Key": []}, {"Records": [{"s3": 1}]}, {"Records": [{"cos": {}}]}, {"Records": [{"obs": []}]},
    {"events": [{"oss": "x"}]}, {"Records": [{"Sns": {}}]}, {"Records": [{"eventSource": "aws:sqs"}]},
    {"specversion": "1.0"}, {"specversion": "1.0", "data": "no JSON"}, {"specversion": "1.0", "data_base64": "%%"},
    {"specversion": "1.0", "data_base64": "é"}, {"google": {"bucket": "b", "name": "n"}},
    {"Records": [{"google": {"bucket": "b", "name": "n"}, "type": 5}]},
    {"specversion": "1.0", "type": "google.cloud.storage.object.v1.finalized"}, {"detail-type": "Object Created"},
    {"Type": "Notification", "TopicArn": "arn", "Message": "hello"}, {"Type": "Notification", "TopicArn": "arn"},
    {"Type": "UnsubscribeConfirmation", "TopicArn": "arn", "Message": "bye"},
    {"Type": "SubscriptionConfirmation", "TopicArn": "arn"}, {"EventName": "s3:ObjectCreated:Put", "Key": "models-in"},
    {"Records": [{"s3": {"bucket": {"name": 1}, "object": {"key": "x"}}, "eventName": "ObjectCreated:Put"}]}])
def test_what_cannot_be_read_has_a_reason_and_never_an_error(body: Any) -> None:
    for found in read(body):
        assert isinstance(found, Arrived) and not found.objects and found.ignored.zh and found.ignored.en


OTHERS = (None, 7, 1.5, True, 10 ** 40, "x", "é", "\ud800", "\0", "%ff", "[]", "{}", [], [[]], ["x"], {}, {"x": {}})


@FORM
def test_a_form_with_any_part_of_another_kind_is_read_or_has_a_reason(form: Form) -> None:
    def damaged(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [value | {key: other} for key, item in value.items()
                    for other in (*damaged(item), *OTHERS)]
        if not value or not isinstance(value, list):
            return []
        return [[other, *value[1:]] for other in (*damaged(value[0]), None)]

    bodies = damaged(form.body("in/model.onnx"))
    assert len(bodies) > 5
    for body in bodies:
        for found in read(body, form.headers("in/model.onnx")):
            assert isinstance(found, Subscription) or found.objects or found.ignored


@pytest.mark.parametrize("body", [b"", b"   ", b"<xml/>", b"\xff\xfe", b"{", b"[" * 100_000, b"a=1&b=2"])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_events(body)


def test_data_in_base64_and_data_as_text_are_read() -> None:
    event = load("gcs", KEY="a b.onnx")
    data = event.pop("data")
    for field in ({"data_base64": base64.b64encode(json.dumps(data).encode()).decode()}, {"data": json.dumps(data)}):
        assert read_one(event | field).objects[0].key == "a b.onnx"


def test_a_topic_asks_whether_it_may_send() -> None:
    (found,) = read(load("sns_confirmation"))
    assert isinstance(found, Subscription) and found.url.startswith("https://sns.eu-west-1.amazonaws.com/?Action=Confirm")
    (found,) = read({"type": "SubscriptionConfirmation", "topic_urn": "urn:smn:x", "subscribe_url": "https://smn.example"})
    assert isinstance(found, Subscription) and (found.topic, found.url) == ("urn:smn:x", "https://smn.example")


def test_no_secret_of_a_record_is_quoted() -> None:
    arrived = read_one(load("cos", KEY="m.onnx"))
    assert "secret" not in repr(arrived)
