"""The checker of the chaos runs: silent on a right history, and it finds each kind of mistake in a wrong one."""
from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from shared.documents import StageRecord, Status, StoredEvent, StoredFailure, Task, TaskResult
from tests.chaos.checker import check
from tests.chaos.history import Call, History, Listing
from tests.chaos.plan import STAGE_NAMES
from tests.chaos.replay import replay
from tests.chaos.scenario import EMBEDDED_FAULTS, FOCUS, PROFILES, SERVICE_FAULTS, draw
from tests.contract.store_model import make_task

ID = "task_1"
MODEL: dict[str, Any] = {"number": 1, "refused": False}
CONTENT = json.dumps(MODEL).encode()
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILES = [f"results/{ID}/m.xml", f"results/{ID}/m.bin"]
MANIFEST = f"results/{ID}/m.manifest.json"
# w1 is paused and parks, w2 goes on after the resume and completes.
LIFE = [("created", {}), ("claimed", {"worker": "w1"}), ("stage_started", {"stage": "fetch"}), ("paused", {}),
        ("stage_finished", {"stage": "fetch"}), ("parked", {"worker": "w1"}), ("resumed", {}),
        ("claimed", {"worker": "w2"}), ("stage_finished", {"stage": "publish"}), ("completed", {})]


def events_of(*kinds: tuple[str, dict[str, Any]]) -> list[StoredEvent]:
    """One a second, from second 1 on."""
    return [StoredEvent(seq=seq, type=kind, at=float(seq), data=data) for seq, (kind, data) in enumerate(kinds, 1)]


def done_task(**fields: Any) -> Task:
    stages = [StageRecord(name=name, key=name, output_digest=name, seconds=0.1, cached=False) for name in STAGE_NAMES]
    result = TaskResult(path=FILES[0], files=FILES, sha256=DIGEST, size_bytes=2, manifest_path=MANIFEST)
    return make_task(**{"id": ID, "status": Status.COMPLETED, "epoch": 2, "stages": stages, "result": result, **fields})


def call(action: str, at: float, outcome: bool | None = True, status: int | None = 200) -> Call:
    """Sent half a second before `at`, answered half a second after it."""
    return Call(0, action, (ID,), at - 0.5, at + 0.5, status, {ID: outcome})


def written(at: float, events: list[str], count: int, *, worker: str = "w1", epoch: int = 1, beat: int = 0,
            stages: tuple[str, ...] = (), claims: bool = False, outcome: str = "hit", **fields: Any) -> dict[str, Any]:
    """A journal's line: `worker` wrote for its claim `epoch`."""
    after = {"status": "running", "owner": worker, "epoch": epoch, "beat": beat, "event_count": count,
             "stages": dict.fromkeys(stages, "digest")}
    return {"at": at, "process": worker, "pid": 1, "what": "update", "task": ID, "events": events, "claims": claims,
            "lease_epoch": None if claims else epoch, "owner": None if claims else worker, "outcome": outcome,
            "after": after, **fields}


def ran(at: float, stage: str, epoch: int) -> dict[str, Any]:
    return {"at": at, "what": "began", "task": ID, "epoch": epoch, "stage": stage, "worker": "w1", "pid": 1}


def right(**changes: Any) -> History:
    """A history without a mistake, but for `changes` of its fields."""
    history = History(
        calls=[call("create", 1.0), call("pause", 4.0), call("resume", 7.0), call("pause", 9.5, False, 400)],
        journal=[written(2.0, ["claimed"], 2, claims=True),
                 written(5.0, ["stage_finished"], 5, beat=1, stages=("fetch",)),
                 written(8.0, ["claimed"], 8, worker="w2", epoch=2, stages=("fetch",), claims=True)],
        counter=[ran(2.5, "prepare", 1), ran(8.5, "prepare", 2)],
        models={ID: MODEL}, documents={ID: done_task()}, events={ID: events_of(*LIFE)},
        listings=[Listing("", [ID], 1), Listing("completed", [ID], 1), Listing("failed", [], 0)],
        objects={**dict.fromkeys(FILES, CONTENT), MANIFEST: b"{}", "cache/blobs/ab": b"x",
                 "cache/notices/ab.json": b"{}", "cache/housekeeping/turn.json": b"{}"})
    return replace(history, **changes)


