"""The rules in `shared.marks` are those that the model of publishing has checked, on every mark and every claim."""
from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable

import pytest

from shared import marks
from shared.files import FileInfo
from tests.contract.store_model import make_task
from tests.protocol.publishing_rules import Mark, PublishingRules, Writer

TARGETS = ("intel", "qualcomm")
MARKS = [None, *(Mark(*values) for values in itertools.product((0, 1), (1, 2, 3), TARGETS))]
WRITERS = [Writer(*values) for values in itertools.product((0, 1), (1, 2, 3), TARGETS, (False, True))]
RULES = PublishingRules()

# What the code says of a mark and a claim, and what the model does.
PAIRS: dict[str, list[tuple[Callable, Callable]]] = {
    "may_replace": [(marks.may_replace, RULES.may_replace)],
    "is_unsettled": [(lambda mark, task, live=live: marks.is_unsettled(mark, task, live),
                      lambda mark, me, live=live: RULES.is_unsettled(mark, me, live)) for live in (False, True)],
    "is_outdated": [(marks.is_outdated, RULES.is_outdated)],
    "may_withdraw": [(marks.may_withdraw, RULES.may_withdraw)],
    "may_delete": [(lambda mark, task: marks.may_delete(mark, task.id),
                    lambda mark, me: RULES.may_delete(mark, me.task))],
}


def task_id(number: int) -> str:
    return f"task_1700000000_{number:010}"


def in_code(mark: Mark | None) -> marks.Mark | None:
    """As it comes back from an object that carries it."""
    if mark is None:
        return marks.read_mark(FileInfo("b/a.xml", 1, "e"))
    written = marks.write_mark(marks.Mark(task_id(mark.task), mark.epoch, mark.target), "b/a.xml")
    assert written.isascii() and len(written) < 256
    return marks.read_mark(FileInfo("b/a.xml", 1, "e", mark=written))


@pytest.mark.parametrize("name", PAIRS)
def test_a_rule_of_the_code_is_the_models(name: str):
    answers = set()
    for (code, model), mark, me in itertools.product(PAIRS[name], MARKS, WRITERS):
        task = make_task(id=task_id(me.task), epoch=me.epoch, platform=me.target, overwrite=me.overwrite)
        assert code(in_code(mark), task) == model(mark, me), (mark, me)
        answers.add(model(mark, me))
    assert answers == {False, True}


def test_the_model_knows_every_rule_of_the_code():
    in_model = {name for name, _ in inspect.getmembers(PublishingRules, inspect.isfunction)} - {"watched"}
    # A later claim's object is never replaced in the model: its claim has to prove first that it is the newest.
    rules = {name for name, _ in inspect.getmembers(marks, inspect.isfunction)
             if name.startswith(("may_", "is_"))} - {"is_superseded"}
    assert PAIRS.keys() == in_model == rules


def test_a_mark_of_a_claim_is_its_tasks():
    task = make_task(id=task_id(7), epoch=4, platform="intel")
    assert marks.may_withdraw(marks.mark_of(task), task)
    assert not marks.is_superseded(marks.mark_of(task), task)
    assert marks.is_superseded(marks.mark_of(task), task.model_copy(update={"epoch": 3}))


@pytest.mark.parametrize("said", [None, "", "1", "1 task 2 intel", "2 task 2 intel 0", "1 task x intel 0", "1 a b c d"])
def test_what_is_no_mark_of_ours_is_nobodys(said: str | None):
    assert marks.read_mark(FileInfo("b/a", 1, "e", mark=said)) is None


def test_a_mark_of_another_path_is_nobodys():
    written = marks.write_mark(marks.Mark("task_1", 1, "intel"), "b/a")
    assert marks.read_mark(FileInfo("b/a", 1, "e", mark=written)) == marks.Mark("task_1", 1, "intel")
    assert marks.read_mark(FileInfo("b/b", 1, "e", mark=written)) is None
