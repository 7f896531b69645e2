"""The table in code is the table that the model has checked: each transition is tried on every document of the model.

A document of the model is made a task, the code's change is applied to it, and the result is made a document again. A
change in the code alone or in the model alone fails here. tests/unit/test_transitions.py holds the fields that the
model does not have.
"""
from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared import transitions
from shared.documents import StageRecord, Status, StoredFailure, Task, TaskResult
from shared.store import Claim
from shared.transitions import Change
from tests.contract.store_model import apply, make_task
from tests.protocol.rules import BEATS_THAT_TELL, MAX_RETRIES, STAGES, TERMINAL, Doc, Holder, Rules, Seen

EPOCH = 5
OWNERS = ("A", "B")
RECORDS = [StageRecord(name=f"stage {n}", key=f"k{n}", output_digest=f"d{n}", seconds=1.0, cached=False)
           for n in range(STAGES)]
# The model's stages are those before publishing, which is recorded together with the end of the task.
PUBLISH = StageRecord(name="publish", key="", output_digest="", seconds=1.0, cached=False)
RESULT = TaskResult(path="b/x", files=["b/x"], sha256="ab" * 32, size_bytes=1, manifest_path="b/x.json")
BROKEN = StoredFailure(code="killed", message="the stage's process was killed")
CANCELLED = StoredFailure(code="cancelled", message="cancelled by a client")


def is_possible(doc: Doc) -> bool:
    """Only a failed task is a cancelled one."""
    return doc.status == "failed" or not doc.cancelled


DOCS = [doc for values in itertools.product(Status, (None, *OWNERS), (0, 1), range(STAGES + 1), range(MAX_RETRIES + 1),
                                            (False, True)) if is_possible(doc := Doc(*values))]
HOLDERS = [Holder(*values) for values in itertools.product(OWNERS, (True, False), range(STAGES + 1))]
SEEN = [Seen(*values) for values in itertools.product(OWNERS, (True, False), (0, 1), Status, range(MAX_RETRIES + 1))]


def to_task(doc: Doc) -> Task:
    error = (CANCELLED if doc.cancelled else BROKEN) if doc.status == "failed" else None
    return make_task(status=doc.status, owner=doc.owner, epoch=EPOCH, beat=doc.beat, stages=RECORDS[:doc.done],
                     retries=doc.retries, error=error)


TASKS = {doc: to_task(doc) for doc in DOCS}


def to_doc(task: Task) -> Doc:
    return Doc(task.status, task.owner, task.beat % 2, sum(record.name != "publish" for record in task.stages),
               task.retries, task.error is not None and task.error.code == "cancelled")


def epoch_of(actor: Holder | Seen) -> int:
    return EPOCH if actor.newest else EPOCH - 1


def by_owner(make: Callable[[str, int, list[StageRecord]], Change]) -> Callable[[Holder], Change]:
    return lambda me: make(me.owner, epoch_of(me), RECORDS[:me.done])


def reap(seen: Seen) -> Change:
    claim = Claim("any", seen.owner, epoch_of(seen), seen.beat, Status(seen.status), seen.retries)
    return transitions.reap(claim, max_retries=MAX_RETRIES, delay_s=0.0)


def by_nobody(make: Callable[[], Change]) -> Callable[[None], Change]:
    return lambda _: make()


# Each transition of the code, and those who may ask for it.
CHANGES: dict[str, tuple[Callable[[Any], Change], list[Any]]] = {
    "claim": (transitions.claim, list(OWNERS)),
    "beat": (by_owner(lambda who, epoch, _: transitions.beat(who, epoch)), HOLDERS),
    "begin_stage": (by_owner(lambda who, epoch, _: transitions.begin_stage(who, epoch, "stage 1", 1.0, 1.0)), HOLDERS),
    # An owner commits when a stage has ended, so it has at least one.
    "commit_stages": (by_owner(lambda who, epoch, done: transitions.commit_stages(who, epoch, done, 1.0)),
                      [me for me in HOLDERS if me.done]),
    "wait": (by_owner(lambda who, epoch, _: transitions.wait(who, epoch, "stage")), HOLDERS),
    "end_wait": (by_owner(lambda who, epoch, _: transitions.end_wait(who, epoch)), HOLDERS),
    "note_outage": (by_owner(lambda who, epoch, _: transitions.note_outage(who, epoch, 9.0)), HOLDERS),
    "park": (by_owner(lambda who, epoch, _: transitions.park(who, epoch)), HOLDERS),
    "release": (by_owner(lambda who, epoch, _: transitions.release(who, epoch)), HOLDERS),
    "complete": (by_owner(lambda who, epoch, done: transitions.complete(who, epoch, RESULT, [*done, PUBLISH])),
                 HOLDERS),
    "fail": (by_owner(lambda who, epoch, _: transitions.fail(who, epoch, BROKEN)), HOLDERS),
    "pause": (by_nobody(transitions.pause), [None]),
    "resume": (by_nobody(transitions.resume), [None]),
    "cancel": (by_nobody(transitions.cancel), [None]),
    "retry": (by_nobody(transitions.retry), [None]),
    "reap": (reap, SEEN),
    "mark_announced": (lambda newest: transitions.mark_announced(EPOCH if newest else EPOCH - 1), [True, False]),
}


def expected(name: str, doc: Doc, actor: Any) -> Doc | None:
    """What the model makes of the document."""
    if name == "mark_announced":  # the model has no doorbells: a mark may change nothing that it has
        return doc if actor else None
    if name in BEATS_THAT_TELL:
        return Rules().beat(doc, actor) if doc.status in BEATS_THAT_TELL[name] else None
    rule = getattr(Rules(), name)
    return rule(doc) if actor is None else rule(doc, actor)


def differences(name: str) -> Iterator[str]:
    make, actors = CHANGES[name]
    for actor in actors:
        change = make(actor)
        for doc, task in TASKS.items():
            after = apply(task, change)
            seen, wanted = to_doc(after) if after else None, expected(name, doc, actor)
            if seen != wanted:
                yield f"{name} by {actor} of {doc}: the code makes {seen}, the model {wanted}"
            elif after and after.epoch - task.epoch != (name == "claim"):
                yield f"{name} by {actor} of {doc}: the epoch is {after.epoch}"


@pytest.mark.parametrize("name", CHANGES)
def test_a_transition_of_the_code_is_the_models(name: str):
    assert list(differences(name)) == []


def test_the_model_knows_every_transition_of_the_code():
    in_code = {name for name, function in inspect.getmembers(transitions, inspect.isfunction)
               if function.__module__ == transitions.__name__ and not name.startswith("_")
               and function.__annotations__["return"] == "Change"}
    in_model = {name for name, _ in inspect.getmembers(Rules, inspect.isfunction) if not name.startswith("_")}
    assert in_code == CHANGES.keys() == in_model | BEATS_THAT_TELL.keys() | {"mark_announced"}


@pytest.mark.parametrize("name", CHANGES)
def test_every_transition_lands_on_some_documents_and_misses_others(name: str):
    make, actors = CHANGES[name]
    landed = [apply(task, make(actor)) is not None for actor in actors for task in TASKS.values()]
    assert any(landed) and not all(landed)


def test_a_task_that_has_ended_is_changed_by_a_retry_only():
    for name, (make, actors) in CHANGES.items():
        for doc in (doc for doc in DOCS if doc.status in TERMINAL and doc.owner is None):
            after = {to_doc(changed) for actor in actors if (changed := apply(TASKS[doc], make(actor)))}
            assert after <= {doc} or name == "retry"
