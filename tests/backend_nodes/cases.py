"""onnx's backend node tests, as the onnx package makes them."""
from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

# What these answer is drawn by chance.
_BY_CHANCE = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


@dataclass(frozen=True)
class Case:
    """One test: a model, an input and the outputs that it must give; None where these are no plain tensors."""

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: dict[str, np.ndarray] | None
    expected: dict[str, np.ndarray] | None

    @property
    def is_by_chance(self) -> bool:
        return self.operator in _BY_CHANCE or "dropout" in self.name


def collect(limit: int | None = None, pattern: str = "") -> list[Case]:
    """The tests in which an operator's name or the test's own has `pattern`; at most `limit`, spread over the
    operators: each one's first test, then each one's second one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [case for case in map(_read, collect_testcases(None)) if case is not None]
    wanted = [case for case in found if pattern.lower() in case.name.lower() or pattern == case.operator]
    by_operator: dict[str, list[Case]] = {}
    for case in sorted(wanted, key=lambda case: (case.operator, case.name)):
        by_operator.setdefault(case.operator, []).append(case)
    spread = [case for case in chain.from_iterable(zip_longest(*by_operator.values())) if case is not None]
    return spread[:limit]


def _read(test) -> Case | None:
    if test.model is None or not test.model.graph.node:
        return None
    graph = test.model.graph
    inputs, outputs = test.data_sets[0] if test.data_sets else ((), ())
    return Case(test.name, _operator(test.model), test.model, _named(graph.input, inputs),
                _named(graph.output, outputs))


def _operator(model: onnx.ModelProto) -> str:
    """What the test is about: its only node's operator, or that of the most frequent."""
    kinds = [node.op_type for node in model.graph.node]
    return max(dict.fromkeys(kinds), key=kinds.count)


def _named(values, given) -> dict[str, np.ndarray] | None:
    arrays = list(_arrays(given))
    if len(arrays) != len(values):
        return None
    return {value.name: array for value, array in zip(values, arrays, strict=True)}


def _arrays(given) -> Iterator[np.ndarray]:
    for item in given:
        if isinstance(item, onnx.TensorProto):
            yield numpy_helper.to_array(item)
        elif isinstance(item, np.ndarray | np.generic):
            yield np.asarray(item)
        else:
            return  # a sequence, a map, an optional
