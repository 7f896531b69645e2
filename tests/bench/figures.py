"""What a measurement is: samples of both sides, their ratio, and the bound that it is held against."""
from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Series:
    """One side's samples, in the order in which they were taken; `value` stands for all of them."""

    samples: tuple[float, ...]
    quantile: float = 0.5

    @property
    def value(self) -> float:
        """The quantile, by linear interpolation."""
        ordered = sorted(self.samples)
        position = self.quantile * (len(ordered) - 1)
        below = int(position)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (position - below)

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.samples), max(self.samples)


@dataclass(frozen=True)
class Bound:
    """What the ratio (or our own value, where there is no other side) should be: at least or at most `limit`."""

    limit: float
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def margin(self, value: float) -> float:
        """How far inside the bound, as a share of it; negative outside."""
        return value / self.limit - 1 if self.at_least else 1 - value / self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


@dataclass(frozen=True)
class Line:
    """One comparison. `ours` and `other` were measured in turn, sample by sample; `notes` go into the file only,
    `remark` is also told to people where the bound is missed. With `paired` false the ratio is that of the two values,
    as it has to be where a sample is one try, and the value a quantile of them."""

    row: str
    what: str
    unit: str
    ours: Series
    against: str = ""
    other: Series | None = None
    bound: Bound | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""
    paired: bool = True

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' own ratios: what slows the whole machine for a round then cancels out."""
        if self.other is None:
            return None
        if not self.paired or len(self.ours.samples) != len(self.other.samples):
            return self.ours.value / self.other.value
        return statistics.median(a / b for a, b in zip(self.ours.samples, self.other.samples, strict=True))

    @property
    def is_missed(self) -> bool:
        return self.bound is not None and not self.bound.is_met(self.judged)

    @property
    def judged(self) -> float:
        """What the bound is about."""
        return self.ours.value if self.ratio is None else self.ratio

    def as_json(self) -> dict[str, Any]:
        def side(series: Series | None) -> dict[str, Any] | None:
            return None if series is None else {"value": series.value, "quantile": series.quantile,
                                                "spread": series.spread, "samples": series.samples}

        return {"row": self.row, "what": self.what, "unit": self.unit, "ours": side(self.ours), "against": self.against,
                "other": side(self.other), "ratio": self.ratio, "bound": self.bound and str(self.bound),
                "met": self.bound and not self.is_missed,
                "margin": self.bound and self.bound.margin(self.judged), "notes": dict(self.notes),
                "remark": self.remark}


def take_turns(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Series]:
    """Measure every side once a round, `rounds` times, every other round in the opposite order."""
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in order:
            samples[name].append(sides[name]())
    return {name: Series(tuple(values)) for name, values in samples.items()}
