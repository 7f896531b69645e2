"""All states that a model can reach, breadth first, up to the first violation."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

State = Any  # hashable; each model has its own


class Step(NamedTuple):
    """`kind`: whose step. `client` and `fault` are spent from a budget: nothing may depend on them to come to rest."""

    label: str
    state: State
    kind: str
    slot: int = -1


class Outcome(NamedTuple):
    """`violation` is "" where there is none; `trace` are the steps that lead to it."""

    states: int
    violation: str
    trace: list[str]
    reached: set[Hashable]


def search(first: State, steps: Callable[[State], Iterable[Step]], find_violation: Callable[[State, Step], str],
           is_at_rest: Callable[[State], bool] | None = None,
           note: Callable[[State], Hashable] | None = None) -> Outcome:
    """Where `is_at_rest` is given, each state must be able to come to rest. `reached` is what `note` says of the states
    that were seen."""
    parent: dict[State, tuple[State, str] | None] = {first: None}
    queue = deque([first])
    back: dict[State, list[State]] = {}
    reached: set[Hashable] = set()
    while queue:
        state = queue.popleft()
        if note is not None:
            reached.add(note(state))
        for step in steps(state):
            if broken := find_violation(state, step):
                return Outcome(len(parent), broken, [*_trace(parent, state), step.label], reached)
            if is_at_rest is not None and step.kind not in ("client", "fault"):
                back.setdefault(step.state, []).append(state)
            if step.state not in parent:
                parent[step.state] = (state, step.label)
                queue.append(step.state)
    if is_at_rest is None:
        return Outcome(len(parent), "", [], reached)
    alive = {state for state in parent if is_at_rest(state)}
    queue = deque(alive)
    while queue:
        for before in back.get(queue.popleft(), ()):
            if before not in alive:
                alive.add(before)
                queue.append(before)
    for state in parent:
        if state not in alive:
            return Outcome(len(parent), "alive: the task can never come to rest", _trace(parent, state), reached)
    return Outcome(len(parent), "", [], reached)


def _trace(parent: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    labels = []
    while (before := parent[state]) is not None:
        state, label = before
        labels.append(label)
    return labels[::-1]