def broken(history: History) -> dict[str, str]:
    """The invariants that the history breaks, with the first thing that is said of each."""
    found: dict[str, str] = {}
    for violation in check(history):
        found.setdefault(violation.invariant, violation.text)
    return found


def gone(*calls: Call, **changes: Any) -> History:
    """The task is not there any more."""
    return right(**{"calls": [call("create", 1.0), *calls], "documents": {}, "events": {}, "journal": [], "counter": [],
                    "listings": [Listing("", [], 0)], "objects": {}, **changes})


def failed(code: str) -> StoredFailure:
    return StoredFailure(code=code, message="")


def test_a_right_history_is_accepted():
    assert broken(right()) == {}


def test_a_deleted_task_may_be_gone_and_one_whose_delete_was_not_answered_may_be_there():
    assert broken(gone(call("delete", 5.0))) == {}
    assert broken(right(calls=[*right().calls, call("delete", 9.0, None, 503)])) == {}


def test_a_task_that_vanishes_is_found():
    assert "nobody deleted it" in broken(gone())["every task ends"]
    assert "nobody deleted it" in broken(gone(call("delete", 5.0, False)))["every task ends"]


def test_a_deleted_task_that_is_there_is_found():
    history = right(calls=[*right().calls, call("delete", 9.0)])
    assert "was deleted, and is there" in broken(history)["every task ends"]


def test_a_task_that_never_ends_is_found():
    waiting = make_task(id=ID, status=Status.PENDING)
    history = right(documents={ID: waiting}, events={ID: events_of(("created", {}))}, objects={}, journal=[],
                    calls=[call("create", 1.0)], listings=[])
    assert broken(history) == {"every task ends": "the task never ended: it is pending, owned by None"}


CANCELLED = [*LIFE[:3], ("cancelled", {})]


@pytest.mark.parametrize(("life", "why"), [
    ([*LIFE[:3], ("claimed", {"worker": "w2"})], "w2 claimed what w1 owned"),
    ([*LIFE[:6], ("claimed", {"worker": "w2"})], "a paused task was claimed"),
    ([*LIFE[:5], ("stage_finished", {}), ("completed", {})], "the task was paused"),
    ([*LIFE[:4], ("failed", {"code": "timeout"})], "the task was paused"),
    ([*CANCELLED, ("completed", {})], "the task was cancelled"),
    ([*CANCELLED, ("stage_finished", {})], "the task was cancelled"),
    ([*CANCELLED, ("resumed", {})], "the task was failed"),
    ([*LIFE, ("cancelled", {})], "the task was completed"),
    ([*LIFE, ("retried", {})], "the task was completed"),
    ([*LIFE[:3], ("parked", {"worker": "w1"})], "the task was running"),
    ([*LIFE[:4], ("parked", {"worker": "w2"})], "w2 wrote to what w1 owned"),
    ([*LIFE[:3], ("reaped", {"worker": "w2"})], "w2 wrote to what w1 owned"),
    ([*LIFE[:3], ("released", {"worker": "w1"}), ("stage_started", {})], "nobody owned the task"),
    ([*LIFE[:3], ("released", {"worker": "w1"}), ("failed", {})], "nobody owned the task"),
    (LIFE[1:], "the first event is not created"),
])
def test_events_that_the_table_does_not_allow_are_found(life: list[tuple[str, dict[str, Any]]], why: str):
    assert why in broken(right(events={ID: events_of(*life)}))["events follow the table"]


@pytest.mark.parametrize("life", [
    [*LIFE[:3], ("reaped", {"worker": "w1"}), ("failed", {"code": "worker_lost"}), ("retried", {}), *LIFE[1:]],
    [*LIFE[:3], ("released", {"worker": "w1"}), ("claimed", {"worker": "w1"}), ("something new", {})],
    [*CANCELLED, ("retried", {}), ("cancelled", {}), ("retried", {}), *LIFE[1:]],
    [*LIFE[:4], ("resumed", {}), ("paused", {}), ("reaped", {"worker": "w1"})],
])
def test_every_walk_through_the_table_is_allowed(life: list[tuple[str, dict[str, Any]]]):
    assert replay(events_of(*life)).broken == ""


