"""An event of a task as a CloudEvent, read by the public library."""
from __future__ import annotations

import json
import math

import pytest
from cloudevents.http import from_json

from shared import transitions
from shared.announcements.cloud_events import to_cloud_event
from shared.documents import StoredEvent, Task
from tests.contract.store_model import make_task

TASK = make_task(labels={"名": "é"}, group_id="group_1", output_path="results/模型.xml")


def event(event_type: str = "stage_finished", at: float = 1_700_000_000.25, **data: object) -> StoredEvent:
    return StoredEvent(type=event_type, at=at, data=data, seq=7)


def test_the_public_library_reads_it() -> None:
    message = to_cloud_event(TASK, event(stage="compile", seconds=1.5, cached=False))
    assert (message.type, message.id) == ("stage_finished", f"{TASK.id}/7")
    read = from_json(message.body)
    assert dict(read.get_attributes()) == {
        "specversion": "1.0", "id": "7", "source": f"/tasks/{TASK.id}", "type": "task.stage_finished",
        "time": "2023-11-14T22:13:20.250Z", "datacontenttype": "application/json"}
    assert read.get_data() == {
        "task_id": TASK.id, "seq": 7, "task_type": TASK.task_type, "platform": "intel", "input_path": TASK.input_path,
        "output_path": "results/模型.xml", "group_id": "group_1", "labels": {"名": "é"},
        "event": {"stage": "compile", "seconds": 1.5, "cached": False}}


def test_it_is_the_same_whatever_has_become_of_the_task() -> None:
    changed = Task.model_validate(TASK.model_dump() | {
        "status": "failed", "epoch": 3, "event_count": 9, "told": 6, "finished_at": 2.0, "progress": 40.0,
        "stages": [], "log_lines": ["x"]})
    assert to_cloud_event(changed, event()) == to_cloud_event(TASK, event())


@pytest.mark.parametrize("at", [0.0, -62_135_596_800.0, 253_402_300_799.9, 1.0005])
def test_any_time_that_a_document_may_have_is_told(at: float) -> None:
    assert from_json(to_cloud_event(TASK, event(at=at)).body)["time"].endswith("Z")


def test_what_json_has_no_words_for_keeps_no_event_back() -> None:
    body = json.loads(to_cloud_event(TASK, event(a=math.nan, b=math.inf, c=object())).body)
    assert body["data"]["event"]["a"] is None and body["data"]["event"]["b"] is None


def test_the_first_event_of_a_task_has_no_data_of_its_own() -> None:
    first = transitions.created(TASK)
    body = json.loads(to_cloud_event(TASK, StoredEvent(**first.model_dump(), seq=1)).body)
    assert (body["type"], body["id"], body["data"]["event"]) == ("task.created", "1", {})
