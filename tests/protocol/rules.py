"""The rules of docs/protocol.md on the few fields that matter to them, and nine mistakes that one could make in them.

`protocol_model` explores what the rules allow. `test_code_against_model` compares them with `shared.transitions`.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

STAGES = 2
MAX_RETRIES = 2
TERMINAL = ("completed", "failed")
ALIVE = ("pending", "running", "paused")
ANY = (*ALIVE, *TERMINAL)


class Doc(NamedTuple):
    """The fields of a task document that a rule looks at. A deleted task is None instead.

    `beat` is kept as even or odd. So the reaper of the model may also free an owner that has beaten twice, which the
    real one does not do. The epoch is not kept: it only grows, so it is enough to know who holds the newest one
    (`newest` of `Holder` and `Seen`).
    """

    status: str
    owner: str | None
    beat: int
    done: int  # the recorded stages
    retries: int  # how often the task was reaped since the last recorded stage
    cancelled: bool


class Holder(NamedTuple):
    """Who writes under a claim: the worker's name, whether no later claim was made, and its finished stages."""

    owner: str
    newest: bool
    done: int


class Seen(NamedTuple):
    """What a reaper saw of a claim a whole lease ago. `newest`: no later claim was made."""

    owner: str
    newest: bool
    beat: int
    status: str
    retries: int


class Rules:
    """Each transition of the table. It gives the new document, or None where its filter does not fit."""

    # --- the owner

    def claim(self, doc: Doc, worker: str) -> Doc | None:
        if doc.status in ("pending", "running") and doc.owner is None:
            return doc._replace(status="running", owner=worker, beat=0)
        return None

    def beat(self, doc: Doc, me: Holder) -> Doc | None:
        if doc.owner == me.owner and me.newest:
            return doc._replace(beat=1 - doc.beat)
        return None

    def commit_stages(self, doc: Doc, me: Holder) -> Doc | None:
        if self._fits(doc, me, ("running", "paused")):
            return doc._replace(done=me.done, retries=0, beat=1 - doc.beat)
        return None

    def park(self, doc: Doc, me: Holder) -> Doc | None:
        return doc._replace(owner=None) if self._fits(doc, me, ("paused",)) else None

    def release(self, doc: Doc, me: Holder) -> Doc | None:
        return doc._replace(owner=None) if self._fits(doc, me, ("running",)) else None

    def complete(self, doc: Doc, me: Holder) -> Doc | None:
        if self._fits(doc, me, ("running",)):
            return doc._replace(status="completed", owner=None, done=me.done)
        return None

    def fail(self, doc: Doc, me: Holder) -> Doc | None:
        return doc._replace(status="failed", owner=None) if self._fits(doc, me, ("running",)) else None

    def _fits(self, doc: Doc, me: Holder, statuses: Sequence[str]) -> bool:
        """Whether an owner's write lands that changes more than the beat."""
        return doc.owner == me.owner and me.newest and doc.status in statuses

    # --- clients

    def pause(self, doc: Doc) -> Doc | None:
        return doc._replace(status="paused") if doc.status == "running" else None

    def resume(self, doc: Doc) -> Doc | None:
        return doc._replace(status="running") if doc.status == "paused" else None

    def cancel(self, doc: Doc) -> Doc | None:
        if doc.status in ALIVE:
            return doc._replace(status="failed", owner=None, cancelled=True)
        return None

    def retry(self, doc: Doc) -> Doc | None:
        return doc._replace(status="pending", retries=0, cancelled=False) if doc.status == "failed" else None

    # --- the reaper

    def reap(self, doc: Doc, seen: Seen) -> Doc | None:
        if not seen.newest or (doc.owner, doc.beat, doc.status, doc.retries) != seen[:1] + seen[2:]:
            return None
        if doc.status != "running":
            return doc._replace(owner=None)
        if doc.retries >= MAX_RETRIES:
            return doc._replace(owner=None, status="failed")
        return doc._replace(owner=None, retries=doc.retries + 1)


# A beat that tells more than that the owner lives, and the statuses in which it lands. No such write changes a field of
# `Doc` but the beat, so each of them is a beat to the model.
BEATS_THAT_TELL = {"begin_stage": ("running",), "wait": ANY, "end_wait": ANY, "note_outage": ANY}


class CommitWithoutEpoch(Rules):
    def _fits(self, doc: Doc, me: Holder, statuses: Sequence[str]) -> bool:
        return doc.owner == me.owner and doc.status in statuses


class CommitWithoutOwner(Rules):
    def _fits(self, doc: Doc, me: Holder, statuses: Sequence[str]) -> bool:
        return me.newest and doc.status in statuses


class IgnoreStatus(Rules):
    def _fits(self, doc: Doc, me: Holder, statuses: Sequence[str]) -> bool:
        return doc.owner == me.owner and me.newest


class ClaimOwned(Rules):
    def claim(self, doc: Doc, worker: str) -> Doc | None:
        return super().claim(doc._replace(owner=None), worker)


class FailPaused(Rules):
    def fail(self, doc: Doc, me: Holder) -> Doc | None:
        if self._fits(doc, me, ("running", "paused")):
            return doc._replace(status="failed", owner=None)
        return None


class ReapWithoutEpoch(Rules):
    def reap(self, doc: Doc, seen: Seen) -> Doc | None:
        return super().reap(doc, seen._replace(newest=True))


class ReapResumes(Rules):
    def reap(self, doc: Doc, seen: Seen) -> Doc | None:
        freed = super().reap(doc, seen)
        return freed and freed._replace(status="running" if doc.status == "paused" else freed.status)


class NoReaper(Rules):
    def reap(self, doc: Doc, seen: Seen) -> Doc | None:
        return None


class CancelKeepsOwner(Rules):
    def cancel(self, doc: Doc) -> Doc | None:
        cancelled = super().cancel(doc)
        return cancelled and cancelled._replace(owner=doc.owner)


MUTANTS: dict[str, type[Rules]] = {
    "commit_without_epoch": CommitWithoutEpoch, "commit_without_owner": CommitWithoutOwner,
    "ignore_status": IgnoreStatus, "claim_owned": ClaimOwned, "fail_paused": FailPaused,
    "reap_without_epoch": ReapWithoutEpoch, "reap_resumes": ReapResumes, "no_reaper": NoReaper,
    "cancel_keeps_owner": CancelKeepsOwner}
