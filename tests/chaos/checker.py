"""The invariants of a run, each a function from its history to what breaks it."""
from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shared.documents import TERMINAL, Event, Status
from tests.chaos.history import History
from tests.chaos.plan import STAGE_NAMES
from tests.chaos.replay import CLIENTS, replay

EVENT_OF = {"pause": "paused", "resume": "resumed", "cancel": "cancelled", "retry": "retried"}
CLOCK_S = 0.005  # an event's time is taken just before it is written, by another process


@dataclass(frozen=True)
class Violation:
    invariant: str
    task: str | None
    text: str


def check(history: History) -> list[Violation]:
    return [Violation(name, task, text) for name, find in INVARIANTS.items() for task, text in find(history)]


Found = Iterator[tuple[str | None, str]]


def find_unfinished(history: History) -> Found:
    """Each task that was answered with success is terminal in the end, or was deleted; none waits for ever."""
    for task_id in _created(history):
        task, deleted = history.documents.get(task_id), _deletes(history, task_id)
        if task is None and not deleted:
            yield task_id, "the task is gone, and nobody deleted it"
        elif task is not None and True in deleted:
            yield task_id, "the task was deleted, and is there"
        elif task is not None and task.status not in TERMINAL:
            yield task_id, f"the task never ended: it is {task.status}, owned by {task.owner}"


def find_illegal_events(history: History) -> Found:
    """The events are a walk through the table, and the document is where it ends: terminal and paused tasks change by
    clients only, the last accepted pause or resume wins, nothing completes after a cancel."""
    for task_id, events in _known_events(history).items():
        end = replay(events)
        if end.broken:
            yield task_id, end.broken
            continue
        task = history.documents.get(task_id)
        if task and (task.status, task.owner, task.epoch) != (end.status, end.owner, end.epoch):
            yield task_id, (f"by its events it is {end.status}, owned by {end.owner}, in epoch {end.epoch}; the "
                            f"document says {task.status}, {task.owner}, {task.epoch}")


def find_unexplained_actions(history: History) -> Found:
    """What a client was told was done is an event of that time, and no such event is without a client."""
    calls = defaultdict(list)
    for call in history.calls:
        for task_id, done in call.outcome.items():
            if call.action in EVENT_OF and done is not False:
                calls[task_id, EVENT_OF[call.action]].append((call, done))
    for task_id, events in history.events.items():
        for kind in CLIENTS:
            asked = calls[task_id, kind]
            told = sorted((call for call, done in asked if done), key=lambda call: call.answered_at)
            unknown = [call for call, done in asked if done is None]
            # Each event goes to the call that was answered first of those that it fits: so all are matched that can be.
            # By their times, not by their order: an event's time is older than its place where its write had to wait.
            for at in sorted(event.at for event in events if event.type == kind):
                own = next((call for call in told if call.sent_at - CLOCK_S <= at <= call.answered_at + CLOCK_S), None)
                if own is not None:
                    told.remove(own)
                elif not any(call.sent_at - CLOCK_S <= at for call in unknown):
                    yield task_id, f"{kind}, and no client asked for it"
            for call in told:
                yield task_id, f"client {call.client} was told that its {call.action} was done; it was not"


def find_stale_writes(history: History) -> Found:
    """No write of an old claim was accepted."""
    for line in history.journal:
        if line.get("lease_epoch") is None or line["outcome"] != "hit":
            continue
        after = line["after"]
        if after["epoch"] != line["lease_epoch"] or after["owner"] not in (line["owner"], None):
            yield line["task"], (f"{line['owner']} wrote {line['events'] or 'a beat'} in epoch {line['lease_epoch']}, "
                                 f"when {after['owner']} had it in epoch {after['epoch']}")


