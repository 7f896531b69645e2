"""Exhaustive check of the protocol in docs/protocol.md: every interleaving of one task's life, within a budget.

One task with two stages, three slots on two workers, a reaper, and clients. The budget bounds the client's actions and
the faults (a crash, a lost answer to a claim). Doorbells are modelled by their worst case: any idle slot may try to
claim at any moment. Delays are not modelled either. By hand:

    python -m tests.protocol.protocol_model              # the rules as they are: no violation (in about 25 seconds)
    python -m tests.protocol.protocol_model --mutants    # each mistake: a violation is found, with the way to it

Checked on every step and state:
  stable     a paused, completed or failed task changes its status only by a client's action
  cancelled  a cancelled task is never completed
  ended      a completed or failed task has no owner: an owner that goes on would never learn of the end
  fenced     an owner's write and a reap land only under the claim that they were made for
  alone      a claim takes only a task that nobody owns
  once       a recorded stage never runs again
  alive      from every state the task can still end, be deleted or stay parked, without a further fault or client
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from tests.protocol.rules import MUTANTS, STAGES, TERMINAL, Doc, Holder, Rules, Seen
from tests.protocol.search import Outcome, Step, search

SLOTS = "AAB"  # two slots of worker A, one of worker B: an owner is a worker, not a slot


class Slot(NamedTuple):
    """`phase`: idle, running (a stage computes), frozen, finished (a stage is computed and not recorded), ready (all
    stages are recorded)."""

    phase: str
    newest: bool
    stage: int


class Look(NamedTuple):
    """What the reaper remembers. The real one also remembers the status and the retries; this one may free a task in
    which they have changed meanwhile. It can do more, so what holds with it holds with the real one."""

    owner: str
    newest: bool
    beat: int


class State(NamedTuple):
    doc: Doc | None
    slots: tuple[Slot, ...]
    look: Look | None
    clients: int  # actions that clients may still take
    faults: int


IDLE = Slot("idle", False, 0)


def start(clients: int, faults: int) -> State:
    return State(Doc("pending", None, 0, 0, 0, False), (IDLE,) * len(SLOTS), None, clients, faults)


def put(state: State, w: int, slot: Slot, doc: Doc | None) -> State:
    """With this slot and this document. A's slots are interchangeable, so one order of them stands for both."""
    slots = (*state.slots[:w], slot, *state.slots[w + 1:])
    if slots[1] < slots[0]:
        slots = (slots[1], slots[0], slots[2])
    return State(doc, slots, state.look, state.clients, state.faults)


def next_phase(done: int) -> str:
    return "ready" if done == STAGES else "running"


def steps(state: State, rules: Rules) -> Iterator[Step]:
    """Everything that may happen next."""
    for w, slot in enumerate(state.slots):
        if w != 1 or slot != state.slots[0]:
            yield from idle_steps(state, rules, w) if slot.phase == "idle" else owner_steps(state, rules, w)
    yield from reaper_steps(state, rules)
    if state.doc and state.clients:
        yield from client_steps(state._replace(clients=state.clients - 1), state.doc, rules)


def idle_steps(state: State, rules: Rules, w: int) -> Iterator[Step]:
    claimed = rules.claim(state.doc, SLOTS[w]) if state.doc else None
    if claimed is None:
        return
    # Every epoch that is known elsewhere is an old one now.
    slots = tuple(slot._replace(newest=False) for slot in state.slots)
    old = state._replace(slots=slots, look=state.look and state.look._replace(newest=False))
    holds = Slot(next_phase(claimed.done), True, claimed.done)
    yield Step(f"{SLOTS[w]} claims", put(old, w, holds, claimed), "slot", w)
    if state.faults:  # the write took place, the answer was lost, the slot gives up
        lost = put(old._replace(faults=state.faults - 1), w, IDLE, claimed)
        yield Step(f"{SLOTS[w]} claims, reply lost", lost, "fault", w)


def owner_steps(state: State, rules: Rules, w: int) -> Iterator[Step]:
    doc, slot = state.doc, state.slots[w]
    me = Holder(SLOTS[w], slot.newest, slot.stage)
    who = SLOTS[w] if slot.newest else f"{SLOTS[w]} (by an old claim)"
    beaten = rules.beat(doc, me) if doc else None
    if beaten is None:
        yield Step(f"{who} finds the task lost, stops", put(state, w, IDLE, doc), "slot", w)
    elif beaten.status == "paused":
        if slot.phase == "running":
            yield Step(f"{who} beats, freezes", put(state, w, slot._replace(phase="frozen"), beaten), "slot", w)
    elif beaten.status == "running":  # what the answered document says is done in the same step
        goes_on = slot._replace(phase="running") if slot.phase == "frozen" else slot
        yield Step(f"{who} beats", put(state, w, goes_on, beaten), "slot", w)
    if slot.phase == "running":
        yield Step(f"{who} computes stage {slot.stage}", put(state, w, slot._replace(phase="finished"), doc), "slot", w)
    if doc:
        yield from commit_steps(state, doc, rules, w, me, who)
    if state.faults:
        yield Step(f"{who} crashes", put(state._replace(faults=state.faults - 1), w, IDLE, doc), "fault", w)


