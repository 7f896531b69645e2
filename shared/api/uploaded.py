"""The work behind POST /events/storage.

Who sends is a program that nobody watches. MinIO sends an event that was refused every three seconds for ever, and lets
all later ones wait behind it. So whatever will not be better next time is answered with 200 and the reason, which the
log tells too; 503 means: try again. 400 is for what no object store sends.
"""
from __future__ import annotations

import logging

import flask

from shared.api.event_sender import check_token
from shared.api.http import Probe
from shared.api.http_errors import json_response, language_of
from shared.api.json_body import read_body
from shared.api.subscriptions import confirm
from shared.errors import InvalidRequest
from shared.schema import Model
from shared.settings import get_settings
from shared.texts import Text
from shared.triggers.arrivals import Outcome, take_all
from shared.triggers.events import read_events
from shared.validation_messages import printable

logger = logging.getLogger(__name__)

READS = Text("对象存储自己的通知格式", "the object store's own form of an event")
WELCOME = Text("可以接收通知", "events are welcome")


class Converted(Model):
    """An object (`bucket/key`) and the tasks that convert it."""

    object: str
    task_ids: list[str]


class Ignored(Model):
    """What a record is about, as far as it says, and why it starts nothing."""

    object: str
    reason: Text


class UploadsSeen(Model):
    """`created`: objects whose tasks this event has started. `existing`: objects whose tasks were there already, by an
    earlier event or by the sweep. `confirmed`: topics that may send here from now on."""

    created: list[Converted]
    existing: list[Converted]
    ignored: list[Ignored]
    confirmed: list[str]


def take_events(request: flask.Request) -> UploadsSeen:
    """Start what the body's records name.

    Raises:
        Unauthorized: the token is missing or wrong.
        PayloadTooLarge, InvalidRequest: no object store sends such a body.
        Unavailable, Busy: store or files did not answer; the sender is to try again.
    """
    check_token(request)
    body = read_body(request, get_settings().max_body_bytes)
    try:
        records = read_events(body, {name.lower(): value for name, value in request.headers.items()})
    except InvalidRequest as error:
        logger.warning("an event is refused: %s; it begins with %s", error, printable(body[:80].decode("latin-1"), 80))
        raise
    outcomes = take_all(records)
    confirmed, ignored = [], [Ignored(object=outcome.name, reason=Text(outcome.ignored.zh, outcome.ignored.en))
                              for outcome in outcomes if outcome.ignored]
    for outcome in outcomes:
        if outcome.subscription and (why := confirm(outcome.subscription)):
            ignored.append(Ignored(object=printable(outcome.name, 200), reason=why))
        elif outcome.subscription:
            confirmed.append(printable(outcome.name, 200))
    return UploadsSeen(created=_tasks(outcomes, True), existing=_tasks(outcomes, False), ignored=ignored,
                       confirmed=confirmed)


def _tasks(outcomes: list[Outcome], is_new: bool) -> list[Converted]:
    return [Converted(object=outcome.name, task_ids=list(outcome.task_ids)) for outcome in outcomes
            if outcome.task_ids and outcome.is_new is is_new]


def _answer_probe(request: flask.Request) -> flask.Response:
    """Whoever looks before sending: MinIO by HEAD (releases before 2023-05-27), people by GET, senders of CloudEvents
    by OPTIONS with their name, who send once it is named in the answer ("HTTP 1.1 Web Hooks for Event Delivery", 4).
    """
    if request.method != "OPTIONS":
        return json_response(request, {"success": True, "message": WELCOME.say(language_of(request)), "data": None})
    origin = request.headers.get("WebHook-Request-Origin", "")
    if not origin:
        return flask.Response(status=204)
    check_token(request)
    return flask.Response(status=200, headers={"WebHook-Allowed-Origin": printable(origin, 253),
                                               "WebHook-Allowed-Rate": "*"})


PROBE = Probe(WELCOME, _answer_probe)