def find_repeated_stages(history: History) -> Found:
    """A stage that is recorded stays as it is, and never runs again."""
    recorded: dict[str, dict[str, str]] = defaultdict(dict)
    at_claim: dict[tuple[str, int], set[str]] = {}
    since: dict[tuple[str, int, str], float] = {}
    hits = [line for line in history.journal if line.get("outcome") == "hit" and line["what"] == "update"]
    for line in sorted(hits, key=lambda hit: (hit["after"]["event_count"], hit["after"]["beat"])):
        task_id, stages, epoch = line["task"], line["after"]["stages"], line["after"]["epoch"]
        for name, digest in recorded[task_id].items():
            if stages.get(name) != digest:
                yield task_id, f"the recorded stage {name} changed or went"
        for name in stages.keys() - recorded[task_id].keys():
            since[task_id, epoch, name] = line["at"]
        recorded[task_id] |= stages
        if line["claims"]:
            at_claim[task_id, epoch] = set(stages)
    for line in history.counter:
        task_id, epoch, stage = line["task"], line["epoch"], line["stage"]
        if line["what"] == "began" and (stage in at_claim.get((task_id, epoch), ())
                                        or line["at"] > since.get((task_id, epoch, stage), float("inf"))):
            yield task_id, f"the stage {stage} was recorded, and ran again in epoch {epoch}"
    for task_id, task in history.documents.items():
        twice = [name for name, times in Counter(record.name for record in task.stages).items() if times > 1]
        if twice:
            yield task_id, f"stages are recorded twice: {twice}"


def find_lost_writes(history: History) -> Found:
    """What the store said it wrote is there."""
    for line in history.journal:
        events = history.events.get(line["task"])
        if events is None or line.get("outcome") != "hit" or not line["events"]:
            continue
        last = line["after"]["event_count"]
        if [e.type for e in events if last - len(line["events"]) < e.seq <= last] != line["events"]:
            yield line["task"], f"the events {line['events']} were accepted as {last}, and are not there"


def find_early_acks(history: History) -> Found:
    """A doorbell is acknowledged when its claim is journaled or lost, not before."""
    heard: dict[tuple[int, str], bool] = {}  # (process, task) -> whether its claim was answered since the doorbell
    for line in history.journal:
        who = (line["pid"], line["task"])
        if line["what"] == "received":
            heard[who] = False
        elif line.get("claims") and line["outcome"] != "unanswered":
            heard[who] = True
        elif line["what"] == "acked" and not heard.get(who, True):
            yield line["task"], f"{line['process']} acknowledged a doorbell before it had claimed the task"


def find_unexplained_failures(history: History) -> Found:
    """A task fails for what its model or the faults did to it, and completes with the right artefact."""
    for task_id, task in history.documents.items():
        model = history.models[task_id]
        if task.status is Status.FAILED:
            code = task.error.code if task.error else None
            own = {"accuracy_too_low": model["refused"], "output_conflict": task_id in history.unwritable,
                   "disk_full": any("fill disk" in text for _, text in history.faults)}
            if code not in ("cancelled", "worker_lost", "killed") and not own.get(str(code)):
                yield task_id, f"the task failed: {task.error}"
        elif task.status is Status.COMPLETED:
            content = json.dumps(model).encode()
            if model["refused"]:
                yield task_id, "a model that is to be refused was completed"
            elif task_id in history.unwritable:
                yield task_id, "it completed, although nobody can write to its output"
            elif tuple(record.name for record in task.stages) != STAGE_NAMES:
                yield task_id, f"it completed after {[record.name for record in task.stages]}"
            elif task.result.sha256 != hashlib.sha256(content).hexdigest() or any(
                    history.objects.get(path) != content for path in task.result.files):
                yield task_id, "the artefact is not what the model gives"


HOUSEKEEPING = re.compile("/(blobs|notices|housekeeping|triggers)/")  # the service's own, which goes in time


