"""The picture of an output's slices in the report: how much each varies in the model and in the artefact."""
from __future__ import annotations

from math import log10
from typing import Any, NamedTuple

from worker.stages.verdict import tell_ranges

HEIGHT, _LABELS = 84.0, 14.0
_WIDTH, _LEAST_COLUMN, _MOST_COLUMN = 940.0, 3.0, 30.0
_DECADES = 6.0  # below the greatest


class Column(NamedTuple):
    """`model` and `artefact` are the bars' heights; `title` is what the pointer shows; `label` may be empty."""

    x: float
    model: float
    artefact: float
    state: str
    title: str
    label: str


class Picture(NamedTuple):
    width: float
    height: float
    base: float
    column: float
    columns: list[Column]
    told: str


def draw(slices: dict[str, Any]) -> Picture:
    """`slices` are those of one axis, as `verdict.judge` tells them."""
    indices = slices.get("indices") or list(range(len(slices["spread"])))
    states = {index: state for state in ("wrong", "dead") for index in slices[state]}
    column = max(_LEAST_COLUMN, min(_MOST_COLUMN, _WIDTH / len(indices)))
    greatest = max([*slices["spread"], *slices["artefact_spread"]])
    every = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if step * column >= 24)
    columns = []
    for place, (index, model, artefact, error) in enumerate(zip(indices, slices["spread"], slices["artefact_spread"],
                                                                slices["error"], strict=True)):
        state = states.get(index, "alive")
        title = f"{index}: {state}; varies by {model:.3g}, in the artefact by {artefact:.3g}; error {error:.3g}"
        columns.append(Column(round(place * column, 2), _height(model, greatest), _height(artefact, greatest), state,
                              title, str(index) if place % every == 0 else ""))
    count = slices["shape"][slices["axis"]]
    found = [f"{state}: {tell_ranges(slices[state])}" for state in ("dead", "wrong") if slices[state]]
    shown = f"{len(indices)} of {count} slices" if len(indices) < count else f"{count} slices"
    told = f"{shown} along axis {slices['axis']} of {slices['shape']}; {'; '.join(found) or 'none dead'}"
    return Picture(round(len(indices) * column, 2), HEIGHT + _LABELS, HEIGHT, column, columns, told)


def _height(spread: float, greatest: float) -> float:
    """By the logarithm: scores beside pixels would be too low to be seen."""
    if not spread or not greatest:
        return 0.0
    return round(HEIGHT * max(0.04, 1 + log10(spread / greatest) / _DECADES), 1)