@pytest.mark.parametrize("fields", [{"status": Status.FAILED, "error": failed("cancelled"), "result": None},
                                    {"owner": "w2"}, {"epoch": 3}])
def test_a_document_that_is_not_where_its_events_lead_is_found(fields: dict[str, Any]):
    assert "by its events it is completed" in broken(right(documents={ID: done_task(**fields)}))[
        "events follow the table"]


def test_the_journal_of_a_deleted_task_is_replayed_as_far_as_it_has_no_gap():
    def deleted(*kinds: str) -> History:
        lines = [written(float(n), [kind], n, claims=kind == "claimed", worker=f"w{n}", epoch=n) for n, kind in
                 enumerate(kinds, 1) if kind]
        return gone(call("delete", 9.0), journal=lines)

    assert "w3 claimed what w2 owned" in broken(deleted("created", "claimed", "claimed"))["events follow the table"]
    assert broken(deleted("created", "claimed", "", "claimed")) == {}


@pytest.mark.parametrize("wrong", [call("cancel", 9.0), call("pause", 5.5), call("retry", 4.0)])
def test_an_action_that_was_told_to_be_done_and_was_not_is_found(wrong: Call):
    assert "it was not" in broken(right(calls=[*right().calls, wrong]))["clients are told the truth"]


def test_two_clients_that_are_both_told_of_one_pause_are_found():
    assert "it was not" in broken(right(calls=[*right().calls, call("pause", 4.0)]))["clients are told the truth"]


def test_a_pause_that_nobody_asked_for_is_found():
    calls = [call("create", 1.0), call("resume", 7.0)]
    assert "no client asked" in broken(right(calls=calls))["clients are told the truth"]
    refused = [*calls, call("pause", 4.0, False, 400)]
    assert "no client asked" in broken(right(calls=refused))["clients are told the truth"]


def test_pauses_whose_writes_waited_are_matched_by_their_times() -> None:
    """The later event in order has the earlier time: its write waited for the store."""
    life = [("created", 1.0), ("claimed", 2.0), ("paused", 6.0), ("resumed", 6.5), ("paused", 4.5), ("resumed", 7.0),
            ("cancelled", 8.0)]
    events = [StoredEvent(seq=seq, type=kind, at=at, data={"worker": "w1"} if kind == "claimed" else {})
              for seq, (kind, at) in enumerate(life, 1)]
    task = done_task(status=Status.FAILED, owner=None, epoch=1, result=None, stages=[],
                     error=StoredFailure(code="cancelled", message="x"))
    waited = Call(1, "pause", (ID,), 4.0, 6.2, 200, {ID: True})
    later = Call(2, "pause", (ID,), 5.8, 6.3, 200, {ID: True})
    calls = [call("create", 1.0), waited, later, call("resume", 6.5), call("resume", 7.0), call("cancel", 8.0)]
    history = right(calls=calls, journal=[], counter=[], documents={ID: task}, events={ID: events}, objects={},
                    listings=[])
    assert broken(history) == {}
    assert "it was not" in broken(replace(history, calls=[*calls, later]))["clients are told the truth"]


@pytest.mark.parametrize(("code", "fields", "sound"), [
    ("output_conflict", {"unwritable": {ID}}, True), ("output_conflict", {}, False),
    ("disk_full", {"faults": [(1.0, "fill disk 0")]}, True), ("disk_full", {}, False)])
def test_a_task_fails_for_its_output_or_a_disk_only_where_the_run_made_them_so(code: str, fields: dict[str, Any],
                                                                              sound: bool) -> None:
    events = events_of(("created", {}), ("claimed", {"worker": "w1"}), ("failed", {}))
    task = done_task(status=Status.FAILED, owner=None, epoch=1, result=None, stages=[],
                     error=StoredFailure(code=code, message="x"))
    found = broken(right(calls=[call("create", 1.0)], journal=[], counter=[], documents={ID: task}, events={ID: events},
                         objects={}, listings=[], **fields))
    assert ("failures have a reason" not in found) == sound


