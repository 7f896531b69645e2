"""A glance at a task: how it stands, without what may be long in its document."""
from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from shared import transitions
from shared.documents import FORM, LONG_FIELDS, Announcement, Source, Status, StoredFailure, Task
from shared.errors import UnreadableDocument
from shared.store import Glance, Store
from shared.store.mongo import MongoStore
from shared.store.sqlite import SqliteStore
from tests.contract.store_changes import EPOCH, FETCH, OWNER, PUBLISH, RESULT
from tests.contract.store_model import TIMEOUT_S, make_task
from tests.contract.store_raw import edit_raw, get_raw, put_text
from tests.contract.test_store import ODD_PARAMETERS, ODD_TEXT
from tests.contract.test_store_unreadable import DAMAGES, GONE, damage
from tests.fixtures.mongo import fresh_database

pytest_plugins = ["tests.contract.store_backends"]

SOURCE = Source(bucket="models", key="a.onnx", etag="e", rule="r", request_key="k")
LONG: dict[str, Any] = {
    "log_lines": ["载入"], "stages": [FETCH, PUBLISH], "result": RESULT,
    "error": StoredFailure(code="cancelled", message="m"),
    "announcements": [Announcement(id="a", seq=1, type="completed", at=1.0)]}


@pytest.mark.parametrize("status", Status)
def test_a_glance_tells_the_status_of_a_long_document(store: Store, status: Status):
    task = make_task(status=status, parameters=ODD_PARAMETERS, labels={"a": ODD_TEXT}, **LONG)
    store.insert(task, [transitions.created(task)])
    assert store.glance(task.id) == Glance(task.id, status)
    assert store.get(task.id).stages == LONG["stages"]  # and leaves it as it is


def test_a_glance_at_a_sound_document_is_one_small_read(mongo_java_server_url: str):
    """Of MongoDB: the server looks at the document's form."""
    answers: list[dict[str, Any]] = []

    class Listener(CommandListener):
        def started(self, event: CommandStartedEvent) -> None: ...

        def succeeded(self, event: CommandSucceededEvent) -> None:
            if event.command_name == "find":
                answers.extend(event.reply["cursor"]["firstBatch"])

        def failed(self, event: CommandFailedEvent) -> None: ...

    with fresh_database(mongo_java_server_url) as url, MongoClient(url, event_listeners=[Listener()]) as client:
        store = MongoStore(url, TIMEOUT_S, client=client)
        for status in Status:
            task = make_task(status=status, parameters=ODD_PARAMETERS, labels={"a": ODD_TEXT}, idempotency_key="k"
                             + status, group_id="g", owner=OWNER, epoch=EPOCH, source=SOURCE, **LONG)
            store.insert(task, [transitions.created(task)])
            assert store.glance(task.id) == Glance(task.id, status)
            assert answers == [{"_id": task.id, "status": status.value}]
            answers.clear()


def test_there_is_no_glance_at_what_is_not_there(store: Store):
    task = make_task()
    assert store.glance(task.id) is None
    store.insert(task)
    store.delete(task.id)
    assert store.glance(task.id) is None


def test_a_glance_sees_the_last_change(store: Store):
    task = make_task()
    store.insert(task)
    store.update(task.id, transitions.claim("w1"))
    assert store.glance(task.id).status is Status.RUNNING
    store.update(task.id, transitions.pause())
    assert store.glance(task.id).status is Status.PAUSED


def test_every_long_field_has_a_default_without_which_a_glance_could_not_be_read():
    assert LONG.keys() == set(LONG_FIELDS)
    assert not any(Task.model_fields[name].is_required() for name in LONG_FIELDS)


@pytest.mark.parametrize("name", [name for name, damages in DAMAGES.items() if not set(damages) & set(LONG_FIELDS)])
def test_a_damaged_document_is_told_as_by_who_reads_all_of_it(store: Store, name: str):
    task = make_task()
    store.insert(task)
    damage(store, task.id, DAMAGES[name])
    with pytest.raises(UnreadableDocument) as whole:
        store.get(task.id)
    with pytest.raises(UnreadableDocument) as glance:
        store.glance(task.id)
    assert (glance.value.kind, glance.value.id, str(glance.value)) == ("task", task.id, str(whole.value))


@pytest.mark.parametrize("field", LONG_FIELDS)
@pytest.mark.parametrize("value", ["x", [{"title": "fetch"}], {"objects": []}, GONE],
                         ids=["text", "list", "object", "gone"])
def test_damage_in_what_is_not_read_hides_no_status(store: Store, field: str, value: Any):
    task = make_task(status="completed", **LONG)
    store.insert(task)
    damage(store, task.id, {field: value})
    before = get_raw(store, task.id)
    assert store.glance(task.id) == Glance(task.id, Status.COMPLETED)
    assert get_raw(store, task.id) == before


def test_fields_of_another_version_are_read_past_but_not_a_later_form(store: Store):
    task = make_task()
    store.insert(task)
    edit_raw(store, task.id, webhook={"a.b": [1]})
    assert store.glance(task.id).status is Status.PENDING
    edit_raw(store, task.id, form=FORM + 1)
    with pytest.raises(UnreadableDocument, match="of a later version"):
        store.glance(task.id)


@pytest.mark.parametrize("text", [b"[]", b"null", b'"x"', b"1", b'{"id": "\xff"}', b'{"stages": "\xff"}'])
def test_text_that_is_no_document_is_told_so(tmp_path, text: bytes):
    store = SqliteStore(str(tmp_path / "tasks.db"), 10.0)
    task = make_task()
    store.insert(task)
    put_text(store, task.id, text)
    with pytest.raises(UnreadableDocument):
        store.glance(task.id)
    store.close()
