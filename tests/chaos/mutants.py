"""Deliberate mistakes, made in the processes of a chaos run only: the checker has to find each."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from shared import transitions
from shared.queue import Delivery
from worker.consumer import Consumer
from worker.sweeper import Announcer, Reaper


def drop_epoch() -> None:
    """An owner's writes are fenced by its name alone."""
    owned = transitions._owned
    transitions._owned = lambda *args: _without("epoch", owned(*args))


def ignore_status() -> None:
    """An owner completes its task without looking at the status."""
    complete = transitions.complete

    def loose(*args: Any) -> transitions.Change:
        change = complete(*args)
        return replace(change, where=_without("status", change.where))

    transitions.complete = loose


def claim_owned() -> None:
    """A claim takes also what somebody owns."""
    claim = transitions.claim

    def loose(worker: str) -> transitions.Change:
        change = claim(worker)
        return replace(change, where=_without("owner", change.where))

    transitions.claim = loose


def ack_before_claim() -> None:
    """A doorbell is acknowledged as soon as it arrives."""
    take = Consumer._take

    def acknowledge_first(self: Consumer, delivery: Delivery) -> None:
        delivery.ack()
        take(self, replace(delivery, ack=lambda: None, requeue=lambda: None))

    Consumer._take = acknowledge_first


def no_sweeper() -> None:
    """Nobody looks for tasks that wait without a doorbell."""
    Announcer.look = lambda self: 0
    Consumer._look = lambda self: None


def no_reaper() -> None:
    """Nobody frees the tasks of dead owners."""
    Reaper.look = lambda self: []


def _without(name: str, where: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in where.items() if field != name}


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant
    for mutant in (drop_epoch, ack_before_claim, no_sweeper, ignore_status, no_reaper, claim_owned)}
