"""The outcomes as tables in Markdown."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.backend_nodes.outcome import Outcome


def counts(outcomes: Iterable[Outcome]) -> str:
    """How many ended how, by target."""
    found = Counter((outcome.happened, outcome.target) for outcome in outcomes)
    targets = sorted({target for _, target in found})
    rows = sorted({happened for happened, _ in found}, key=lambda name: -sum(found[name, t] for t in targets))
    return _table(["what happened", *targets], [[row, *(found[row, target] for target in targets)] for row in rows])


def agreement(outcomes: Iterable[Outcome]) -> str:
    """What the pre-flight said beforehand beside what happened, by target."""
    found = Counter((outcome.target, _said(outcome), _ended(outcome)) for outcome in outcomes)
    ends = ("completed, right", "completed, right but for NaN or infinity", "completed, wrong", "failed by the gate",
            "refused or failed")
    rows = sorted({(target, said) for target, said, _ in found})
    return _table(["target", "pre-flight", *ends], [[*row, *(found[(*row, end)] for end in ends)] for row in rows])


def _said(outcome: Outcome) -> str:
    return outcome.said if outcome.said in ("valid", "uncertain") else "refused"


def _ended(outcome: Outcome) -> str:
    return {"right": "completed, right", "not comparable": "completed, right", "wrong": "completed, wrong",
            "right but for NaN": "completed, right but for NaN or infinity",
            "accuracy_too_low": "failed by the gate"}.get(outcome.happened, "refused or failed")


def _table(head: list[str], rows: list[list[str | int]]) -> str:
    lines: list[list[str | int]] = [[*head], ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
