"""Publishing harms nothing in any interleaving, and the model notices each of fourteen mistakes."""
from __future__ import annotations

import pytest

from tests.protocol.publishing_model import SCENARIOS, explore
from tests.protocol.publishing_rules import MUTANTS, PublishingRules

# Another number: the rules or the model have changed, and it should be said why.
STATES = {
    "two tasks with one output": 45_210, "two tasks with one output, one is reaped": 42_594,
    "two tasks with one output, equal etags": 3_544, "one task": 67_197, "one task, equal etags": 44_236,
    "one task that may overwrite": 2_706, "an input in the way": 6, "two targets with one object": 8_355,
    "one target's path beside another's": 8_427, "another task's folder": 1_432}

# The scenario in which each mistake does harm, and what is seen of it first.
HARM = {
    "replaces_foreign": ("one task", "foreign"),
    "replaces_other_targets": ("two targets with one object", "result"),
    "replaces_unsettled": ("two tasks with one output", "settled"),
    "withdraws_by_content": ("one task, equal etags", "fenced"),
    "withdraws_without_epoch": ("one task, equal etags", "fenced"),
    "deletes_whatever_is_there": ("another task's folder", "foreign"),
    "nobody_decides": ("two tasks with one output, equal etags", "settled"),
    "writes_unconditionally": ("two tasks with one output", "settled"),
    "looks_only_at_creation": ("one task", "foreign"),
    "replaces_inputs": ("an input in the way", "input"),
    "writes_into_folders": ("another task's folder", "result"),
    "ignores_live_sets": ("two targets with one object", "apart"),
    "looks_at_the_path_only": ("one target's path beside another's", "result"),
    "deletes_objects_first": ("another task's folder", "whole"),
}


@pytest.mark.parametrize("title", SCENARIOS)
def test_publishing_harms_nothing_in_any_interleaving(title: str):
    outcome = explore(PublishingRules(), SCENARIOS[title])
    assert (outcome.violation, outcome.trace) == ("", [])
    assert outcome.states == STATES[title]


def test_what_may_be_done_can_be_done():
    """Rules that forbid everything would harm nothing either."""
    reached = {title: explore(PublishingRules(), SCENARIOS[title]).reached for title in (
        "two tasks with one output, equal etags", "one task that may overwrite", "two targets with one object",
        "another task's folder")}
    assert ("completed", "completed") in reached["two tasks with one output, equal etags"]
    assert ("completed", "refused") in reached["one task that may overwrite"]
    assert {("completed", "refused"), ("refused", "completed")} <= reached["two targets with one object"]
    assert ("completed", "refused") in reached["another task's folder"]


def test_each_mistake_has_a_test():
    assert HARM.keys() == MUTANTS.keys()
    assert STATES.keys() == SCENARIOS.keys()


@pytest.mark.parametrize("name", MUTANTS)
def test_the_model_notices_a_mistake_in_one_rule(name: str):
    title, kind = HARM[name]
    outcome = explore(MUTANTS[name](), SCENARIOS[title])
    assert outcome.violation.startswith(kind + ": ") and outcome.trace