def test_a_task_that_completed_where_nobody_can_write_is_found() -> None:
    assert "nobody can write" in broken(right(unwritable={ID}))["failures have a reason"]


def test_a_bad_document_that_could_not_be_deleted_is_found() -> None:
    assert "bad" in broken(right(undeletable=["bad"]))["bad documents can be deleted"]


def test_a_pause_without_an_answer_may_have_been_done():
    assert broken(right(calls=[call("create", 1.0), call("pause", 4.0, None, 503), call("resume", 7.0)])) == {}


@pytest.mark.parametrize(("lease_epoch", "owner"), [(1, "w2"), (2, "w1")])
def test_an_accepted_write_of_an_old_claim_is_found(lease_epoch: int, owner: str):
    late = written(9.0, [], 8, worker="w2", epoch=2, beat=5, stages=("fetch",)) | {
        "lease_epoch": lease_epoch, "owner": owner}
    assert f"in epoch {lease_epoch}, when w2 had it in epoch 2" in broken(right(journal=[*right().journal, late]))[
        "no stale write"]
    assert broken(right(journal=[*right().journal, late | {"outcome": "miss"}])) == {}


@pytest.mark.parametrize(("again", "epoch"), [(ran(5.5, "fetch", 1), 1), (ran(8.5, "fetch", 2), 2)])
def test_a_recorded_stage_that_runs_again_is_found(again: dict[str, Any], epoch: int):
    assert f"ran again in epoch {epoch}" in broken(right(counter=[again]))["no recorded stage again"]


def test_a_stage_that_a_sleeper_runs_beside_its_successor_is_no_violation():
    assert broken(right(counter=[ran(4.0, "fetch", 1), ran(9.0, "prepare", 1)])) == {}


def test_a_recorded_stage_that_changes_or_goes_is_found():
    for stages in ({}, {"fetch": "another digest"}):
        line = written(9.0, [], 8, worker="w2", epoch=2, beat=1)
        line["after"]["stages"] = stages
        assert "changed or went" in broken(right(journal=[*right().journal, line]))["no recorded stage again"]


def test_lines_that_were_written_late_are_put_in_order():
    late = written(5.5, [], 4, beat=0)
    assert broken(right(journal=[*right().journal, late])) == {}


def test_a_stage_that_is_recorded_twice_is_found():
    task = done_task()
    twice = done_task(stages=[*task.stages, task.stages[-1]])
    assert "recorded twice: ['publish']" in broken(right(documents={ID: twice}))["no recorded stage again"]


def test_an_accepted_write_whose_event_is_not_there_is_found():
    lost = written(10.0, ["released"], 10, worker="w2", epoch=2, stages=("fetch",))
    assert "are not there" in broken(right(journal=[*right().journal, lost]))["no write is lost"]


def doorbell(what: str, at: float) -> dict[str, Any]:
    return {"at": at, "process": "w1", "pid": 1, "what": what, "task": ID, "epoch": 0, "msg_id": "m"}


@pytest.mark.parametrize("outcome", ["hit", "miss", "unanswered"])
def test_a_doorbell_is_acknowledged_after_its_claim_was_answered(outcome: str):
    claim = written(2.0, ["claimed"], 2, claims=True, outcome=outcome)
    rest = right().journal[1:]
    early = [doorbell("received", 1.5), doorbell("acked", 1.6), claim, *rest]
    assert "before it had claimed" in broken(right(journal=early))["acknowledged after the claim"]
    late = [doorbell("received", 1.5), claim, doorbell("acked", 2.1), *rest]
    assert ("acknowledged after the claim" in broken(right(journal=late))) == (outcome == "unanswered")


@pytest.mark.parametrize("code", ["internal_error", "output_conflict", "accuracy_too_low"])
def test_a_failure_that_neither_model_nor_faults_explain_is_found(code: str):
    task = done_task(status=Status.FAILED, result=None, error=failed(code))
    assert code in broken(right(documents={ID: task}, objects={}))["failures have a reason"]