def find_orphans(history: History) -> Found:
    """Nothing is left that no task speaks of: objects, directories, processes."""
    kept = {path for task in history.documents.values() if task.result
            for path in task.result.objects()}
    for path in history.objects:
        folder = path.rpartition("/")[0]
        owner = folder.rpartition("/")[2]
        if "/stages/" in path:
            yield from _damaged_entry(history, path)
        elif "/logs/" in path:
            if owner not in history.documents:
                yield owner, f"the log {path} is left of a task that is gone"
        elif not HOUSEKEEPING.search(path) and path not in kept and not _left_by_a_killed_worker(history, owner):
            yield owner, f"the object {path} is no task's result"
    for path in kept - history.objects.keys():
        yield None, f"the object {path} of a completed task is not there"
    for text in history.leftovers:
        yield None, f"left: {text}"


def _left_by_a_killed_worker(history: History, task_id: str) -> bool:
    """A task that is not completed keeps what its last worker had published when it was killed, until it is retried or
    deleted: nobody else knows of it."""
    task = history.documents.get(task_id)
    workers = [event.data["worker"] for event in history.events.get(task_id, []) if event.type == "claimed"]
    return (task is not None and task.status is Status.FAILED
            and any(f"-{pid}-" in worker for worker in workers for pid in history.killed))


def _damaged_entry(history: History, manifest_path: str) -> Found:
    bucket = manifest_path.partition("/")[0]
    for name, about in json.loads(history.objects[manifest_path])["files"].items():
        blob = history.objects.get(f"{bucket}/blobs/{about['sha256']}")
        if blob is None or hashlib.sha256(blob).hexdigest() != about["sha256"]:
            yield None, f"the cache entry {manifest_path} is not whole: {name}"


def find_wrong_lists(history: History) -> Found:
    """Every list has each of its tasks once, and tells how many there are."""
    for listing in history.listings:
        expected = sorted(task_id for task_id, task in history.documents.items()
                          if listing.narrow in ("", task.status))
        if sorted(listing.task_ids) != expected or listing.total != len(expected):
            yield None, (f"the list of {listing.narrow or 'all'} tells of {listing.total} tasks and shows "
                         f"{len(listing.task_ids)}, there are {len(expected)}")


def find_undeletable(history: History) -> Found:
    """A document that nobody can read is deleted by its id like any other."""
    for task_id in history.undeletable:
        yield None, f"the bad document {task_id} could not be deleted"


INVARIANTS: dict[str, Callable[[History], Found]] = {
    "every task ends": find_unfinished,
    "events follow the table": find_illegal_events,
    "clients are told the truth": find_unexplained_actions,
    "no stale write": find_stale_writes,
    "no recorded stage again": find_repeated_stages,
    "no write is lost": find_lost_writes,
    "acknowledged after the claim": find_early_acks,
    "failures have a reason": find_unexplained_failures,
    "nothing is left behind": find_orphans,
    "lists are right": find_wrong_lists,
    "bad documents can be deleted": find_undeletable,
}


def _created(history: History) -> set[str]:
    return {task_id for call in history.calls if call.action == "create" for task_id in call.tasks}


def _deletes(history: History, task_id: str) -> set[bool | None]:
    """How deletes of the task were answered, those left out that did nothing."""
    return {call.outcome[task_id] for call in history.calls
            if call.action == "delete" and call.outcome.get(task_id) is not False and task_id in call.outcome}


def _known_events(history: History) -> dict[str, Sequence[Event]]:
    """Each task's events; of one that is gone, what was journaled of it without a gap."""
    known: dict[str, Sequence[Event]] = dict(history.events)
    journaled: dict[str, dict[int, Event]] = defaultdict(dict)
    for line in history.journal:
        if line.get("outcome") == "hit" and line["events"] and line["task"] not in known:
            first = line["after"]["event_count"] - len(line["events"]) + 1
            for seq, kind in enumerate(line["events"], first):
                data = {"worker": line["after"]["owner"]} if kind == "claimed" else {}
                journaled[line["task"]][seq] = Event(type=kind, at=line["at"], data=data)
    for task_id, by_seq in journaled.items():
        events = []
        while len(events) + 1 in by_seq:
            events.append(by_seq[len(events) + 1])
        if events:
            known[task_id] = events
    return known

