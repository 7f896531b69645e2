"""What every store does with tenants: a document without one is the default tenant's."""
from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from shared import transitions
from shared.documents import Event
from shared.store import Store, TaskFilter, open_store
from shared.transitions import Change
from tests.contract.store_model import TIMEOUT_S, make_task

pytest_plugins = ["tests.contract.store_backends"]

TENANTS = ("default", "acme", "other")


@pytest.fixture
def tasks(store: Store):
    made = {tenant: [make_task(tenant=tenant, group_id="g", labels={"a": "b"}) for _ in range(3)] for tenant in TENANTS}
    for of_tenant in made.values():
        for task in of_tenant:
            store.insert(task, [Event(type="created", at=1.0)])
    return made


def test_a_tenant_survives_and_the_default_one_is_not_written(store: Store, tasks) -> None:
    for tenant, (task, *_) in tasks.items():
        assert store.get(task.id) == task.model_copy(update={"event_count": 1})
        assert ("tenant" in task.model_dump()) is (tenant != "default")


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_task_is_found_for_its_tenant_only(store: Store, tasks, tenant: str) -> None:
    ids = [task.id for of_tenant in tasks.values() for task in of_tenant]
    own = {task.id for task in tasks[tenant]}
    assert {task_id for task_id in ids if store.get(task_id, tenant=tenant)} == own
    assert store.get_many(ids, tenant=tenant).keys() == own
    assert store.get_many(ids).keys() == set(ids)


@pytest.mark.parametrize("tenant", TENANTS)
@pytest.mark.parametrize("narrow", [{}, {"status": "pending"}, {"group_id": "g"}, {"labels": {"a": "b"}},
                                    {"created_after": 0.0}])
def test_a_list_is_narrowed_to_a_tenant(store: Store, tasks, tenant: str, narrow) -> None:
    found, total = store.list_page(TaskFilter(tenant=tenant, **narrow), 1, 2)
    assert [task.id for task in found] == [task.id for task in tasks[tenant][:0:-1]] and total == 3
    assert store.list_page(TaskFilter(**narrow), 1, 100)[1] == 9


@pytest.mark.parametrize("tenant", [None, "acme"])
def test_a_change_and_a_deletion_can_ask_for_the_tenant(store: Store, tasks, tenant: str | None) -> None:
    own = tasks[tenant or "default"][0]
    for of_tenant in tasks.values():
        for task in of_tenant:
            change = transitions.cancel()
            changed = store.update(task.id, Change(change.where | {"tenant": tenant}, change.set, events=change.events))
            assert (changed is not None) is (task.tenant == own.tenant)
            assert (store.delete(task.id, where={"tenant": tenant}) is not None) is (task.tenant == own.tenant)
    assert store.list_page(TaskFilter(), 1, 100)[1] == 6


def test_a_worker_leaves_the_tenant_as_it_is(store: Store, tasks) -> None:
    (task, *_) = tasks["acme"]
    claimed = store.update(task.id, transitions.claim("w"))
    assert claimed is not None and claimed.tenant == "acme"
    (waiting,) = [one for one in store.waiting([task.platform], limit=100) if one.id == tasks["other"][0].id]
    assert waiting.tenant == "other"


def test_a_list_of_a_tenant_reads_an_index_and_who_has_no_tenants_has_none(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path / 'tasks.db'}", TIMEOUT_S)
    store.insert(make_task())
    store.list_page(TaskFilter(), 1, 10)

    def plan(condition: str) -> str:
        with sqlite3.connect(tmp_path / "tasks.db") as connection:
            rows = connection.execute("EXPLAIN QUERY PLAN SELECT id FROM tasks WHERE json_extract(doc, '$.tenant') "
                                      f"{condition} ORDER BY created_at DESC, id DESC LIMIT 10").fetchall()
        connection.close()
        return " ".join(row[3] for row in rows)

    assert "by_tenant" not in plan("= 'acme'")
    store.list_page(TaskFilter(tenant="acme"), 1, 10)
    for condition in ("= 'acme'", "IS NULL"):
        assert "by_tenant" in plan(condition) and "TEMP B-TREE" not in plan(condition)
    store.close()