def commit_steps(state: State, doc: Doc, rules: Rules, w: int, me: Holder, who: str) -> Iterator[Step]:
    slot = state.slots[w]
    if slot.phase == "finished":
        done = slot.stage + 1
        if new := rules.commit_stages(doc, me._replace(done=done)):
            after = put(state, w, Slot(next_phase(done), slot.newest, done), new)
            yield Step(f"{who} records stage {slot.stage}", after, "commit", w)
        return
    # Between stages at once; within one, its processes are killed first.
    if new := rules.park(doc, me):
        yield Step(f"{who} parks", put(state, w, IDLE, new), "commit", w)
    if new := rules.release(doc, me):
        yield Step(f"{who} releases", put(state, w, IDLE, new), "commit", w)
    if slot.phase == "ready" and (new := rules.complete(doc, me)):
        yield Step(f"{who} completes", put(state, w, IDLE, new), "commit", w)
    if slot.phase == "running" and (new := rules.fail(doc, me)):
        yield Step(f"{who} fails", put(state, w, IDLE, new), "fail", w)


def reaper_steps(state: State, rules: Rules) -> Iterator[Step]:
    """The reaper remembers a claim; if it is unchanged a whole lease later, its owner counts as dead."""
    doc, look = state.doc, state.look
    if look is not None:
        new = rules.reap(doc, Seen(*look, doc.status, doc.retries)) if doc else None
        if new:
            yield Step("reaper frees the task", state._replace(doc=new, look=None), "reap")
        else:
            yield Step("reaper forgets", state._replace(look=None), "reaper")
    elif doc and doc.owner:
        yield Step("reaper looks", state._replace(look=Look(doc.owner, True, doc.beat)), "reaper")


def client_steps(less: State, doc: Doc, rules: Rules) -> Iterator[Step]:
    for label, change in (("pauses", rules.pause), ("resumes", rules.resume), ("cancels", rules.cancel),
                          ("retries", rules.retry)):
        if new := change(doc):
            yield Step(f"client {label}", less._replace(doc=new), "client")
    yield Step("client deletes", less._replace(doc=None), "client")


def find_violation(state: State, step: Step) -> str:
    """What is wrong with this step, or ""."""
    old, doc, kind = state.doc, step.state.doc, step.kind
    if old is None:
        return "fenced: a deleted task was written to" if doc or kind in ("commit", "fail", "reap") else ""
    if doc and kind != "client" and old.status != doc.status and old.status in (*TERMINAL, "paused"):
        return f"stable: {old.status} became {doc.status}"
    if doc and doc.status == "completed" and doc.cancelled:
        return "cancelled: completed after an accepted cancel"
    if " claims" in step.label and old.owner is not None:
        return "alone: a claim displaced an owner"
    if doc and doc.owner is not None and doc.status in TERMINAL:
        return f"ended: a {doc.status} task has an owner"
    if kind == "reap" and not (state.look and state.look.newest):
        return "fenced: the reaper freed a claim that it had not watched"
    if kind in ("commit", "fail") and (old.owner != SLOTS[step.slot] or not state.slots[step.slot].newest):
        return "fenced: a stale slot's write was accepted"
    if "records" in step.label and old.done > state.slots[step.slot].stage:
        return "once: a recorded stage ran again"
    return ""


def is_at_rest(doc: Doc | None) -> bool:
    return doc is None or doc.status in TERMINAL or (doc.status == "paused" and doc.owner is None)


def explore(rules: Rules, clients: int = 3, faults: int = 1) -> Outcome:
    """All states that the budget reaches."""
    return search(start(clients, faults), partial(steps, rules=rules), find_violation,
                  lambda state: is_at_rest(state.doc))


def main() -> None:
    cli = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    cli.add_argument("--mutants", action="store_true", help="the rules with one mistake each")
    cli.add_argument("--clients", type=int, default=3, help="client actions in one run")
    cli.add_argument("--faults", type=int, default=1, help="crashes and lost answers in one run")
    args = cli.parse_args()
    for name, rules in MUTANTS.items() if args.mutants else (("as they are", Rules),):
        outcome = explore(rules(), args.clients, args.faults)
        print(f"{name}: {outcome.states} states: {outcome.violation or 'no violation'}")
        for label in outcome.trace:
            print("    " + label)


if __name__ == "__main__":
    main()
