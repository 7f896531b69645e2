"""What is known of a run when it is over: what clients asked and heard, what processes wrote down, what was left."""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.documents import StoredEvent, Task


@dataclass(frozen=True)
class Call:
    """One request. `outcome` tells for each task whether the service did it; None: nobody knows (no answer came).

    A task that was created has its id in `tasks` once it is known. `found` is what a list answered.
    """

    client: int
    action: str
    tasks: tuple[str, ...]
    sent_at: float
    answered_at: float
    status: int | None
    outcome: dict[str, bool | None] = field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True)
class Listing:
    """All pages of a list at the end, and the total that it told."""

    narrow: str  # a status, or "" for all
    task_ids: list[str]
    total: int


@dataclass
class History:
    """Times are seconds since the epoch, all by one machine's clock. `journal` has the lines of journal.py, `counter`
    those of stages.py, both in order of time."""

    calls: list[Call] = field(default_factory=list)
    faults: list[tuple[float, str]] = field(default_factory=list)
    journal: list[dict[str, Any]] = field(default_factory=list)
    counter: list[dict[str, Any]] = field(default_factory=list)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)  # task -> its model
    documents: dict[str, Task] = field(default_factory=dict)
    events: dict[str, list[StoredEvent]] = field(default_factory=dict)
    listings: list[Listing] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)  # of the results' and the cache's buckets
    leftovers: list[str] = field(default_factory=list)  # directories and processes that should be gone
    unwritable: set[str] = field(default_factory=set)  # tasks whose output cannot be written
    undeletable: list[str] = field(default_factory=list)  # bad documents that no client could delete
    killed: set[int] = field(default_factory=set)  # ids of processes that had no time to clean up
    came_to_rest: bool = True

    def timeline(self, task_id: str) -> Iterator[str]:
        """All that is known of a task, in order of time, for people."""
        lines = [(at, f"FAULT {text}") for at, text in self.faults]
        for call in self.calls:
            if task_id in call.tasks:
                told = f"client {call.client} {call.action}"
                lines.append((call.sent_at, f"{told} ->"))
                lines.append((call.answered_at, f"{told} <- {call.status} {call.outcome.get(task_id)} {call.message}"))
        for line in [*self.journal, *self.counter]:
            if line["task"] == task_id and line.get("events") != []:
                rest = {name: value for name, value in line.items() if name not in ("at", "task", "what", "msg_id")}
                lines.append((line["at"], f"{line['what']} {json.dumps(rest)}"))
        lines += [(event.at, f"event {event.seq} {event.type} {event.data}") for event in self.events.get(task_id, [])]
        first = min((at for at, text in lines if not text.startswith("FAULT")), default=0.0)
        for at, text in sorted(lines):
            yield f"{at - first:8.3f}  {text}"
        document = self.documents.get(task_id)
        yield f"   end: {document.model_dump_json(exclude={'parameters'}) if document else 'no document'}"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON lines, in order of time; none where there is no file."""
    text = path.read_text() if path.exists() else ""
    return sorted(map(json.loads, text.splitlines()), key=lambda line: line["at"])
