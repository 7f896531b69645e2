"""What is wanted of a running task, from answers that may be seen out of order."""
from __future__ import annotations

from typing import Any

import pytest

from shared.documents import Status, Task
from tests.integration.worker_kit import make_task
from worker.control import TaskControl, Wanted


def owned(**fields: Any) -> Task:
    return make_task(**{"owner": "w1", "epoch": 3, "status": Status.RUNNING, "beat": 5, **fields})


@pytest.fixture
def control() -> TaskControl:
    return TaskControl(owned(beat=0))


def test_pause_and_resume_are_followed(control: TaskControl) -> None:
    control.observe(owned(status=Status.PAUSED))
    assert control.wanted is Wanted.PAUSE
    control.observe(owned(beat=6))
    assert control.wanted is Wanted.RUN


def test_an_older_answer_that_arrives_late_is_ignored(control: TaskControl) -> None:
    control.observe(owned(beat=9))
    control.observe(owned(beat=8, status=Status.PAUSED))
    assert control.wanted is Wanted.RUN


def test_a_pause_without_a_beat_in_between_is_seen(control: TaskControl) -> None:
    control.observe(owned(beat=9))
    control.observe(owned(beat=9, status=Status.PAUSED))
    assert control.wanted is Wanted.PAUSE


@pytest.mark.parametrize("lost", [None, owned(owner=None), owned(owner="w2", epoch=4), owned(epoch=4)])
def test_a_task_that_is_gone_or_anothers_is_stopped_for_good(control: TaskControl, lost: Task | None) -> None:
    control.observe(lost)
    control.observe(owned(beat=99))
    control.release()
    assert control.wanted is Wanted.STOP


def test_a_release_lasts_until_a_pause(control: TaskControl) -> None:
    control.release()
    control.observe(owned(beat=6))
    assert control.wanted is Wanted.RELEASE
    control.observe(owned(beat=7, status=Status.PAUSED))
    assert control.wanted is Wanted.PAUSE


def test_a_paused_task_is_parked_and_not_released(control: TaskControl) -> None:
    control.observe(owned(status=Status.PAUSED))
    control.release()
    assert control.wanted is Wanted.PAUSE
