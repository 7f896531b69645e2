"""Exhaustive check of announcing (docs/protocol.md): every interleaving of one task's ends and of two senders.

The task has a `callback_url`. It ends by a worker of this version or of an older one, and clients retry or delete it.
Each sender looks, enters what is owed, takes an attempt, sends, and writes down the answer, or postpones the task.
Reading and writing are steps of their own, and it may crash between any two. Delays are modelled by their worst case:
any may be over at any moment, one that stands for a sender's own time only by a fault (the sender slept). By hand:

    python -m tests.protocol.announcing_model              # the rules as they are: no violation
    python -m tests.protocol.announcing_model --mutants    # each mistake: a violation is found, with the way to it

Checked on every step and state:
  true     only an end that is in the store is announced
  one      all attempts of an end have one id, and no other end has it
  kept     what an end owes is entered once, and stays until it is delivered or given up
  bounded  an end is sent no more often than the schedule has attempts
  alone    without a fault no two senders are at the same attempt of an end
  final    what is known as delivered stays so, and is not sent again
  prompt   an end that this version has written is found at once, whatever else is owed
  alive    from every state each end can still be delivered or given up, without a further fault or client
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from tests.protocol.announcing_rules import (
    DELIVERED,
    FAILS,
    GONE,
    LATER,
    MAX_ATTEMPTS,
    MUTANTS,
    NONE,
    NOW,
    OK,
    OWED,
    AnnouncingRules,
    Doc,
    Entry,
    next_due,
    to_note,
)
from tests.protocol.search import Outcome, Step, search


class Sender(NamedTuple):
    """`phase`: idle, looked (it has read the task), begun (the attempt is its own), answered (the receiver has said
    `answer`), read (it has read the task again, to write that down)."""

    phase: str
    seen: Doc | None = None
    end: int = 0
    id: int = 0
    attempt: int = 0
    answer: str = ""


class Sent(NamedTuple):
    """What the receiver has got: which end, under which id, how often."""

    end: int
    id: int
    times: int


class State(NamedTuple):
    doc: Doc | None
    senders: tuple[Sender, ...]
    sent: tuple[Sent, ...]
    clients: int
    faults: int
    failures: int  # how often the receiver may still refuse
    slept: bool  # whether a fault has ever let a sender's time run out


IDLE = Sender("idle")


def start(clients: int, faults: int, failures: int) -> State:
    return State(Doc(False, 0, (), NONE, 0, ()), (IDLE, IDLE), (), clients, faults, failures, False)


def put(state: State, w: int, sender: Sender, doc: Doc | None = None) -> State:
    """With this sender; and this document, where one is given. Senders are interchangeable."""
    senders = tuple(sorted((*state.senders[:w], sender, *state.senders[w + 1:])))
    return state._replace(senders=senders, doc=doc or state.doc)


def deliver(state: State, end: int, sent_id: int) -> State:
    before = {(sent.end, sent.id): sent.times for sent in state.sent}
    before[end, sent_id] = before.get((end, sent_id), 0) + 1
    return state._replace(sent=tuple(Sent(*key, times) for key, times in sorted(before.items())))


def normal(state: State) -> State:
    """With `calls` counted anew: it is enough to know which senders have seen the newest."""
    if state.doc is None:
        return state._replace(senders=tuple(IDLE if sender.phase in ("looked", "read") else sender
                                            for sender in state.senders))
    newest = state.doc.calls
    senders = (sender if sender.seen is None else sender._replace(
        seen=sender.seen._replace(calls=0 if sender.seen.calls == newest else -1)) for sender in state.senders)
    return state._replace(doc=state.doc._replace(calls=0), senders=tuple(sorted(senders)))


def steps(state: State, rules: AnnouncingRules) -> Iterator[Step]:
    """Everything that may happen next."""
    for step in all_steps(state, rules):
        yield step._replace(state=normal(step.state))


def all_steps(state: State, rules: AnnouncingRules) -> Iterator[Step]:
    for w, sender in enumerate(state.senders):
        if w and sender == state.senders[0]:
            continue
        yield from sender_steps(state, rules, w, sender)
        if state.faults and sender != IDLE:
            yield Step("a sender crashes", put(state, w, IDLE)._replace(faults=state.faults - 1), "fault")
    if state.doc is None:
        return
    yield from task_steps(state, state.doc, rules)
    yield from time_steps(state, state.doc)


def task_steps(state: State, doc: Doc, rules: AnnouncingRules) -> Iterator[Step]:
    for label, change in (("ends", rules.end), ("ends by an older version", rules.end_by_older_version)):
        if new := change(doc):
            yield Step(f"the task {label}", state._replace(doc=new), "task")
    if rules.sends_first and not doc.ended:
        yield Step("its owner sends, then writes", deliver(state, doc.count + 1, doc.count + 1), "send")
    if state.clients:
        less = state._replace(clients=state.clients - 1)
        if new := rules.retry(doc):
            yield Step("a client retries", less._replace(doc=new), "client")
        yield Step("a client deletes", less._replace(doc=None), "client")


def time_steps(state: State, doc: Doc) -> Iterator[Step]:
    """A delay is over. If it stood for a sender that still is at the attempt, that sender has slept."""
    owed = [entry for entry in doc.entries if entry.state == OWED]
    if doc.call_at == LATER and (to_note(doc) or not owed or any(entry.due for entry in owed)):
        yield Step("a task was postponed for long enough", state._replace(doc=doc._replace(call_at=NOW)), "time")
    for n, entry in enumerate(doc.entries):
        if entry.state != OWED or entry.due:
            continue
        entries = (*doc.entries[:n], entry._replace(due=True), *doc.entries[n + 1:])
        after = state._replace(doc=doc._replace(entries=entries, call_at=NOW if doc.call_at == LATER else doc.call_at))
        if not any(is_at(sender, entry) for sender in state.senders):
            yield Step("a delay is over", after, "time")
        elif state.faults:
            yield Step("a sender sleeps", after._replace(faults=state.faults - 1, slept=True), "fault")


def is_at(sender: Sender, entry: Entry) -> bool:
    return sender.phase in ("begun", "answered", "read") and (sender.end, sender.attempt) == (entry.end, entry.attempts)


def sender_steps(state: State, rules: AnnouncingRules, w: int, sender: Sender) -> Iterator[Step]:
    doc = state.doc
    if doc is None:
        if sender.phase == "begun":
            yield from answers(state, w, sender)
        elif sender != IDLE:
            yield Step("a sender finds the task deleted", put(state, w, IDLE), "sender")
        return
    match sender.phase:
        case "idle":
            if rules.finds(doc):
                yield Step("a sender looks", put(state, w, Sender("looked", doc)), "sender")
        case "looked":
            yield from write_steps(state, doc, rules, w, sender)
        case "begun":
            yield from answers(state, w, sender)
        case "answered":
            yield Step("a sender reads again", put(state, w, sender._replace(phase="read", seen=doc)), "sender")
        case "read":
            assert sender.seen is not None
            new = rules.settle(doc, sender.seen, sender.end, sender.attempt, sender.answer)
            after = put(state, w, IDLE, new) if new else put(state, w, sender._replace(phase="answered", seen=None))
            yield Step(f"a sender writes down {sender.answer}" if new else "a sender misses", after, "sender")


def write_steps(state: State, doc: Doc, rules: AnnouncingRules, w: int, sender: Sender) -> Iterator[Step]:
    seen = sender.seen
    assert seen is not None
    holds = IDLE
    if to_note(seen):
        label, new = "enters what is owed", rules.note(doc, seen)
    elif (due := next_due(seen)) and due.attempts >= rules.last_attempt:
        label, new = "gives up", rules.give_up(doc, seen, due.end)
    elif due:
        label, new = "takes an attempt", rules.begin(doc, seen, due.end)
        taken = due._replace(attempts=due.attempts + 1)
        holds = Sender("begun", None, due.end, rules.sent_id(taken), taken.attempts)
    else:
        label, new = "finds nothing due", rules.rest(doc, seen)
    yield Step(f"a sender {label}" if new else "a sender misses", put(state, w, holds if new else IDLE, new), "sender")
    if postponed := rules.postpone(doc, seen):
        yield Step("a sender postpones it", put(state, w, IDLE, postponed), "sender")


def answers(state: State, w: int, sender: Sender) -> Iterator[Step]:
    sent = deliver(state, sender.end, sender.id)
    heard = sender._replace(phase="answered")
    yield Step("a sender sends, accepted", put(sent, w, heard._replace(answer=OK)), "send")
    if state.failures:
        less = sent._replace(failures=state.failures - 1)
        for answer in (FAILS, GONE):
            yield Step(f"a sender sends, {answer}", put(less, w, heard._replace(answer=answer)), "fault")


def find_violation(state: State, step: Step) -> str:
    """What is wrong with this step, or ""."""
    old, new = state.doc, step.state.doc
    if step.kind == "send" or "sends" in step.label:
        ends = old.ends if old else tuple(sent.end for sent in state.sent)  # of a deleted task nothing more is known
        for sent in step.state.sent:
            if old and sent.end not in ends:
                return f"true: end {sent.end} is announced and is not in the store"
            if sent.times > MAX_ATTEMPTS:
                return f"bounded: end {sent.end} was sent {sent.times} times"
    ids = [sent.id for sent in step.state.sent]
    if len(set(ids)) < len(ids) or len({sent.end for sent in step.state.sent}) < len(ids):
        return f"one: sent were {step.state.sent}"
    if new is None:
        return ""
    if step.label == "the task ends" and new.call_at != NOW:
        return "prompt: what is owed is found later"
    entered = [entry.end for entry in new.entries]
    if len(set(entered)) < len(entered) or (old and not {entry.end for entry in old.entries} <= set(entered)):
        return f"kept: {entered} are entered"
    if old and any(before.state == DELIVERED and after.state != DELIVERED
                   for before, after in zip(old.entries, new.entries, strict=False)):
        return "final: a delivered announcement is owed again"
    if old and step.label == "a sender takes an attempt" and any(
            before.state != OWED and before.attempts != after.attempts
            for before, after in zip(old.entries, new.entries, strict=False)):
        return "final: a settled announcement is sent again"
    at = [sender.end for sender in step.state.senders if sender.phase == "begun"]
    if not step.state.slept and len(set(at)) < len(at):
        return "alone: two senders are at one end"
    return ""


def is_at_rest(state: State) -> bool:
    """Nothing is owed, and nobody is at work."""
    doc = state.doc
    return doc is None or (doc.ended and not to_note(doc) and all(entry.state != OWED for entry in doc.entries))


def explore(rules: AnnouncingRules, clients: int = 2, faults: int = 1, failures: int = 2) -> Outcome:
    """All states that the budget reaches."""
    return search(start(clients, faults, failures), partial(steps, rules=rules), find_violation, is_at_rest,
                  lambda state: tuple(entry.state for entry in state.doc.entries) if state.doc else ())


def main() -> None:
    cli = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    cli.add_argument("--mutants", action="store_true", help="the rules with one mistake each")
    for name, most in (("clients", 2), ("faults", 1), ("failures", 2)):
        cli.add_argument(f"--{name}", type=int, default=most)
    args = cli.parse_args()
    for name, rules in MUTANTS.items() if args.mutants else (("as they are", AnnouncingRules),):
        outcome = explore(rules(), args.clients, args.faults, args.failures)
        print(f"{name}: {outcome.states} states: {outcome.violation or 'no violation'}")
        for label in outcome.trace:
            print("    " + label)


if __name__ == "__main__":
    main()
