"""What the model of publishing is made of: objects, tasks, claims, and the scenarios that it explores."""
from __future__ import annotations

from typing import NamedTuple

from tests.protocol.publishing_rules import Mark

LIVE = ("waiting", "running")
MAX_CLAIMS_AT_ONCE = 3


class Object(NamedTuple):
    content: str
    mark: Mark | None


class Spec(NamedTuple):
    """A task's request. `names` are its objects, in the order of writing: what decides first, `output_path` last."""

    target: str
    names: tuple[int, ...]
    overwrite: bool = False
    inputs: tuple[int, ...] = ()
    own_folder: bool = False
    max_claims: int = 2
    content: str = "x"  # of its artefact; that of the first object is every claim's own

    def content_of(self, task: int, epoch: int, k: int) -> str:
        return f"{task}.{epoch}" if k == 0 else self.content


class Scenario(NamedTuple):
    tasks: tuple[Spec, Spec]
    objects: Objects
    clients: int = 0
    faults: int = 0
    others: int = 1  # writes of other people
    etags_by_content: bool = False


class Doc(NamedTuple):
    """`status`: absent, refused, waiting (nobody owns it), running, completed, failed, going (there is no document any
    more, its objects are to follow), gone."""

    status: str
    epoch: int


Objects = tuple[Object | None, ...]


class Claim(NamedTuple):
    """`phase`: look, check, put, again, leave, drop. `seen` and `wrote` are objects, in the order of the task's names.
    `note` is what the phase works on: an object, or how the claim ends."""

    task: int
    epoch: int
    phase: str
    k: int
    seen: Objects
    wrote: Objects
    note: Object | str | None = None


class State(NamedTuple):
    docs: tuple[Doc, Doc]
    objects: Objects
    claims: tuple[Claim, ...]  # sorted: who holds which does not matter
    clients: int
    faults: int
    others: int


FOREIGN, INPUT = Object("foreign", None), Object("input", None)
MANIFEST, ARTEFACT, BESIDE = 0, 1, 2  # names

ONE = Spec("t", (MANIFEST, ARTEFACT))
OTHER_TARGET = Spec("u", (BESIDE, ARTEFACT))
OTHER_PATH = Spec("u", (ARTEFACT, BESIDE), content="y")  # what the first has at its path lies beside this one's
NOBODY = Spec("u", ())
NOTHING: Objects = (None, None, None)
OLD = (Object("old", Mark(9, 1, "t")), Object("x", Mark(9, 1, "t")), None)  # of an earlier task
SCENARIOS = {
    "two tasks with one output": Scenario((ONE, ONE), NOTHING, clients=1, others=0),
    "two tasks with one output, one is reaped": Scenario((ONE, ONE._replace(content="y", max_claims=1)), OLD, faults=1,
                                                         others=0),
    "two tasks with one output, equal etags": Scenario((ONE._replace(max_claims=1),) * 2, OLD, etags_by_content=True),
    "one task": Scenario((ONE, NOBODY), OLD, clients=2, faults=1),
    "one task, equal etags": Scenario((ONE, NOBODY), NOTHING, clients=2, faults=1, etags_by_content=True),
    "one task that may overwrite": Scenario((ONE._replace(overwrite=True), NOBODY), (FOREIGN, None, None), clients=1,
                                            others=2),
    "an input in the way": Scenario((ONE._replace(overwrite=True, inputs=(ARTEFACT,)), NOBODY), (None, INPUT, None)),
    "two targets with one object": Scenario((ONE, OTHER_TARGET), NOTHING, clients=1, others=0),
    "one target's path beside another's": Scenario((ONE, OTHER_PATH), NOTHING, clients=1, others=0),
    "another task's folder": Scenario((ONE._replace(own_folder=True), ONE._replace(names=(BESIDE, ARTEFACT))), NOTHING,
                                      clients=1),
}
