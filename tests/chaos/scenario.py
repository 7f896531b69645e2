"""What one run does, all of it drawn from the seed: the models, the clients' steps, the faults."""
from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.plan import COMPUTED

TASKS, CLIENTS, WORKERS = 20, 8, 3
SPAN_S = 4.0  # of clients and faults
PROFILES = ("embedded", "service")
DEPENDENCIES = ("store", "queue", "files")

# How often each is drawn. What freezes or cuts off lasts around the workers' lease (1 s), on both sides of it.
EMBEDDED_FAULTS = {"kill": 4, "stop": 2, "freeze": 4, "kill child": 3, "lock store": 2, "kill gateway": 1,
                   "kill publishing": 3, "freeze publishing": 2, "fill disk": 2}
SERVICE_FAULTS = {"kill": 4, "stop": 2, "freeze": 3, "kill child": 2, "kill gateway": 1, "cut": 3, "hold": 3,
                  "deafen": 4, "part": 3, "kill publishing": 2, "freeze publishing": 1,
                  "fill disk": 2}
BROKER_RESTARTS_IN = 8  # one of so many service runs
STATUS_FOR = {"pause": "running", "resume": "paused", "cancel": "running", "retry": "failed", "delete": "running"}
ACTIONS = {"pause": 10, "pause and resume": 10, "resume": 6, "cancel": 4, "retry": 6, "delete": 2, "list": 2,
           "query": 2}

# A mutant is caught where its mistake matters; with these the runs look there.
FOCUS: dict[str, dict[str, int]] = {
    "drop_epoch": {"lock store": 14, "part": 20, "freeze": 8, "kill": 1, "kill child": 1, "kill gateway": 0, "stop": 0,
                   "fill disk": 0, "kill publishing": 0, "freeze publishing": 1, "cut": 0, "hold": 1, "deafen": 0},
    "no_sweeper": {"cut": 8, "kill": 8},
    "no_reaper": {"kill": 12},
}


@dataclass(frozen=True)
class Step:
    """A client does `action` to the tasks with these numbers, `at` seconds after the beginning; `copies` at once.

    With a `status` it looks for tasks that have it, and takes these numbers of the list that it is answered.
    """

    at: float
    action: str
    tasks: tuple[int, ...] = ()
    copies: int = 1
    status: str = ""


@dataclass(frozen=True)
class Fault:
    """`victim` is a worker's number, or the gateway's (`WORKERS`); the rest depends on the kind."""

    at: float
    kind: str
    victim: int = 0
    seconds: float = 0.0
    dependencies: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True)
class Scenario:
    seed: int
    profile: str
    models: list[dict[str, Any]]
    priorities: list[str]
    steps: list[list[Step]]  # by client, in order of time
    # The numbers of the tasks whose output lies below another object. A file system refuses that, an object store not.
    unwritable: frozenset[int] = frozenset()
    faults: list[Fault] = field(default_factory=list)


def draw(seed: int, profile: str, mutant: str | None = None) -> Scenario:
    """The scenario of a seed; with a mutant its faults are drawn from others too."""
    dice = random.Random(f"{seed} {profile}")
    steps: list[list[Step]] = [[] for _ in range(CLIENTS)]
    for number in range(TASKS):
        steps[number % CLIENTS].append(Step(dice.uniform(0, SPAN_S / 2), "create", (number,), _copies(dice)))
    for client in steps:
        for _ in range(dice.randint(12, 18)):
            client += _draw_action(dice)
        client.sort(key=lambda step: step.at)
    return Scenario(seed, profile, [_draw_model(dice, number) for number in range(TASKS)],
                    [dice.choice(("high", "normal", "normal", "low")) for _ in range(TASKS)], steps,
                    frozenset(number for number in range(TASKS) if dice.random() < 0.07 and profile == "embedded"),
                    _draw_faults(dice, profile, FOCUS.get(mutant or "", {})))


def _copies(dice: random.Random) -> int:
    return 2 if dice.random() < 0.2 else 1


def _draw_action(dice: random.Random) -> list[Step]:
    action = dice.choices(list(ACTIONS), list(ACTIONS.values()))[0]
    at = dice.uniform(0.2, SPAN_S)
    tasks = tuple(dice.sample(range(TASKS), dice.choice((1, 1, 1, 3))))
    if action == "pause and resume":  # so close that they may arrive in the other order
        return [Step(at, "pause", tasks), Step(at + dice.choice((0.0, 0.1, 0.7)), "resume", tasks)]
    status = STATUS_FOR.get(action, "") if dice.random() < 0.7 else ""
    return [Step(at, action, tasks, _copies(dice), status)]


def _draw_model(dice: random.Random, number: int) -> dict[str, Any]:
    """A few are the same model, whose stages the tasks share."""
    return {"number": number if dice.random() < 0.8 else "shared", "refused": dice.random() < 0.1,
            "seconds": {stage: round(dice.uniform(0.02, 0.2), 3) for stage in COMPUTED},
            "grandchildren": {stage: dice.randint(1, 2) for stage in COMPUTED if dice.random() < 0.3}}


def _draw_faults(dice: random.Random, profile: str, focus: dict[str, int]) -> list[Fault]:
    weights = EMBEDDED_FAULTS if profile == "embedded" else SERVICE_FAULTS
    weights = {kind: focus.get(kind, weight) for kind, weight in weights.items()}
    faults = []
    for _ in range(dice.randint(5, 9)):
        kind = dice.choices(list(weights), list(weights.values()))[0]
        victim = WORKERS if kind == "kill gateway" else dice.randrange(WORKERS + (kind in ("cut", "hold", "deafen")))
        quick = kind.startswith("kill") or kind == "stop"
        seconds = dice.uniform(0.1, 0.6) if quick else dice.uniform(0.8, 2.2)
        dependencies = DEPENDENCIES if kind == "part" else (dice.choice(DEPENDENCIES),)
        faults.append(Fault(dice.uniform(0.5, SPAN_S), kind, victim, seconds, dependencies, dice.randrange(100)))
    if profile == "service" and dice.randrange(BROKER_RESTARTS_IN) == 0:
        faults.append(Fault(dice.uniform(0.5, SPAN_S), "restart broker"))
    return sorted(faults, key=lambda fault: fault.at)
