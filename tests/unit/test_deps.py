"""What a process has one of is made once, closed with the rest, and made anew afterwards."""
from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from shared import deps


class Thing:
    closed: list[str] = []  # noqa: RUF012

    def __init__(self, name: str) -> None:
        self.name = name

    def close(self) -> None:
        self.closed.append(self.name)


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(deps, "_KEPT", [])
    Thing.closed.clear()
    yield


def test_it_is_made_once_until_all_is_closed() -> None:
    get = deps.process_wide(lambda: Thing("a"))
    first = get()
    assert get() is first
    deps.close_all()
    assert Thing.closed == ["a"] and get() is not first


def test_what_was_declared_later_is_closed_first_and_what_was_never_made_is_not_made_for_it() -> None:
    get_store, get_user, _ = (deps.process_wide(partial(Thing, name)) for name in ("store", "user", "never"))
    get_store()
    get_user()
    deps.close_all()
    assert Thing.closed == ["user", "store"]
