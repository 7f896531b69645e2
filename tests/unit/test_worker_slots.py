"""How many tasks of which target fit beside those that run."""
from __future__ import annotations

import pytest

from worker.slots import Slots

SLOTS = Slots(3, {"a": 1, "b": 2, "absent": 1}, ("a", "b", "c"))


@pytest.mark.parametrize(("running", "room"), [
    ("", "abc"), ("a", "bc"), ("b", "abc"), ("bb", "ac"), ("ab", "bc"), ("cc", "abc"), ("aa", "bc"),
    ("abb", ""), ("ccc", ""), ("aaaa", "")])
def test_a_target_has_room_below_its_own_limit_and_below_all_slots(running: str, room: str) -> None:
    assert SLOTS.room(list(running)) == set(room)


def test_without_limits_only_the_slots_count() -> None:
    slots = Slots(2, {}, ("a", "b"))
    assert [slots.room(list(running)) for running in ("", "a", "aa")] == [{"a", "b"}, {"a", "b"}, set()]


def test_a_limit_above_the_slots_changes_nothing() -> None:
    assert Slots(1, {"a": 5}, ("a",)).room(["a"]) == set()


@pytest.mark.parametrize(("running", "leaving", "opened"), [
    ("ccc", "c", "abc"), ("abb", "a", "ac"), ("abb", "b", "bc"), ("a", "a", "a"), ("c", "c", ""), ("bb", "b", "b"),
    ("acc", "c", "bc"), ("aab", "a", "bc"), ("aacc", "c", "")])
def test_who_leaves_makes_room_for_what_had_none(running: str, leaving: str, opened: str) -> None:
    assert SLOTS.opened(list(running), leaving) == set(opened)
