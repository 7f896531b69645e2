"""An upload is enough to be told of its result: a real conversion, which a rule starts and which is announced where the
rule says."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pika
import pytest
from standardwebhooks.webhooks import Webhook

from tests.fixtures.services import Service
from tests.integration.announcing_kit import SECRET, Receiver, receiving

RULES = '''
built_in = false
[[rule]]
name = "drop"
bucket = "{bucket}"
target = "intel"
parameters = { input_shape = [1, 3, 48, 96] }
labels = { team = "vision" }
callback_url = "{url}"
'''


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def listened(profile: dict[str, str]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The CloudEvents of ends that a listener of its own queue gets; none without a broker."""
    with ExitStack() as stack:
        if not profile:
            yield list
            return
        connection = pika.BlockingConnection(pika.URLParameters(profile["queue_url"]))
        stack.callback(connection.close)
        channel = connection.channel()
        channel.exchange_declare("mc.events.v1", "topic", durable=True)
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "mc.events.v1", "task.completed")
        found: list[dict[str, Any]] = []

        def take() -> list[dict[str, Any]]:
            while (body := channel.basic_get(queue, auto_ack=True)[2]) is not None:
                found.append(json.loads(body))
            return found

        yield take


def test_an_upload_alone_has_its_result_announced_once_and_verifiably(
        profile: dict[str, str], make_service: Callable[..., Service], bucket: str, models: dict[str, Path],
        tmp_path: Path, receiver: Receiver, listened: Callable[[], list[dict[str, Any]]]) -> None:
    (tmp_path / "rules.toml").write_text(RULES.replace("{bucket}", f"{bucket}-in").replace("{url}", receiver.url))
    service = make_service(triggers=str(tmp_path / "rules.toml"), triggers_every_s="1", callback_secret=SECRET,
                           callback_allow=receiver.place, **profile)
    path = f"{bucket}-in/检测 器+1.onnx"
    service.files().upload(models["cls"], path)
    [received] = receiver.wait_for(1, 240)
    message = Webhook(SECRET).verify(received.body, received.headers)
    assert message["type"] == "task.completed"
    told = message["data"]
    assert (told["input_path"], told["status"], told["error_code"], told["labels"]) == (
        path, "completed", None, {"team": "vision"})
    [announced] = service.wait(lambda: [one for one in service.client.query_task(told["task_id"])["announcements"]
                                        if one["state"] == "delivered"])
    assert (announced["id"], announced["attempts"], announced["answer"]) == (received.id, 1, 204)
    assert service.client.query_task(told["task_id"])["status"] == "completed"
    if profile:
        [event] = service.wait(lambda: [one for one in listened() if told["task_id"] in one["source"]])
        assert (event["type"], event["data"]["task_id"]) == ("task.completed", told["task_id"])
    assert receiver.ids == [received.id]
