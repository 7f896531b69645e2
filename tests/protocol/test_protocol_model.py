"""The protocol holds in every interleaving, and the model notices each of nine mistakes."""
from __future__ import annotations

import pytest

from tests.protocol.protocol_model import explore
from tests.protocol.rules import MUTANTS, Rules

# What is seen first of each mistake, and the client actions and faults without which it does no harm.
HARM = {
    "commit_without_epoch": ("fenced", 0, 0),
    "commit_without_owner": ("fenced", 0, 0),
    "ignore_status": ("stable", 1, 0),
    "claim_owned": ("alone", 0, 0),
    "fail_paused": ("stable", 1, 0),
    "reap_without_epoch": ("fenced", 0, 0),
    "reap_resumes": ("stable", 1, 0),
    "no_reaper": ("alive", 0, 1),
    "cancel_keeps_owner": ("ended", 1, 0),
}


def test_the_protocol_holds_in_every_interleaving_of_three_client_actions_and_a_fault():
    outcome = explore(Rules(), clients=3, faults=1)
    assert (outcome.violation, outcome.trace) == ("", [])
    assert outcome.states == 350_100  # another number: the rules or the model have changed, and it should be said why


def test_each_mistake_has_a_test():
    assert HARM.keys() == MUTANTS.keys()


@pytest.mark.parametrize("name", MUTANTS)
def test_the_model_notices_a_mistake_in_one_rule(name: str):
    kind, clients, faults = HARM[name]
    outcome = explore(MUTANTS[name](), clients, faults)
    assert outcome.violation.startswith(kind + ": ") and outcome.trace
    assert explore(Rules(), clients, faults).violation == ""
