"""What has to hold on every step of publishing: see `publishing_model`."""
from __future__ import annotations

from tests.protocol.publishing_states import INPUT, LIVE, Doc, Object, Scenario, State
from tests.protocol.search import Step


def find_violation(state: State, step: Step, scenario: Scenario) -> str:
    """What is wrong with this step, or ""."""
    after: State = step.state
    if step.kind in ("claim", "delete"):
        for name, (old, new) in enumerate(zip(state.objects, after.objects, strict=True)):
            if old is not None and old != new and (broken := _harm(state, step, scenario, name, old, new)):
                return f"{broken}: object {name}"
    if step.kind == "complete" and (broken := _not_whole(after, scenario, step.slot)):
        return broken
    first, second = scenario.tasks
    both_live = all(doc.status in LIVE for doc in after.docs)
    if both_live and first.target != second.target and set(first.names) & set(second.names):
        return "apart: two targets will write the same object"
    for number, (spec, doc) in enumerate(zip(scenario.tasks, after.docs, strict=True)):
        if spec.own_folder and doc.status == "completed" and any(after.objects[name] is None for name in spec.names):
            return "result: a completed task is there without its objects"
        ended = doc.status == "gone" and all(claim.task != number for claim in after.claims)
        if spec.own_folder and ended and after.faults == scenario.faults and any(
                object_ and object_.mark and object_.mark.task == number for object_ in after.objects):
            return "clean: a deleted task's object is left"
    return ""


def _harm(state: State, step: Step, scenario: Scenario, name: int, old: Object, new: Object | None) -> str:
    """A claim or a delete has put `new` in the place of `old`."""
    mark = old.mark
    if step.kind == "delete":
        return "" if mark and mark.task == step.slot else "result: removed with another task" if mark else (
            "foreign: removed with a task")
    now: State = step.state
    actor = next(claim for claim in state.claims if state.claims.count(claim) > now.claims.count(claim))
    spec = scenario.tasks[actor.task]
    if old == INPUT:
        return "input: replaced by a result"
    if mark is None:
        seen = actor.seen[spec.names.index(name)]
        return "" if new and spec.overwrite and seen == old else "foreign: replaced or removed"
    if mark.task == actor.task:
        fine = mark.epoch <= actor.epoch or (new is not None and new.content == old.content)
        return "" if fine else "fenced: an old claim replaced or removed a later one's"
    if new is None:
        return "result: removed by another task's claim"
    if mark.task >= len(state.docs):  # an earlier task's, which had completed
        return "" if spec.overwrite or mark.target == spec.target else "result: replaced by another target"
    doc, owner = state.docs[mark.task], scenario.tasks[mark.task]
    if doc == Doc("running", mark.epoch) and any(
            claim[:2] == mark[:2] and claim.phase in ("put", "again") for claim in state.claims):
        return "settled: a living task's object was replaced"
    if doc == Doc("completed", mark.epoch) and (
            owner.own_folder or not (spec.overwrite or mark.target == spec.target)):
        return "result: replaced by a task that may not"
    return ""


def _not_whole(state: State, scenario: Scenario, number: int) -> str:
    """Whether a task has completed without one of its objects."""
    spec, doc = scenario.tasks[number], state.docs[number]
    for k, name in enumerate(spec.names):
        there = state.objects[name]
        if there is None:
            return f"whole: completed without object {name}"
        if there.mark and there.mark.task == number and there.content != spec.content_of(number, doc.epoch, k):
            return f"whole: completed with an older content of object {name}"
    return ""
