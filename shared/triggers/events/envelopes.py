"""What makers put around a body: topics (Amazon's SNS, OBS's SMN), queues (SQS), and the records of functions."""
from __future__ import annotations

import json
from typing import Any

from shared.errors import InvalidRequest
from shared.triggers.events.fields import Subscription, Unreadable, look, need_text

NO_JSON = ("通知不是 JSON", "the event is no JSON")


def read_json(body: bytes | str) -> Any:
    """A whole body.

    Raises:
        InvalidRequest: it is no JSON.
    """
    try:
        return json.loads(body.decode("utf-8-sig") if isinstance(body, bytes) else body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("请求体不是 JSON 格式的通知", "the body is no event: it is no JSON") from error


def read_inner(text: str) -> Any:
    """A body that is the text of another one.

    Raises:
        Unreadable: it is no JSON.
    """
    try:
        return read_json(text)
    except InvalidRequest:
        raise Unreadable("信封内的消息不是 JSON", "the message in its envelope is no JSON") from None


def read_sns(body: dict[str, Any]) -> Any:
    """What a topic's message holds, or its question whether it may send; None where the body is no topic's message.

    SNS writes `Type`, `TopicArn` and so on, SMN the same in lower case.
    """
    kind = body.get("Type") or body.get("type")
    topic = body.get("TopicArn") or body.get("topic_urn")
    if not isinstance(topic, str) or not isinstance(kind, str):
        return None
    amazon = "TopicArn" in body
    if kind == "Notification":
        return read_inner(need_text(body, "Message" if amazon else "message"))
    if kind == "SubscriptionConfirmation":
        return Subscription(topic, need_text(body, "SubscribeURL" if amazon else "subscribe_url"))
    raise Unreadable("主题消息不含对象通知", "a topic's message that holds no event")


def unwrap(record: Any) -> Any:
    """The body that a record of a list holds; None where the record is an object's own."""
    if look(record, "specversion") is not None:
        return record
    if isinstance(look(record, "Sns"), dict):
        return read_inner(need_text(record, "Sns", "Message"))
    if look(record, "eventSource") == "aws:sqs":
        return read_inner(need_text(record, "body"))
    return None
