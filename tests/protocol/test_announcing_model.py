"""Each end is announced in every interleaving, and the model notices each of fifteen mistakes."""
from __future__ import annotations

import pytest

from tests.protocol.announcing_model import explore
from tests.protocol.announcing_rules import DELIVERED, GIVEN_UP, MUTANTS, AnnouncingRules

# Clients' actions, faults, and how often the receiver refuses. Another number of states: the rules or the model have
# changed, and it should be said why.
STATES = {(1, 1, 2): 75_475, (2, 0, 1): 31_477, (0, 2, 2): 4_587}

# What is seen first of each mistake, and the actions, faults and refusals without which it does no harm.
HARM = {
    "sends_before_the_write": ("true", 0, 0, 0),
    "new_id_per_attempt": ("one", 0, 0, 1),
    "one_id_per_task": ("one", 1, 0, 0),
    "no_lease": ("alone", 0, 0, 0),
    "begins_without_comparing": ("alone", 0, 0, 0),
    "counts_after_sending": ("alone", 0, 0, 0),
    "forgets_after_a_failure": ("kept", 0, 0, 1),
    "late_failure_counts": ("final", 0, 1, 1),
    "writes_without_looking_for_ends": ("alive", 1, 0, 0),
    "rests_without_looking": ("alive", 1, 0, 0),
    "never_gives_up_the_lost": ("bounded", 0, 1, 1),
    "postpones_for_ever": ("alive", 0, 0, 0),
    "end_tells_nobody": ("prompt", 0, 0, 0),
    "retry_forgets": ("kept", 1, 0, 0),
    "retry_leaves_the_rest": ("alive", 1, 0, 0),
}


@pytest.mark.parametrize("budget", STATES)
def test_each_end_is_announced_in_every_interleaving(budget: tuple[int, int, int]):
    outcome = explore(AnnouncingRules(), *budget)
    assert (outcome.violation, outcome.trace) == ("", [])
    assert outcome.states == STATES[budget]


def test_what_may_become_of_an_announcement_does():
    reached = explore(AnnouncingRules(), 1, 0, 2).reached
    assert {(DELIVERED, DELIVERED), (DELIVERED, GIVEN_UP), (GIVEN_UP, DELIVERED), (GIVEN_UP, GIVEN_UP)} <= reached


def test_each_mistake_has_a_test():
    assert HARM.keys() == MUTANTS.keys()


@pytest.mark.parametrize("name", MUTANTS)
def test_the_model_notices_a_mistake_in_one_rule(name: str):
    kind, *budget = HARM[name]
    outcome = explore(MUTANTS[name](), *budget)
    assert outcome.violation.startswith(kind + ": ") and outcome.trace
    assert explore(AnnouncingRules(), *budget).violation == ""