@pytest.mark.parametrize("code", ["accuracy_too_low", "worker_lost", "cancelled"])
def test_a_failure_that_has_a_reason_is_accepted(code: str):
    task = done_task(status=Status.FAILED, result=None, error=failed(code))
    history = right(documents={ID: task}, objects={}, models={ID: MODEL | {"refused": True}})
    assert "failures have a reason" not in broken(history)


def test_a_wrong_artefact_is_found():
    objects = right().objects | {FILES[1]: b"other"}
    assert "not what the model gives" in broken(right(objects=objects))["failures have a reason"]


def test_a_completed_task_that_should_have_been_refused_or_lacks_a_stage_is_found():
    assert "was completed" in broken(right(models={ID: MODEL | {"refused": True}}))["failures have a reason"]
    short = done_task(stages=done_task().stages[1:])
    assert "it completed after" in broken(right(documents={ID: short}))["failures have a reason"]


@pytest.mark.parametrize("path", ["results/task_2/m.xml", f"results/{ID}/other", "cache/logs/task_2/compile.log"])
def test_an_object_that_no_task_speaks_of_is_found(path: str):
    assert path in broken(right(objects=right().objects | {path: b""}))["nothing is left behind"]


def test_what_a_killed_worker_had_published_is_its_failed_tasks_until_that_is_deleted():
    cancelled = done_task(status=Status.FAILED, result=None, error=failed("cancelled"), epoch=1)
    life = [("created", {}), ("claimed", {"worker": "host-77-ab"}), ("cancelled", {})]
    history = right(documents={ID: cancelled}, events={ID: events_of(*life)}, objects={FILES[0]: CONTENT}, journal=[],
                    calls=[call("create", 1.0), call("cancel", 3.0)], listings=[])
    assert FILES[0] in broken(history)["nothing is left behind"]
    assert broken(replace(history, killed={77})) == {}
    assert FILES[0] in broken(gone(call("delete", 5.0), objects={FILES[0]: CONTENT}, killed={77}))[
        "nothing is left behind"]


def test_a_missing_object_of_a_completed_task_is_found():
    objects = {path: data for path, data in right().objects.items() if path != MANIFEST}
    assert f"{MANIFEST} of a completed task is not there" in broken(right(objects=objects))["nothing is left behind"]


@pytest.mark.parametrize("blob", [{}, {f"cache/blobs/{DIGEST}": CONTENT[:-1]}])
def test_half_a_cache_entry_is_found(blob: dict[str, bytes]):
    entry = {"cache/stages/k.json": json.dumps({"files": {"m.xml": {"sha256": DIGEST}}}).encode()}
    whole = entry | {f"cache/blobs/{DIGEST}": CONTENT}
    assert broken(right(objects=right().objects | whole)) == {}
    assert "is not whole" in broken(right(objects=right().objects | entry | blob))["nothing is left behind"]


def test_a_process_or_directory_that_is_left_is_found():
    assert "sleep 300" in broken(right(leftovers=["process 7: sleep 300"]))["nothing is left behind"]


@pytest.mark.parametrize("listing", [Listing("", [], 0), Listing("", [ID], 2), Listing("", [ID, ID], 1),
                                     Listing("failed", [ID], 1)])
def test_a_wrong_list_is_found(listing: Listing):
    assert "lists are right" in broken(right(listings=[listing]))


def test_a_violation_is_told_with_all_that_is_known_of_its_task():
    history = right(faults=[(3.2, "kill 1")])
    text = "\n".join(history.timeline(ID))
    for part in ("client 0 pause ->", "client 0 pause <- 200", "FAULT kill 1", "event 6 parked", "began", "claimed",
                 "end: {"):
        assert part in text
    assert text.index("event 3") <= text.index("FAULT kill 1") <= text.index("event 4")


def test_a_seed_says_all_that_happens():
    for profile in PROFILES:
        assert draw(7, profile) == draw(7, profile)
        assert draw(7, profile) != draw(8, profile)
        assert draw(7, profile).steps == draw(7, profile, "drop_epoch").steps
    kinds = {fault.kind for seed in range(200) for profile in PROFILES for fault in draw(seed, profile).faults}
    assert {*EMBEDDED_FAULTS, *SERVICE_FAULTS, "restart broker"} == kinds
    assert set(FOCUS["drop_epoch"]) < kinds
