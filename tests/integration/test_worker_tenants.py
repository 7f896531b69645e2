"""Whose cached results a tenant's task takes."""
from __future__ import annotations

import pytest

from shared.marks import mark_of, write_mark
from tests.integration.worker_kit import ONCE, TARGET, Bench, claim
from worker.process import ToolHost

FROM_THE_CACHE = [True] * 4 + [False]


def cached(bench: Bench, tenant: str, number: int) -> list[bool]:
    done = bench.run(bench.submit(tenant=tenant, output_path=f"out/{number}{TARGET.artefact_suffix}"))
    assert done.tenant == tenant  # all writes of the worker leave it as it is
    return [record.cached for record in done.stages]


def test_a_tenant_takes_its_own_results_from_the_cache_and_nobody_elses(bench: Bench) -> None:
    for number, tenant in enumerate(("acme", "other", "default")):
        assert cached(bench, tenant, number) == [False] * 5
    assert bench.runs() == dict.fromkeys(ONCE, 3)
    for number, tenant in enumerate(("acme", "other", "default"), start=3):
        assert cached(bench, tenant, number) == FROM_THE_CACHE
    assert bench.runs() == dict.fromkeys(ONCE, 3)


@pytest.mark.parametrize(("first", "second"), [("acme", "other"), ("default", "acme"), ("acme", "default")])
def test_tenants_share_results_where_the_setting_says_so(bench: Bench, hosts: dict[str, ToolHost], first: str,
                                                         second: str) -> None:
    shared = Bench(bench.folder, hosts, cache_shared=True)
    assert cached(shared, first, 0) == [False] * 5
    assert cached(shared, second, 1) == FROM_THE_CACHE
    assert shared.runs() == ONCE


@pytest.mark.parametrize(("other", "told"), [("acme", True), ("other", False), ("default", False)])
def test_a_conflict_at_publishing_names_a_task_of_its_own_tenant_only(bench: Bench, other: str, told: bool) -> None:
    """Both tenants have a key for this place."""
    foreign = bench.submit(tenant=other)
    claimed = claim(bench.store, foreign, "w2").task
    path = foreign.output_path
    bench.upload(path, b"half of it", mark=write_mark(mark_of(claimed), path))
    failed = bench.run(bench.submit(tenant="acme"))
    assert failed.error is not None and failed.error.code == "output_conflict"
    text = failed.error.model_dump_json()
    assert path in text and (foreign.id in text) is told
