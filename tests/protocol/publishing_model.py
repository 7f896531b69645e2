"""Exhaustive check of what publishing does to objects: the rules of docs/protocol.md under "Publishing".

Two tasks whose sets of objects overlap, in one of a few scenarios; up to three claims at once, of which some are held
by workers that have lost them; other people, who write where they like. Clients' actions, faults and other people's
writes come from a budget. Looking at an object, asking the store, each write, each removal and completing are steps of
their own; a crash is a claim that takes no further step. A task is deleted first, and its objects go later, by whoever
deletes it or by housekeeping. A removal looks and removes at once, as the local adapter does under its lock. Each write
has an etag of its own, or equal contents have equal etags, as in MinIO. By hand:

    python -m tests.protocol.publishing_model              # the rules as they are: no violation
    python -m tests.protocol.publishing_model --mutants    # each mistake: a violation is found, with the way to it

Checked on every step and state:
  foreign   other people's object is never removed; it is replaced only by a task that may overwrite and has seen it
  input     an object that a task reads is never replaced by its own result
  result    a completed task's object is removed only with the task, and replaced only by a later task of the same
            target or one that may overwrite; in the task's own folder by nobody
  settled   what another task's claim has published and may still complete with is neither replaced nor removed
  fenced    an old claim neither removes an object of a later one, nor puts another content in its place
  whole     a completed task has every object of its set, but for what others may replace
  apart     tasks of two targets that are alive at once have no object in common
  clean     without a fault, nothing is left in the own folder of a task that is gone
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial

from tests.protocol.publishing_harm import find_violation
from tests.protocol.publishing_rules import MUTANTS, Mark, PublishingRules, Writer
from tests.protocol.publishing_states import (
    FOREIGN,
    INPUT,
    LIVE,
    MAX_CLAIMS_AT_ONCE,
    SCENARIOS,
    Claim,
    Doc,
    Object,
    Objects,
    Scenario,
    State,
)
from tests.protocol.search import Outcome, Step, search


def start(scenario: Scenario) -> State:
    first, second = (Doc("absent" if spec.names else "refused", 0) for spec in scenario.tasks)
    return State((first, second), scenario.objects, (), scenario.clients, scenario.faults, scenario.others)


def steps(state: State, scenario: Scenario, rules: PublishingRules) -> Iterator[Step]:
    for number, doc in enumerate(state.docs):
        yield from _task_steps(state, scenario, rules, number, doc)
    for claim in dict.fromkeys(state.claims):
        yield from Turn(state, scenario, rules, claim).steps()
    if state.others:
        for name, object_ in enumerate(state.objects):
            if object_ != INPUT and object_ != FOREIGN:
                yield Step(f"somebody writes {name}", _stored(state, name, FOREIGN)._replace(others=state.others - 1),
                           "somebody")


def _task_steps(state: State, scenario: Scenario, rules: PublishingRules, number: int, doc: Doc) -> Iterator[Step]:
    spec = scenario.tasks[number]
    if doc.status == "absent":
        status = "refused" if _refuses(state, scenario, rules, number) else "waiting"
        yield Step(f"task {number} is created: {status}", _with(state, number, Doc(status, 0)), "create")
    if doc.status == "waiting" and doc.epoch < spec.max_claims and len(state.claims) < MAX_CLAIMS_AT_ONCE:
        claimed = Doc("running", doc.epoch + 1)
        nothing = (None,) * len(spec.names)
        yield Step(f"task {number} is claimed",
                   _and(_with(state, number, claimed), Claim(number, claimed.epoch, "look", 0, nothing, nothing)),
                   "claim")
    if doc.status == "running" and state.faults:
        reaped = _with(state, number, Doc("waiting", doc.epoch))
        yield Step(f"task {number} is reaped", reaped._replace(faults=state.faults - 1), "fault")
    if doc.status == "going":
        yield Step(f"the objects of task {number} go", _without_objects(_with(state, number, Doc("gone", doc.epoch)),
                                                                       scenario, rules, number), "delete", number)
    if state.clients and doc.status not in ("absent", "refused", "going", "gone"):
        less = state._replace(clients=state.clients - 1)
        if doc.status in LIVE:
            yield Step(f"task {number} is cancelled", _with(less, number, Doc("failed", doc.epoch)), "client")
        if doc.status == "failed":
            yield Step(f"task {number} is retried", _with(less, number, Doc("waiting", doc.epoch)), "client")
        if rules.document_first:
            yield Step(f"task {number} is deleted", _with(less, number, Doc("going", doc.epoch)), "client")
        else:  # and whoever does it dies before the document goes
            yield Step(f"task {number} loses its objects", _without_objects(less, scenario, rules, number), "delete",
                       number)


def _without_objects(state: State, scenario: Scenario, rules: PublishingRules, number: int) -> State:
    """What is deleted together with a task."""
    spec = scenario.tasks[number]
    for name in spec.names if spec.own_folder else ():
        object_ = state.objects[name]
        if object_ is not None and rules.may_delete(object_.mark, number):
            state = _stored(state, name, None)
    return state


def _refuses(state: State, scenario: Scenario, rules: PublishingRules, number: int) -> bool:
    """Whether the task is not even created."""
    spec, other, other_doc = scenario.tasks[number], scenario.tasks[1 - number], state.docs[1 - number]
    common = set(spec.names) & set(other.names)
    if rules.spares_inputs and set(spec.names) & set(spec.inputs):
        return True
    if rules.spares_folders and other.own_folder and common:
        return True
    if rules.spares_live_sets and other_doc.status in LIVE and other.target != spec.target and common:
        return True
    if spec.own_folder:
        return False
    me = _writer(scenario, number, 0)
    found = [state.objects[name] for name in rules.watched(spec.names)]
    return any(object_ is not None and not rules.may_replace(object_.mark, me) for object_ in found)


class Turn:
    """What one claim may do next. `state` is the others: a claim that has ended is not put back."""

    def __init__(self, state: State, scenario: Scenario, rules: PublishingRules, claim: Claim) -> None:
        others = list(state.claims)
        others.remove(claim)
        self._state, self._rules, self._claim = state._replace(claims=tuple(others)), rules, claim
        self._spec, self._doc = scenario.tasks[claim.task], state.docs[claim.task]
        self._me = _writer(scenario, claim.task, claim.epoch)
        self._ours = self._doc == Doc("running", claim.epoch)
        self._by_content = scenario.etags_by_content

    def steps(self) -> Iterator[Step]:
        claim = self._claim
        if claim.phase in ("look", "check", "put", "again"):
            if not self._ours:
                yield self._learns_that_it_is_over()
            elif any(claim.wrote):
                yield self._goes_to("is released, and takes back", "leave", note="waiting")
        yield from getattr(self, f"_{claim.phase}")()

    def _look(self) -> Iterator[Step]:
        k, claim, rules = self._claim.k, self._claim, self._rules
        if k == len(self._spec.names) or self._spec.own_folder:
            if self._ours:  # a fenced write: what was seen was seen by the newest claim
                yield self._goes_to("has looked, begins", "put")
            return
        name, there = self._spec.names[k], self._there(k)
        seen = _put(claim.seen, k, there)
        mine = there is not None and there.mark is not None and there.mark.task == claim.task
        if there is None or mine or not rules.looks_again or name not in rules.watched(self._spec.names):
            yield self._goes_to(f"sees {name}", "look", k + 1, seen=seen)
        elif rules.may_replace(there.mark, self._me):
            yield self._goes_to(f"sees {name}", "check", k, seen=seen, note=there)
        else:
            yield self._conflict(name)

    def _check(self) -> Iterator[Step]:
        """Whether the task is alive that wrote what was seen."""
        name, there = self._spec.names[self._claim.k], self._claim.note
        assert isinstance(there, Object)
        number = there.mark.task if there.mark else len(self._state.docs)
        live = number < len(self._state.docs) and self._state.docs[number].status in LIVE
        if self._rules.is_unsettled(there.mark, self._me, live):
            yield self._conflict(name)
        else:
            yield self._goes_to(f"may replace {name}", "look", self._claim.k + 1)

    def _put(self) -> Iterator[Step]:
        left = [k for k, object_ in enumerate(self._claim.wrote) if object_ is None]
        if not left and self._ours:
            completed = _with(self._state, self._claim.task, Doc("completed", self._claim.epoch))
            yield Step(f"{self._who()} completes", completed, "complete", self._claim.task)
        for k in left[:1] if self._rules.first_decides else left:
            name, there = self._spec.names[k], self._there(k)
            if not self._rules.conditional or self._is_same(there, self._claim.seen[k]):
                yield self._writes(k)
            elif there is not None and not self._rules.is_outdated(there.mark, self._me):
                yield self._conflict(name)
            elif self._ours:
                yield self._goes_to(f"finds {name} changed, and is ours", "again", k, note=there)
            else:
                yield self._learns_that_it_is_over()

    def _again(self) -> Iterator[Step]:
        assert not isinstance(self._claim.note, str)
        if self._is_same(self._there(self._claim.k), self._claim.note):
            yield self._writes(self._claim.k)
        else:
            yield self._conflict(self._spec.names[self._claim.k])

    def _leave(self) -> Iterator[Step]:
        """Confirmed a moment ago."""
        if self._claim.k < len(self._spec.names):
            yield self._withdraws()
        elif self._ours:
            ended = _with(self._state, self._claim.task, Doc(str(self._claim.note), self._claim.epoch))
            yield Step(f"{self._who()} ends: {self._claim.note}", ended, "claim")
        else:
            yield Step(f"{self._who()} ends", self._state, "claim")

    def _drop(self) -> Iterator[Step]:
        """The task was cancelled or deleted, a moment ago."""
        if self._claim.k < len(self._spec.names):
            yield self._withdraws()
        else:
            yield Step(f"{self._who()} ends", self._state, "claim")

    # --- the parts of these

    def _learns_that_it_is_over(self) -> Step:
        if self._doc.status in ("failed", "going", "gone"):
            return self._goes_to("was dropped, and takes back", "drop")
        return Step(f"{self._who()} ends", self._state, "claim")

    def _conflict(self, name: int) -> Step:
        if self._ours:
            return self._goes_to(f"finds a conflict at {name}, and takes back", "leave", note="failed")
        return self._learns_that_it_is_over()

    def _withdraws(self) -> Step:
        k, claim = self._claim.k, self._claim
        name, there, now = self._spec.names[k], self._there(k), self._state
        wrote, seen = claim.wrote[k], claim.seen[k]
        if wrote and there and self._is_same(there, wrote) and not self._is_same(wrote, seen) and (
                self._rules.may_withdraw(there.mark, self._me)):
            now = _stored(now, name, None)
        return self._goes_to(f"takes {name} back", claim.phase, k + 1, now=now, note=claim.note)

    def _writes(self, k: int) -> Step:
        claim, name = self._claim, self._spec.names[k]
        written = Object(self._spec.content_of(claim.task, claim.epoch, k),
                         Mark(claim.task, claim.epoch, self._spec.target))
        return self._goes_to(f"writes {name}", "put", now=_stored(self._state, name, written),
                             wrote=_put(claim.wrote, k, written))

    def _goes_to(self, label: str, phase: str, k: int = 0, *, now: State | None = None,
                 note: Object | str | None = None, seen: Objects | None = None, wrote: Objects | None = None) -> Step:
        claim = self._claim
        after = Claim(claim.task, claim.epoch, phase, k, seen or claim.seen, wrote or claim.wrote, note)
        return Step(f"{self._who()} {label}", _and(now or self._state, after), "claim")

    def _is_same(self, one: Object | None, other: Object | None) -> bool:
        """By their etags."""
        if one is None or other is None or not self._by_content:
            return one == other
        return one.content == other.content

    def _there(self, k: int) -> Object | None:
        return self._state.objects[self._spec.names[k]]

    def _who(self) -> str:
        return f"claim {self._claim.task}.{self._claim.epoch}"


def _writer(scenario: Scenario, task: int, epoch: int) -> Writer:
    spec = scenario.tasks[task]
    return Writer(task, epoch, spec.target, spec.overwrite)


def _with(state: State, number: int, doc: Doc) -> State:
    docs = (doc, state.docs[1]) if number == 0 else (state.docs[0], doc)
    return state._replace(docs=docs)


def _stored(state: State, name: int, object_: Object | None) -> State:
    return state._replace(objects=_put(state.objects, name, object_))


def _put(objects: Objects, k: int, object_: Object | None) -> Objects:
    return (*objects[:k], object_, *objects[k + 1:])


def _key(claim: Claim) -> str:
    return repr(claim)


def _and(state: State, claim: Claim) -> State:
    return state._replace(claims=tuple(sorted((*state.claims, claim), key=_key)))


def explore(rules: PublishingRules, scenario: Scenario) -> Outcome:
    """All states that the scenario reaches. `reached`: the pairs of the tasks' statuses."""
    return search(start(scenario), partial(steps, scenario=scenario, rules=rules),
                  partial(find_violation, scenario=scenario),
                  note=lambda state: tuple(doc.status for doc in state.docs))


def main() -> None:
    cli = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    cli.add_argument("--mutants", action="store_true", help="the rules with one mistake each")
    for name, rules in MUTANTS.items() if cli.parse_args().mutants else (("as they are", PublishingRules),):
        for title, scenario in SCENARIOS.items():
            outcome = explore(rules(), scenario)
            print(f"{name}, {title}: {outcome.states} states: {outcome.violation or 'no violation'}")
            for label in outcome.trace:
                print("    " + label)


if __name__ == "__main__":
    main()
