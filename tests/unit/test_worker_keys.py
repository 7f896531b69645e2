"""A stage's key: equal exactly where nothing that goes into its result differs."""
from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from shared.digests import canonical_digest
from worker import keys
from worker.keys import code_digest, form_of, stage_key
from worker.plan import Stage, get_plans

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


def test_a_key_shows_the_form_of_its_result_where_that_is_not_the_first() -> None:
    assert key(replace(STAGE, form=2)) == f"{key()}-2" and form_of(key(replace(STAGE, form=2))) == 2
    assert len(key()) == 64 and form_of(key()) == 1
    assert form_of("../x") is form_of("") is None


def test_the_target_is_no_ingredient_of_a_common_stage() -> None:
    common = replace(STAGE, common=True)
    assert key(common, target="t1") == key(common, target="t2") != key()


def test_the_weight_and_the_order_of_parameters_in_the_plan_change_nothing() -> None:
    assert key(replace(STAGE, weight=9)) == key()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """`project(path, text)`: write a source of a small project, and answer the digest of its stage's code."""
    monkeypatch.setattr(keys, "ROOT", tmp_path)

    def write(path: str, text: str) -> str:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        code_digest.cache_clear()
        keys._imported.cache_clear()
        return code_digest("worker.stages.fetch:run")

    for path, text in {
            "worker/stages/fetch.py": "from worker.stages import helper\nimport worker.stage_api\n",
            "worker/stages/helper.py": "def later():\n    from .deep import x\n",
            "worker/stages/deep.py": "import shared.rules.inner.shapes\n", "worker/stages/other.py": "",
            "worker/stage_api.py": "", "worker/stages/__init__.py": "", "shared/rules/__init__.py": "",
            "shared/rules/other.py": "", "shared/rules/inner/__init__.py": "", "shared/rules/inner/shapes.py": "",
            "worker/runner.py": ""}.items():
        write(path, text)
    yield write
    code_digest.cache_clear()
    keys._imported.cache_clear()


@pytest.mark.parametrize("path", [
    "worker/stages/fetch.py", "worker/stages/helper.py", "worker/stages/deep.py", "worker/stages/__init__.py",
    "worker/stage_api.py", "shared/rules/__init__.py", "shared/rules/inner/__init__.py",
    "shared/rules/inner/shapes.py"])
def test_an_edit_of_what_a_stage_imports_however_deep_is_another_key(project: Callable[[str, str], str],
                                                                     path: str) -> None:
    before = project("worker/runner.py", "")
    text = (keys.ROOT / path).read_text()
    assert project(path, text + "# edited\n") != before
    assert project(path, text) == before


@pytest.mark.parametrize("path", ["worker/stages/other.py", "worker/stages/new.py", "shared/rules/other.py",
                                  "worker/runner.py"])
def test_an_edit_of_what_a_stage_does_not_import_leaves_its_key(project: Callable[[str, str], str], path: str) -> None:
    before = project("worker/runner.py", "")
    assert project(path, "# edited\n") == before


def test_code_that_imports_by_name_depends_on_all_shared_code(project: Callable[[str, str], str]) -> None:
    by_name = "from importlib import import_module\nimport_module('worker.stages.other')"
    before = project("worker/stages/helper.py", by_name)
    assert project("worker/stages/other.py", "# edited\n") != before


def test_all_of_a_targets_folder_counts_for_its_stages(project: Callable[[str, str], str]) -> None:
    entry = "worker.platforms.toy.compile:run"
    project("worker/platforms/toy/compile.py", "from worker.stages import deep\n")
    project("worker/platforms/toy/part.py", "import worker.stages.other\n")
    digests = {code_digest(entry)}
    for path in ("worker/platforms/toy/part.py", "worker/platforms/toy/new.py", "worker/stages/deep.py",
                 "worker/stages/other.py", "shared/rules/inner/shapes.py"):
        project(path, (keys.ROOT / path).read_text() + "# edited\n" if (keys.ROOT / path).exists() else "")
        digests.add(code_digest(entry))
    project("worker/stages/helper.py", "# edited\n")
    assert len(digests) == 6 and code_digest(entry) in digests


@pytest.mark.parametrize("name", sorted(get_plans()))
def test_every_stages_code_has_a_digest_of_its_own_sources(name: str) -> None:
    for stage in get_plans()[name].stages:
        sources = keys._closure([keys._source(stage.entry.partition(":")[0])])
        assert all(source.exists() for source in sources) and len(code_digest(stage.entry)) == 64


def test_what_is_no_json_has_no_digest() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_digest({"x": math.nan})


def test_threads_read_sources_at_once() -> None:
    """Python 3.11's parser has one count of its depth for all of them, which is wrong where a garbage collection in the
    middle lets another thread parse."""
    sources = sorted((keys.ROOT / "worker").glob("*.py"))
    gc.callbacks.append(_let_others_run)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(30):
                keys._imported.cache_clear()
                assert len(list(pool.map(keys._imported, sources))) == len(sources)
    finally:
        gc.callbacks.remove(_let_others_run)


def _let_others_run(*_: object) -> None:
    time.sleep(0)


def test_a_tenants_result_has_a_key_of_its_own_and_without_tenants_keys_are_as_before() -> None:
    def of(tenant: str | None) -> str:
        return stage_key(STAGE, "t1", "lock", {"precision": "fp16"}, INPUTS, tenant)

    assert len({of("acme"), of("other"), of(None)}) == 3
    assert of(None) == key() == canonical_digest({
        "stage": "compile", "target": "t1", "code": code_digest(STAGE.entry), "toolchain": "lock",
        "parameters": {"precision": "fp16"}, "inputs": INPUTS})
