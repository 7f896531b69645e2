"""A stage's key: equal exactly where nothing that goes into its result differs."""
from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from worker import keys
from worker.cache import canonical_digest
from worker.keys import code_digest, stage_key
from worker.plan import Stage

STAGE = Stage("compile", "worker.stages.fetch:run", "toy", inputs=("optimize",), parameters=("precision",))
INPUTS = {"optimize": "a" * 64}


def key(stage: Stage = STAGE, target: str = "t1", toolchain: str | None = "lock", parameters: dict | None = None,
        inputs: object = INPUTS) -> str:
    return stage_key(stage, target, toolchain, {"precision": "fp16"} if parameters is None else parameters, inputs)


def test_equal_ingredients_give_an_equal_key() -> None:
    assert key() == key()
    shuffled = {"b": {"y": None, "x": [1, 2]}, "a": 1}
    assert key(parameters={"a": 1, "b": {"x": [1, 2], "y": None}}) == key(parameters=shuffled)


@pytest.mark.parametrize("other", [
    lambda: key(stage=replace(STAGE, name="verify")),
    lambda: key(target="t2"),
    lambda: key(toolchain="another lock"),
    lambda: key(parameters={"precision": "fp32"}),
    lambda: key(parameters={}),
    lambda: key(inputs={"optimize": "b" * 64}),
    lambda: key(inputs={"inspect": "a" * 64}),
])
def test_any_other_ingredient_gives_another_key(other) -> None:
    assert other() != key()


def test_the_target_is_no_ingredient_of_a_common_stage() -> None:
    common = replace(STAGE, common=True)
    assert key(common, target="t1") == key(common, target="t2") != key()


def test_the_weight_and_the_order_of_parameters_in_the_plan_change_nothing() -> None:
    assert key(replace(STAGE, weight=9)) == key()


def test_changed_code_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "worker" / "stages"
    package.mkdir(parents=True)
    (tmp_path / "worker" / "stage_api.py").write_text("api = 1")
    (tmp_path / "shared" / "rules").mkdir(parents=True)
    (tmp_path / "shared" / "rules" / "shapes.py").write_text("rules = 1")
    (package / "fetch.py").write_text("x = 1")
    monkeypatch.setattr(keys, "ROOT", tmp_path)
    digests = []
    for path, text in [(package / "fetch.py", "x = 1"), (package / "fetch.py", "x = 2"), (package / "new.py", ""),
                       (tmp_path / "worker/stage_api.py", "api = 2"), (tmp_path / "shared/rules/shapes.py", "")]:
        path.write_text(text)
        code_digest.cache_clear()
        digests.append(key())
    code_digest.cache_clear()
    assert len(set(digests)) == 5


def test_what_is_no_json_has_no_digest() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_digest({"x": math.nan})
